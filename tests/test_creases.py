"""Creases: none at rest, deeper with the expression, where a face has them; live as in the reference."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.creases import Creases, enlarged, tilted
from narrate_stream.drivers.channels import expressive_face
from narrate_stream.drivers.script import posed_motion
from narrate_stream.fusion import head_framing
from narrate_stream.lightmap import LightMap
from narrate_stream.ops.creases import (
    BROW,
    DARKEST,
    FROWN,
    GROUPS,
    LASH,
    SHADE,
    SMILE,
    Crease,
    amplitudes,
    curve_points,
    eased,
    profile,
)
from narrate_stream.ops.lighting import Lighting, shade_normals, sun
from narrate_stream.presence import still_motion
from narrate_stream.relighters import ExactRelighter, LightMapRelighter
from narrate_stream.renderer import Renderer
from narrate_stream.retarget import LOWER_LIDS, UPPER_LIDS, Retargeter
from narrate_stream.shading import Shading
from narrate_stream.types import AvatarMotion

RAISED = {"browInnerUp": 1.0, "browOuterUpLeft": 1.0, "browOuterUpRight": 1.0}
NAMES = (
    "brow right",
    "brow left",
    "frown",
    "smile right",
    "smile left",
    "crow right",
    "crow left",
    "lash right",
    "lash left",
    "shade right",
    "shade left",
    "lid right",
    "lid left",
    "mouth",
)


def moved(model: HybridModel, face: dict[str, float]) -> AvatarMotion:
    retarget = Retargeter(model)
    retarget.calibrate(posed_motion(np.zeros(6), (64, 64)))
    for _ in range(30):
        motion = retarget(posed_motion(np.zeros(6), (64, 64), face), 1 / 30)
    return motion


@pytest.mark.parametrize(
    ("face", "deep"),
    [
        ({}, set()),
        ({"jawOpen": 0.8}, set()),
        ({"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, set(NAMES[7:13])),
        ({"eyeBlinkLeft": 1.0}, {"lash left", "shade left", "lid left"}),
        ({"eyeSquintLeft": 0.5, "eyeSquintRight": 0.5}, set()),
        (RAISED, {"brow right", "brow left"}),
        ({"browDownLeft": 1.0, "browDownRight": 1.0}, {"frown"}),
        ({"cheekSquintLeft": 1.0, "mouthSmileLeft": 0.4}, {"crow left"}),
    ],
)
def test_an_expression_deepens_its_own_creases(model: HybridModel, face: dict[str, float], deep: set[str]) -> None:
    found = dict(zip(NAMES, amplitudes(model.neutral, moved(model, face).offsets), strict=True))
    assert {name for name, a in found.items() if a > 0.5} >= deep
    others = {name: float(a) for name, a in found.items() if name not in deep and not name.startswith("crow")}
    assert max(others.values()) < 0.5, others
    assert max(found.values()) <= 1
    if not face or "jawOpen" in face or "eyeBlinkLeft" in face:
        assert max(others.values()) < 1e-6


@pytest.mark.parametrize("sides", [("left",), ("right",), ("left", "right")])
def test_a_smile_folds_a_face_that_does_not_smile_yet(sides: tuple[str, ...]) -> None:
    calm = expressive_face({}, (0, 0))
    offsets = (expressive_face({f"mouthSmile{side.title()}": 1.0 for side in sides}, (0, 0)) - calm)[:468]
    found = dict(zip(NAMES, amplitudes(calm, offsets), strict=True))
    assert {name for name in ("smile right", "smile left") if found[name] > 0.5} == {f"smile {s}" for s in sides}


def lips_apart(gap: float) -> np.ndarray:
    """(478, 3) the calm face with its lips so many cm apart."""
    face = expressive_face({}, (0, 0)).astype(np.float64)
    face[[87, 14, 317], 1] = face[[82, 13, 312], 1] - gap
    return face


def test_closing_lips_keep_light_from_a_mouth() -> None:
    shut = lips_apart(0.0)
    dark = [amplitudes(shut, (lips_apart(gap) - shut)[:468])[-1] for gap in (-0.04, 0.05, 0.3, 0.6, 1.0, 2.0)]
    assert dark[0] == dark[-2] == dark[-1] == 0  # nothing is seen of it; as light as it is drawn
    assert dark[1] == pytest.approx(DARKEST, abs=0.1)
    assert dark[1] > dark[2] > dark[3] > 0.1
    shown = lips_apart(0.5)  # in the photograph
    assert amplitudes(shown, np.zeros((468, 3)))[-1] == 0
    assert amplitudes(shown, (lips_apart(0.2) - shown)[:468])[-1] > 0.3


def test_only_the_inside_of_the_mouth_is_darkened(model: HybridModel) -> None:
    """In its own pieces of the atlas; by the live light as by the reference."""
    creases = Creases(model, model.texture)
    cells = creases.fields[len(GROUPS) + 2 :]
    assert cells
    assert all(field.box[0].start >= model.canvas[1] for field in cells)
    gbuffer = Renderer(model, head_framing(model, 384))(moved(model, {"jawOpen": 0.3}), albedo=False)
    lighting, shut = Lighting("original", original=True), np.zeros(len(NAMES), np.float32)
    shut[-1] = 0.8
    for relighter in (LightMapRelighter(model), ExactRelighter(model)):
        dark, plain = (
            relighter(replace(gbuffer, creases=c), lighting)[0].astype(float).mean(-1)
            for c in (shut, np.zeros(0, np.float32))
        )
        inside = gbuffer.covered & (gbuffer.map_y / gbuffer.texture_scale > model.canvas[1] + 2)
        changed = gbuffer.covered & (np.abs(dark - plain) > 3)
        assert changed.sum() > 100
        assert inside[changed].mean() > 0.99
        assert 0.3 < np.median(dark[changed] / plain[changed]) < 0.6


def test_lashes_of_a_portrait_with_shut_eyes_are_not_drawn_again(model: HybridModel) -> None:
    face, none = model.neutral[:468].copy(), np.zeros((468, 3))
    for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
        face[list(upper), 1] = face[list(lower), 1]
    assert not amplitudes(face, none)[7:13].any()
    none[[159, 386], 1] = -0.1  # lids that tremble
    assert not amplitudes(face, none)[7:13].any()


def test_a_face_at_rest_has_none_and_half_an_expression_has_less(model: HybridModel) -> None:
    renderer = Renderer(model, head_framing(model, 128))
    assert renderer(still_motion()).creases.shape == (0,)
    assert not renderer(still_motion()).creased
    depths = [renderer(moved(model, dict.fromkeys(RAISED, s))).creases[:2].mean() for s in (0.25, 0.5, 1.0)]
    assert 0 < depths[0] < depths[1] < depths[2]


def test_a_valley_is_steepest_at_its_width_and_a_fold_stands_on_one_side() -> None:
    across = np.linspace(-1, 1, 2001)
    line, fold = Crease((), 0.1, 0.2), Crease((), 0.1, 0.2, 0.7)
    slope, kept_off = profile(across, line)
    assert slope == pytest.approx(-slope[::-1])
    assert slope.max() == pytest.approx(0.2, abs=1e-4)
    assert across[slope.argmax()] == pytest.approx(0.1, abs=2e-3)
    assert kept_off.argmax() == 1000
    height = np.cumsum(profile(across, fold)[0])
    assert height[1000:].max() > 0.3 * -height.min() > 10 * height[:900].max()


def test_a_crease_tilts_the_surface_toward_its_bottom() -> None:
    """A level line: above it the surface looks down, below it up; a curve that goes left has its outer side below."""
    points = np.column_stack([np.linspace(10, 90, 48), np.full(48, 30.0)])
    y, x = np.mgrid[0:61, 0:101].astype(float)
    tilt = tilted(Crease((), 0.2, 0.3), points, np.stack([x, y], -1), 20.0, 1.0)
    assert tilt[26, 50] == pytest.approx([0, -0.3, *[tilt[26, 50, 2]] * 3], abs=0.01)
    assert tilt[34, 50, 1] == pytest.approx(0.3, abs=0.01)
    assert tilt[30, 50, 2] > 0.05
    assert not tilt[:, :5].any()
    assert abs(tilt[26, 13, 1]) < 0.05  # it ends softly
    fold, other = (
        tilted(Crease((), 0.2, 0.3, 0.7), points, np.stack([x, y], -1), 20.0, side)[..., 1] for side in (1.0, -1.0)
    )
    assert fold == pytest.approx(-other[::-1], abs=1e-9)
    assert fold[42:, 50].min() < -0.02  # beyond the bulge it falls again
    assert abs(fold[:16, 50]).max() < 0.01


def test_creases_lie_where_a_face_has_them(model: HybridModel) -> None:
    creases = Creases(model, model.texture)
    marks = model.source[:468, :2]
    centres = []
    for field in creases.fields[:7]:
        y, x = np.nonzero(np.abs(field.tilt[..., :2]).max(-1) > 0.05)
        centres.append([x.mean() + field.box[1].start, y.mean() + field.box[0].start])
    (right, left), frown, smiles, crows = centres[:2], centres[2], centres[3:5], centres[5:]
    assert marks[10, 1] < right[1] < marks[105, 1]
    assert right[0] < marks[151, 0] < left[0]
    assert marks[107, 0] < frown[0] < marks[336, 0]
    for (x, y), corner, wing in zip(smiles, (61, 291), (129, 358), strict=True):
        assert marks[wing, 1] < y < marks[corner, 1] + 5
        assert abs(x - marks[4, 0]) > 0.9 * abs(marks[wing, 0] - marks[4, 0])
    assert crows[0][0] < marks[33, 0]
    assert crows[1][0] > marks[263, 0]
    for field, corners, lid in zip(creases.fields[7:9], ((33, 133), (362, 263)), (159, 386), strict=True):
        y, x = np.nonzero(field.tilt[..., 2] > 0.9 * LASH[0].dark)
        assert y.mean() + field.box[0].start == pytest.approx(marks[lid, 1], abs=4)
        assert marks[corners[0], 0] < x.mean() + field.box[1].start < marks[corners[1], 0]
        assert not field.tilt[..., :2].any()
    for field, below in zip(
        creases.fields[9:11], (23, 253), strict=True
    ):  # the lower lids' shade, over their rim's way
        y, _ = np.nonzero(field.tilt[..., 2] > 0.9 * SHADE[0].dark)
        assert marks[below, 1] - 6 < y.mean() + field.box[0].start < marks[below, 1] + 2
    assert len(creases.fields) >= len(GROUPS) + 3 == len(NAMES)
    assert not creases.tilt(np.zeros(0, np.float32)).any()


def test_lids_are_brighter_by_as_much_as_the_picture_is_dark_there(model: HybridModel) -> None:
    """Laid on another picture of the atlas, only the lids' fields change."""
    plain, marks = np.full_like(model.texture, 150), model.source[:468, :2]
    dark = cv2.fillPoly(
        plain.copy(), [marks[[161, 160, 159, 158, 157, 222, 223, 224]].round().astype(np.int32)], (60, 60, 60)
    )
    creases = Creases(model, plain)
    even = creases.fields
    assert max(np.abs(field.tilt).max() for field in even[len(GROUPS) : len(GROUPS) + 2]) < 1e-4
    creases.lay_on(dark)
    right, left = creases.fields[len(GROUPS) : len(GROUPS) + 2]
    assert right.tilt[..., 2].min() < -2
    assert not right.tilt[..., :2].any()
    assert np.abs(left.tilt).max() < 1e-4
    assert all(a is b for a, b in zip(creases.fields[: len(GROUPS)], even, strict=False))


@pytest.mark.parametrize("light", ["lamp", "original"])
def test_shut_lids_meet_in_a_dark_line(model: HybridModel, light: str) -> None:
    """As in a shut eye's picture: where the lids meet it is darker than a few pixels above and below, in any light."""
    lighting = sun(0, 20) if light == "lamp" else Lighting("original", original=True)
    motion = moved(model, {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0})
    renderer = Renderer(model, head_framing(model, 384))
    gbuffer = renderer(motion, albedo=not lighting.original)
    rim = renderer.camera.project(renderer.deform(motion)[[160, 159, 158, 387, 386, 385]]).round().astype(int)
    for relighter in (LightMapRelighter(model), ExactRelighter(model)):
        with_line, without = (
            relighter(g, lighting)[0].mean(-1) for g in (gbuffer, replace(gbuffer, creases=np.zeros(0, np.float32)))
        )
        change = np.array([[with_line[y + d, x] / without[y + d, x] for d in range(-12, 5)] for x, y in rim])
        assert change.min(1).max() < 0.85
        assert change[:, :3].min() > 0.9


def test_slopes_are_how_light_changes_with_a_tilt(model: HybridModel) -> None:
    lighting, shading = sun(50, 20), Shading(model)
    gbuffer = Renderer(model, head_framing(model, 128))(still_motion())
    right, up = LightMap(model, shading).slopes(gbuffer, lighting)
    normals, (_, (seen,)) = shading.atlas.normals, shading.atlas.received(shading.body(lighting))
    lit = (seen > 0.9999) & (shading.atlas.head > 0.99) & np.abs(right).any(-1)
    assert lit.sum() > 100
    n = normals[lit]
    for found, step in ((right[lit], [0.2, 0, 0]), (up[lit], [0, 0.2, 0])):
        sides = [n + s * np.array(step) for s in (1, -1)]
        a, b = (shade_normals(lighting, side / np.linalg.norm(side, axis=1, keepdims=True)) for side in sides)
        assert found == pytest.approx((a - b) / 0.4 / (shade_normals(lighting, n) + 0.03), abs=0.02)


@pytest.mark.parametrize("light", ["lamp", "original", "between"])
def test_the_live_light_creases_as_the_reference_does(model: HybridModel, light: str) -> None:
    lighting = {
        "lamp": sun(45, 45),
        "original": Lighting("original", original=True),
        "between": replace(sun(45, 45), share=0.5),
    }[light]
    smile = RAISED | {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0}
    gbuffer = Renderer(model, head_framing(model, 384))(moved(model, smile), albedo=not lighting.original)
    deepest = np.where(np.arange(len(NAMES)) < 7, np.float32(0.8), np.float32(0))  # all that are folds
    gbuffer, smooth = (replace(gbuffer, creases=c) for c in (deepest, np.zeros(0, np.float32)))
    changes = []
    for relighter in (LightMapRelighter(model), ExactRelighter(model)):
        creased, plain = (relighter(g, lighting)[0].astype(int) for g in (gbuffer, smooth))
        changes.append(np.where(gbuffer.covered[..., None], creased - plain, 0).mean(-1))
    live, exact = changes
    strong = np.abs(exact) > 4
    assert strong.sum() > 60
    assert np.corrcoef(live[strong], exact[strong])[0, 1] > 0.8
    assert 0.6 < np.abs(live[strong]).mean() / np.abs(exact[strong]).mean() < 1.5


def test_a_box_is_enlarged_as_the_whole_is() -> None:
    small = np.random.default_rng(0).random((26, 19, 3)).astype(np.float32)
    whole = cv2.resize(small, (53, 70))
    box = np.s_[11:60, 7:41]
    assert enlarged(small, (70, 53), box) == pytest.approx(whole[box], abs=0.03)  # its weights are multiples of 1/32


def test_curves_go_through_their_knots_and_ease_is_smooth() -> None:
    marks = np.random.default_rng(1).random((468, 2)) * 100
    for crease in (*BROW, *FROWN, *SMILE):
        points = curve_points(marks, crease.knots, 4 * (len(crease.knots) - 1) + 1)
        knots = [marks[a] * (1 - t) + marks[b] * t for a, b, t in crease.knots]
        assert points[::4] == pytest.approx(np.array(knots))
    assert [eased(v, 0.2, 0.6) for v in (0.0, 0.2, 0.4, 0.6, 2.0)] == pytest.approx([0, 0, 0.5, 1, 1])
