"""`narrate eval shading`: the live relighter against brute force, on models, in lights, from views.

The reference is `offline.evaluate.truth`: the same surface with its light traced, 256 directions a pixel. All columns
are PSNR (dB, sRGB) of the skin of the face against it (what the oval of the landmarks surrounds, without eyes, the
inside of the mouth, hair and the few pixels where the mesh is folded, with those beside them):

live, exact     the two relighters
lit, shadow     the live one where less, and where more than a tenth of the light is kept off by something else
unhidden        the reference itself without any shadow: what it is worth to have none

and bias, the mean of live - reference in bytes; dark, the part (%) of the face that counts as shadow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.pipeline import seen_from, still_motion
from narrate_stream.relighters import ExactRelighter, LightMapRelighter
from narrate_stream.types import Image, View
from offline.evaluate.metrics import mean_row, psnr
from offline.evaluate.posed import Pose, Sitting
from offline.evaluate.table import titled
from offline.evaluate.truth import SAMPLES, Light, light_of

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
Row = dict[str, float]
LIGHTS = ("rembrandt", "split", "rim", "butterfly", "sun:60,20", "sun:-40,35")
VIEWS = (View(0, 0), View(25, 8), View(-25, -8))
SIZE = 256  # pixels of the picture's side; the face is about 110 of them
TAKEN = 0.1  # share of the light that must be missing for a pixel to count as shadow
TILE = 240  # pixels of a face on the sheet
LEAST = 20  # pixels below which a part of the face is not given a number
FORMATS = {
    "live": "5.2f",
    "exact": "5.2f",
    "lit": "5.2f",
    "shadow": "6.2f",
    "unhidden": "8.2f",
    "bias": "5.1f",
    "dark": "4.0f",
}


@dataclass(frozen=True)
class Shot:
    """One model, view and light, the face's pixels (N, 3) sRGB 0..1: truth, the same unhidden, live, exact; shadow (N,)
    where the light is kept off."""

    truth: F64
    unhidden: F64
    live: F64
    exact: F64
    shadow: Mask

    def row(self) -> Row:
        """A line of the table."""
        everywhere = np.ones_like(self.shadow)
        return {
            "live": psnr(self.live, self.truth, everywhere),
            "exact": psnr(self.exact, self.truth, everywhere),
            "lit": part(self.live, self.truth, ~self.shadow),
            "shadow": part(self.live, self.truth, self.shadow),
            "unhidden": psnr(self.unhidden, self.truth, everywhere),
            "bias": float(255 * (self.live - self.truth).mean()),
            "dark": float(100 * self.shadow.mean()),
        }


def part(a: F64, b: F64, where: Mask) -> float:
    """PSNR of some of the pixels; nan when they are too few to say."""
    return psnr(a, b, where) if where.sum() >= LEAST else float("nan")


class Stand:
    """One model with the relighters that are measured."""

    def __init__(self, model: HybridModel, size: int = SIZE) -> None:
        self.sitting = Sitting(model, size)
        self.live, self.exact = (kind(self.sitting.model) for kind in (LightMapRelighter, ExactRelighter))

    def shoot(self, pose: Pose, light: Light, samples: int = SAMPLES) -> Shot:
        """The same pixels by everyone."""
        lit, unhidden, shone = pose.pictures(light, self.sitting.skin, samples)
        live, exact = (r(pose.gbuffer, light.lighting)[0][pose.face] / 255.0 for r in (self.live, self.exact))
        return Shot(lit, unhidden, live, exact, shone.taken > TAKEN)


def evaluate_shading(
    models: Mapping[str, HybridModel],
    *,
    lights: Sequence[str] = LIGHTS,
    views: Sequence[View] = VIEWS,
    size: int = SIZE,
    samples: int = SAMPLES,
    sheet: list[Image] | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, dict[str, Row]]:
    """{"lights" | "views" | "models": {name: means}, "shots": {"model, view, light": its row}}; the first ends with
    "mean". `sheet` receives a line (reference | live | difference x 4, one triple per view) for every model and light.

    Raises LightError for a light that is none.
    """
    shots: dict[tuple[str, str, str], Row] = {}
    for name, model in models.items():
        stand, shining = Stand(model, size), [light_of(text, model) for text in lights]
        lines: dict[str, list[Image]] = {light.name: [] for light in shining}
        for view in views:
            pose = stand.sitting.pose(seen_from(still_motion(), view))
            for light in shining:
                shot = stand.shoot(pose, light, samples)
                shots[name, view_name(view), light.name] = shot.row()
                lines[light.name].append(triple(pose, shot, f"{name}, {light.name}"))
            if progress:
                progress(f"{name}, {view_name(view)}")
        if sheet is not None:
            sheet += [np.concatenate(line, 1) for line in lines.values()]
    return summary(shots)


def view_name(view: View) -> str:
    """'+25+8': yaw and pitch."""
    return f"{view.yaw:+g}{view.pitch:+g}"


def summary(shots: Mapping[tuple[str, str, str], Row]) -> dict[str, dict[str, Row]]:
    """Means by light, view and model; numbers that are missing do not count."""

    def by(place: int) -> dict[str, Row]:
        names = dict.fromkeys(key[place] for key in shots)
        return {name: mean_row([row for key, row in shots.items() if key[place] == name]) for name in names}

    return {
        "lights": by(2) | {"mean": mean_row(list(shots.values()))},
        "views": by(1),
        "models": by(0),
        "shots": {", ".join(key): row for key, row in shots.items()},
    }


def triple(pose: Pose, shot: Shot, title: str) -> Image:
    """(TILE, 3 TILE, 3) reference, live, and live - reference four times over grey; only what is compared."""
    rows, columns = (np.flatnonzero(pose.face.any(axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    tiles = []
    for values in (shot.truth, shot.live, 0.5 + 4 * (shot.live - shot.truth)):
        picture = np.full((*pose.face.shape, 3), 40, np.uint8)
        picture[pose.face] = np.clip(values, 0, 1) * 255 + 0.5
        tiles.append(fitted(picture[box]))
    return np.concatenate([titled(tiles[0], title), tiles[1], titled(tiles[2], psnr_text(shot))], 1)


def fitted(picture: Image) -> Image:
    """(TILE, TILE, 3) the picture as large as it fits, its pixels to be seen."""
    k = TILE / max(picture.shape[:2])
    w, h = (min(TILE, round(n * k)) for n in picture.shape[1::-1])
    out = np.full((TILE, TILE, 3), 40, np.uint8)
    x, y = (TILE - w) // 2, (TILE - h) // 2
    out[y : y + h, x : x + w] = cv2.resize(np.ascontiguousarray(picture), (w, h), interpolation=cv2.INTER_NEAREST)
    return out


def psnr_text(shot: Shot) -> str:
    """'31.2 dB'."""
    return f"{shot.row()['live']:.1f} dB, x 4"
