"""A small expression basis: `python -m offline.expression_stats FACEKIT CLIPS` writes `data/expression.npz`.

The ICT FaceKit's expression shapes, read at our landmarks, are mixed at random as people mix them; the principal
displacements of the mixtures are shipped, not the kit's shapes. Where a landmark lies on the kit: the canonical face is
warped onto it by the kit's own 68 marks, and corrected by what the kit's lids and lips do: a landmark of the upper lip
takes no vertex that goes with the jaw. Beside them lies what the detector errs by, measured on the built-in portrait
under a webcam's noise, and how much of the fast changes that the basis cannot say is more than that, measured on clips.

Convention: canonical head space, cm. Modes are principal in a measure that counts lids and lips more than the outline,
which slides along the cheek.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.signal import butter, sosfiltfilt
from scipy.spatial import cKDTree

from narrate_stream.drivers.channels import LANDMARKS, LOWER, UPPER
from narrate_stream.drivers.mesh import MeshDriver
from narrate_stream.drivers.record import OUTLINE
from narrate_stream.lips import MOUTH
from narrate_stream.media import FileSource
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.expression import ExpressionBasis, ExpressionPrior, across, lines_of_sight
from narrate_stream.retarget import LID_FOLDS, LOWER_LIDS, UPPER_LIDS, face_ratio, most_neutral, with_usual_eyes
from narrate_stream.types import Frame, Motion
from offline.evaluate.clips import clips_in
from offline.evaluate.stability import FPS, noisy
from offline.lightstage.heads import Kit, load_kit
from offline.picture import load_builtin_portrait

OUT = Path(__file__).parents[1] / "narrate_stream" / "data" / "expression.npz"
F64 = NDArray[np.float64]
# of iBUG's 68 marks without the cheeks' outline, which the detector sees elsewhere: their numbers and our landmarks
MARKS = {6: 149, 7: 148, 8: 152, 9: 377, 10: 378, 17: 70, 18: 63, 19: 105, 20: 66, 21: 107, 22: 336, 23: 296, 24: 334,
         25: 293, 26: 300, 27: 168, 28: 197, 29: 5, 30: 4, 31: 75, 32: 97, 33: 2, 34: 326, 35: 305, 36: 33, 37: 160,
         38: 158, 39: 133, 40: 153, 41: 144, 42: 362, 43: 385, 44: 387, 45: 263, 46: 373, 47: 380, 48: 61, 49: 39,
         50: 37, 51: 0, 52: 267, 53: 269, 54: 291, 55: 405, 56: 314, 57: 17, 58: 84, 59: 181, 60: 78, 61: 82, 62: 13,
         63: 312, 64: 308, 65: 317, 66: 14, 67: 87}  # fmt: skip
SMOOTH = 0.05  # of the warp's thin plates: the lips' marks lie nearly on each other
WITH_JAW, WITH_LID = 1.3, 0.2  # cm a vertex goes down when the kit's jaw opens, its lids close: lower lip, upper lid
MODES, MIXTURES = 30, 6000
OFTEN, ALONE = 0.35, 0.05  # how often a shape takes part in a mixture, and one half of a pair by itself
UNEVEN = 0.25  # standard deviation of the share by which the halves of a face differ
LEAST = 0.012  # cm, the least noise that is believed
FRAMES, SETTLE = 90, 15
SIZES = (1.0, 0.6)  # of the built-in portrait, before the noise
FAST = 3.0  # Hz above which change is fast, as in `ops.expression`
NEAR = 0.8  # cm over which shares are averaged
LIVELY = 0.7  # the least share for lids and lips: blinks and plosives are fast, and few clips show many


def landmarks_on(kit: Kit) -> NDArray[np.int64]:
    """(468,) the kit's vertex under each landmark."""
    neutral, shapes = kit.kit.neutral.astype(np.float64), named_shapes(kit)
    face = canonical().landmarks[:LANDMARKS]
    rows = list(MARKS)
    warp = RBFInterpolator(face[[MARKS[i] for i in rows]], neutral[kit.marks[rows]], smoothing=SMOOTH)
    skin = np.unique(kit.kit.triangles[kit.kit.material == kit.kit.material_names.index("M_Face")])
    place, out = warp(face), np.zeros(LANDMARKS, np.int64)
    jaw, lids = -shapes["jawOpen"][:, 1], -(shapes["eyeBlink_L"] + shapes["eyeBlink_R"])[:, 1]
    upper, lower = ([i for row in rows for i in row] for rows in (UPPER, LOWER))
    above, below = ([*sides[0], *sides[1]] for sides in (UPPER_LIDS, LOWER_LIDS))
    everywhere = (range(LANDMARKS), jaw > -np.inf)
    for some, allowed in (
        everywhere,
        (upper, jaw < WITH_JAW),
        (lower, jaw >= WITH_JAW),
        (above, lids > WITH_LID),
        (below, lids < WITH_LID / 2),
    ):
        vertices = skin[allowed[skin]]
        out[list(some)] = vertices[cKDTree(neutral[vertices]).query(place[list(some)])[1]]
    return out


def named_shapes(kit: Kit) -> dict[str, F64]:
    """(V, 3) displacements by name, those of the pupils left out."""
    pairs = zip(kit.kit.expression_names, kit.kit.expression, strict=True)
    return {name: shape.astype(np.float64) for name, shape in pairs if not name.startswith("Pupil")}


def mixtures(names: Sequence[str], count: int, rng: np.random.Generator) -> F64:
    """(count, E) weights 0..1 as faces mix them: few at a time, both halves nearly alike, one half at times."""
    out = np.zeros((count, len(names)))
    column = {name: i for i, name in enumerate(names)}
    for shape in sorted({name.removesuffix("_L").removesuffix("_R") for name in names}):
        amount = rng.uniform(0, 1, count) * (rng.random(count) < OFTEN)
        if shape in column:
            out[:, column[shape]] = amount
            continue
        for side in ("_L", "_R"):
            alone = rng.uniform(0, 0.5, count) * (rng.random(count) < ALONE)
            out[:, column[shape + side]] = np.clip(amount * (1 + rng.normal(0, UNEVEN, count)) + alone, 0, 1)
    return out


def importance() -> F64:
    """(468,) how much a landmark counts where modes are chosen."""
    weight = np.ones(LANDMARKS)
    weight[list(OUTLINE)] = 0.5
    weight[list(MOUTH)] = 1.5
    weight[[i for sides in (UPPER_LIDS, LOWER_LIDS) for side in sides for i in side]] = 4.0
    weight[[i for side in LID_FOLDS for i in side]] = 2.0
    return weight


def principal_modes(moved: F64, count: int) -> F64:
    """(count, 468, 3) displacements of one sigma about rest, principal by `importance`, of (N, 468, 3) moves."""
    weight = importance()[:, None]
    flat = (moved * weight).reshape(len(moved), -1)
    size, directions = np.linalg.eigh(flat.T @ flat / len(flat))
    size, directions = size[::-1][:count], directions[:, ::-1][:, :count]
    return np.asarray((directions * np.sqrt(np.maximum(size, 0))).T.reshape(count, -1, 3) / weight)


def still_tracks() -> list[list[Motion]]:
    """What the driver sees of a portrait that keeps still under a webcam's noise."""
    out = []
    for size in SIZES:
        picture = cv2.resize(load_builtin_portrait().image, None, fx=size, fy=size, interpolation=cv2.INTER_AREA)
        out.append(tracked(Frame(noisy(np.asarray(picture, np.uint8), i), i) for i in range(FRAMES))[SETTLE:])
    return out


def tracked(frames: Iterable[Frame]) -> list[Motion]:
    """The motions of a clip, without the frames that show no face."""
    driver = MeshDriver()
    try:
        return [motion for frame in frames if (motion := driver(frame)) is not None]
    finally:
        driver.close()


def noise_of(tracks: Sequence[Sequence[Motion]]) -> F64:
    """(468,) cm on the canonical face, root of the mean square along x and y."""
    spread = []
    for track in tracks:
        faces = np.array([motion.landmarks[:LANDMARKS] for motion in track])
        spread.append(faces[..., :2].var(0).mean(-1) * face_ratio(canonical().landmarks, faces.mean(0)) ** 2)
    return np.asarray(np.maximum(np.sqrt(np.mean(spread, 0)), LEAST))


def left_over(track: Sequence[Motion], basis: ExpressionBasis, base: F64, fps: float) -> F64:
    """(468,) cm^2: mean square of the fast changes across the line of sight that the basis cannot say."""
    prior, size = ExpressionPrior(basis), face_ratio(canonical().landmarks, base)
    left = []
    for motion in track:
        face = motion.landmarks[:LANDMARKS].astype(np.float64)
        sight = lines_of_sight(face, motion.rotation, motion.translation)
        moved = size * (face - base[:LANDMARKS])
        left.append(across(moved - prior.most_probable(moved, sight), sight))
    fast = sosfiltfilt(butter(2, FAST, "high", fs=fps, output="sos"), np.array(left), axis=0)
    return np.asarray((fast**2).sum(-1).mean(0))


def fast_share(noise: F64, seen: F64) -> F64:
    """(468,) 0..1, Wiener's: how much of the power `seen` is not noise, averaged over the neighbourhood and both halves
    of the face; on lids and lips no less than LIVELY."""
    face = canonical().landmarks[:LANDMARKS]
    near = np.exp(-0.5 * (np.linalg.norm(face[:, None] - face, axis=-1) / NEAR) ** 2)
    partner = canonical().mirror[:LANDMARKS]
    noise, seen = (near @ (power + power[partner]) for power in (noise, seen))
    share = np.clip(1 - noise / seen, 0, 1)
    lively = [*MOUTH, *(i for sides in (UPPER_LIDS, LOWER_LIDS, LID_FOLDS) for side in sides for i in side)]
    share[lively] = np.maximum(share[lively], LIVELY)
    return np.asarray(share)


def shares(basis: ExpressionBasis, still: Sequence[Sequence[Motion]], clips: Path) -> F64:
    """(468,) `ExpressionBasis.fast`: what changes fast in the clips against what does in a still face's tracks."""
    quiet = [left_over(track, basis, np.mean([m.landmarks for m in track], 0), FPS) for track in still]
    loud = []
    for path in clips_in(clips):
        source = FileSource(path)
        track = tracked(source)
        base = with_usual_eyes(most_neutral(track), track).astype(np.float64)
        loud.append(left_over(track, basis, base, float(source.fps)))
    share = fast_share(np.mean(quiet, 0), np.mean(loud, 0))
    power = (np.sqrt(np.mean(part)) for part in (quiet, loud))
    click.echo("fast beside the basis: {:.4f} cm still, {:.4f} in clips".format(*power) + f"; kept {share.mean():.2f}")
    return share


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facekit", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("-o", type=Path, default=OUT)
    options = parser.parse_args()
    kit = load_kit(options.facekit)
    shapes, place = named_shapes(kit), landmarks_on(kit)
    fields = np.stack([shape[place] for shape in shapes.values()])
    weights = mixtures(list(shapes), MIXTURES, np.random.default_rng(options.seed))
    moved = (weights @ fields.reshape(len(fields), -1)).reshape(MIXTURES, LANDMARKS, 3)
    modes, still = principal_modes(moved, MODES).astype(np.float16), still_tracks()
    noise = noise_of(still)
    share = shares(ExpressionBasis(modes.astype(np.float64), noise, np.ones(LANDMARKS)), still, options.clips)
    np.savez_compressed(options.o, modes=modes, noise=noise.astype(np.float16), fast=share.astype(np.float16))
    click.echo(f"{options.o}: {options.o.stat().st_size} bytes, noise {noise.mean():.4f} cm")


if __name__ == "__main__":
    main()
