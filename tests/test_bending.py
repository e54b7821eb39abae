"""Bends: a patch of skin that an expression tilts is lit as a tilted patch, and one that does not move as before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.bending import (
    FADE,
    LIDS,
    MOST,
    Bending,
    bend_map,
    crossed,
    face_of,
    from_eyes,
    from_outline,
    texel_corners,
    turned,
)
from narrate_stream.bundle import HybridModel
from narrate_stream.fusion import exact_framing, head_framing
from narrate_stream.lightmap import LightMap
from narrate_stream.ops import ownlight
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.ops.lighting import EXTENT, Lighting, ambient, decode_normals, shade_normals, sun
from narrate_stream.presence import still_motion
from narrate_stream.relighters import ExactRelighter, LightMapRelighter
from narrate_stream.renderer import GBuffer, Renderer
from narrate_stream.shading import Shading
from tests.toy_model import SIDE, toy_model

ROWS, COLUMNS = 18, 26  # 468 landmarks
SKY = ambient(0.8, sky=0.6) + np.where(np.arange(9) == 3, 0.8, 0)[:, None].astype(np.float32)  # from the right too
MIDDLE = np.s_[10:22, 12:20]  # texels well inside


def patch() -> HybridModel:
    """A square of skin that fills the picture, facing the viewer, a pixel to the cm, a landmark at every vertex; black,
    without gloss."""
    y, x = np.meshgrid(np.linspace(0, SIDE - 1, ROWS), np.linspace(0, SIDE - 1, COLUMNS), indexing="ij")
    at = np.stack([x, y], -1).reshape(-1, 2)
    points = np.column_stack([at[:, 0] - 15.5, 15.5 - at[:, 1], np.full(len(at), -50.0)])
    i = np.arange(ROWS - 1)[:, None] * COLUMNS + np.arange(COLUMNS - 1)
    a, b, c, d = i, i + 1, i + COLUMNS, i + COLUMNS + 1
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, c, b), (b, c, d))])
    surface = np.zeros((SIDE, SIDE, 4), np.uint8)
    surface[..., :2], surface[..., 2] = 128, 255
    return replace(
        toy_model(points, triangles, at),
        rig_indptr=np.arange(469, dtype=np.int32),
        rig_index=np.arange(468, dtype=np.int32),
        rig_value=np.ones(468, np.float32),
        surface=surface,
        albedo=np.zeros((SIDE, SIDE, 3), np.uint8),
        horizons=np.zeros((32, SIDE, SIDE), np.uint8),
        light=np.array([3.0, 0.3, 0.6, 0.5, 0, 0, 0, 0, 0], np.float32),
    )


def tilted(model: HybridModel, angles: tuple[float, float]) -> np.ndarray:
    """(468, 3) offsets that turn the patch about its middle; yaw and pitch, degrees."""
    points = model.vertices - [0, 0, -50]
    return np.asarray(points @ rotation_from_angles(*angles, 0).T - points, np.float32)


def seen(model: HybridModel, offsets: np.ndarray) -> GBuffer:
    return Renderer(model, exact_framing(model, (SIDE, SIDE)))(replace(still_motion(), offsets=offsets))


def facing(model: HybridModel) -> np.ndarray:
    """(3,) the baked normal."""
    return decode_normals((model.surface[0, 0, :2] / 255 * 2 - 1) * EXTENT)


@pytest.mark.parametrize("angles", [(20.0, 0.0), (0.0, -15.0), (12.0, 18.0)])
@pytest.mark.parametrize("lighting", [sun(40, 25), Lighting("sky", SKY)], ids=["lamp", "sky"])
def test_a_tilted_patch_is_lit_as_lambert_says(angles: tuple[float, float], lighting: Lighting) -> None:
    model = patch()
    made = LightMap(model, Shading(model))(seen(model, tilted(model, angles)), lighting)[MIDDLE]
    normal = facing(model) @ rotation_from_angles(*angles, 0).T
    assert made == pytest.approx(np.broadcast_to(shade_normals(lighting, normal), made.shape), abs=0.02)
    flat = shade_normals(lighting, facing(model))
    assert np.abs(made.mean((0, 1)) - flat).max() > 0.03  # it is a change that one sees


def test_the_portraits_own_light_changes_on_a_tilted_patch() -> None:
    model, own = patch(), Lighting("original", original=True)
    made = LightMap(model, Shading(model))(seen(model, tilted(model, (20, 0))), own)[MIDDLE]
    now = facing(model) @ rotation_from_angles(20, 0, 0).T
    assert made == pytest.approx(float(ownlight.change(model.light, facing(model), now)), abs=0.01)
    assert abs(made.mean() - 1) > 0.03


def test_what_does_not_move_is_lit_as_before() -> None:
    """A shift turns nothing, a face at rest has no bends at all."""
    model, lighting = patch(), sun(40, 25)
    shading = Shading(model)
    at_rest, shifted = (seen(model, np.full((468, 3), d, np.float32)) for d in (0.0, 0.3))
    assert at_rest.bend.shape == (0, 3)
    assert np.abs(shifted.bend).max() < 1e-4
    before = LightMap(model, shading)(at_rest, lighting)
    assert np.array_equal(LightMap(model, shading)(shifted, lighting), before)
    one_corner = np.zeros((468, 3), np.float32)
    one_corner[3 * COLUMNS + 3] = [0, 0, 2]  # a bump
    made = LightMap(model, shading)(seen(model, one_corner), lighting)
    assert np.abs(made - before)[:12, :12].max() > 0.05
    assert np.array_equal(made[16:, 16:], before[16:, 16:])


def test_both_relighters_follow_an_expression(model: HybridModel) -> None:
    from narrate_stream.drivers.script import posed_motion
    from narrate_stream.retarget import Retargeter

    retarget = Retargeter(model)
    retarget.calibrate(posed_motion(np.zeros(6), (64, 64)))
    smile = {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0, "browInnerUp": 1.0, "jawOpen": 0.3}
    for _ in range(30):
        motion = retarget(posed_motion(np.zeros(6), (64, 64), smile), 1 / 30)
    for lighting in (sun(55, 30), Lighting("original", original=True)):
        gbuffer = Renderer(model, head_framing(model, 256))(motion, albedo=not lighting.original)
        flat = replace(gbuffer, bend=np.zeros((0, 3), np.float32))
        changes = []
        for relighter in (LightMapRelighter(model), ExactRelighter(model)):
            bent_face, flat_face = (relighter(g, lighting)[0].astype(int) for g in (gbuffer, flat))
            changes.append(np.where(gbuffer.covered[..., None], bent_face - flat_face, 0).mean(-1))
        live, exact = changes
        strong = np.abs(exact) > 6
        assert strong.sum() > 150
        assert np.corrcoef(live[strong], exact[strong])[0, 1] > 0.85
        assert np.abs(live - exact)[gbuffer.covered].mean() < 0.4


def test_a_bend_takes_one_normal_to_the_other() -> None:
    rng = np.random.default_rng(0)
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 200, 3)).astype(np.float32))
    near = (a * b).sum(1) > 0.1
    bend = crossed(a, b)
    assert bend == pytest.approx(np.cross(a, b), abs=1e-6)
    assert turned(a, bend)[near] == pytest.approx(b[near], abs=1e-4)
    assert turned(a, 0 * bend) == pytest.approx(a, abs=1e-6)


def test_bends_have_a_limit_and_fade_toward_the_outline() -> None:
    model = patch()
    bending = Bending(model)
    assert len(face_of(model)) == len(model.triangles)
    steep = model.vertices + tilted(model, (80, 0)) @ model.rotation.T
    length = np.linalg.norm(bending(steep.astype(np.float32)), axis=1).reshape(ROWS, COLUMNS)
    assert length.max() < MOST
    assert length[9, 13] > 0.8 * MOST
    share = from_outline(bending.triangles, 468).reshape(ROWS, COLUMNS)
    assert (share[0] == 0).all()
    assert (share[FADE:-FADE, FADE:-FADE] == 1).all()


def test_lids_do_not_turn_in_the_light() -> None:
    """A hole in the patch is an eye, and bends fade in round it; the patch's own outline is none."""
    model = patch()
    middle = np.isin(model.triangles, 8 * COLUMNS + np.array([12, 13, 14])).any(1)
    holed = model.triangles[~middle]
    share = from_eyes(holed, 468, np.array([7 * COLUMNS + 13])).reshape(ROWS, COLUMNS)
    assert share[7, 13 + 1 :][: LIDS[0]].max() == 0
    assert share[0, 0] == share[-1, -1] == 1
    assert 0 < share[7, 15 + LIDS[0] + 2] < 1
    assert (from_eyes(holed, 468, np.array([0])) == 1).all()
    assert (from_eyes(model.triangles, 468, np.array([33, 263])) == 1).all()


def test_texels_take_their_bend_from_the_triangle_they_lie_in() -> None:
    source = np.array([[0, 0], [15, 0], [0, 15], [40, 40]], np.float32)
    corner, by = texel_corners(source, np.array([[0, 1, 2]], np.int32), 0.5, (10, 8))
    assert corner[0, 1].tolist() == [0, 1, 2]
    assert (corner[7, 9] == -1).all()
    inside = corner[..., 0] >= 0
    y, x = np.nonzero(inside)
    assert by[inside] @ ((source[:3] + 0.5) * 0.5 - 0.5) == pytest.approx(np.stack([x, y], -1), abs=1e-5)
    bend = np.arange(12, dtype=np.float32).reshape(4, 3)
    taken = bend_map(bend, corner, by)
    assert taken[inside] == pytest.approx(by[inside] @ bend[:3], abs=1e-5)
    assert not taken[~inside].any()
