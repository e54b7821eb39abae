"""How well one face follows another over time: the field's measures, from the landmarks of two clips of equal length.

Convention: `driver` and `avatar` are tracks of the same frames; landmarks as in `tracks`. % are of the distance between
the outer eye corners. A measure that cannot be taken is nan.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from narrate_stream.ops.geometry import angles_from_rotation
from narrate_stream.types import Image
from offline.evaluate.metrics import psnr, ssim
from offline.evaluate.tracks import (
    RIGID,
    eye_aspect,
    eye_distance,
    filled,
    gaze,
    mouth_aspect,
    rotations,
)

F64 = NDArray[np.float64]
Row = dict[str, float]
ENOUGH = {"blink": 0.08, "mouth": 0.10, "gaze": 0.10, "gaze_y": 0.06}  # range of the driver below which nothing is said
FAINT = 0.05  # share of the driver's range below which a correlation is of noise
SHUT = 0.6  # of the usual openness: no gaze is seen below
FEWEST = 10  # frames with both faces
LAGS = 5  # frames to each side
NOISE = 5.0  # Hz above which movement counts as jitter
SHORTEST = 40  # frames
BORDER = 5  # pixels, where SSIM's window looks outside
SKULL = list(RIGID)


@dataclass(frozen=True)
class Pair:
    """Landmarks (N, 478, 3) of both, the (W, H) of their pictures, and frames per second."""

    driver: F64
    avatar: F64
    driver_size: tuple[int, int]
    avatar_size: tuple[int, int]
    fps: float

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(N,) the driver has a face."""
        return np.asarray(~np.isnan(self.driver[:, 0, 0]))

    @property
    def both(self) -> NDArray[np.bool_]:
        """(N,) both have one."""
        return np.asarray(self.seen & ~np.isnan(self.avatar[:, 0, 0]))


def compare(pair: Pair, *, own: bool, portrait: F64) -> Row:
    """One case as a row. own: the avatar is of the driver and should stand where the driver stands; portrait:
    landmarks (478, 3) of the picture that the avatar was made of."""
    row = {"failed": 1 - float(pair.both.sum() / max(pair.seen.sum(), 1))}
    if pair.both.sum() < FEWEST:
        return row
    row |= {"akd": place_error(pair)} if own else expression_error(pair)
    row |= {"apd": pose_error(pair, relative=not own), "jitter": jitter_ratio(pair)}
    row |= {"shape": shape_error(pair.avatar[pair.both], portrait)}
    return row | channels(pair)


def place_error(pair: Pair) -> float:
    """AKD: mean distance of the landmarks, %."""
    apart = np.linalg.norm(pair.avatar[pair.both, :468, :2] - pair.driver[pair.both, :468, :2], axis=-1).mean(-1)
    return float(100 * (apart / eye_distance(pair.driver[pair.both])).mean())


def expression_error(pair: Pair) -> Row:
    """AKD across people: of the landmarks' way from the first frames' face, head and proportions taken out; in %, and
    over the length of the driver's own way (`akd_rel`: doing nothing is 1)."""
    rest = [np.nanmedian(marks[:3], 0) for marks in (pair.driver, pair.avatar)]
    if any(np.isnan(face).any() for face in rest):
        return {}
    units = [face / eye_distance(face) for face in rest]
    ways = [
        aligned(marks[pair.both], face) / eye_distance(face) - unit
        for marks, face, unit in zip((pair.driver, pair.avatar), rest, units, strict=True)
    ]
    turn = fitted_rotation(units[1][SKULL], units[0][SKULL])
    error, length = (np.linalg.norm(way[:, :468, :2], axis=-1).mean() for way in (ways[1] @ turn.T - ways[0], ways[0]))
    return {"akd": float(100 * error), "akd_rel": float(error / max(length, 1e-9))}


def fitted_rotation(source: F64, target: F64) -> F64:
    """(3, 3) R that brings R (source - its middle) nearest to target - its middle."""
    u, _, vt = np.linalg.svd((target - target.mean(0)).T @ (source - source.mean(0)))
    return np.asarray(u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt)


def aligned(faces: F64, reference: F64) -> F64:
    """(N, K, 3) faces (N, K, 3) laid onto one face (K, 3) by the similarity that fits the skull's landmarks best."""
    middle = reference[SKULL].mean(0)
    out = np.empty_like(faces)
    for i, face in enumerate(faces):
        own = face[SKULL].mean(0)
        turn = fitted_rotation(face[SKULL], reference[SKULL])
        turned = (face - own) @ turn.T
        scale = (turned[SKULL] * (reference[SKULL] - middle)).sum() / (turned[SKULL] ** 2).sum()
        out[i] = scale * turned + middle
    return out


def pose_error(pair: Pair, *, relative: bool) -> float:
    """APD: mean of yaw, pitch and roll apart, degrees; relative: away from the first frame that has both faces."""
    turns = [
        rotations(marks[pair.both], size)
        for marks, size in ((pair.driver, pair.driver_size), (pair.avatar, pair.avatar_size))
    ]
    if relative:
        turns = [turn @ turn[0].T for turn in turns]
    apart = angles_from_rotation(turns[1]) - angles_from_rotation(turns[0])
    return float(np.abs((apart + 180) % 360 - 180).mean())


def shape_error(avatar: F64, portrait: F64) -> float:
    """How far the skull's landmarks stand from the portrait's after the best similarity, %: proportions kept. A
    stand-in for the embedding distance (AED), which needs a network that we do not ship; it knows no colours."""
    apart = np.linalg.norm(aligned(avatar, portrait)[:, SKULL] - portrait[SKULL], axis=-1)
    return float(100 * apart.mean() / eye_distance(portrait))


def jitter_ratio(pair: Pair) -> float:
    """The avatar's fast acceleration over the driver's: 1 is alike, more trembles, much less lags."""
    return acceleration(pair.avatar, pair.fps) / max(1e-12, acceleration(pair.driver, pair.fps))


def acceleration(marks: F64, fps: float) -> float:
    """Mean square acceleration of the landmarks above 5 Hz, (eye distances / s^2)^2; nan for a clip that is too short
    or too slow to tell."""
    if len(marks) < SHORTEST or fps <= 2 * NOISE:
        return float("nan")
    place = filled(marks[:, :468, :2]) / np.nanmedian(eye_distance(marks))
    fast = sosfiltfilt(butter(4, NOISE, "high", fs=fps, output="sos"), place, axis=0)
    return float((np.diff(fast, 2, axis=0) ** 2).sum(-1).mean() * fps**4)


# ------------------------------------------------------------------ channels


def channels(pair: Pair) -> Row:
    """Blink, mouth, gaze: correlation, amplitude over the driver's (`x_...`); `lag`: frames the avatar comes later,
    median of the channels."""
    row: Row = {}
    lags = []
    lids = [eye_aspect(marks) for marks in (pair.driver, pair.avatar)]
    looks = [gaze(marks) for marks in (pair.driver, pair.avatar)]
    looks[0][lids[0] < SHUT * np.nanmedian(lids[0])] = np.nan
    mouths = [mouth_aspect(marks) for marks in (pair.driver, pair.avatar)]
    pairs = {"blink": lids, "mouth": mouths, "gaze": [x[:, 0] for x in looks], "gaze_y": [x[:, 1] for x in looks]}
    for name, (driver, avatar) in pairs.items():
        row[name], row["x_" + name], lag = following(driver, avatar, ENOUGH[name])
        lags.append(lag)
    found = [lag for lag in lags if not np.isnan(lag)]
    return row | {"lag": float(np.median(found)) if found else float("nan")}


def following(driver: F64, avatar: F64, enough: float = 0.0) -> tuple[float, float, float]:
    """Correlation, range over the driver's (2nd to 98th percentile), frames that the avatar comes later.

    All nan where the driver hardly moves; correlation 0 and no lag where the avatar hardly does.
    """
    ok = ~np.isnan(driver) & ~np.isnan(avatar)
    whole = span(driver[~np.isnan(driver)]) if (~np.isnan(driver)).any() else 0.0
    if whole <= max(enough, 1e-12) or ok.sum() < FEWEST:
        return float("nan"), float("nan"), float("nan")
    size = span(avatar[ok]) / span(driver[ok])
    if size < FAINT:
        return 0.0, size, float("nan")
    return correlation(driver[ok], avatar[ok]), size, lag_of(filled(driver), filled(avatar))


def span(track: F64) -> float:
    """From the 2nd to the 98th percentile."""
    low, high = np.percentile(track, [2, 98])
    return float(high - low)


def correlation(a: F64, b: F64) -> float:
    """Pearson's; 0 for a track that does not move."""
    a, b = a - a.mean(), b - b.mean()
    power = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / power) if power > 1e-12 else 0.0


def lag_of(driver: F64, avatar: F64) -> float:
    """Frames, to a fraction: the top of the parabola through the best shift and its neighbours. nan when no shift
    correlates by half."""
    shifts = np.arange(-LAGS, LAGS + 1)
    n = len(driver)
    found = np.array([
        correlation(driver[max(0, -k) : n - max(0, k)], avatar[max(0, k) : n - max(0, -k)]) for k in shifts
    ])  # fmt: skip
    best = int(found.argmax())
    if found[best] <= 0.5 or best in (0, len(found) - 1):
        return float("nan")
    left, top, right = found[best - 1 : best + 2]
    return float(shifts[best] + 0.5 * (left - right) / min(left - 2 * top + right, -1e-12))


# ------------------------------------------------------------------ pictures


def head_box(face: F64, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a square around the head of these landmarks (478, 3), inside the picture (W, H)."""
    low, high = face[:, :2].min(0), face[:, :2].max(0)
    half = 0.8 * float((high - low).max())
    x, y = (low + high) / 2 - [0, 0.2 * half]
    return slice(max(0, int(y - half)), min(size[1], int(y + half))), slice(
        max(0, int(x - half)), min(size[0], int(x + half))
    )


def likeness(wanted: Image, shown: Image, face: F64) -> Row:
    """L1 (0..1), PSNR (dB) and SSIM of the head."""
    box = head_box(face, (wanted.shape[1], wanted.shape[0]))
    a, b = wanted[box].astype(np.float64) / 255, shown[box].astype(np.float64) / 255
    everywhere, inner = np.ones(a.shape[:2], np.bool_), np.zeros(a.shape[:2], np.bool_)
    inner[BORDER:-BORDER, BORDER:-BORDER] = True
    grey = [cv2.cvtColor(x[box], cv2.COLOR_RGB2GRAY).astype(np.float64) / 255 for x in (wanted, shown)]
    return {
        "l1": float(np.abs(a - b).mean()),
        "psnr": psnr(a, b, everywhere),
        "ssim": ssim(grey[0], grey[1], inner),
    }
