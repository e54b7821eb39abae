"""Figure 11 of the paper with any material: `python -m offline.figure11 PORTRAIT|MODEL CLIP -o SHEET.png`.

A clip whose first frame is turned away drives a portrait by first-order motion. Rows: the driving frames; the portrait
without the pose-matched reference, then with it; the last once more, in another light and from another side.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import cv2
import numpy as np

from narrate_stream.anchor import Anchor
from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.first_order import FirstOrderRetargeter
from narrate_stream.drivers.mesh import MeshDriver
from narrate_stream.errors import MotionError, NarrateError
from narrate_stream.files import check_output, write_png
from narrate_stream.media import FileSource
from narrate_stream.pipeline import Pipeline
from narrate_stream.types import Frame, Image, Motion, View
from offline.stills import load_or_build

SIZE, COLUMNS = 320, 6
LIGHT, VIEW = "rembrandt", View(-15, 0)
FILE = click.Path(path_type=Path)
Take = list[tuple[Frame, Motion]]


def take_of(clip: Path) -> Take:
    """The frames that show a face, small, with what the driver sees in them. Raises MotionError if there is none."""
    driver = MeshDriver()
    try:
        seen = [(frame.with_image(squared(frame.image)), driver(frame)) for frame in FileSource(clip)]
    finally:
        driver.close()
    take = [(frame, motion) for frame, motion in seen if motion is not None]
    if not take:
        raise MotionError(f"{clip}: no face is found in any frame")
    return take


def squared(image: Image) -> Image:
    """The middle of a picture, SIZE x SIZE."""
    h, w = image.shape[:2]
    side = min(h, w)
    y, x = (h - side) // 2, (w - side) // 2
    return np.asarray(cv2.resize(image[y : y + side, x : x + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA))


def in_place(take: Take, model: HybridModel) -> Take:
    """The same take as the portrait's camera sees it, its first head where the portrait's is: pose and expression are
    compared, not the place."""
    anchor = Anchor(model)
    shift = model.translation - anchor.hold(take[0][1]).translation
    seen = [(frame, anchor(motion)) for frame, motion in take]
    return [(f, replace(m, translation=(m.translation + shift).astype(np.float32))) for f, m in seen]


def reenacted(pipeline: Pipeline, take: Take, matched: bool) -> list[Image]:
    """The avatar's frames when the first frame of the take is `D_1`."""
    pipeline.retarget = FirstOrderRetargeter(pipeline.model, "absolute", matched=matched, anchored=True)
    pipeline.retarget.calibrate(take[0][1])
    return [pipeline.play(frame, motion).image for frame, motion in take]


def sheet(model: HybridModel, take: Take) -> Image:
    """The figure: a row of COLUMNS pictures, evenly through the take, for each of the ways above."""
    take, picks = in_place(take, model), np.linspace(0, len(take) - 1, COLUMNS).astype(int).tolist()
    plain = Pipeline(model, size=SIZE)
    edited = Pipeline(model, size=SIZE, light=LIGHT, view=VIEW)
    rows = [[take[i][0].image for i in picks]]
    for pipeline, matched in ((plain, False), (plain, True), (edited, True)):
        played = reenacted(pipeline, take, matched)
        rows.append([played[i] for i in picks])
    return np.concatenate([np.concatenate(row, 1) for row in rows])


@click.command()
@click.argument("portrait", metavar="PORTRAIT|MODEL", type=FILE)
@click.argument("clip", metavar="CLIP", type=FILE)
@click.option("-o", "--output", metavar="SHEET.png", type=FILE, required=True)
def main(portrait: Path, clip: Path, output: Path) -> None:
    """A clip drives a portrait, without and with the pose-matched reference."""
    try:
        check_output(output, (".png",))
        take = take_of(clip)
        write_png(output, sheet(load_or_build(portrait), take))
    except NarrateError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
