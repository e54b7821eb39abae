"""What a synthetic head is made of: colour, gloss and fine relief as functions of a point on the neutral average head.

Points and landmarks are solid texture coordinates, so no UV layout is needed and features stay where they belong under
identity and expression. Skin colour is computed from melanin and blood: a spectral two-layer model (Beer-Lambert
epidermis over a Kubelka-Munk dermis; Jacques 2013 and Prahl's haemoglobin tables), after Krishnaswamy and Baranoski
2004 and Jimenez et al. 2010. Everything else (brows, lips, stubble, make-up) is painted over that.

Convention: cm, x right in the image, y up, z out of the face; colours are linear sRGB albedo, 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter

F32 = NDArray[np.float32]
RGB = tuple[float, float, float]

HAIR_COLOURS = (  # black, dark brown, brown, light brown, blond, red, grey
    *((0.011, 0.009, 0.008), (0.026, 0.016, 0.011), (0.058, 0.034, 0.021), (0.115, 0.072, 0.044)),
    *((0.24, 0.165, 0.095), (0.155, 0.062, 0.028), (0.26, 0.245, 0.222)),
)
HAIR_ODDS_PALE = (0.14, 0.26, 0.24, 0.14, 0.11, 0.05, 0.06)
HAIR_ODDS_DARK = (0.62, 0.25, 0.05, 0.01, 0.01, 0.0, 0.06)
IRIS_COLOURS = (  # dark brown, brown, hazel, green, blue, grey
    *((0.03, 0.014, 0.008), (0.075, 0.034, 0.014), (0.13, 0.08, 0.032)),
    *((0.09, 0.1, 0.055), (0.085, 0.13, 0.185), (0.12, 0.14, 0.16)),
)
IRIS_ODDS_PALE = (0.14, 0.22, 0.16, 0.12, 0.24, 0.12)
IRIS_ODDS_DARK = (0.75, 0.23, 0.02, 0.0, 0.0, 0.0)
LIPSTICKS = ((0.42, 0.05, 0.06), (0.27, 0.055, 0.075), (0.5, 0.16, 0.15), (0.45, 0.2, 0.16), (0.2, 0.045, 0.05))
SHADOWS = ((0.12, 0.07, 0.05), (0.07, 0.06, 0.06), (0.3, 0.14, 0.11), (0.16, 0.08, 0.12), (0.09, 0.1, 0.14))

# Hb absorption, molar extinction in cm-1/M at 410, 420 ... 700 nm (Prahl): oxygenated, deoxygenated.
OXY: tuple[int, ...] = (
    466840,
    480360,
    246072,
    102580,
    62816,
    44480,
    33209,
    26629,
    23684,
    20932,
    20035,
    24202,
    39956,
    53236,
    43016,
)
OXY += (32613, 44496, 50104, 14400, 3200, 1506, 942, 610, 442, 368, 319, 294, 277, 276, 290)
DEOXY: tuple[int, ...] = (
    303956,
    407560,
    528600,
    413280,
    103292,
    23388,
    16156,
    14550,
    16684,
    20862,
    25773,
    31589,
    39036,
    46592,
    53412,
)
DEOXY += (53788, 45072, 37020, 28324, 14677, 9443, 6509, 5148, 4345, 3750, 3226, 2795, 2407, 2051, 1794)

MELANIN = (0.004, 0.6)  # volume fraction in the epidermis, ends of the table (log spaced)
BLOOD = (0.001, 0.2)  # volume fraction in the dermis
FRONT_SCALE, BROW_SCALE, ROUND_SCALE = 16.0, 36.0, 10.0  # pixels per cm of the painted maps
FRONT_LOW = np.array([-8.0, -10.0])
ROUND_LOW = np.array([-26.0, -13.0])
BROW_LOW = np.array([0.2, 3.8])
AXIS_Z, ROUND_RADIUS = 2.0, 8.0  # the upright cylinder on which hair and beard are laid out, cm


@dataclass(frozen=True)
class Skin:
    """One person's materials. Fractions 0..1 unless said otherwise; colours are linear RGB.

    melanin, blood: volume fractions; yellow: 0..0.15; hairline, recession: cm; age: 0 (20 years) .. 1 (75 years);
    brow_height and brow_arch: cm; scalp, stubble, moustache, beard: how much of the skin the hair covers.
    """

    seed: int
    melanin: float
    blood: float
    yellow: float
    age: float
    mottle: float
    oil: float
    freckles: float
    moles: int
    circles: float
    flush: float
    hair: RGB
    scalp: float
    hairline: float
    recession: float
    brow: RGB
    brow_height: float
    brow_arch: float
    brow_density: float
    stubble: float
    moustache: float
    beard: float
    lip_blood: float
    lipstick: float
    lipstick_rgb: RGB
    liner: float
    shadow: float
    shadow_rgb: RGB
    blush: float
    iris: RGB
    iris_radius: float
    eye_red: float
    teeth_yellow: float


@dataclass(frozen=True)
class Surface:
    """Albedo (N, 3) linear 0..1, roughness (N,) 0.05..1, specular (N,) 0..1 (of the F0), bump (N,) cm outwards."""

    albedo: F32
    roughness: F32
    specular: F32
    bump: F32


# ---------------------------------------------------------------------------------------------- the person


def sample_skin(rng: np.random.Generator) -> Skin:
    """A person at random: lightness of the skin uniform from very dark to very pale, the rest likely for it."""
    blood, lightness = float(rng.uniform(0.02, 0.05)), float(rng.uniform(25.0, 72.0))
    melanin = melanin_for(lightness, blood)
    age, man = float(rng.beta(1.2, 1.5)), bool(rng.random() < 0.55)
    pale = float(np.clip((lightness - 42.0) / 20.0, 0, 1))

    def chance(probability: float, low: float, high: float) -> float:
        return float(rng.uniform(low, high)) if rng.random() < probability else 0.0

    hair = _pick(rng, HAIR_COLOURS, HAIR_ODDS_PALE, HAIR_ODDS_DARK, pale)
    if rng.random() < 0.7 * (age - 0.45):
        hair = HAIR_COLOURS[-1]
    darker = float(rng.uniform(0.45, 0.9)) * (0.5 if hair == HAIR_COLOURS[-1] else 1.0)  # brows grey later
    beard = chance(0.42, 0.35, 0.92) if man else 0.0
    bald = rng.random() < (0.12 + 0.3 * age if man else 0.03)
    made_up = 0.0 if man else 1.0
    return Skin(
        seed=int(rng.integers(2**31)),
        melanin=melanin,
        blood=blood,
        yellow=float(rng.uniform(0.0, 0.035)),
        age=age,
        mottle=float(rng.uniform(0.4, 1.0)),
        oil=float(rng.beta(2, 2)),
        freckles=chance(0.3 * pale + 0.04, 0.15, 0.9),
        moles=int(min(rng.poisson(1.5), 8)),
        circles=float(rng.beta(1.6, 2.4)) * (0.6 + 0.4 * age),
        flush=float(rng.uniform(0.3, 1.0)),
        hair=hair,
        scalp=chance(0.25, 0.1, 0.35) if bald else float(rng.uniform(0.8, 1.0)),
        hairline=float(rng.normal(0, 0.35)),
        recession=float(rng.uniform(0, 1.8)) * (0.25 + 0.75 * age) if man else 0.0,
        brow=(hair[0] * darker, hair[1] * darker * 0.93, hair[2] * darker * 0.87),
        brow_height=float(rng.uniform(0.8, 1.4)) * (1.0 if man else 0.75),
        brow_arch=float(rng.normal(0.0, 0.12)) + (0.0 if man else 0.12),
        brow_density=float(rng.uniform(0.45, 1.0)) * (1.0 - 0.2 * age),
        stubble=chance(0.75, 0.1, 0.55) if man else 0.0,
        moustache=beard * float(rng.uniform(0.6, 1.0)) if beard else chance(0.12 if man else 0.0, 0.4, 0.9),
        beard=beard if rng.random() < 0.8 else 0.0,
        lip_blood=float(rng.uniform(0.5, 1.3)),
        lipstick=chance(0.5 * made_up, 0.3, 0.85),
        lipstick_rgb=LIPSTICKS[int(rng.integers(len(LIPSTICKS)))],
        liner=chance(0.55 * made_up, 0.4, 0.9),
        shadow=chance(0.4 * made_up, 0.15, 0.5),
        shadow_rgb=SHADOWS[int(rng.integers(len(SHADOWS)))],
        blush=chance(0.4 * made_up, 0.2, 0.8),
        iris=_pick(rng, IRIS_COLOURS, IRIS_ODDS_PALE, IRIS_ODDS_DARK, pale),
        iris_radius=float(rng.uniform(0.57, 0.65)),
        eye_red=float(rng.beta(1.5, 3)),
        teeth_yellow=float(rng.beta(2, 3)),
    )


def _pick(
    rng: np.random.Generator, colours: tuple[RGB, ...], pale: tuple[float, ...], dark: tuple[float, ...], mix: float
) -> RGB:
    """One of `colours` by odds between two tables, a little varied."""
    odds = np.asarray(pale) * mix + np.asarray(dark) * (1 - mix)
    r, g, b = np.asarray(colours[int(rng.choice(len(colours), p=odds / odds.sum()))]) * rng.uniform(0.8, 1.25)
    return (float(r), float(g), float(b))


# ---------------------------------------------------------------------------------------------- colour of skin


@lru_cache(maxsize=1)
def _tones() -> F32:
    """(64, 48, 3) linear sRGB of skin over log melanin and log blood, between the ends MELANIN and BLOOD."""
    nm = np.arange(410.0, 701.0, 10.0)
    melanin = np.geomspace(*MELANIN, 64)[:, None, None]
    blood = np.geomspace(*BLOOD, 48)[None, :, None]
    epidermis = melanin * 495.0 * (nm / 550.0) ** -1.35
    haemoglobin = 2.303 * 150.0 / 64500.0 * (0.75 * np.array(OXY) + 0.25 * np.array(DEOXY))
    ratio = 2 * (blood * haemoglobin + 0.3) / (0.75 * 46.0 * (nm / 500.0) ** -1.42)
    dermis = 1 + ratio - np.sqrt(ratio**2 + 2 * ratio)
    # 0.006 cm of epidermis, crossed twice by diffuse light (mean path twice the thickness), which itself returns 1.6 %.
    # Its own scattering flattens melanin's slope (nm^-3.33 in a clear solution) to about nm^-1.35 in living skin.
    spectrum = 0.016 + np.exp(-epidermis * 0.006 * 4) * dermis

    def lobe(x: NDArray[np.float64], mean: float, left: float, right: float) -> NDArray[np.float64]:
        return np.asarray(np.exp(-0.5 * ((x - mean) / np.where(x < mean, left, right)) ** 2))

    # The observer of CIE 1931 as Gaussians (Wyman et al. 2013); dividing by white's RGB stands for daylight.
    x = 1.056 * lobe(nm, 599.8, 37.9, 31) + 0.362 * lobe(nm, 442, 16, 26.7) - 0.065 * lobe(nm, 501.1, 20.4, 26.2)
    y = 0.821 * lobe(nm, 568.8, 46.9, 40.5) + 0.286 * lobe(nm, 530.9, 16.3, 31.1)
    z = 1.217 * lobe(nm, 437, 11.8, 36) + 0.681 * lobe(nm, 459, 26, 13.8)
    rgb_from_xyz = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.204, 1.057]])
    weights = np.stack([x, y, z], 1) @ rgb_from_xyz.T
    return np.asarray(np.clip(spectrum @ (weights / weights.sum(0)), 0.004, 1), np.float32)


def tone(melanin: F32, blood: F32) -> F32:
    """(N, 3) linear RGB of skin with these volume fractions (N,); clamped to the ends of the table."""
    i = np.log(np.maximum(melanin, MELANIN[0]) / MELANIN[0]) / np.log(MELANIN[1] / MELANIN[0]) * 63
    j = np.log(np.maximum(blood, BLOOD[0]) / BLOOD[0]) / np.log(BLOOD[1] / BLOOD[0]) * 47
    return _look(_tones(), np.stack([i, j]))


def melanin_for(lightness: float, blood: float) -> float:
    """The melanin fraction that gives skin of this CIE L*, 0..100; the nearest that the table holds."""
    melanin = np.geomspace(*MELANIN, 256).astype(np.float32)
    luminance = tone(melanin, np.full(256, blood, np.float32)) @ np.array([0.2126, 0.7152, 0.0722])
    star = 116 * np.cbrt(luminance) - 16
    return float(np.interp(lightness, star[::-1], melanin[::-1]))


# ---------------------------------------------------------------------------------------------- small tools


def _look(image: F32, at: NDArray[np.floating[Any]]) -> F32:
    """(N, C) bilinear samples of `image` (A, B, C) at (2, N) indices, held at the edges."""
    count, width = at.shape[1], 256
    grid = np.zeros((2, -(-count // width) * width), np.float32)  # OpenCV takes no side longer than 32767
    grid[:, :count] = at
    rows, columns = grid.reshape(2, -1, width)
    out = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out.reshape(grid.shape[1], -1)[:count], np.float32)


@lru_cache(maxsize=4)
def _cloud(slope: float, low: float, high: float) -> F32:
    """(64 * 65, 65) periodic 64^3 noise of unit variance, amplitude ~ frequency^-slope between two cycle counts; its
    slices lie under one another, each with its first row and column repeated at its end."""
    k = np.fft.fftfreq(64, 1 / 64)
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None] ** 2)
    gain = np.where((radius >= low) & (radius <= high), np.maximum(radius, 1) ** -slope, 0)
    white = np.random.default_rng(7).standard_normal((64, 64, 64))
    field = np.fft.ifftn(np.fft.fftn(white) * gain).real
    wrapped = np.pad(field / field.std(), ((0, 0), (0, 1), (0, 1)), mode="wrap")
    return np.asarray(wrapped.reshape(64 * 65, 65), np.float32)


def _noise(skin: Skin, points: F32, tile: float, layer: int, *, fine: bool = False) -> F32:
    """(N,) noise of unit variance that repeats after `tile` cm; `layer` makes fields of one person independent."""
    atlas = _cloud(0.0, 10, 24) if fine else _cloud(2.3, 1, 26)
    shift = np.random.default_rng((skin.seed, layer)).uniform(0, 64, 3).astype(np.float32)
    at = points.T * np.float32(64 / tile) + shift[:, None]
    at -= 64 * np.floor(at / 64)
    whole = np.floor(at[0])
    # Two bilinear looks and a blend: three times as fast as scipy's map_coordinates.
    near = _look(atlas, np.stack([(whole % 64) * 65 + at[1], at[2]]))[:, 0]
    far = _look(atlas, np.stack([((whole + 1) % 64) * 65 + at[1], at[2]]))[:, 0]
    return np.asarray(near + (far - near) * (at[0] - whole), np.float32)


def _f(values: Any) -> F32:
    return np.asarray(values, np.float32)


def _step(x: NDArray[np.floating[Any]], low: float, high: float) -> F32:
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _blob(points: F32, centre: tuple[float, float, float], radius: tuple[float, float, float]) -> F32:
    """(N,) Gaussian bump, the same on both sides of the face."""
    x, y, z = points.T
    squared = ((np.abs(x) - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2
    return np.asarray(np.exp(-0.5 * (squared + ((z - centre[2]) / radius[2]) ** 2)), np.float32)


def _mix(under: F32, over: F32 | RGB, amount: F32) -> F32:
    return np.asarray(under + (np.asarray(over, np.float32) - under) * amount[:, None], np.float32)


def _arc(points: NDArray[np.floating[Any]], count: int = 48) -> NDArray[np.float64]:
    """(count, D) points on a smooth curve through `points`."""
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return np.asarray(CubicSpline(along, points)(np.linspace(0, along[-1], count)))


def _signed(outline: NDArray[np.floating[Any]], low: NDArray[np.float64], scale: float, size: tuple[int, int]) -> F32:
    """(rows, columns) distance in cm to a closed outline (K, 2), positive inside; row 0 is the lowest y."""
    inside = np.zeros(size, np.uint8)
    cv2.fillPoly(inside, [np.round((outline - low) * scale * 16).astype(np.int32)], 1, shift=4)
    near, far = (cv2.distanceTransform(m, cv2.DIST_L2, 5) for m in (inside, 1 - inside))
    return np.asarray((near - far) / scale, np.float32)


# ---------------------------------------------------------------------------------------------- painted maps


@lru_cache(maxsize=2)
def _front_maps(raw: bytes) -> F32:
    """(rows, columns, 5) of the frontal plane: signed cm to lips, mouth slit, eyes; cm to the fold beside the mouth,
    cm to the crease under the eye."""
    marks = np.frombuffer(raw, np.float32).reshape(68, 3)[:, :2].astype(np.float64)
    size = (int(22 * FRONT_SCALE), int(16 * FRONT_SCALE))
    lips = np.concatenate([_arc(marks[48:55]), _arc(marks[[54, 55, 56, 57, 58, 59, 48]])])
    slit = np.concatenate([_arc(marks[60:65]), _arc(marks[[64, 65, 66, 67, 60]])])
    right = np.concatenate([_arc(marks[36:40]), _arc(marks[[39, 40, 41, 36]])])
    left = np.concatenate([_arc(marks[42:46]), _arc(marks[[45, 46, 47, 42]])])
    fields = [_signed(o, FRONT_LOW, FRONT_SCALE, size) for o in (lips, slit, right, left)]
    fold = marks[[35, 35, 54, 54]] + [(0.45, 0.9), (1.05, -0.1), (0.75, 0.7), (0.7, -0.7)]
    bag = marks[[42, 47, 46, 45]] + [(0.1, -0.55), (0.1, -1.0), (0.1, -1.0), (-0.2, -0.6)]
    lines = []
    for curve in (_arc(fold), _arc(bag)):
        drawn = np.ones(size, np.uint8)
        for side in (1.0, -1.0):
            at = (curve * (side, 1.0) - FRONT_LOW) * FRONT_SCALE * 16
            cv2.polylines(drawn, [np.round(at).astype(np.int32)], False, 0, 1, shift=4)
        lines.append(cv2.distanceTransform(drawn, cv2.DIST_L2, 5) / np.float32(FRONT_SCALE))
    return np.stack([fields[0], fields[1], np.maximum(fields[2], fields[3]), *lines], -1)


@lru_cache(maxsize=4)
def _round_maps(skin: Skin) -> F32:
    """(rows, columns, 3) around the head: signed cm into the scalp hair, the beard and the moustache."""
    size, up, back = (int(29 * ROUND_SCALE), int(52 * ROUND_SCALE)), skin.hairline, skin.recession
    burn = float(np.random.default_rng((skin.seed, 77)).uniform(1.2, 3.4))  # how low the hair goes before the ear
    hair = [(0, 11.2 + up), (1.6, 11.3 + up + 0.4 * back), (3.4, 11.3 + up + back), (5.2, 10.9 + up + back)]
    hair += [(7.0, 9.6 + up + 0.7 * back), (8.4, 7.4 + 0.4 * back), (9.9, 6.0), (10.6, 4.4), (10.9, burn + 0.8)]
    hair += [(11.2, burn), (12.0, burn), (12.3, 4.0), (12.7, 4.9), (16.2, 5.0), (17.0, 3.0), (17.3, 0.0), (18.2, -3.0)]
    hair += [(20.5, -4.6), (27, -5.0), (27, 17)]
    beard = [(0, -4.6), (1.3, -4.75), (2.3, -4.3), (3.4, -3.0), (4.6, -2.6), (6.6, -1.7), (8.8, -0.2), (10.1, 1.4)]
    beard += [(10.6, 3.2), (11.9, 3.0), (12.0, 0.6), (11.8, -2.6), (10.6, -5.6), (7.5, -8.2), (4.0, -9.4), (0, -9.8)]
    lip = [(0, -1.35), (0.8, -1.25), (1.8, -1.5), (2.7, -2.5), (3.15, -3.5), (3.1, -4.1), (2.75, -4.0), (2.2, -3.2)]
    lip += [(1.6, -2.7), (0.7, -2.35), (0, -2.4)]
    fields = []
    for half in (hair, beard, lip):
        right = np.asarray(half, np.float64)
        both = np.concatenate([right, (right * (-1.0, 1.0))[::-1]])
        fields.append(_signed(both, ROUND_LOW, ROUND_SCALE, size))
    return np.stack(fields, -1)


@lru_cache(maxsize=4)
def _brow_maps(skin: Skin, raw: bytes) -> F32:
    """(rows, columns, 2) cover 0..1 by the hairs of the left and (mirrored) right brow."""
    marks = np.frombuffer(raw, np.float32).reshape(68, 3)[:, :2].astype(np.float64)
    rng = np.random.default_rng((skin.seed, 99))
    size = (int(4.6 * BROW_SCALE), int(7.3 * BROW_SCALE))
    sides = []
    for order in ((22, 23, 24, 25, 26), (21, 20, 19, 18, 17)):
        line = np.abs(marks[list(order)] * (1, 0)) + marks[list(order)] * (0, 1)
        line += np.array([0, skin.brow_arch]) * np.array([0.0, 0.5, 1.0, 1.0, 0.2])[:, None] - (0, 0.15)
        sides.append(_one_brow(skin, rng, _arc(line, 200), size))
    return np.stack(sides, -1)


def _one_brow(skin: Skin, rng: np.random.Generator, line: NDArray[np.float64], size: tuple[int, int]) -> F32:
    """(rows, columns) cover by hairs: upright at the nose, then along the brow, meeting in its ridge."""
    count = int(220 + 420 * skin.brow_density * skin.brow_height)
    t, across = rng.beta(1.1, 1.25, count), np.clip(rng.normal(0, 0.5, count), -1, 1)
    half = 0.5 * skin.brow_height * np.interp(t, [0, 0.12, 0.55, 1], [0.8, 1.0, 0.85, 0.25])
    root = line[(t * 199).astype(int)] + np.stack([np.zeros(count), across * half], 1)
    lean = np.interp(t, [0, 0.2, 0.6, 1], [1.25, 0.65, 0.12, -0.25]) - 0.45 * across + rng.normal(0, 0.16, count)
    length = rng.uniform(0.3, 0.62, count) * np.interp(t, [0, 0.3, 1], [0.8, 1.0, 0.7]) * (0.6 + 0.4 * skin.brow_height)
    bend = lean - rng.uniform(0.1, 0.5, count)
    middle = root + 0.5 * length[:, None] * np.stack([np.cos(lean), np.sin(lean)], 1)
    tip = middle + 0.5 * length[:, None] * np.stack([np.cos(bend), np.sin(bend)], 1)
    canvas = np.zeros(size, np.uint8)
    strokes = np.round((np.stack([root, middle, tip], 1) - BROW_LOW) * BROW_SCALE * 16).astype(np.int32)
    for stroke, dark in zip(strokes, rng.integers(130, 256, count), strict=True):
        cv2.polylines(canvas, [stroke], False, int(dark), 1, cv2.LINE_AA, 4)
    hairs = gaussian_filter(canvas.astype(np.float32) / 255, 0.7)
    # The roots under the hairs melt into a soft shade, which is what a camera sees from afar.
    shade = gaussian_filter(hairs, 0.12 * BROW_SCALE)
    return np.asarray(np.clip(0.75 * hairs + 0.85 * shade, 0, 1) * (0.55 + 0.45 * skin.brow_density), np.float32)


# ---------------------------------------------------------------------------------------------- the skin


@dataclass(frozen=True)
class _Place:
    """Where the points are: signed cm to features, soft masks 0..1, all (N,)."""

    lips: F32
    slit: F32
    eyes: F32
    fold: F32
    bag: F32
    hair: F32
    beard: F32
    moustache: F32
    brow: F32
    ear: F32
    front: F32


def _place(skin: Skin, points: F32, marks: F32) -> _Place:
    raw = np.ascontiguousarray(marks, np.float32).tobytes()
    x, y, z = points.T
    front = _step(z, 4.5, 6.5)
    near = _look(_front_maps(raw), ((points[:, :2] - FRONT_LOW) * FRONT_SCALE).T[::-1])
    turn = np.arctan2(x, z - AXIS_Z) * ROUND_RADIUS
    around = _look(_round_maps(skin), (np.stack([turn, y], 1) - ROUND_LOW).T[::-1] * ROUND_SCALE)
    fold = np.stack([np.abs(x), y], 1)
    brows = _look(_brow_maps(skin, raw), ((fold - BROW_LOW) * BROW_SCALE).T[::-1])
    brow = np.where(x > 0, brows[:, 0], brows[:, 1]) * front
    from_ear = ((np.abs(x) - 8.5) / 1.25) ** 2 + ((y - 1.2) / 3.7) ** 2 + ((z + 0.3) / 2.8) ** 2
    ear = _step(1.25 - np.sqrt(from_ear), 0, 0.3)
    return _Place(
        *(near[:, 0], near[:, 1], near[:, 2], near[:, 3], near[:, 4]),
        *(around[:, 0], around[:, 1], around[:, 2]),
        *(_f(brow), ear, front),
    )


def skin_at(skin: Skin, points: F32, marks: F32) -> Surface:
    """Surface of face, ears, neck and scalp at `points` (N, 3) of the neutral head; `marks` (68, 3): its landmarks."""
    points = np.asarray(points, np.float32)
    place = _place(skin, points, np.asarray(marks, np.float32))
    speckle = _noise(skin, points, 4.0, 1, fine=True)
    albedo = _complexion(skin, points, place)
    albedo = _made_up(skin, points, place, albedo)
    albedo, cover = _haired(skin, points, place, albedo, speckle)
    lip = _step(place.lips, -0.08, 0.12) * place.front
    zone = _blob(points, (0.0, 3.5, 11.5), (2.0, 5.0, 3.0)) + _blob(points, (0.0, 8.5, 10.0), (4.5, 2.0, 3.0))
    roughness = 0.52 - 0.16 * skin.oil * np.clip(zone, 0, 1) - 0.06 * skin.oil + 0.03 * speckle
    roughness = roughness - 0.12 * lip + (0.62 - roughness) * cover
    specular = (0.7 + 0.25 * skin.oil * np.clip(zone, 0, 1) + 0.1 * lip) * (1 - 0.75 * cover)
    return Surface(
        albedo=np.clip(albedo, 0.004, 0.95).astype(np.float32),
        roughness=np.clip(roughness, 0.05, 1).astype(np.float32),
        specular=np.clip(specular, 0, 1).astype(np.float32),
        bump=_relief(skin, points, place, lip, speckle, cover),
    )


def _complexion(skin: Skin, points: F32, place: _Place) -> F32:
    """(N, 3) colour of bare skin and lips: where blood, melanin and thin skin are."""
    broad, spots = _noise(skin, points, 26.0, 2), _noise(skin, points, 9.0, 3)
    cheek = _blob(points, (4.3, 0.6, 9.2), (1.7, 1.6, 2.2))
    nose = _blob(points, (0.0, 0.1, 12.6), (1.3, 1.1, 1.6)) + 0.6 * _blob(points, (1.7, -0.5, 11.0), (0.6, 0.7, 1.0))
    chin = _blob(points, (0.0, -6.4, 10.4), (1.4, 0.9, 1.6))
    brow = _blob(points, (0.0, 8.8, 9.8), (4.5, 2.0, 3.0))
    lids = _step(place.eyes, -0.75, -0.1) * place.front
    under = _step(1.0 - np.abs(place.bag) / 0.75, 0, 1) * place.front * _step(place.eyes, -1.6, -0.4)
    red = skin.flush * (0.5 * cheek + 0.55 * nose + 0.2 * chin + 0.55 * place.ear) + 0.2 * lids - 0.12 * brow
    red = red + skin.mottle * (0.1 * broad + 0.1 * spots) + 0.25 * skin.circles * under
    brown = skin.mottle * (0.045 * _noise(skin, points, 17.0, 4) + 0.045 * _noise(skin, points, 5.0, 5))
    brown = brown + 0.1 * brow + 0.3 * skin.circles * (under + 0.5 * lids) + _spots(skin, points, place)
    melanin = skin.melanin * np.exp(brown - 0.1 * _step(-points[:, 1], 8.0, 11.0))
    albedo = tone(melanin.astype(np.float32), (skin.blood * np.exp(red)).astype(np.float32))
    albedo = albedo * (1 - skin.yellow * (1 + brow)[:, None] * _f([0.15, 0.4, 1.6]))
    # Veins and thin skin under the eye take red away; real circles are a little blue.
    albedo = albedo * (1 - skin.circles * under[:, None] * _f([0.16, 0.13, 0.07]))
    lip = _step(place.lips + 0.03 * spots, -0.17, 0.14) * place.front
    return _mix(albedo, _lip_colour(skin, points, place), lip)


def _lip_colour(skin: Skin, points: F32, place: _Place) -> F32:
    """(N, 3) bare lips: less melanin and more blood than the face, browner above, wet and red inside."""
    lower = _step(-points[:, 1], 3.2, 3.6)
    melanin = skin.melanin * (1.0 - 0.32 * lower) * np.exp(0.12 * _noise(skin, points, 5.0, 6)) + 0.012
    streak = _noise(skin, points * _f([1.0, 0.18, 0.18]), 2.6, 7)
    blood = skin.blood * np.exp(0.6 + 0.6 * skin.lip_blood + 0.14 * streak)
    colour = tone(melanin.astype(np.float32), blood.astype(np.float32)) * _f([0.96, 1.0, 1.12])
    inner = _step(place.slit, -0.12, 0.05)
    return np.asarray(colour * (1 - inner[:, None] * _f([0.4, 0.55, 0.5])), np.float32)


def _spots(skin: Skin, points: F32, place: _Place) -> F32:
    """(N,) added log melanin of freckles, age spots and moles."""
    out = np.zeros(len(points), np.float32)
    if skin.freckles:
        out = out + _freckles(skin, points)
    if skin.age > 0.5:
        out = out + (skin.age - 0.5) * 0.7 * _step(_noise(skin, points, 14.0, 10, fine=True), 1.9, 2.9)
    rng = np.random.default_rng((skin.seed, 55))
    turn = np.arctan2(points[:, 0], points[:, 2]) * np.float32(9.5)
    for _ in range(skin.moles):
        at, size = (rng.normal(0, 6.5), rng.uniform(-9, 9)), rng.uniform(0.06, 0.13)
        squared = ((turn - at[0]) ** 2 + (points[:, 1] - at[1]) ** 2) / size**2
        out = out + 1.3 * np.exp(-(np.minimum(squared, 6) ** 2)) * (place.lips < -0.2)
    return np.asarray(out, np.float32)


def _freckles(skin: Skin, points: F32) -> F32:
    """(N,) added log melanin: small dots over cheeks and nose, in groups."""
    where = np.clip(_blob(points, (2.2, 2.2, 10.5), (3.8, 2.4, 4.0)) + 0.15, 0, 1)
    where = where * (0.6 + 0.4 * np.tanh(_noise(skin, points, 12.0, 9)))
    grain = _noise(skin, points, 5.5, 8, fine=True)
    return np.asarray(skin.freckles * 0.75 * where * _step(grain, 0.6, 2.2), np.float32)


def _made_up(skin: Skin, points: F32, place: _Place, albedo: F32) -> F32:
    """(N, 3) with blush, eye shadow, the dark edge of the lids (lashes, liner) and lipstick."""
    x, y, _ = points.T
    if skin.blush:
        albedo = albedo * (
            1 - skin.blush * _blob(points, (5.0, 0.8, 8.6), (1.5, 1.0, 2.0))[:, None] * _f([0.05, 0.32, 0.26])
        )
    above = place.front * _step(y - 3.45 - 0.06 * np.abs(np.abs(x) - 3.2), -0.1, 0.25)
    if skin.shadow:
        lid = _step(place.eyes, -1.25, -0.2) * above * _step(5.6 - y, 0.0, 0.7)
        tint = 0.3 * tone(_f([skin.melanin]), _f([skin.blood])) + 0.7 * _f([skin.shadow_rgb])
        albedo = _mix(albedo, _f(tint), skin.shadow * lid)
    edge = np.exp(-(((place.eyes + 0.04) / 0.11) ** 2)) * place.front
    lash = edge * (0.3 + 0.25 * above + skin.liner * (0.15 + 0.5 * above))
    albedo = _mix(albedo, (0.012, 0.009, 0.008), np.clip(lash, 0, 0.92).astype(np.float32))
    if skin.lipstick:
        albedo = _mix(albedo, skin.lipstick_rgb, skin.lipstick * _step(place.lips, -0.07, 0.05) * place.front)
    return albedo


def _haired(skin: Skin, points: F32, place: _Place, albedo: F32, speckle: F32) -> tuple[F32, F32]:
    """Albedo (N, 3) under painted hair, and how much hair covers (N,)."""
    x, y, z = points.T
    turn = np.arctan2(x, z - AXIS_Z) * ROUND_RADIUS
    # Strands: noise that is stretched along the way hair falls (down the sides, back over the top).
    strand = _noise(skin, np.stack([turn, 0.1 * y, 0.1 * z], 1).astype(np.float32), 3.2, 11, fine=True)
    ragged = 0.1 * strand + 0.12 * speckle + 0.3 * _noise(skin, points, 6.0, 12)
    bare = 1 - place.ear
    scalp = _step(place.hair + ragged, -0.3, 1.1) * skin.scalp * bare
    off_lips = _step(-place.lips, 0.0, 0.25)
    field = np.maximum(place.beard, place.moustache)
    full = _step(place.beard + ragged, -0.2, 0.8) * skin.beard
    full = np.maximum(full, _step(place.moustache + 0.5 * ragged, -0.15, 0.35) * skin.moustache) * off_lips * bare
    shadow = skin.stubble * _step(field + 0.4 * ragged, -0.5, 0.6) * off_lips * bare
    # Shaved hair shines through the skin as a cool shade, finely speckled.
    dots = np.clip(shadow * (0.55 + 0.3 * speckle), 0, 0.8)
    cool = 0.5 * np.minimum(_f(skin.hair), 0.8 * albedo) + 0.25 * albedo * _f([0.9, 1.0, 1.08])
    albedo = _mix(albedo, np.asarray(cool, np.float32), np.asarray(dots, np.float32))
    shine = np.clip(1 + 0.22 * strand + 0.12 * speckle, 0.35, 1.9)[:, None]
    cover = np.clip(np.maximum(scalp, full) * (1.0 + 0.08 * speckle + 0.06 * strand), 0, 0.98)
    albedo = _mix(albedo, np.asarray(_f(skin.hair) * shine, np.float32), np.asarray(cover, np.float32))
    albedo = _mix(albedo, skin.brow, np.clip(place.brow, 0, 0.95).astype(np.float32))
    return albedo, np.asarray(np.clip(np.maximum(cover, 0.7 * place.brow), 0, 1), np.float32)


def _relief(skin: Skin, points: F32, place: _Place, lip: F32, speckle: F32, cover: F32) -> F32:
    """(N,) cm: pores, wrinkles by age, folds, lip creases, hair."""
    x, y, _ = points.T
    side, age = np.abs(x), skin.age**1.3
    wave = _noise(skin, points, 14.0, 13)
    forehead = _blob(points, (0.0, 8.6, 9.8), (3.6, 1.5, 3.0))
    groove = np.cos(2 * np.pi * (y / 0.95 + 0.28 * wave + 0.03 * x * x))
    lines = -(np.clip(groove, 0.1, 1) ** 2) * forehead * np.clip(0.8 + 0.5 * wave, 0, 1.6)
    outer = np.stack([side - 4.6, y - 3.4], 1)
    rays = np.arctan2(outer[:, 1], np.maximum(outer[:, 0], 0.05))
    reach = np.linalg.norm(outer, axis=1)
    crow = -np.clip(np.cos(9 * rays + 1.2 * wave), 0.1, 1) * np.exp(-(((reach - 0.9) / 0.6) ** 2)) * (outer[:, 0] > 0)
    frown = -np.exp(-(((side - 0.65 - 0.1 * wave) / 0.14) ** 2)) * _blob(points, (0.5, 6.2, 10.7), (1.0, 0.8, 1.0))
    fold = -np.exp(-((place.fold / 0.16) ** 2)) * place.front
    bag = (np.exp(-(((place.eyes + 0.65) / 0.25) ** 2)) * (y < 3.2) - np.exp(-((place.bag / 0.14) ** 2))) * place.front
    creases = _noise(skin, points * _f([1.0, 0.15, 0.15]), 2.0, 14)
    quiet = 1 - 0.8 * lip
    bump = age * (0.05 * lines + 0.035 * crow + 0.045 * frown + 0.06 * fold + 0.04 * bag * (0.4 + skin.circles))
    bump = bump + quiet * (0.0016 * speckle + 0.004 * _noise(skin, points, 5.0, 15)) + 0.006 * lip * creases
    return np.asarray(bump + 0.004 * cover * speckle, np.float32)


# ---------------------------------------------------------------------------------------------- eyes and mouth


def eye_at(skin: Skin, points: F32, marks: F32) -> Surface:
    """Surface of both eyeballs at `points` (N, 3) of sclera or iris parts of the neutral head: the iris is painted by
    the distance from the axis of the eye, so it also shows on the kit's outer (sclera) ball, which hides the inner."""
    points = np.asarray(points, np.float32)
    left = points[:, :1] > 0
    middle = np.where(left, marks[42:48].mean(0)[None], marks[36:42].mean(0)[None])
    # The pupil sits a little nearer the nose and above the middle of the open lids of the kit.
    off = points - (middle + np.where(left, _f([-0.05, 0.17, 0]), _f([0.05, 0.17, 0])))
    r = np.where(off[:, 2] > -3, np.hypot(off[:, 0], off[:, 1]), 9.0) / skin.iris_radius
    angle = np.arctan2(off[:, 1], off[:, 0])
    wet = _noise(skin, points, 3.0, 20)
    corner = _step(np.abs(off[:, 0]), 0.65, 1.35)
    vein = _noise(skin, points * _f([0.3, 1.0, 1.0]), 2.5, 21) > 1.1
    white = _f([0.52, 0.475, 0.435]) * (1 + 0.03 * wet[:, None])
    pink = (0.15 + 0.5 * skin.eye_red) * corner + 0.25 * skin.eye_red * vein * (0.3 + corner)
    white = white * (1 - pink[:, None] * _f([0.25, 0.75, 0.7]))
    fibre = _noise(skin, np.stack([np.cos(angle), np.sin(angle), 0.15 * r], 1).astype(np.float32), 3.0, 22, fine=True)
    ring = 1 - 0.6 * _step(r, 0.78, 1.0)
    inner = 1 + 0.5 * np.exp(-(((r - 0.48) / 0.12) ** 2))
    iris = _f(skin.iris) * (ring * inner * (1 + 0.22 * fibre))[:, None]
    iris = _mix(np.asarray(iris, np.float32), (0.006, 0.005, 0.005), 1 - _step(r, 0.36, 0.44))
    albedo = _mix(np.asarray(white, np.float32), iris, 1 - _step(r, 0.93, 1.07))
    count = len(points)
    return Surface(
        albedo=np.clip(albedo, 0.004, 0.9),
        roughness=np.full(count, 0.08, np.float32),
        specular=np.ones(count, np.float32),
        bump=np.zeros(count, np.float32),
    )


def mouth_at(skin: Skin, points: F32, kind: str) -> Surface:
    """Surface inside the mouth at `points` (N, 3) of the neutral head; `kind` is "teeth" or "gums" (and tongue).

    Raises ValueError for another kind.
    """
    if kind not in ("teeth", "gums"):
        raise ValueError(f"kind is teeth or gums, not {kind!r}")
    points = np.asarray(points, np.float32)
    count = len(points)
    grain = _noise(skin, points, 4.0, 30)[:, None]
    # Light hardly reaches the back of the mouth, however open; the shader has no shadows between lips and teeth.
    deep = (0.35 + 0.65 * _step(points[:, 2], 5.5, 10.0))[:, None]
    if kind == "teeth":
        stain = 1 - skin.teeth_yellow * _f([0.05, 0.12, 0.3])
        albedo = _f([0.58, 0.53, 0.44]) * stain * (1 + 0.04 * grain)
    else:
        albedo = _f([0.4, 0.16, 0.14]) * (1 - 0.3 * min(skin.melanin * 3, 1)) * (1 + 0.1 * grain)
    return Surface(
        albedo=np.clip(albedo * deep, 0.004, 0.9).astype(np.float32),
        roughness=np.full(count, 0.22 if kind == "teeth" else 0.3, np.float32),
        specular=np.full(count, 0.9, np.float32),
        bump=np.zeros(count, np.float32),
    )
