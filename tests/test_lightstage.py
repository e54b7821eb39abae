"""The light stage's light: known answers on a sphere; environments that sum to what they should."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from narrate_stream.errors import NarrateError
from narrate_stream.ops.lighting import map_directions, stage_directions
from offline.lightstage import environments, light
from offline.lightstage.gbuffer import StageBuffer, relieved, unit
from offline.lightstage.heads import SKIN, label_of, sample_expression
from offline.lightstage.shards import FIELDS, assumed_camera, environment_maps, read_shard

SIZE = 64


def ball(albedo: float = 0.5, specular: float = 0.0) -> StageBuffer:
    """A lone sphere in the middle of the picture: it sees every light above its horizon."""
    y, x = np.mgrid[1 : -1 : SIZE * 1j, -1 : 1 : SIZE * 1j].astype(np.float32) * 1.15
    r2 = x * x + y * y
    matte = r2 < 1
    z = np.sqrt(np.clip(1 - r2, 0, 1))
    normal = np.where(matte[..., None], np.stack([x, y, z], -1), 0).astype(np.float32)
    seen = np.ones((SIZE // 2, SIZE // 2, len(stage_directions())), np.uint8)
    flat = np.ones((SIZE, SIZE), np.float32)
    return StageBuffer(
        normal,
        np.where(matte, z - 50, 0).astype(np.float32),
        np.repeat(albedo * flat[..., None], 3, -1),
        0.5 * flat,
        specular * flat,
        matte,
        np.where(matte, SKIN, 0).astype(np.uint8),
        seen,
    )


def test_one_light_on_a_matte_sphere_is_lamberts_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light, "BLEED", (0.0, 0.0, 0.0))
    buffer = ball()
    weights = np.zeros((len(stage_directions()), 3), np.float32)
    weights[40] = np.pi
    picture = light.lit(buffer, light.transport(buffer), weights)
    expected = 0.5 * np.clip(buffer.normal @ stage_directions()[40], 0, None)
    inner = cv2.erode(buffer.matte.astype(np.uint8), np.ones((5, 5))) > 0
    np.testing.assert_allclose(picture[inner], np.repeat(expected[inner][:, None], 3, 1), atol=2e-3)
    assert (picture[~buffer.matte] == 0).all()


def test_light_adds_up() -> None:
    buffer = ball(specular=1.0)
    olat = light.transport(buffer)
    a, b = (np.random.default_rng(s).random((len(stage_directions()), 3)).astype(np.float32) for s in (1, 2))
    both = light.lit(buffer, olat, a + b)
    np.testing.assert_allclose(both, light.lit(buffer, olat, a) + light.lit(buffer, olat, b), rtol=2e-3, atol=1e-3)


def test_red_light_bleeds_farthest_into_shadow() -> None:
    buffer = ball()
    weights = np.zeros((len(stage_directions()), 3), np.float32)
    weights[np.argmax(stage_directions()[:, 0])] = np.pi
    picture = light.lit(buffer, light.transport(buffer), weights)
    shadow = (buffer.normal @ stage_directions()[np.argmax(stage_directions()[:, 0])] < 0) & buffer.matte
    red, green, blue = picture[shadow].sum(0)
    assert red > green > blue


def test_a_hidden_light_gives_no_light() -> None:
    buffer = ball()
    buffer.seen[..., 7] = 0
    weights = np.zeros((len(stage_directions()), 3), np.float32)
    weights[7] = 1
    olat = light.transport(buffer)
    assert olat.diffuse[:, 7].max() == 0
    assert olat.specular[:, 7].max() == 0


def test_the_highlight_sits_between_eye_and_light() -> None:
    lights = np.array([[0.6, 0.0, 0.8]], np.float32)
    angle = np.radians(np.arange(-60, 61, 0.5))
    normals = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], -1).astype(np.float32)
    lobe = light.ggx(normals, lights, np.full(len(angle), 0.25, np.float32))[:, 0]
    assert np.degrees(angle[lobe.argmax()]) == pytest.approx(np.degrees(np.arctan2(0.6, 0.8)) / 2, abs=1.5)


def test_relief_tilts_normals_against_its_slope() -> None:
    y, x = np.mgrid[:40, :40].astype(np.float32)
    point = np.stack([0.1 * x, -0.1 * y, 0 * x - 50], -1)
    normal = np.tile(np.float32([0, 0, 1]), (40, 40, 1))
    bump = 0.02 * x  # rises to the right by 0.2 cm per cm
    tilted = unit(relieved(normal, point, bump, np.ones((40, 40), np.bool_)))[20, 20]
    np.testing.assert_allclose(tilted, np.array([-0.2, 0, 1]) / np.hypot(0.2, 1), atol=1e-3)


def test_an_even_environment_gives_every_light_its_solid_angle() -> None:
    d, solid = map_directions(64, 128)
    even = environments.binned(np.ones((64 * 128, 3), np.float32), d.reshape(-1, 3), solid.ravel().astype(np.float32))
    assert even.sum() == pytest.approx(3 * 4 * np.pi, rel=1e-3)
    assert even.min() > 0.5 * even.mean()


@pytest.mark.parametrize("seed", range(12))
def test_sampled_light_is_finite_and_of_one_power(seed: int) -> None:
    kind, weights = environments.sample_light(np.random.default_rng(seed), ())
    assert kind in environments.KINDS
    assert weights.shape == (len(stage_directions()), 3)
    assert weights.min() >= 0
    assert weights.mean(1).sum() == pytest.approx(np.pi, rel=1e-4)


def test_a_lobe_shines_from_where_it_was_put() -> None:
    at = np.array([0.6, 0.0, 0.8])
    weights = environments.lobe(at, 0.2)
    assert weights.sum() == pytest.approx(1, rel=1e-5)
    mean = weights @ stage_directions()
    assert mean @ at / np.linalg.norm(mean) > 0.99


def test_measured_environments_are_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "room.hdr"), np.full((16, 32, 3), 0.5, np.float32))
    maps = environment_maps(tmp_path)
    weights = environments.environment_weights(np.random.default_rng(1), maps)
    assert weights.shape == (len(stage_directions()), 3)
    assert weights.min() > 0
    with pytest.raises(NarrateError, match=r"no \.hdr or \.exr"):
        environment_maps(tmp_path / "none")


def test_expressions_stay_in_range_and_move_both_sides() -> None:
    names = ("browDown_L", "browDown_R", "eyeBlink_L", "eyeBlink_R", "eyeLookDown_L", "eyeLookDown_R", "eyeLookIn_L",
             "eyeLookIn_R", "eyeLookOut_L", "eyeLookOut_R", "eyeLookUp_L", "eyeLookUp_R", "jawOpen", "mouthPucker",
             "cheekPuff_L", "cheekPuff_R")  # fmt: skip
    drawn = np.stack([sample_expression(np.random.default_rng(s), names) for s in range(200)])
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert (drawn[:, 2] > 0).mean() > 0.05
    assert np.corrcoef(drawn[:, 2], drawn[:, 3])[0, 1] > 0.6
    # the eyes look one way together
    assert np.corrcoef(drawn[:, 6], drawn[:, 9])[0, 1] > 0.6


def test_materials_of_the_kit_are_known() -> None:
    from offline.lightstage import heads

    assert [label_of(n) for n in ("M_Face", "M_ScleraLeft", "M_Teeth")] == [heads.SKIN, heads.EYE, heads.MOUTH]


def test_the_assumed_lens_is_another_one_but_plausible() -> None:
    from narrate_stream.ops.geometry import Camera

    true = Camera(800.0, 120.0, 60.0)
    drawn = [assumed_camera(np.random.default_rng(s), true) for s in range(50)]
    assert len({c.focal for c in drawn}) == 50
    offset = [(c.cx - 79.5) / c.focal for c in drawn]
    assert {round(o, 4) for o in offset} == {0.0, round((120 - 79.5) / 800, 4)}


def test_a_broken_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "shard_00000.safetensors").write_bytes(b"nothing")
    with pytest.raises(NarrateError, match="not a shard of the light stage"):
        read_shard(tmp_path / "shard_00000.safetensors")
    assert "visibility" in FIELDS
