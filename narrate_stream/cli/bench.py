"""`narrate bench`: how long a frame takes here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from narrate_stream.cli.console import open_model
from narrate_stream.cli.options import PATH, EvenSize, model_argument


@click.command(short_help="Measure every stage of the frame path.")
@model_argument
@click.option("--json", "output", metavar="F", type=PATH, help="Also write the numbers here (- is stdout).")
@click.option("--size", type=EvenSize(128, 2048), default=512, show_default=True, help="Side of the picture, pixels.")
@click.option("--frames", type=click.IntRange(10, 10000), default=300, show_default=True, help="Frames to measure.")
def bench(model: Path, output: Path | None, size: int, frames: int) -> None:
    """Measure every stage of the frame path: p50, p95 and p99 in milliseconds, fps, memory, hardware, commit."""
    from narrate_stream.files import check_output, write_bytes

    to_stdout = output is not None and str(output) == "-"
    if output is not None and not to_stdout:
        check_output(output, (".json",))
    from narrate_stream.bench import run_bench

    result = run_bench(open_model(model), size, frames)
    text = json.dumps(result, indent=2) + "\n"
    if output is not None and not to_stdout:
        write_bytes(output, text.encode())
    if to_stdout:
        click.echo(text, nl=False)
    else:
        show(result)


def show(result: dict[str, Any]) -> None:
    """The numbers as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{result['size']} pixels, {result['frames']} frames, milliseconds")
    table.add_column("stage")
    for name in ("p50", "p95", "p99"):
        table.add_column(name, justify="right")
    for stage, times in {**result["stages"], "frame": result["frame"]}.items():
        if stage == "frame":
            table.add_section()
        table.add_row(stage, *(f"{times[p]:.2f}" for p in ("p50", "p95", "p99")))
    console = Console()
    console.print(table)
    console.print(f"{result['fps']:.1f} fps, {result['memory_mb']:.0f} MB", highlight=False)
    console.print(f"{result['hardware']}, commit {result['commit']}", highlight=False, markup=False)
