"""`narrate build`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from narrate_stream.cli.console import say, steps
from narrate_stream.cli.options import PATH


@click.command(short_help="Build a model from one portrait.")
@click.argument("portrait", type=PATH)
@click.option("-o", "--output", metavar="MODEL.narrate", type=PATH, required=True, help="The model file to write.")
@click.option(
    "--size",
    type=click.IntRange(256, 2048),
    default=1024,
    show_default=True,
    help="Working size of the crop, pixels; more is sharper and slower.",
)
@click.option("--report", metavar="DIR", type=PATH, help="Also write a page of pictures that show every step.")
@click.option("--weight-free", is_flag=True, help="Normals from geometry alone, without the shipped network.")
@click.option("--learned-albedo", is_flag=True, help="Albedo by the network F_A; so far worse on photographs.")
@click.option(
    "--physical-light",
    is_flag=True,
    help="Without F_R, the network of light from skin to skin; photographs are relit 0.1 dB worse.",
)
def build(
    portrait: Path,
    output: Path,
    size: int,
    report: Path | None,
    weight_free: bool,
    learned_albedo: bool,
    physical_light: bool,
) -> None:
    """Build a model from one portrait (JPEG, PNG, WebP, TIFF; HEIC with the extra `heic`)."""
    from narrate_stream.files import check_output

    check_output(output, (".narrate",))
    if weight_free and learned_albedo:
        raise click.UsageError("--learned-albedo needs the networks that --weight-free leaves out")
    from narrate_stream.bundle import save_model
    from offline.build import build_model

    start = time.perf_counter()
    with steps(f"building {portrait.name}") as progress:
        model = build_model(
            portrait,
            size=size,
            report=report,
            progress=progress,
            networks=not weight_free,
            learned_albedo=learned_albedo,
            learned_relight=not physical_light,
        )
    save_model(model, output)
    seconds, megabytes = time.perf_counter() - start, output.stat().st_size / 1e6
    say(f"{output}: {megabytes:.1f} MB in {seconds:.1f} s" + (f", report in {report}" if report else ""))
