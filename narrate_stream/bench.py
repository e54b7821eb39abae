"""`narrate bench`: the frame path, stage by stage, on a driving clip made of the avatar itself."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.mesh import MeshDriver
from narrate_stream.fusion import fuse, over_backdrop
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.ops.lighting import Lighting
from narrate_stream.pipeline import Pipeline, still_motion
from narrate_stream.types import AvatarMotion, Frame, Image, Pose

STAGES = ("decode", "track", "motion", "render", "relight", "fuse", "style", "encode")
WARM_UP = 30


def driving_frames(model: HybridModel, count: int) -> list[Image]:
    """The avatar itself, nodding, turning and speaking, 512 pixels: a driving clip that needs nobody's rights."""
    pipeline, own = Pipeline(model, size=512), Lighting("original", original=True)
    plate = over_backdrop(model, pipeline.framing)
    out = []
    for i in range(count):
        t = i / 30
        turn = rotation_from_angles(14 * np.sin(1.7 * t), 7 * np.sin(2.3 * t), 4 * np.sin(1.1 * t))
        offsets = np.zeros((468, 3), np.float32)
        pose = Pose(turn.astype(np.float32), np.zeros(3, np.float32))
        motion = AvatarMotion(pose, offsets, still_motion().gaze, np.zeros(3, np.float32))
        gbuffer = pipeline.renderer(motion, albedo=False)
        core, fringe = pipeline.relighter(gbuffer, own)
        out.append(fuse(core, fringe, gbuffer, plate))
    return out


def run_bench(model: HybridModel, size: int = 512, frames: int = 300) -> dict[str, Any]:
    """Times `frames` frames at `size` with a relit avatar; milliseconds, see the contract for the keys."""
    pictures = driving_frames(model, 60)
    pipeline = Pipeline(model, size=size, driver=MeshDriver(), light="rembrandt")
    codec = Codec(pictures, pipeline.size)
    times: dict[str, list[float]] = {stage: [] for stage in (*STAGES, "frame")}
    try:
        for i in range(frames + WARM_UP):
            picture, decode = codec.decoded(i)
            start = time.perf_counter()
            shown = pipeline.step(Frame(picture, i * 3000, Fraction(1, 90000)))
            whole = 1000 * (time.perf_counter() - start)
            encode = codec.encoded(shown.image)
            if i >= WARM_UP:
                for stage, value in {
                    **pipeline.stage_ms,
                    "decode": decode,
                    "encode": encode,
                    "style": 0.0,
                    "frame": whole,
                }.items():
                    times[stage].append(value)
    finally:
        pipeline.close()
    summary = {stage: percentiles(values) for stage, values in times.items()}
    frame = summary.pop("frame")
    return {
        "size": size,
        "frames": frames,
        "stages": summary,
        "frame": frame,
        "fps": round(1000 / float(np.mean(times["frame"])), 1),
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "hardware": hardware(),
        "commit": commit(),
    }


class Codec:
    """VP8, as the live path uses it: a short clip to decode from, an encoder to feed."""

    def __init__(self, pictures: list[Image], size: tuple[int, int]) -> None:
        import av

        self._av = av
        h, w = pictures[0].shape[:2]
        encoder = self._encoder((w, h))
        self._packets = [
            bytes(p) for picture in [*pictures, *pictures[::-1]] for p in encoder.encode(self._frame(picture))
        ]
        self._decoder = av.CodecContext.create("vp8", "r")
        self._out = self._encoder(size)

    def _encoder(self, size: tuple[int, int]) -> Any:
        context = self._av.CodecContext.create("libvpx", "w")
        context.width, context.height = size
        context.pix_fmt, context.time_base, context.bit_rate = "yuv420p", Fraction(1, 30), 2_000_000
        context.options = {"deadline": "realtime", "cpu-used": "-6", "lag-in-frames": "0", "error-resilient": "1"}
        return context

    def _frame(self, picture: Image) -> Any:
        return self._av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")

    def decoded(self, i: int) -> tuple[Image, float]:
        """Frame i as RGB, and the milliseconds it took."""
        start = time.perf_counter()
        frames = self._decoder.decode(self._av.Packet(self._packets[i % len(self._packets)]))
        picture = frames[0].to_ndarray(format="rgb24")
        return np.asarray(picture, np.uint8), 1000 * (time.perf_counter() - start)

    def encoded(self, picture: Image) -> float:
        """Encodes one picture; milliseconds."""
        start = time.perf_counter()
        sink = BytesIO()
        for packet in self._out.encode(self._frame(picture)):
            sink.write(bytes(packet))
        return 1000 * (time.perf_counter() - start)


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95 and p99, milliseconds."""
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "p99": round(float(p99), 2)}


def hardware() -> str:
    """Processor and cores, in words."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores"


def commit() -> str:
    """The checkout's commit, or `unknown` outside one."""
    folder = Path(__file__).parent
    done = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
