"""Statistics of whole heads: `python -m offline.head_stats FACEKIT_DIR` writes `narrate_stream/data/head.npz`.

Random heads of the ICT FaceKit are photographed (`offline/stage_faces.py`) and resampled on a grid of directions of our
own; what is shipped are the average, modes of variation and a regression from landmarks, not the kit's mesh.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.errors import NarrateError
from narrate_stream.ops.canonical import canonical
from offline.facekit import FaceKit, load_facekit
from offline.headfit import MARKS, Aligned, align, features, ray_frame
from offline.stage_faces import Shot, Studio

OUT = Path(__file__).parents[1] / "narrate_stream" / "data" / "head.npz"
F64 = NDArray[np.float64]
ROWS, COLUMNS = 56, 96
CROWN, NECK = 88.0, -68.0  # degrees of elevation of the first and the last row
CENTRE = np.array([0.0, -1.0, 0.0])  # head space, cm: where the rays start
MODES, COMPONENTS = 32, 100
RIDGE = 60.0
LOST = 2.5  # cm from the matching point of the kit's surface: the landmark's pixel shows something else
SURFACE = ("M_Face", "M_BackHead", "M_Sclera")


@dataclass(frozen=True)
class Grid:
    """Our directions on the kit's surface: corners (n, 3) vertices and shares (n, 3) of each; the last 468 rows are the
    vertices nearest to the canonical landmarks. origin (3,) of head space in kit space."""

    corners: NDArray[np.int64]
    shares: F64
    origin: F64

    def points(self, vertices: F64) -> F64:
        """(n, 3) head-space points of a head in kit space."""
        return np.asarray(np.einsum("nk,nkc->nc", self.shares, vertices[self.corners]) - self.origin)


def directions(lowest: F64) -> F64:
    """(rows * columns, 3) unit rays: rows from the crown down to `lowest` (columns,) degrees of elevation, columns
    round from the back over -x, front and +x."""
    up = np.radians(np.linspace(CROWN, lowest, ROWS))
    around = np.broadcast_to(np.radians(np.arange(COLUMNS) * 360 / COLUMNS), up.shape)
    rays = np.stack([-np.cos(up) * np.sin(around), np.sin(up), -np.cos(up) * np.cos(around)], -1)
    return np.asarray(rays.reshape(-1, 3))


def lowest_elevation(corners: F64) -> F64:
    """(columns,) degrees: how far down the surface (T, 3, 3) goes on in each direction, NECK at most; the same on both
    sides and a little less than found, smoothed."""
    steps = np.arange(-30.0, NECK - 0.1, -1.0)
    found = np.full(COLUMNS, steps[0])
    around = np.radians(np.arange(COLUMNS) * 360 / COLUMNS)
    for up in steps:
        e = np.radians(up)
        rays = np.stack([-np.cos(e) * np.sin(around), np.full(COLUMNS, np.sin(e)), -np.cos(e) * np.cos(around)], -1)
        hit = outermost(rays, corners)[2] & (found == up + 1) | (up == steps[0])
        found = np.where(hit, up, found)
    found = np.maximum(found, found[-np.arange(COLUMNS) % COLUMNS]) + 2
    near = np.stack([np.roll(found, k) for k in range(-3, 4)])
    return np.asarray(near.max(0))


def outermost(rays: F64, corners: F64) -> tuple[NDArray[np.int64], F64, NDArray[np.bool_]]:
    """The farthest triangle (n,) that each ray (n, 3) from the origin leaves through, shares (n, 3) of its corners
    (T, 3, 3), and whether (n,) there is one."""
    a = corners[:, 0]
    b, c = corners[:, 1] - a, corners[:, 2] - a
    which, shares, there = np.zeros(len(rays), np.int64), np.zeros((len(rays), 3)), np.zeros(len(rays), np.bool_)
    side = np.cross(-a, b)
    away = corners / np.linalg.norm(corners, axis=-1, keepdims=True)
    middle = away.sum(1) / np.linalg.norm(away.sum(1), axis=-1, keepdims=True)
    reach = np.einsum("tkc,tc->tk", away, middle).min(1)
    reach = np.where(reach > 0, reach - 1e-6, -1.0)  # the cone round a triangle; too wide a one excludes nothing
    for i, ray in enumerate(rays):
        near = np.flatnonzero(middle @ ray >= reach)
        if not len(near):
            continue
        p = np.cross(ray, c[near])
        det = (b[near] * p).sum(-1)
        det = np.where(np.abs(det) < 1e-12, np.inf, det)
        u, v = (-a[near] * p).sum(-1) / det, (side[near] @ ray) / det
        inside = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9)
        t = np.where(inside, (c[near] * side[near]).sum(-1) / det, -1)
        best = t.argmax()
        which[i], there[i] = near[best], t[best] > 0
        shares[i] = 1 - u[best] - v[best], u[best], v[best]
    return which, shares, there


def laid_on(skin: F64) -> tuple[NDArray[np.int64], float]:
    """The rows (468,) of `skin` (n, 3), cm, nearest to the canonical landmarks, and the height of the eyes there: the
    one at which the canonical face lies closest, to 0.05 cm (nearest points alone slide there far too slowly)."""
    tree, face = cKDTree(skin), canonical().landmarks[:MARKS]
    up, heights = np.array([0.0, 1.0, 0.0]), np.arange(-8.0, 8.0, 0.05)
    height = float(min(heights, key=lambda y: float((tree.query(face + y * up)[0] ** 2).mean())))
    return np.asarray(tree.query(face + height * up)[1], np.int64), height


def grid_on(kit: FaceKit) -> Grid:
    """The grid on the kit's neutral head, from which every head takes matching points."""
    neutral = kit.neutral.astype(np.float64)
    kinds = [i for i, name in enumerate(kit.material_names) if name.startswith(SURFACE)]
    triangles = kit.triangles[np.isin(kit.material, kinds)]
    skin = np.unique(kit.triangles[kit.material == kit.material_names.index("M_Face")])
    nearest, height = laid_on(neutral[skin])
    nearest, origin = skin[nearest], np.array([0.0, height, 0.0])
    surface = neutral[triangles] - origin - CENTRE
    which, shares, there = outermost(directions(lowest_elevation(surface)), surface)
    if not there.all():
        raise NarrateError("the kit's head has a hole where our grid meets it")
    corners = np.concatenate([triangles[which], np.repeat(nearest[:, None], 3, 1)])
    return Grid(corners, np.concatenate([shares, np.tile([1.0, 0.0, 0.0], (MARKS, 1))]), origin)


def truth(shot: Shot, seen: Aligned, head: F64, origin: F64) -> tuple[F64, F64]:
    """What the regression is to find in one shot: (7 + 468,) numbers as `HeadStats.weights` orders them, without the
    modes, and the head's points in canonical size. head (n, 3) in head space, its last rows the landmarks."""
    place = shot.place + shot.rotation @ origin
    ray = ray_frame(place)
    turn = Rotation.from_matrix(seen.rotation.T @ ray.T @ shot.rotation).as_rotvec()
    size = -place[2] / shot.camera.focal * seen.scale
    aside = (shot.camera.project(place) - seen.centre) / seen.scale
    own = head[-MARKS:] @ shot.rotation.T + place
    lost = np.isnan(shot.depth) | (np.abs(shot.depth - own[:, 2]) > LOST)
    under = shot.camera.unproject(shot.landmarks[:MARKS, :2], np.where(lost, own[:, 2], shot.depth))
    depth = ((under - place) @ ray)[:, 2] / size - (canonical().landmarks[:MARKS] @ seen.rotation.T)[:, 2]
    return np.concatenate([turn, [np.log(size), 10 / -place[2]], aside, depth]), head / size


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facekit", type=Path)
    parser.add_argument("--heads", type=int, default=2600)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("-o", type=Path, default=OUT)
    options = parser.parse_args()
    kit = load_facekit(options.facekit)
    grid, studio, rng = grid_on(kit), Studio(kit), np.random.default_rng(options.seed)
    rests, poses, wanted, heads = [], [], [], []
    with FaceMesh(video=False) as mesh:
        for _ in range(options.heads):
            if (shot := studio.shoot(rng, mesh)) is not None:
                seen = align(shot.landmarks)
                target, head = truth(shot, seen, grid.points(shot.vertices), grid.origin)
                rests.append(seen.rest.astype(np.float32))
                poses.append(seen.rotation)
                wanted.append(target)
                heads.append(head.astype(np.float32).ravel())
    click.echo(f"landmarks found on {len(rests)} of {options.heads} heads")
    write(options.o, np.array(rests), np.array(poses), np.array(wanted), np.array(heads))


def principal(rows: NDArray[np.float32], count: int) -> tuple[F64, F64]:
    """(D,) mean and (count, D) principal directions of the rows, scaled to one sigma."""
    mean = rows.mean(0)
    away = rows - mean
    values, mix = np.linalg.eigh((away @ away.T).astype(np.float64))
    mix = mix[:, ::-1][:, :count]
    scale = np.sqrt(np.maximum(values[::-1][:count], 1e-12))
    along = (mix.T @ away) / scale[:, None]
    return mean.astype(np.float64), np.asarray(along * (scale[:, None] / len(rows) ** 0.5))


def symmetric(template: F64, modes: F64) -> tuple[F64, F64]:
    """Template (n, 3) made symmetric; modes (M, n, 3) stay as found."""
    index = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    partner = np.concatenate([index[:, -np.arange(COLUMNS) % COLUMNS].ravel(), canonical().mirror[:MARKS] + index.size])
    return (template + template[partner] * [-1, 1, 1]) / 2, modes


def write(path: Path, rests: NDArray[np.float32], poses: F64, wanted: F64, heads: NDArray[np.float32]) -> None:
    """Solves for everything, tells the errors on every fifth head, which it leaves out, and saves the statistics."""
    own = np.arange(len(rests)) % 5 != 0
    mean, basis = principal(rests[own], COMPONENTS)
    basis /= (basis**2).sum(1, keepdims=True)  # from shapes to whitened components
    some = heads[own][:: max(1, own.sum() // 1000)]
    template, modes = principal(some, MODES)
    share = (heads - template) @ (modes / (modes**2).sum(1, keepdims=True)).T
    wanted = np.concatenate([wanted[:, :7], share, wanted[:, 7:]], 1)
    given = features((rests - mean) @ basis.T, poses)
    damping = RIDGE * np.eye(given.shape[1])
    damping[0, 0] = 0
    weights = np.linalg.solve(given[own].T @ given[own] + damping, given[own].T @ wanted[own])
    miss = (wanted - given @ weights)[~own]
    turn, depth = np.degrees(np.sqrt((miss[:, :3] ** 2).mean(0))), np.sqrt((miss[:, 7 + MODES :] ** 2).mean())
    click.echo(f"turn error {turn.round(2)} degrees, log size {miss[:, 3].std():.3f}, depth {depth:.3f} cm")
    click.echo(
        f"10/distance {miss[:, 4].std():.3f} of {wanted[:, 4].std():.3f}, origin {miss[:, 5:7].std(0).round(2)} cm"
    )
    head_miss = np.sqrt((((share - (given @ weights)[:, 7 : 7 + MODES])[~own] @ modes) ** 2).mean() * 3)
    click.echo(f"head {head_miss:.3f} cm rms, {np.sqrt(((heads - template)[~own] ** 2).mean() * 3):.3f} without a fit")
    mean_head, modes3 = symmetric(template.reshape(-1, 3), modes.reshape(MODES, -1, 3))
    arrays = {"mean": mean, "basis": basis, "weights": weights, "template": mean_head, "modes": modes3}
    kinds = {"modes": np.float16, "basis": np.float16, "weights": np.float16}
    np.savez_compressed(
        path, shape=np.array([ROWS, COLUMNS]), **{k: v.astype(kinds.get(k, np.float32)) for k, v in arrays.items()}
    )
    click.echo(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
