"""Hair: shells grown off the scalp, dived under the skin at the hairline, hanging where long."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from offline.lightstage import shells
from offline.lightstage.shells import F64, PolarGrid, Prop, around, smoothstep

EAR_DEGREES = [0.0, 28, 48, 60, 72, 80, 86, 92, 112, 124, 133, 148, 180]
HAIRLINE = [10.4, 11.0, 9.4, 6.6, 3.6, 1.2, 2.6, 6.0, 6.2, 4.6, 0.2, -3.4, -4.8]  # y of the neutral head, ears free
PORTIONS = (0.07, 0.22, 0.13, 0.12, 0.14, 0.2, 0.06, 0.06)  # of the kinds in sample_hair
COLOURS = {  # linear RGB
    "black": (0.012, 0.010, 0.009),
    "dark brown": (0.035, 0.021, 0.014),
    "brown": (0.085, 0.045, 0.025),
    "light brown": (0.18, 0.105, 0.055),
    "blond": (0.42, 0.28, 0.13),
    "platinum": (0.62, 0.53, 0.38),
    "red": (0.22, 0.062, 0.02),
    "grey": (0.28, 0.27, 0.26),
    "white": (0.6, 0.58, 0.55),
}
SHARES = (0.27, 0.2, 0.16, 0.1, 0.1, 0.03, 0.05, 0.06, 0.03)


@dataclass(frozen=True)
class Hair:
    """A style. Lengths in cm on the neutral head: hairline y per column; thickness on top and at the sides; `tip` y of
    hanging hair (None: it lies on the head) outside azimuth `edge` (radians); pole of the strands; noise amplitudes."""

    hairline: F64
    top: float
    side: float
    tip: float | None = None
    edge: float = 1.4
    over_ears: float = 0.0
    pole: tuple[float, float, float] = (0.0, 0.94, -0.34)
    parting: float | None = None
    quiff: float = 0.0
    strands: float = 0.1
    lumps: float = 0.1
    curls: float = 0.0
    ramp: float = 1.6
    bun: bool = False


def sample_colour(rng: np.random.Generator) -> F64:
    """Linear RGB of a head of hair: mostly natural, sometimes dyed."""
    if rng.random() < 0.04:
        return np.asarray(rng.uniform(0.02, 0.5, 3))
    base = np.array(list(COLOURS.values())[rng.choice(len(SHARES), p=SHARES)])
    return np.asarray(base * rng.uniform(0.75, 1.3) * rng.uniform(0.93, 1.07, 3))


def _covering(rng: np.random.Generator, line: F64, azimuth: F64) -> F64:
    """The hairline lowered at the sides, so that the ears are under hair; sometimes behind them only."""
    level = rng.uniform(-3.5, 0.5)
    free = around([0, 55, 72, 84, 130, 150, 180], [99, 99, 5, level, level, -5, -5.5], azimuth)
    return np.minimum(line, free)


def sample_hair(rng: np.random.Generator, azimuth: F64) -> Hair:
    """A random style for columns at `azimuth` (A,)."""
    kind = rng.choice(["buzz", "short", "quiff", "bowl", "bob", "long", "up", "afro"], p=PORTIONS)
    line = around(EAR_DEGREES, HAIRLINE, azimuth) + rng.normal(0, 0.25)
    recede = rng.choice([0.0, rng.uniform(0.3, 2.2)], p=[0.7, 0.3])
    line = line + recede * np.exp(-(((np.abs(azimuth) - 0.55) / 0.3) ** 2))
    if rng.random() < 0.3:
        line = line + around([0, 58, 64, 92, 97, 180], [0, 0, rng.uniform(1, 3), rng.uniform(0, 1), 0, 0], azimuth)
    side = rng.uniform(-0.55, 0.55)
    crown = (side * 0.5, 0.94, -0.34)
    forward = (side, rng.uniform(0.5, 0.9), rng.uniform(0.3, 0.7))
    style = Hair(line, rng.uniform(0.8, 2.0), rng.uniform(0.35, 0.8), pole=crown, strands=rng.uniform(0.06, 0.13))
    fringe = np.minimum(line, _fringe(rng, azimuth, side))
    if kind == "buzz":
        return replace(style, top=rng.uniform(0.25, 0.45), side=rng.uniform(0.15, 0.25), strands=0.015, lumps=0.02)
    if kind == "quiff":
        return replace(style, top=rng.uniform(1.2, 2.6), quiff=rng.uniform(0.5, 1.8), pole=(side, -0.4, 1.0))
    if kind == "afro":
        top = rng.uniform(2.5, 6)
        return replace(style, top=top, side=top * rng.uniform(0.5, 0.8), strands=0.0, lumps=0.04, curls=0.22)
    if kind == "bowl":
        line = _covering(rng, fringe if rng.random() < 0.6 else line, azimuth)
        return replace(style, hairline=line, side=rng.uniform(0.6, 1.3), top=rng.uniform(1.2, 2.4), over_ears=1.7)
    if kind in ("bob", "long"):
        tip = rng.uniform(-10, -5) if kind == "bob" else rng.uniform(-31, -13)
        behind = rng.random() < 0.25
        return replace(
            style,
            hairline=fringe if rng.random() < 0.35 else line,
            top=rng.uniform(0.8, 2.2),
            side=rng.uniform(0.7, 1.7),
            tip=tip,
            edge=np.deg2rad(rng.uniform(120, 132) if behind else rng.uniform(52, 84)),
            over_ears=0.0 if behind else 1.7,
            pole=forward,
            parting=side * 6 if rng.random() < 0.7 else None,
            curls=rng.choice([0.0, rng.uniform(0.08, 0.2)], p=[0.7, 0.3]),
        )
    if kind == "up":
        return replace(style, top=0.6, side=0.4, pole=(0, -0.5, 1.0), bun=rng.random() < 0.7, strands=0.06)
    return replace(
        style, hairline=fringe if rng.random() < 0.45 else line, pole=forward if rng.random() < 0.4 else crown
    )


def _fringe(rng: np.random.Generator, azimuth: F64, side: float) -> F64:
    """y per column of bangs: straight, or falling to one side."""
    level, half = rng.uniform(6.2, 8.6), rng.uniform(38, 58)
    even = around([0, half, half + 14, 180], [level, level - 0.5, 14, 20], azimuth)
    return np.asarray(even + np.sign(side) * rng.uniform(0, 2.2) * np.sin(np.clip(azimuth * 1.4, -1.5, 1.5)))


def signed_inside(grid: PolarGrid, line: F64) -> F64:
    """(R, A) cm above the line (A,) on the neutral head: > 0 inside the shell."""
    slope = np.gradient(line, axis=0) / (np.abs(np.gradient(grid.azimuth)) * 8)
    return np.asarray((grid.neutral[..., 1] - line) / np.sqrt(1 + np.minimum(slope**2, 9)))


def strand_angle(grid: PolarGrid, style: Hair, bend: F64) -> F64:
    """(R, A) radians, constant along a strand: azimuth round the style's pole; below, where hair hangs, the column."""
    pole = np.array(style.pole) / np.linalg.norm(style.pole)
    x = np.cross([0, 1.0, 0.3], pole)
    x /= np.linalg.norm(x)
    d = grid.neutral - [0, 4.5, 0.5]
    angle = np.arctan2(d @ x, d @ np.cross(pole, x)) + 0.10 * bend
    if style.tip is None:
        return np.asarray(angle)
    start = _hang_row(grid)
    rows = np.minimum(np.arange(len(angle))[:, None], start)
    held = np.take_along_axis(angle, rows, 0)
    ramp = smoothstep(0, 1, (grid.polar - 0.6) / (style.ramp - 0.6))
    return np.asarray(held + ramp * grid.azimuth + 0.06 * bend)


def ear_bump(grid: PolarGrid) -> F64:
    """(R, A) in [0, 1]: 1 over the ears, which the grid itself leaves out."""
    return np.asarray(np.exp(-(((np.abs(grid.azimuth) - 1.8) / 0.5) ** 2) - ((grid.polar - 1.95) / 0.42) ** 2))


def _hang_row(grid: PolarGrid) -> F64:
    """(A,) row from which long hair hangs: about the level of the ears' tops."""
    polar = np.deg2rad(around([0, 50, 90, 180], [95, 95, 93, 84], grid.azimuth))
    return np.asarray([int(np.searchsorted(grid.polar[:, 0], p)) for p in polar])


def hung(grid: PolarGrid, points: F64, start: F64, tip: F64, flare: F64 | float, tuck: float) -> F64:
    """`points` (R, A, 3) whose rows below `start` (A,) hang straight to y = `tip` (A,), pushed out by `flare` cm and
    drawn in by `tuck` (share of the radius) further down."""
    row = np.arange(len(points))[:, None]
    first = np.take_along_axis(points, start[None, :, None].astype(np.int64), 0)[0]
    share = np.clip((row - start) / np.maximum(len(points) - 1 - start, 1), 0, 1)
    drop = share * (first[:, 1] - tip)
    outward = np.stack([np.sin(grid.azimuth), 0 * grid.azimuth, np.cos(grid.azimuth)], -1)
    push = flare * smoothstep(0, 3, drop) - tuck * 9 * smoothstep(3, 16, drop)
    hanging = first + push[..., None] * outward
    hanging[..., 1] -= drop
    return np.asarray(np.where((row > start)[..., None], hanging, points))


def _waves(rng: np.random.Generator, grid: PolarGrid, head: F64, base: F64) -> F64:
    """(R, A, 3) sideways displacement of hanging hair: locks that wave, swing to the face and part at the tips."""
    drop = np.clip(head[..., 1].max() - 12 - base[..., 1], 0, None)
    grow = smoothstep(0, 9, drop)
    phase = shells.ring_noise(rng, grid.azimuth, 20) * 1.4
    wave = rng.uniform(0.1, 0.55) * np.sin(2 * np.pi * drop / rng.uniform(6, 12) + phase)
    swing = -np.sign(grid.azimuth) * rng.uniform(-0.5, 2.2) * np.exp(-(((np.abs(grid.azimuth) - 1.1) / 0.6) ** 2))
    side = np.stack([np.cos(grid.azimuth), 0 * grid.azimuth, -np.sin(grid.azimuth)], -1)
    locks = 0.3 * shells.ring_noise(rng, grid.azimuth, 40)
    shift = grow * (wave + swing * smoothstep(0, 14, drop) + locks * smoothstep(3, 14, drop))
    return np.asarray(shift[..., None] * side)


def hair_prop(rng: np.random.Generator, grid: PolarGrid, head: F64, style: Hair, colour: F64, cap: F64 | None) -> Prop:
    """The style on a head's grid (R, A, 3); `cap` (R, A) in [0, 1] presses it flat where a hat sits."""
    normal = shells.grid_normals(head)
    bend = shells.space_noise(rng, grid.neutral, 9)
    angle = strand_angle(grid, style, bend)
    coarse, fine = shells.ring_noise(rng, angle, 46), shells.ring_noise(rng, angle, 80)
    edge_noise = shells.ring_noise(rng, angle, 90)
    inside = signed_inside(grid, style.hairline) + 0.13 * edge_noise + 0.12 * coarse
    base = head
    if style.tip is not None:
        start = _hang_row(grid)
        tip = (
            style.tip + 0.9 * shells.ring_noise(rng, grid.azimuth, 34) + 1.5 * (np.abs(grid.azimuth) < style.edge + 0.3)
        )
        base = hung(
            grid,
            head,
            start,
            tip,
            0.2 + style.over_ears * np.exp(-(((np.abs(grid.azimuth) - 1.8) / 0.9) ** 2)),
            rng.uniform(-0.05, 0.3),
        )
        base = base + _waves(rng, grid, head, base)
        normal = shells.grid_normals(base)
        curtain = (np.abs(grid.azimuth) - style.edge) * 7.5 + 0 * bend
        hanging = np.arange(len(head))[:, None] > start - 3
        inside = np.where(hanging, np.maximum(np.minimum(inside, curtain), curtain), np.maximum(inside, curtain - 1.5))
    height = smoothstep(3, 11.5, grid.neutral[..., 1])
    thick = style.side + (style.top - style.side) * height
    thick *= 1 + 0.12 * bend
    front = np.exp(-((np.linalg.norm(grid.neutral - [0, 12, 7], axis=-1) / 4.5) ** 2))
    thick += style.quiff * front
    if style.tip is None:
        thick += style.over_ears * ear_bump(grid)
        thick *= 0.4 + 0.6 * smoothstep(-5, 5, grid.neutral[..., 1])
    if style.parting is not None:
        line = np.exp(-(((grid.neutral[..., 0] - style.parting) / 0.55) ** 2)) * smoothstep(9, 11, grid.neutral[..., 1])
        thick *= 1 - 0.45 * line * smoothstep(-4, 0, grid.neutral[..., 2])
    relief = style.strands * (coarse + 0.45 * fine) + style.lumps * bend
    if style.curls:
        relief = relief + style.curls * shells.space_noise(rng, base, 1.7, 12)
    if cap is not None:
        thick = thick * (1 - cap) + 0.2 * cap
        relief = relief * (1 - cap)
    rise = np.sqrt(1 - (1 - np.clip(inside / np.maximum(0.8, 0.9 * thick), 0, 1)) ** 2)
    pole = np.array(style.pole) / np.linalg.norm(style.pole)
    toward = (grid.neutral - [0, 4.5, 0.5]) @ pole / np.linalg.norm(grid.neutral - [0, 4.5, 0.5], axis=-1)
    relief = relief * np.clip(thick / 0.8, 0, 1) * smoothstep(0.03, 0.25, grid.polar) * smoothstep(0.99, 0.85, toward)
    offset = np.maximum(thick * rise + relief * rise, 0.1 * rise) - 0.3 * (1 - smoothstep(-0.5, 0.15, inside))
    vertices = base + offset[..., None] * normal
    vertices[0] = vertices[0].mean(0)
    tone = np.exp(0.16 * coarse + 0.2 * fine + 0.12 * bend + 0.1 * rng.standard_normal(coarse.shape)) * (
        0.75 + 0.25 * rise
    )
    if style.curls:
        tone = tone * np.exp(0.16 * shells.space_noise(rng, base, 1.3, 12))
    albedo = np.clip(colour * tone[..., None], 0.004, 0.8)
    keep = (inside > -0.7) & (True if cap is None else cap < 0.97)
    return shells.grid_prop("hair", vertices, albedo, keep, "hair", 0.42, 0.5, None if style.tip is None else rise)


def bun_prop(rng: np.random.Generator, head: F64, colour: F64) -> Prop:
    """A bun on the crown, wound in strands."""
    a, t = np.meshgrid(np.linspace(0, 2 * np.pi, 48, endpoint=False), np.linspace(0, np.pi, 28))
    unit = np.stack([np.sin(t) * np.sin(a), np.cos(t), np.sin(t) * np.cos(a)], -1)
    wind = shells.ring_noise(rng, a + 2.5 * t, 16)
    radius = rng.uniform(2.2, 3.8) * (1 + 0.05 * wind * np.sin(t))
    crown = head[2].mean(0) + np.array([0, 0.6, rng.uniform(-2, 2.5)])
    vertices = crown + unit * radius[..., None] * [1, 0.85, 1]
    albedo = np.clip(colour * np.exp(0.2 * wind)[..., None], 0.004, 0.8)
    return shells.grid_prop("bun", vertices, albedo, np.ones(a.shape, bool), "hair", 0.42, 0.5)
