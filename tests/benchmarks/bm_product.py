"""The README's numbers: build time, memory and size of a model, and the frame path at 512 and 1024 pixels.

    python tests/benchmarks/bm_product.py [PORTRAIT ...] [--frames N]

Every build runs in a process of its own, so that its peak memory is its own. The frame path is `narrate bench`: warmed
up, a driving clip made of the avatar itself, light `rembrandt`. One line of MediaPipe alone is measured in the same run
and stands beside the rest: these machines differ, ratios to it travel better than milliseconds.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def build_one(portrait: str, output: str) -> None:
    """In its own process: one build, printed as JSON."""
    from narrate_stream.bundle import save_model
    from offline.build import build_model

    start = time.perf_counter()
    model = build_model(None if portrait == "-" else Path(portrait))
    save_model(model, Path(output))
    spent = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = Path(output).stat().st_size / 1e6
    print(json.dumps({"seconds": spent, "peak_mb": peak, "file_mb": size, "canvas": model.canvas}))


def builds(portraits: list[str], folder: Path) -> None:
    """One row a portrait, the second of two builds (the first compiles kernels once per machine)."""
    print("| build | canvas | seconds | peak memory | file |\n|---|---|---|---|---|")
    for portrait in portraits:
        output = folder / "model.narrate"
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, __file__, "--one", portrait, str(output)], capture_output=True, text=True, check=True
            )
        r = json.loads(done.stdout.splitlines()[-1])
        name = "built-in" if portrait == "-" else Path(portrait).name
        cells = f"{r['seconds']:.1f} | {r['peak_mb']:.0f} MB | {r['file_mb']:.1f} MB"
        print(f"| {name} | {r['canvas'][0]}x{r['canvas'][1]} | {cells} |")


def tracker_alone(frames: int) -> float:
    """Median milliseconds of MediaPipe's face mesh on the built-in portrait, the yardstick of this machine."""
    from narrate_stream.drivers.landmarks import FaceMesh
    from offline.picture import load_builtin_portrait

    image = load_builtin_portrait().image
    with FaceMesh(video=True) as mesh:
        times = []
        for _ in range(frames):
            start = time.perf_counter()
            mesh(image)
            times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times[10:]))


def frame_path(frames: int) -> None:
    """The stages at both sizes, p50 / p95 in milliseconds."""
    from narrate_stream.bench import run_bench
    from offline.build import build_model

    model = build_model(None)
    rows = [run_bench(model, size, frames) for size in (512, 1024)]
    print("\n| stage | 512 p50 / p95 | 1024 p50 / p95 |\n|---|---|---|")
    for stage in rows[0]["stages"]:
        cells = [f"{r['stages'][stage]['p50']:.1f} / {r['stages'][stage]['p95']:.1f}" for r in rows]
        print(f"| {stage} | {cells[0]} | {cells[1]} |")
    cells = [f"{r['frame']['p50']:.1f} / {r['frame']['p95']:.1f}" for r in rows]
    print(f"| **frame** (track to fuse) | {cells[0]} | {cells[1]} |")
    print(f"\nMediaPipe alone: {tracker_alone(100):.1f} ms. {rows[0]['hardware']}, commit {rows[0]['commit']}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", nargs="*", default=["-"], help="portraits to build; - is the built-in one")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        build_one(*options.portraits)
        return
    with tempfile.TemporaryDirectory() as folder:
        builds(options.portraits, Path(folder))
    frame_path(options.frames)


if __name__ == "__main__":
    main()
