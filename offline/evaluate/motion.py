"""`narrate eval motion`: how well the avatar follows real clips.

Self: the avatar is built from the clip's most neutral frame and driven by the clip with absolute motion; its frame i
should be the clip's frame i. Cross: a portrait's avatar is driven by the clip with relative motion. "still picture" is
what doing nothing scores. `stability` is measured with the same avatars, see there.

Columns: l1 (0..1), psnr (dB), ssim: of the head, self only. akd: landmarks apart, % of the distance of the outer eye
corners; across people the same of their ways from the first frame, and akd_rel: over the driver's own way. apd:
degrees. blink, mouth, gaze (sideways): correlation, and amplitude over the driver's (`x`). jitter: fast acceleration
over the driver's. lag: frames. shape: % by which the skull's landmarks leave the portrait's proportions (no embedding
of identity is shipped, so there is no AED). failed: share of the driver's frames without a face in the avatar's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.mesh import MeshDriver
from narrate_stream.errors import NarrateError, PortraitError
from narrate_stream.pipeline import Pipeline
from narrate_stream.types import Frame, Image
from offline.build import build
from offline.evaluate.beside import Beside
from offline.evaluate.clips import Clip, Judge, read_clip
from offline.evaluate.following import Pair, Row, compare, likeness
from offline.evaluate.metrics import mean_row
from offline.evaluate.stability import steadiness
from offline.evaluate.table import titled
from offline.evaluate.tracks import eye_aspect, gaze, mouth_aspect
from offline.picture import Picture

F64 = NDArray[np.float64]
FOLLOW = {"blink": "5.2f", "x_blink": "4.2f", "mouth": "5.2f", "x_mouth": "4.2f", "gaze": "5.2f", "x_gaze": "4.2f",
          "jitter": "5.2f", "lag": "4.1f", "shape": "5.2f", "failed": "5.3f"}  # fmt: skip
FORMATS = {
    "self": {"l1": "5.3f", "psnr": "5.2f", "ssim": "5.3f", "akd": "5.2f", "apd": "5.2f"} | FOLLOW,
    "cross": {"akd": "5.2f", "akd_rel": "5.2f", "apd": "5.2f"} | FOLLOW,
    "stability": {"wobble_px": "5.3f", "seen_px": "5.3f", "driver_px": "5.3f", "lag_yaw": "5.2f", "lag_mouth": "5.2f",
                  "lag_lids": "5.2f", "lag_gaze": "5.2f"},
}  # fmt: skip
TILE, TILES = 192, 8


@dataclass
class Result:
    """tables: {table of FORMATS: {row: means over its cases}}; cases: {table: {row: {case: its row}}}; failed: {clip:
    why}; sheet: lines of pictures, driver over avatar, one for every case."""

    tables: dict[str, dict[str, Row]] = field(default_factory=dict)
    cases: dict[str, dict[str, dict[str, Row]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    sheet: list[Image] = field(default_factory=list)

    def add(self, table: str, row: str, case: str, values: Row) -> None:
        """One more case, and the means of its row anew."""
        rows = self.cases.setdefault(table, {}).setdefault(row, {})
        rows[case] = values
        self.tables.setdefault(table, {})[row] = mean_row(list(rows.values()))


@dataclass(frozen=True)
class Case:
    """One avatar and one clip."""

    kind: Literal["self", "cross"]
    name: str
    model: HybridModel
    clip: Clip


@dataclass(frozen=True)
class Act:
    """What the avatar showed: landmarks (N, 478, 3) of every frame and (478, 3) of it at rest, both in `size` (W, H)
    pictures; likeness of its frames and of the still portrait to the clip's, where that has a face (self only)."""

    marks: F64
    rest: F64
    size: tuple[int, int]
    shown: list[Row]
    still: list[Row]
    tiles: list[Image]


def evaluate_motion(
    paths: Sequence[Path],
    portraits: dict[str, HybridModel],
    *,
    sheet: bool = False,
    videos: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Result:
    """Every clip with an avatar of its own person and with every portrait's.

    videos: a folder for a film of every case, see `beside`. A clip that is none, shows no face or whose person cannot
    be built is named in `failed` and left out of the rows concerned. Raises NarrateError when nothing at
    all could be measured.
    """
    result, judge = Result(), Judge()
    try:
        for path in paths:
            for case in cases(path, portraits, judge, result):
                measure(case, judge, result, sheet=sheet, videos=videos)
                progress(f"{case.kind}: {case.name} done")
    finally:
        judge.close()
    if not result.tables:
        raise NarrateError(f"nothing could be measured: {'; '.join(result.failed.values()) or 'there is no clip'}")
    return result


def cases(path: Path, portraits: dict[str, HybridModel], judge: Judge, result: Result) -> Iterator[Case]:
    """The clip with itself, then with every portrait."""
    try:
        clip = read_clip(path, judge)
    except NarrateError as error:
        result.failed[path.stem] = str(error)
        return
    try:
        yield Case("self", clip.name, build(Picture(clip.portrait, path=path), 1024).model, clip)
    except PortraitError as error:
        result.failed[path.stem] = str(error)
    for name, model in portraits.items():
        yield Case("cross", f"{name} by {clip.name}", model, clip)


def measure(case: Case, judge: Judge, result: Result, *, sheet: bool, videos: Path | None) -> None:
    """Adds one case to the rows."""
    own, clip = case.kind == "self", case.clip
    act = perform(case, judge, sheet=sheet, videos=videos)
    still = np.repeat(act.rest[None], len(clip.marks), 0)
    for row, marks, likenesses in (("still picture", still, act.still), ("avatar", act.marks, act.shown)):
        pair = Pair(clip.marks, marks, clip.size, act.size, clip.fps)
        result.add(case.kind, row, case.name, mean_row(likenesses) | compare(pair, own=own, portrait=act.rest))
    result.add("stability", case.kind, case.name, steadiness(case.model, clip.portrait, judge))
    if sheet:
        result.sheet.append(line(case, act.tiles))


def perform(case: Case, judge: Judge, *, sheet: bool, videos: Path | None) -> Act:
    """Plays the clip on the avatar as `narrate render` does, without an encoder in between."""
    own, clip = case.kind == "self", case.clip
    picks = moments(clip.marks) if sheet else []
    shown, still, tiles, marks = [], [], [], []
    rest, size = at_rest(case)
    for i, (frame, image) in enumerate(reenacted(case, videos)):
        marks.append(judge(image))
        if own and not np.isnan(clip.marks[i, 0, 0]):
            shown.append(likeness(frame.image, image, clip.marks[i]))
            still.append(likeness(frame.image, rest, clip.marks[i]))
        if i in picks:
            tiles.append(np.concatenate([tile(frame.image), tile(image)]))
    return Act(np.array(marks), clip.marks[clip.neutral] if own else judge(rest), size, shown, still, tiles)


def stage(case: Case, driver: MeshDriver | None) -> Pipeline:
    """The pipeline that `narrate render` would take: the clip's own frame, or a square around the head."""
    if case.kind == "self":
        return Pipeline(case.model, size=None, framing="portrait", motion="absolute", driver=driver)
    return Pipeline(case.model, driver=driver)


def at_rest(case: Case) -> tuple[Image, tuple[int, int]]:
    """The portrait that nobody moves, and the (W, H) of what is judged."""
    if case.kind == "self":
        return case.clip.portrait, case.clip.size
    pipeline = stage(case, None)
    return pipeline.step(Frame(case.clip.portrait)).image, pipeline.size


def reenacted(case: Case, videos: Path | None) -> Iterator[tuple[Frame, Image]]:
    """Driving frames and the avatar's, which are as large as the clip's where they are to be compared."""
    driver = MeshDriver(patient=case.kind == "cross")
    pipeline = stage(case, driver)
    try:
        source = case.clip.source
        motions = pipeline.rehearse(source, [driver(frame) for frame in source], float(source.fps))
        with Beside(videos / f"{case.kind} {case.name}.mp4", pipeline, case.clip) if videos else nullcontext() as film:
            for frame, motion in zip(source, motions, strict=True):
                image = pipeline.play(frame, motion).image
                if film:
                    film(frame, motion, image)
                yield frame, image if case.kind == "cross" else resized(image, case.clip.size)
    finally:
        pipeline.close()


def resized(image: Image, size: tuple[int, int]) -> Image:
    """(W, H); video frames are even, photographs need not be."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


# ------------------------------------------------------------------ the sheet


def moments(marks: F64) -> list[int]:
    """TILES frames worth looking at: the deepest blink, the widest mouth, the farthest looks and others between."""
    looks = gaze(marks)[:, 0]
    wanted = [
        np.nanargmin(eye_aspect(marks)),
        np.nanargmax(mouth_aspect(marks)),
        np.nanargmin(looks),
        np.nanargmax(looks),
    ]
    chosen = dict.fromkeys(map(int, wanted))
    seen = np.flatnonzero(~np.isnan(marks[:, 0, 0]))
    for k in np.linspace(0, len(seen) - 1, TILES).round().astype(int):
        if len(chosen) < TILES:
            chosen[int(seen[k])] = None
    return sorted(chosen)


def tile(image: Image) -> Image:
    """The picture inside a square of TILE pixels."""
    k = TILE / max(image.shape[:2])
    small = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)[:TILE, :TILE]
    out = np.full((TILE, TILE, 3), 40, np.uint8)
    y, x = (TILE - small.shape[0]) // 2, (TILE - small.shape[1]) // 2
    out[y : y + small.shape[0], x : x + small.shape[1]] = small
    return out


def line(case: Case, tiles: list[Image]) -> Image:
    """Driver over avatar, TILES times, with the case's name."""
    blank = np.full((2 * TILE, TILE, 3), 40, np.uint8)
    whole = np.concatenate([*tiles, *[blank] * (TILES - len(tiles))], 1)
    return titled(whole, f"{case.kind}: {case.name}")
