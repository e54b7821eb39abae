"""Our canonical face: average positions of the 478 landmarks on sampled heads, their modes, and an average skull.

`python -m offline.canonical FACEKIT_DIR` renders heads of the ICT FaceKit from several sides, finds the landmarks with
the detector that the product uses, lifts them to the surface and averages. What is shipped (`data/canonical.npz`) is
statistics, not the kit's mesh.

Convention: head space in cm, x right in the image, y up, z toward the viewer, origin midway between the outer eye
corners at the depth of the ears; a frontal head has rotation identity.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from offline.facekit import FaceKit, load_facekit
from offline.layers import INNER_LOWER, INNER_UPPER
from offline.softmesh import MapRenderer, screen_of

OUT = Path(__file__).parents[1] / "narrate_stream" / "data" / "canonical.npz"
F64 = NDArray[np.float64]
SIZE, FOCAL, DISTANCE = 512, 900.0, 60.0
YAWS = (-30, -15, 0, 15, 30)
ALBEDO = {"Face": 0.55, "BackHead": 0.5, "Teeth": 0.7, "Sclera": 0.8, "Iris": 0.12, "EyeLashes": 0.15, "Gums": 0.3}
HIDDEN = ("EyeOcclusion", "EyeBlend", "Lacrimal")
SKULL_STEP = 0.5  # cm
FORBIDDEN, NEIGHBOUR = 50.0, 0.3  # cm: what partners cost that cannot be, and what a shared neighbour is worth
MIRROR_ROUNDS = 12


def shaded(kit: FaceKit, vertices: F64, yaw: float, renderer: MapRenderer) -> tuple[NDArray[np.uint8], F64, F64]:
    """Picture (S, S, 3), position map (S, S, 3) in head space (nan = nothing) and its facing ratio, at one yaw."""
    turn = rotation_from_angles(yaw, 0, 0)
    posed = (vertices - [0, 0, 4]) @ turn.T + [0, 0, 4 - DISTANCE]
    camera = Camera(FOCAL, (SIZE - 1) / 2, (SIZE - 1) / 2)
    position = renderer.map(screen_of(posed, camera.project(posed)), vertices, SIZE, SIZE)
    step_x, step_y = np.gradient(position, axis=1), np.gradient(position, axis=0)
    normal = np.cross(step_y, step_x)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
    view = normal @ turn.T
    facing = view[..., 2]
    material = kit.material[renderer.kept[renderer.hit]]
    albedo = np.zeros(len(kit.material_names))
    for i, name in enumerate(kit.material_names):
        albedo[i] = next((a for key, a in ALBEDO.items() if key in name), 0.5)
    light = 0.35 + 0.65 * np.clip(view @ [0.2, 0.4, 0.9], 0, 1)
    shade = np.where(np.isnan(facing), 0.25, np.nan_to_num(light) * albedo[material])
    tone = np.clip(shade[..., None] * [1.15, 0.95, 0.85], 0, 1) ** (1 / 2.2)
    return (tone * 255).astype(np.uint8), position, np.nan_to_num(facing)


def lifted_landmarks(kit: FaceKit, vertices: F64, renderer: MapRenderer, mesh: FaceMesh) -> F64 | None:
    """(478, 3) landmarks of one head, averaged over the views with weight by how squarely each is seen."""
    total, weight = np.zeros((478, 3)), np.zeros((478, 1))
    for yaw in YAWS:
        picture, position, facing = shaded(kit, vertices, yaw, renderer)
        found = mesh(picture)
        if found is None:
            continue
        x, y = np.clip(np.round(found[:, :2]).astype(int), 0, SIZE - 1).T
        point, w = position[y, x], np.clip(facing[y, x], 0, 1)[:, None] ** 3
        ok = ~np.isnan(point[:, 0]) & (w[:, 0] > 0.02)
        total[ok] += (point * w)[ok]
        weight[ok] += w[ok]
    return total / weight if (weight > 0).all() else None


def mirror_index(mean: F64, triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """(478,) for every landmark its partner on the other half of the face: the one that lies where its mirror image
    would and whose neighbours are its neighbours' partners. Shut lips lie upon each other and are told apart by
    name."""
    n = int(triangles.max()) + 1
    cost = np.linalg.norm(mean[:, None] - (mean * [-1, 1, 1])[None], axis=-1)
    for rim in (INNER_UPPER, INNER_LOWER):
        cost[list(rim)] += FORBIDDEN
        cost[list(rim), list(rim[::-1])] -= FORBIDDEN
    edges = np.zeros((len(mean), len(mean)))
    for k in range(3):
        edges[triangles[:, k], triangles[:, k - 1]] = edges[triangles[:, k - 1], triangles[:, k]] = 1
    cost[:n, n:] = cost[n:, :n] = FORBIDDEN
    partner, valence = linear_sum_assignment(cost)[1], edges.sum(1)
    cost += NEIGHBOUR * np.abs(valence[:, None] - valence)
    for _ in range(MIRROR_ROUNDS):
        partner = linear_sum_assignment(cost - NEIGHBOUR * edges @ edges[partner])[1]
    return np.asarray(partner, np.int32)


def skull_maps(kit: FaceKit, origin: F64, heads: list[F64]) -> dict[str, F64]:
    """Front and back depth (cm) of the average whole head over (x, y) in head space; nan where there is none."""
    x = np.arange(-11, 11.01, SKULL_STEP)
    y = np.arange(-16, 14.01, SKULL_STEP)
    fronts: list[F64] = []
    backs: list[F64] = []
    skin = np.isin(kit.material, [kit.material_names.index("M_Face"), kit.material_names.index("M_BackHead")])
    renderer = MapRenderer(kit.triangles[skin])
    for vertices in heads:
        for sign, out in ((1, fronts), (-1, backs)):
            p = (vertices - origin) * [1, 1, sign]
            flat = np.stack([(p[:, 0] - x[0]) / SKULL_STEP, (p[:, 1] - y[0]) / SKULL_STEP, p[:, 2]], -1)
            out.append(renderer.orthographic(flat, len(x), len(y)) * sign)
    with np.errstate(all="ignore"):
        return {"skull_x": x, "skull_y": y, "skull_front": np.median(fronts, 0), "skull_back": np.median(backs, 0)}


def tessellation(mean: F64) -> NDArray[np.int32]:
    """The detector's 852 triangles (eyes and mouth are open), wound so that their normals point to the viewer.

    The library lists edges only, without order: triangles are the 3-cycles; a cycle round a vertex of valence three is
    none, and shows itself by having every edge already shared by two others.
    """
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

    near: dict[int, set[int]] = {}
    for a, b in FACEMESH_TESSELATION:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    cycles = {tuple(sorted((a, b, c))) for a in near for b in near[a] for c in near[a] & near[b]}
    edges = [pair for t in cycles for pair in ((t[0], t[1]), (t[1], t[2]), (t[0], t[2]))]
    shared = {e: edges.count(e) for e in set(edges)}
    real = [t for t in cycles if any(shared[e] < 3 for e in ((t[0], t[1]), (t[1], t[2]), (t[0], t[2])))]
    triangles = np.array(sorted(real), np.int32)
    a, b, c = (mean[triangles[:, k]] for k in range(3))
    area = np.cross(b - a, c - a)[:, 2]
    return np.where((area > 0)[:, None], triangles, triangles[:, ::-1]).astype(np.int32)


def expression_modes(kit: FaceKit, mean: F64, count: int) -> F64:
    """(count, 478, 3) principal displacements (cm) of the landmarks over the kit's expressions, one sigma each."""
    face = np.unique(kit.triangles[kit.material == kit.material_names.index("M_Face")])
    nearest = face[np.linalg.norm(kit.neutral[face][None] - mean[:, None], axis=-1).argmin(1)]
    shapes = kit.expression[:, nearest].astype(np.float64)
    shapes[:, 468:] = 0
    directions, size = np.linalg.svd(shapes.reshape(len(shapes), -1), full_matrices=False)[2:0:-1]
    return np.asarray(directions[:count].reshape(count, 478, 3) * (size[:count, None, None] / len(shapes) ** 0.5))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facekit", type=Path)
    parser.add_argument("--heads", type=int, default=80)
    parser.add_argument("-o", type=Path, default=OUT)
    options = parser.parse_args()
    kit = load_facekit(options.facekit)
    shown = ~np.array([any(h in n for h in HIDDEN) for n in kit.material_names])[kit.material]
    renderer = MapRenderer(kit.triangles[shown], np.flatnonzero(shown))
    rng, heads, points = np.random.default_rng(7), [], []
    with FaceMesh(video=False) as mesh:
        for _ in range(options.heads):
            vertices = kit.head(rng.normal(0, 0.9, len(kit.identity)).astype(np.float32)).astype(np.float64)
            if (lm := lifted_landmarks(kit, vertices, renderer, mesh)) is not None:
                heads.append(vertices)
                points.append(lm)
    click.echo(f"landmarks found on {len(points)} of {options.heads} heads")
    stack = np.stack(points)
    mean = np.median(stack, 0)
    triangles = tessellation(mean)
    partner = mirror_index(mean, triangles)
    mean = (mean + mean[partner] * [-1, 1, 1]) / 2
    origin = (mean[33] + mean[263]) / 2 * [1, 1, 0]
    deviation = stack - mean
    deviation = np.concatenate([deviation, deviation[:, partner] * [-1, 1, 1]])
    deviation -= deviation.mean(1, keepdims=True)
    modes, size = np.linalg.svd(deviation.reshape(len(deviation), -1), full_matrices=False)[2:0:-1]
    count = 24
    maps = skull_maps(kit, origin, heads[:24])
    np.savez_compressed(
        options.o,
        landmarks=(mean - origin).astype(np.float32),
        modes=(modes[:count].reshape(count, 478, 3) * (size[:count, None, None] / len(deviation) ** 0.5)).astype(
            np.float16
        ),
        expressions=expression_modes(kit, mean, 24).astype(np.float16),
        triangles=triangles,
        mirror=partner,
        **{k: v.astype(np.float32) for k, v in maps.items()},
    )
    spread = (size[:6] / (len(deviation) * 478) ** 0.5).round(2)
    click.echo(
        f"{options.o}: {options.o.stat().st_size} bytes, {len(triangles)} triangles, mode sizes (cm rms) {spread}"
    )


if __name__ == "__main__":
    main()
