"""Clothes: a body below the head with its garment and collar; caps, beanies and headscarves."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from offline.lightstage import hair, shells
from offline.lightstage.shells import F64, PolarGrid, Prop, around, smoothstep

LOFT_ROWS, FLOOR = 14, -35.0


def cloth_colour(rng: np.random.Generator) -> F64:
    """Linear RGB of a fabric: greys, navies and saturated ones."""
    value, tint = rng.choice([0.02, 0.06, 0.2, 0.45, 0.75]), rng.dirichlet([1.2, 1.2, 1.2]) * 3
    return np.asarray(np.clip(value * (1 + rng.uniform(0, 0.8) * (tint - 1)), 0.01, 0.85))


def hat_prop(rng: np.random.Generator, grid: PolarGrid, head: F64, kind: str) -> tuple[list[Prop], F64]:
    """A "cap" (with brim), "beanie" or "headscarf" on a head's grid, and (R, A) in [0, 1] where it presses the hair."""
    colour, folds = cloth_colour(rng), shells.space_noise(rng, grid.neutral, 5)
    y = grid.neutral[..., 1]
    if kind == "headscarf":
        oval = np.hypot((grid.neutral[..., 0]) / rng.uniform(6.4, 6.9), (y - 1.0) / rng.uniform(7.9, 8.5)) - 1
        inside = np.where(grid.neutral[..., 2] < 2.5, 3.0, oval * 6)
        # Under the chin the grid sees both chin and neck; there the wrap takes over.
        end = np.deg2rad(around([0, 50, 80, 180], [149, 152, 172, 185], grid.azimuth))
        inside = np.minimum(inside, (end - grid.polar) * 11)
        thick, relief = rng.uniform(0.5, 0.9) + 2.1 * hair.ear_bump(grid), 0.13 * folds
    else:
        level = around(
            [0, 60, 95, 180],
            [rng.uniform(8.2, 10), 8.6, rng.uniform(2, 4) if kind == "beanie" else 6.4, 1],
            grid.azimuth,
        )
        inside = hair.signed_inside(grid, level)
        ribs = 0.05 * np.sin(grid.azimuth * 70)
        relief = 0.08 * folds if kind == "cap" else 0.12 * folds + ribs
        thick = np.full(y.shape, 0.8 if kind == "cap" else 1.0)
        if kind == "beanie":
            thick = thick + 0.35 * smoothstep(3.4, 2.8, inside) + rng.uniform(0, 2.0) * smoothstep(10, 14, y)
    normal = shells.grid_normals(head)
    rise = smoothstep(-0.3, 0.35, inside)
    vertices = head + ((thick + relief) * rise - 0.8 * (1 - smoothstep(-1.0, 0, inside)))[..., None] * normal
    vertices[0] = vertices[0].mean(0)
    albedo = np.clip(colour * np.exp(0.06 * folds + 0.05 * rng.standard_normal(y.shape))[..., None], 0.004, 0.9)
    keep = inside > -1.1
    props = [shells.grid_prop(kind, vertices, albedo, keep, "cloth", 0.8, 0.2)]
    if kind == "cap":
        props.append(_brim(rng, grid, vertices, inside, cloth_colour(rng) if rng.random() < 0.4 else colour))
    return props, smoothstep(-1.2, 0.3, inside)


def _brim(rng: np.random.Generator, grid: PolarGrid, shell: F64, inside: F64, colour: F64) -> Prop:
    """A stiff peak from the cap's front edge: an upper and a lower sheet."""
    order = np.argsort(grid.azimuth)
    order = order[np.abs(grid.azimuth[order]) < np.deg2rad(62)]
    row = np.argmin(np.abs(inside[:, order] - 0.3), 0)
    edge = np.asarray(gaussian_filter1d(shell[row, order], 3, axis=0, mode="nearest"))
    a = grid.azimuth[order]
    reach = rng.uniform(6, 7.5) * np.clip(np.cos(a / np.deg2rad(62) * np.pi / 2), 0, 1) ** 0.55
    t = np.linspace(0, 1, 10)[:, None]
    droop = rng.uniform(0.1, 0.35)
    out = np.stack([0.12 * edge[:, 0] / 7 * reach, -droop * reach, reach], -1)
    curve = -0.02 * edge[:, 0] ** 2 * rng.uniform(0.3, 1)
    upper = edge + t[..., None] * out + (t * curve)[..., None] * [0, 1, 0] - [0, 0, 0.3]
    ring = np.concatenate([upper, upper[::-1] - [0, 0.3, 0]])
    triangles = shells.grid_triangles(*ring.shape[:2], closed=False)
    tone = np.broadcast_to(colour, (ring.shape[0] * ring.shape[1], 3))
    return Prop("brim", ring.reshape(-1, 3).astype(np.float32), triangles, tone.astype(np.float32), 0.8, 0.2, "cloth")


def body_grid(rng: np.random.Generator, neck: PolarGrid, vertices: F64) -> F64:
    """(R, A, 3) skin from the neck over the mesh's lower edge to shoulders about 40 cm wide and down to y = -35."""
    bust, azimuth = neck.points(vertices), neck.azimuth
    edge = bust[-1]
    half, depth, power = rng.uniform(18.5, 21.5), rng.uniform(9, 11), 0.72
    s, c = np.sin(azimuth), np.cos(azimuth)
    x, z = half * np.sign(s) * np.abs(s) ** power, -3 + depth * np.sign(c) * np.abs(c) ** power
    t = np.linspace(0, 1, LOFT_ROWS + 1)[1:, None]
    out, down = np.sin(np.minimum(t * 1.45, 1) * np.pi / 2), t**1.5
    y = edge[:, 1] + (FLOOR - edge[:, 1]) * down
    loft = np.stack([edge[:, 0] + (x - edge[:, 0]) * out, y, edge[:, 2] + (z - edge[:, 2]) * out], -1)
    return np.concatenate([bust, loft])


def body_props(rng: np.random.Generator, neck: PolarGrid, vertices: F64) -> list[Prop]:
    """Skin below the mesh's edge (albedo nan: the head's own), a garment over it, and its collar."""
    grid, azimuth = body_grid(rng, neck, vertices), neck.azimuth
    normal = shells.grid_normals(grid)
    kind = rng.choice(["crew", "scoop", "shirt", "hoodie", "scarf"], p=[0.35, 0.2, 0.22, 0.13, 0.1])
    front = {"crew": -13.2, "scoop": rng.uniform(-18, -15.5), "shirt": -14.5, "hoodie": -13.5, "scarf": -12.5}[kind]
    wide = rng.uniform(0, 1.5) if kind in ("crew", "scoop") else 0
    line = around(
        [0, 25, 70, 120, 180], [front, front * 0.6 - 4.6, -11 - wide, -9.4 - wide, -8.6], azimuth
    ) + rng.uniform(-0.5, 0.5)
    slope = np.linalg.norm(np.gradient(grid, axis=0), axis=-1)
    fall = np.maximum(-np.gradient(grid[..., 1], axis=0) / (slope + 1e-9), 0.35)
    inside = (line - grid[..., 1]) / fall
    folds = shells.space_noise(rng, grid * [1, 0.5, 1], 11) * smoothstep(1, 9, inside)
    colour = cloth_colour(rng)
    thick = rng.uniform(0.25, 0.6) * (1 if kind != "hoodie" else 1.6)
    rise = smoothstep(-0.4, 0.25, inside)
    offset = (thick + 0.7 * smoothstep(0.5, 4, inside)) * rise + 0.3 * folds - 0.4 * (1 - rise)
    albedo = np.clip(colour * np.exp(0.06 * folds + 0.05 * rng.standard_normal(folds.shape))[..., None], 0.004, 0.9)
    cloth = grid + offset[..., None] * normal
    props = [shells.grid_prop("shoulders", cloth, albedo, inside > -0.9, "cloth", 0.85, 0.15)]
    bare = (inside < 1.6) & (np.arange(len(grid))[:, None] >= len(neck.neutral) - 2)
    skin = grid - 0.04 * normal * (np.arange(len(grid)) < len(neck.neutral))[:, None, None]
    if (bare[1:] & bare[:-1] & np.roll(bare[1:] & bare[:-1], -1, 1)).any():
        props.append(shells.grid_prop("neck", skin, np.full(grid.shape, np.nan), np.asarray(bare), "skin", 0.5, 0.5))
    return [*props, *collar_props(rng, kind, grid, normal, inside, azimuth, colour)]


def wrap_prop(rng: np.random.Generator, neck: PolarGrid, vertices: F64, colour: F64) -> Prop:
    """The part of a headscarf round the neck and on the shoulders."""
    grid = neck.points(vertices)
    folds = np.sin(grid[..., 1] * rng.uniform(1.2, 2.2) + 1.6 * shells.space_noise(rng, grid, 10))
    inside = around([0, 40, 70, 180], [-8.6, -8.3, -7.6, -7.6], neck.azimuth) - grid[..., 1]
    thick = (1.9 + 0.16 * folds) * smoothstep(-0.5, 3, inside) * smoothstep(-19, -16.5, grid[..., 1]) + 0.3
    albedo = np.clip(colour * np.exp(0.06 * folds)[..., None], 0.004, 0.9)
    points = grid + thick[..., None] * shells.grid_normals(grid)
    return shells.grid_prop("wrap", points, albedo, inside > -1.5, "cloth", 0.8, 0.2)


def collar_props(
    rng: np.random.Generator, kind: str, grid: F64, normal: F64, inside: F64, azimuth: F64, colour: F64
) -> list[Prop]:
    """What stands at the neckline: a rib, a shirt's folded collar, a hood, or a scarf."""
    order = np.argsort(azimuth)
    row = np.argmin(np.abs(inside[:, order]), 0)
    a, level = azimuth[order], inside[:, order]
    i = np.clip(np.where(level[row, np.arange(len(row))] > 0, row - 1, row), 0, len(grid) - 2)
    f0, f1 = level[i, np.arange(len(i))], level[i + 1, np.arange(len(i))]
    w = np.clip(f0 / (f0 - f1 - 1e-9), 0, 1)[:, None]
    path = grid[i, order] * (1 - w) + grid[i + 1, order] * w
    out = normal[i, order] * [1, 0.25, 1]
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    up, turn = np.broadcast_to([0.0, 1, 0], out.shape), np.linspace(0, 2 * np.pi, 10, endpoint=False)
    disc = np.stack([np.sin(turn), np.cos(turn)], -1)
    closed, joined = True, True
    if kind in ("crew", "scoop"):
        profile = disc * [0.22, 0.45] + [0.28, 0]
    elif kind == "shirt":
        stand, spread = rng.uniform(1.8, 3.0), rng.uniform(1.2, 2.4)
        profile = np.array(
            [
                [0.1, -0.6],
                [0.2, stand * 0.6],
                [0.35, stand],
                [0.65, stand + 0.1],
                [1.0, stand * 0.6],
                [spread, -0.6],
                [spread + 0.2, -1.3],
                [spread - 0.2, -1.3],
                [0.5, stand - 0.4],
            ]
        )
        keep = np.abs(a) > np.deg2rad(rng.uniform(6, 16))
        path, out, up, closed = path[keep], out[keep], up[keep], False
    elif kind == "hoodie":
        back = 0.9 + 1.0 * smoothstep(0.6, 2.4, np.abs(a))
        profile = (disc * [1.0, 1.1] + [0.9, 0.5])[None] * back[:, None, None]
    else:
        lumps = 1 + 0.18 * shells.ring_noise(rng, a[:, None] + 0.5 * turn, 22) * 0.6
        profile = (disc * [1.5, rng.uniform(1.7, 2.6)])[None] * lumps[..., None] + [1.0, 1.2]
        colour = cloth_colour(rng)
    points, triangles = shells.sweep(path, out, up, profile, closed=closed, round_profile=joined)
    tone = np.clip(colour * np.exp(0.06 * rng.standard_normal((len(points), 1))), 0.004, 0.9)
    return [Prop("collar", points, triangles, tone.astype(np.float32), 0.85, 0.15, "cloth")]
