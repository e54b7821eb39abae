"""`narrate eval consistency`: does the light on a point of skin change as physics says, while head or light turn?

Sequences of 60 frames: *turn*, the head from -25 to +25 degrees of yaw under a light that stays; *orbit*, the light
once round the head, which keeps still. The same places of the skin are found in every frame through the renderer's own
map (`GBuffer.map_x`, `map_y`); their shading is the picture over the albedo, in linear light. Physics is the
brute-force reference of those very places (`offline.evaluate.truth`): the model's normals, turned, and rays.

Rows: *live*, the relighter; *per view*, the way of those who have no model: F_N estimates the normals anew from every
rendered frame, and everything else is the reference's. Columns, in per cent of the
sequence's own shading (RMS):

residual    RMS of (shading - physics), less the constant part that every place keeps through the sequence
lit         the same, only where and when nothing keeps light off the place
offset      RMS of that constant part (wrong, but it does not move)
flicker     RMS of the second difference in time of (shading - physics)
moving      the same of physics itself: how much there is to follow
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.errors import LightError, NarrateError
from narrate_stream.fusion import coverage, fuse
from narrate_stream.ops.colour import linear_from_srgb, linear_table
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.pipeline import seen_from, still_motion
from narrate_stream.relighters import LightMapRelighter
from narrate_stream.types import Array, Image, View
from offline.evaluate.posed import Pose, Sitting, atlas_of
from offline.evaluate.rays import Places
from offline.evaluate.table import means
from offline.evaluate.truth import (
    Light,
    Shone,
    Truth,
    atlas_sample,
    bounce_of,
    developed,
    light_of,
    linear_of,
)
from offline.networks import Networks, estimate, load_networks

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
Row = dict[str, float]
LIGHTS = ("rembrandt", "sun:60,20")
FRAMES = 60
TURN = 25.0  # degrees of yaw to each side
SIZE = 384  # pixels of the picture's side: F_N is given a face as large as the ones it knows
PLACES = 300
NEAR = 1.5  # pixels, within which the renderer's map must lead back to a place
PALE = 0.06  # linear albedo below which bytes say little about the light
SAMPLES = 128  # directions per place and frame
TAKEN = 0.02  # share of the light that may be missing where a place counts as lit
Detector = Callable[[Image], NDArray[Any] | None]
FORMATS = {"residual": "8.2f", "lit": "5.2f", "offset": "6.2f", "flicker": "7.2f", "moving": "6.2f"}


@dataclass(frozen=True)
class Moment:
    """One frame of a sequence: where the camera is, and the light."""

    view: View
    light: Light


@dataclass(frozen=True)
class Track:
    """The same P places over F frames, (F, P), or in one, (P,). All colours together: shading as shown and as physics
    has it; seen where the place is in sight; lit where nothing keeps light off it."""

    shown: F64
    physics: F64
    seen: Mask
    lit: Mask

    def row(self) -> Row:
        """A line of the table."""
        level = rms(self.physics[self.seen]) / 100
        off = np.where(self.seen, self.shown - self.physics, 0)
        constant = held(off, self.seen)
        return {
            "residual": rms((off - constant)[self.seen]) / level,
            "lit": rms((off - held(off, self.lit))[self.lit]) / level,
            "offset": rms(constant[self.seen.any(0)]) / level,
            "flicker": rms(bent(off, self.seen)) / level,
            "moving": rms(bent(self.physics, self.seen)) / level,
        }


def joined(frames: Sequence[Track]) -> Track:
    """Frames one after the other."""
    shown, physics = (np.stack([getattr(f, name) for f in frames]) for name in ("shown", "physics"))
    seen, lit = (np.stack([getattr(f, name) for f in frames]) for name in ("seen", "lit"))
    return Track(shown, physics, seen, lit)


def held(values: F64, where: Mask) -> F64:
    """(P,) mean over the frames (F, P) of `where`; 0 for a place that is never there."""
    return np.asarray((values * where).sum(0) / np.maximum(where.sum(0), 1))


def bent(values: F64, where: Mask) -> F64:
    """(n,) second differences in time of (F, P) values, where three frames in a row count."""
    return np.asarray(np.diff(values, 2, axis=0)[where[2:] & where[1:-1] & where[:-2]])


def rms(values: F64) -> float:
    """Root mean square; nan of nothing."""
    return float(np.sqrt((values**2).mean())) if values.size else float("nan")


# ------------------------------------------------------------------ sequences


def turning(light: Light, frames: int = FRAMES) -> list[Moment]:
    """The head turns, the light stays."""
    return [Moment(View(float(yaw), 0.0), light) for yaw in np.linspace(-TURN, TURN, frames)]


def orbiting(light: Light, frames: int = FRAMES) -> list[Moment]:
    """The light goes once round the head. Raises LightError for a light that is more than lamps and an even sky."""
    lighting = light.lighting
    if lighting.original or lighting.mirror is not None or np.abs(lighting.sh[2:]).max() > 1e-6:
        raise LightError(f"{light.name}: only presets and suns can go round the head")
    moments = []
    for degrees in np.arange(frames) * 360 / frames:
        turn = rotation_from_angles(float(degrees), 0, 0).astype(np.float32)
        turned = replace(lighting, name=f"{light.name} {degrees:+g}", directions=lighting.directions @ turn.T)
        moments.append(Moment(View(), Light.of(turned)))
    return moments


SEQUENCES = {"turn": turning, "orbit": orbiting}


# ------------------------------------------------------------------ measuring


class Stand:
    """One model, its places, and who shades them."""

    def __init__(self, model: HybridModel, networks: Networks | None, detector: Detector, size: int = SIZE) -> None:
        self.sitting = Sitting(model, size)
        self.relighter = LightMapRelighter(self.sitting.model)
        self.networks, self.detector = networks, detector
        self.places = skin_places(self.sitting, PLACES)

    def tracks(self, moments: Sequence[Moment]) -> dict[str, Track]:
        """{who: the sequence as they show it}."""
        frames = [self.frame(moment) for moment in moments]
        return {who: joined([frame[who] for frame in frames]) for who in frames[0]}

    def frame(self, moment: Moment) -> dict[str, Track]:
        """One frame of every track."""
        pose = self.sitting.pose(seen_from(still_motion(), moment.view))
        core, fringe = self.relighter(pose.gbuffer, moment.light.lighting)
        sight = Sight(pose, self.places)
        truth = Truth(pose.mesh, moment.light, samples=SAMPLES)
        shone, bounce = truth.shone(sight.surface), bounce_of(truth, self.sitting.skin)
        physics, lit = sight.shading(shone, bounce), sight.where(shone.taken < TAKEN)
        found = {"live": Track(sight.shown(core), physics, sight.seen, lit)}
        if self.networks is not None:
            marks = self.detector(picture := fuse(core, fringe, pose.gbuffer, np.zeros_like(core)))
            if marks is None:  # a frame without a face tells nothing
                nowhere = np.zeros_like(lit)
                found["per view"] = Track(np.zeros_like(physics), physics, nowhere, nowhere)
            else:
                normals = estimated_normals(self.networks, picture, marks, sight)
                again = Truth(pose.mesh, moment.light, samples=SAMPLES).shone(replace(sight.surface, normal=normals))
                found["per view"] = Track(sight.shading(again, bounce), physics, sight.seen, lit)
        return found


class Sight:
    """Where a frame shows some places: seen (P,); pixel, rows and columns (n,) of those that are; surface (n,) what
    these very pixels show, which lies within a pixel of the places."""

    def __init__(self, pose: Pose, places: Places) -> None:
        self.pose = pose
        index = np.full(pose.face.shape, -1)
        index[pose.face] = np.arange(len(pose.places))
        h, w = index.shape
        x, y = np.round(pose.camera.project(pose.mesh.at(places).position)).astype(int).T
        x, y = np.clip(x, 0, w - 1), np.clip(y, 0, h - 1)
        off = np.linalg.norm(atlas_of(pose.gbuffer)[y, x] - places.atlas, axis=-1) * pose.gbuffer.texture_scale
        self.seen = (index[y, x] >= 0) & (off < NEAR)
        self.pixel = y[self.seen], x[self.seen]
        self._which = index[self.pixel]
        self.surface = pose.surface[self._which]

    def where(self, values: NDArray[Any]) -> NDArray[Any]:
        """(P,) of values (n,): 0 or false for places out of sight."""
        out = np.zeros(len(self.seen), values.dtype)
        out[self.seen] = values
        return out

    @property
    def albedo(self) -> F64:
        """(n, 3) linear, of these pixels; never quite black."""
        return np.asarray(np.maximum(linear_table()[self.pose.gbuffer.base[self.pixel]], 1e-3), np.float64)

    def shown(self, core: Image) -> F64:
        """(P,) the picture over its albedo."""
        return self.where(over(linear_table()[core[self.pixel]], self.albedo))

    def shading(self, shone: Shone, bounce: F64) -> F64:
        """(P,) the same of the light that is `shone` (n) there, through the same tone curve."""
        picture = developed(self.albedo, self.pose.gloss[self._which], shone, bounce)
        return self.where(over(linear_from_srgb(picture), self.albedo))


def over(picture: Array, albedo: F64) -> F64:
    """(n,) linear pictures (n, 3) over albedo (n, 3): all colours together, since a highlight is not multiplied with
    the albedo, and over a lip's little blue it would count seven times."""
    return np.asarray(picture.sum(-1) / albedo.sum(-1), np.float64)


def estimated_normals(networks: Networks, picture: Image, marks: F64, sight: Sight) -> F64:
    """(n, 3) what F_N sees in a frame with landmarks `marks` where the places are in sight; the mesh's normals where it
    does not believe itself."""
    pose, outward = sight.pose, sight.surface.outward
    guess = estimate(networks, picture, coverage(pose.gbuffer), marks.astype(np.float64), pose.camera)
    normal, believed = guess.normal[sight.pixel], guess.confidence[sight.pixel][:, None]
    mixed = outward + (normal - outward) * believed
    return np.asarray(mixed / np.linalg.norm(mixed, axis=-1, keepdims=True), np.float64)


def skin_places(sitting: Sitting, count: int) -> Places:
    """About `count` places of the face in the resting portrait, evenly over its picture: skin pale enough to read the
    light from."""
    pose = sitting.pose(still_motion())
    firm = cv2.erode(pose.face.astype(np.uint8), np.ones((5, 5), np.uint8))[pose.face] > 0
    albedo = linear_of(atlas_sample(sitting.model.albedo, pose.places)).min(-1)
    good = np.flatnonzero(firm & (albedo > PALE))
    if not len(good):
        raise NarrateError(f"{sitting.model.name}: no skin that is pale enough to read the light from")
    # pixels come row by row: steps of the golden ratio spread over them
    order = (np.arange(count) * 0.6180339887) % 1
    return pose.places[good[np.unique((order * len(good)).astype(int))]]


def evaluate_consistency(
    models: Mapping[str, HybridModel],
    *,
    lights: Sequence[str] = LIGHTS,
    frames: int = FRAMES,
    size: int = SIZE,
    baseline: bool = True,
    progress: Callable[[str], None] | None = None,
) -> dict[str, dict[str, Row]]:
    """{"live" | "per view": {"turn, rembrandt": means over the models, ..., "mean"}}. Without the networks' weights, or
    with `baseline` off, there is no "per view". Raises LightError for a light that is none or cannot go round."""
    found: dict[str, dict[str, list[Row]]] = {}
    networks = load_networks() if baseline else None
    for name, model in models.items():
        shining = [light_of(text, model) for text in lights]
        plans = {f"{kind}, {light.name}": make(light, frames) for kind, make in SEQUENCES.items() for light in shining}
        with FaceMesh(video=False) as detector:
            stand = Stand(model, networks, detector, size)
            for title, moments in plans.items():
                for who, track in stand.tracks(moments).items():
                    found.setdefault(who, {}).setdefault(title, []).append(track.row())
                if progress:
                    progress(f"{name}, {title}")
    return means(found)
