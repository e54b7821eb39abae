"""`narrate eval`: the paper's metrics on a data set in a folder, and the light of models against brute force."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from narrate_stream.cli.console import open_model, say
from narrate_stream.cli.options import PATH, Commands, EvenSize, F
from narrate_stream.cli.serve import named
from narrate_stream.cli.stills import ListCommand
from narrate_stream.errors import NarrateError

LIMIT = click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N subjects or sitters.")
JSON = click.option("--json", "json_file", type=PATH, metavar="F.json", help="Write the numbers here as well.")
DATA = click.argument("data", metavar="DATA", type=PATH)
MODELS = click.argument("models", metavar="PORTRAIT|MODEL...", nargs=-1, required=True, type=PATH)
Table = dict[str, dict[str, float]]


def lights_option(usual: str) -> Callable[[F], F]:
    """--lights, which takes many values in a row (`ListCommand`)."""
    return click.option("--lights", metavar="LIGHT ...", multiple=True, help=f"Instead of {usual}.")


@click.group("eval", cls=Commands, short_help="Measure normals, relighting, views and light.")
def evaluate() -> None:
    """Measure normals, relighting and views against a data set in a folder, and the light on models against brute
    force and in motion; the tables go to stdout."""


@click.command(short_help="Normals against photometric stereo (the paper's table 1).")
@DATA
@LIMIT
@JSON
def normals(data: Path, limit: int | None, json_file: Path | None) -> None:
    """The paper's table 1: share of skin pixels (%) whose normal is off by less than 5, 15, 25 and 30 degrees, and the
    mean and median angle. DATA is a folder with Extended Yale B subjects, or with the light stage's shards (the last
    one is used). One photograph per subject goes in: for Yale the one in frontal light; the truth is photometric
    stereo over all of them.
    """
    check_outputs(json_file)
    from offline.evaluate.datasets import read_samples
    from offline.evaluate.run import NORMAL_FORMATS, normals_table

    report("normals", data, normals_table(read_samples(data, limit)), NORMAL_FORMATS, json_file)


@click.command(short_help="Relit pictures against real ones (the paper's table 2).")
@DATA
@LIMIT
@JSON
def relight(data: Path, limit: int | None, json_file: Path | None) -> None:
    """The paper's table 2: SSIM, PSNR (dB) and RMSE of the face relit by our renderer against the real photographs in
    those lights, after one gain per picture. DATA as for `normals`.
    """
    check_outputs(json_file)
    from offline.evaluate.datasets import read_samples
    from offline.evaluate.run import RELIGHT_FORMATS, relight_table

    report("relight", data, relight_table(read_samples(data, limit)), RELIGHT_FORMATS, json_file)


@click.command(short_help="New views against heads really turned.")
@DATA
@LIMIT
@click.option("--quick", is_flag=True, help="Two sitters, five angles: about two minutes.")
@click.option("--sheet", type=PATH, metavar="OUT.png", help="Photograph, views and truth side by side.")
@JSON
def views(data: Path, limit: int | None, quick: bool, sheet: Path | None, json_file: Path | None) -> None:
    """New views against the truth. DATA is a folder with the USC ICT FaceKit, whose heads are painted, photographed
    once, built, and compared with themselves turned.

    psnr in dB where the photograph saw the skin; ssim on the head; marks: landmark error, % of the distance of the
    outer eye corners; starred: after the similarity that fits the landmarks; pose: degrees; turned: 1 is right.
    """
    check_outputs(json_file, sheet)
    require_folder(data)
    from offline.evaluate import views as module

    lines: list[Any] | None = [] if sheet else None
    table = module.evaluate_views(
        data,
        sitters=limit or (module.QUICK_SITTERS if quick else module.SITTERS),
        angles=module.QUICK if quick else module.ANGLES,
        sheet=lines,
        progress=lambda name: say(f"{name} done"),
    )
    for name, rows in table.items():
        show(name, rows, module.FORMATS)
    if sheet and lines:
        write_sheet(sheet, lines)
    write_json(json_file, {"eval": "views", "data": str(data), "rows": table})


@click.command(cls=ListCommand, short_help="The live light against brute force.")
@MODELS
@lights_option("rembrandt split rim butterfly sun:60,20 sun:-40,35")
@click.option("--size", type=EvenSize(), default=256, show_default=True, help="Side of the pictures, pixels.")
@click.option("--sheet", type=PATH, metavar="OUT.png", help="Brute force, live and their difference side by side.")
@JSON
def shading(
    models: tuple[Path, ...], lights: tuple[str, ...], size: int, sheet: Path | None, json_file: Path | None
) -> None:
    """The live relighter against light traced by 256 rays a pixel, on the same surface, in the face's skin, from three
    views. All in dB of sRGB: live and exact, the two relighters; lit and shadow, the live one where less and more than
    a tenth of the light is kept off; unhidden, what it would be to have no shadow at all. bias: mean of live less
    truth, bytes; dark: % of the face in shadow. A model takes minutes, most of them for environment maps.

    For example: narrate eval shading A.narrate B.narrate --lights rembrandt sun:60,20 studio.hdr
    """
    check_outputs(json_file, sheet)
    from offline.evaluate import shading as module

    lines: list[Any] | None = [] if sheet else None
    tables = module.evaluate_shading(
        opened(models), lights=listed(lights) or module.LIGHTS, size=size, sheet=lines, progress=say
    )
    for name in ("models", "views", "lights"):
        show(f"shading: means by {name}", tables[name], module.FORMATS)
    if sheet and lines:
        write_sheet(sheet, lines)
    write_json(json_file, {"eval": "shading", "size": size, **tables})


@click.command(cls=ListCommand, short_help="The light while head or light turn.")
@MODELS
@lights_option("rembrandt sun:60,20")
@click.option("--frames", type=click.IntRange(3), default=60, show_default=True, help="Frames of every sequence.")
@JSON
def consistency(models: tuple[Path, ...], lights: tuple[str, ...], frames: int, json_file: Path | None) -> None:
    """Whether the light on fixed places of the skin changes as physics says (brute force on those places) while the
    head turns from -25 to +25 degrees, and while the light goes once round; beside it, normals estimated anew from
    every frame. In % of the sequence's shading (RMS): residual, what changes otherwise; lit, the same away from
    shadows; offset, what is wrong but stays; flicker, second difference in time; moving, physics' own. A model takes
    minutes.
    """
    check_outputs(json_file)
    from offline.evaluate import consistency as module

    rows = module.evaluate_consistency(
        opened(models), lights=listed(lights) or module.LIGHTS, frames=frames, progress=say
    )
    for name, table in rows.items():
        show(f"consistency: {name}", table, module.FORMATS)
    write_json(json_file, {"eval": "consistency", "frames": frames, "rows": rows})


@click.command(short_help="How well avatars follow real clips.")
@click.argument("portraits", metavar="[PORTRAIT|MODEL]...", nargs=-1, type=PATH)
@click.option("--clips", type=PATH, metavar="DIR", required=True, help="A folder with driving clips.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N clips.")
@click.option("--sheet", type=PATH, metavar="OUT.png", help="Driver over avatar at telling moments of every case.")
@click.option("--videos", type=PATH, metavar="DIR", help="Films: driver, avatar, and the same lit anew and turned.")
@JSON
def motion(
    portraits: tuple[Path, ...],
    clips: Path,
    limit: int | None,
    sheet: Path | None,
    videos: Path | None,
    json_file: Path | None,
) -> None:
    """Every clip of --clips drives an avatar built from its own most neutral frame (self), and every PORTRAIT (cross).

    \b
    l1 psnr ssim   of the head, dB, self only
    akd            landmarks apart, % of the distance of the outer eye corners; cross: of their ways from the first
                   frame, head and proportions taken out; akd_rel: over the driver's own way (doing nothing is 1)
    apd            yaw, pitch and roll apart, degrees
    blink mouth gaze   correlation with the driver's, and x_...: amplitude over the driver's; gaze is sideways
    jitter         acceleration above 5 Hz over the driver's: above 1 trembles, much below lags
    lag            frames that the avatar comes later
    shape          % by which the skull's landmarks leave the portrait's proportions (not AED: that needs a network)
    failed         share of the driver's frames without a face in the avatar's
    wobble_px      an avatar of 512 pixels whose driver is one frame again and again, with noise; seen_px: as the
                   detector sees it; driver_px: the driving frames, as it sees those
    lag_...        frames at 30 a second behind fast scripted motion
    """
    check_outputs(json_file, sheet)
    from narrate_stream.files import output_directory
    from offline.evaluate.clips import clips_in
    from offline.evaluate.motion import FORMATS, evaluate_motion

    paths = clips_in(clips, limit)
    if videos:
        output_directory(videos)
    models = {name: open_model(path) for name, path in named(portraits).items()}
    result = evaluate_motion(paths, models, sheet=sheet is not None, videos=videos, progress=say)
    for name, why in result.failed.items():
        say(f"{name} is left out: {why}")
    for name, rows in result.tables.items():
        show(f"{name}: mean over {len(next(iter(result.cases[name].values())))} cases", rows, FORMATS[name])
    if sheet:
        write_sheet(sheet, result.sheet)
    numbers = {"tables": result.tables, "cases": result.cases, "failed": result.failed}
    write_json(json_file, {"eval": "motion", "data": str(clips), **numbers})


for command in (normals, relight, views, shading, consistency, motion):
    evaluate.add_command(command)


def opened(paths: tuple[Path, ...]) -> dict[str, Any]:
    """Models by the names of their files; by their whole paths where names repeat."""
    stems = [path.stem for path in paths]
    return {stem if stems.count(stem) == 1 else str(p): open_model(p) for p, stem in zip(paths, stems, strict=True)}


def listed(lights: tuple[str, ...]) -> list[str]:
    """`a;b` is two lights, as for `narrate grid`."""
    return [name for part in lights for name in part.split(";")]


def report(name: str, data: Path, tables: Iterable[Any], formats: dict[str, str], json_file: Path | None) -> None:
    """Follow the subjects as they are measured, then print the table of all."""
    last = None
    for last in tables:
        subject = list(next(iter(last.subjects.values())))[-1]
        mine = {variant: rows[subject] for variant, rows in last.subjects.items()}
        say(f"{subject}: " + "; ".join(f"{v} {brief(row, formats)}" for v, row in mine.items()))
    if last is None:
        raise NarrateError(f"{data}: no subject could be measured")
    count = len(next(iter(last.subjects.values())))
    failed = f", {len(last.failed)} could not be built: {', '.join(last.failed)}" if last.failed else ""
    show(f"{name}: mean over {count} subjects{failed}", last.rows, formats)
    write_json(json_file, {"eval": name, "data": str(data), **asdict(last)})


def brief(row: dict[str, float], formats: dict[str, str]) -> str:
    """The number a person looks at first while waiting."""
    key = "mean" if "mean" in formats else "psnr"
    return f"{row[key]:{formats[key]}}"


def check_outputs(json_file: Path | None, sheet: Path | None = None) -> None:
    """Refuse at once what could not be written after minutes of work."""
    from narrate_stream.files import check_output

    if json_file:
        check_output(json_file, (".json",))
    if sheet:
        check_output(sheet, (".png",))


def require_folder(path: Path) -> None:
    """Raises NarrateError unless `path` is a folder."""
    if not path.exists():
        raise NarrateError(f"{path}: there is no such folder")
    if not path.is_dir():
        raise NarrateError(f"{path} is a file, not a folder with a data set")


def show(title: str, rows: Table, formats: dict[str, str]) -> None:
    """A table on stdout."""
    from offline.evaluate.metrics import text_table

    click.echo(f"{title}\n{text_table(rows, formats)}\n")


def write_sheet(path: Path, lines: list[Any]) -> None:
    """Pictures of one width below each other."""
    import numpy as np

    from narrate_stream.files import write_png

    write_png(path, np.concatenate(lines))
    say(f"{path}: {len(lines)} lines")


def write_json(path: Path | None, result: dict[str, object]) -> None:
    """The numbers, missing ones as null."""
    from narrate_stream.files import write_bytes

    if path is None:
        return

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, float):
            return round(value, 4) if value == value else None
        return value

    write_bytes(path, json.dumps(plain(result), indent=1).encode())
    say(f"{path} written")
