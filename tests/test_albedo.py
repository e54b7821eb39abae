"""Light and albedo of a known ball: what was put in comes out."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.colour import linear_table, srgb_from_linear
from narrate_stream.ops.lighting import COSINE, sh_basis
from offline.albedo import (
    LOWEST,
    albedo_map,
    estimate_light,
    hides_shadows,
    network_albedo,
    shading_of,
    skin_mask,
    with_flash,
)

N = 96
Y, X = np.mgrid[1 : -1 : N * 1j, -1 : 1 : N * 1j]
BALL = X**2 + Y**2 < 0.85
NORMAL = np.stack([X, Y, np.sqrt(np.maximum(1 - X**2 - Y**2, 0))], -1)
TRUTH = np.array([3.0, 1.1, 1.2, -1.6, 0.1, 0.1, 0.0, 0.0, 0.0])
SKIN = np.array([0.55, 0.38, 0.30])


def shading() -> np.ndarray:
    raw = (sh_basis(NORMAL) * COSINE) @ TRUTH
    return raw / raw[BALL].mean()


def picture(albedo: np.ndarray) -> np.ndarray:
    linear = np.clip(albedo * shading()[..., None], 0, 1) * BALL[..., None]
    return (srgb_from_linear(linear) * 255 + 0.5).astype(np.uint8)


def test_the_light_is_recovered() -> None:
    level = linear_table()[picture(np.broadcast_to(SKIN, (N, N, 3)))].mean(-1).astype(float)
    found = shading_of(estimate_light(level, NORMAL, BALL), NORMAL)
    assert np.abs(found - shading())[BALL].mean() < 0.03
    assert found[BALL] == pytest.approx(shading()[BALL], abs=0.12)
    assert found[BALL].mean() == pytest.approx(1, abs=1e-3)


def test_brows_and_highlights_do_not_bend_the_light() -> None:
    albedo = np.broadcast_to(SKIN, (N, N, 3)).copy()
    albedo[25:32, 25:70] *= 0.25
    albedo[60:66, 40:46] = 1.0
    level = linear_table()[picture(albedo)].mean(-1).astype(float)
    found = shading_of(estimate_light(level, NORMAL, BALL), NORMAL)
    assert np.abs(found - shading())[BALL].mean() < 0.04


def test_dividing_the_light_out_leaves_even_skin() -> None:
    image = picture(np.broadcast_to(SKIN, (N, N, 3)))
    ones = np.ones((N, N))
    albedo = albedo_map(
        image,
        shading_of(estimate_light(linear_table()[image].mean(-1).astype(float), NORMAL, BALL), NORMAL),
        ones,
        BALL,
        ones,
    )
    inner = X**2 + Y**2 < 0.6
    assert albedo[inner].std(0).max() < 0.02
    assert albedo[inner].mean(0) == pytest.approx(SKIN, rel=0.06)
    lit = linear_table()[image]
    assert lit[inner].std(0).max() > 0.08  # it was uneven before


def test_marks_on_the_skin_stay() -> None:
    true = np.broadcast_to(SKIN, (N, N, 3)).copy()
    true[44:50, 60:66] *= 0.5  # a mole
    ones = np.ones((N, N))
    skin = BALL.copy()
    skin[44:50, 60:66] = False
    albedo = albedo_map(picture(true), shading(), ones, skin, ones)
    assert albedo[47, 63].mean() < 0.65 * albedo[47, 40].mean()


def test_trust_decides_how_far_the_light_is_believed() -> None:
    image = picture(np.broadcast_to(SKIN, (N, N, 3)))
    nothing, ones = np.zeros((N, N)), np.ones((N, N))
    none = np.zeros((N, N), bool)
    assert albedo_map(image, shading(), ones, none, nothing) == pytest.approx(linear_table()[image], abs=1e-6)
    divided = albedo_map(image, shading(), ones, none, ones)
    assert divided[BALL].std(0).max() < 0.05


def test_too_little_skin_means_even_light() -> None:
    light = estimate_light(np.ones((N, N)), NORMAL, np.zeros((N, N), bool))
    assert shading_of(light, NORMAL) == pytest.approx(np.ones((N, N)), abs=0.08)


def test_shading_is_never_believed_to_be_black() -> None:
    dark = np.array([0.1, 0, 0, -5, 0, 0, 0, 0, 0], float)
    assert shading_of(dark, NORMAL).min() == pytest.approx(LOWEST)


def test_the_skin_mask_leaves_out_eyes_shadows_and_glints() -> None:
    image = np.full((N, N, 3), (190, 150, 130), np.uint8)
    image += np.random.default_rng(0).integers(0, 12, image.shape).astype(np.uint8)
    image[40:45, 40:45] = 20
    image[60:64, 60:64] = 255
    holes = np.zeros((N, N), bool)
    holes[30:34, 30:34] = True
    mask = skin_mask(image, BALL, holes)
    assert not mask[40:45, 40:45].any()
    assert not mask[60:64, 60:64].any()
    assert not mask[30:34, 30:34].any()
    assert not mask[~BALL].any()
    assert mask[BALL].mean() > 0.8


def test_the_networks_shading_is_divided_out_and_the_exposure_kept() -> None:
    true = np.full((N, N, 3), 0.3, np.float32)
    light = np.clip(NORMAL @ np.array([0.5, 0.3, 0.8]), 0.1, None)[..., None].astype(np.float32)
    image = (srgb_from_linear(true * light) * 255 + 0.5).astype(np.uint8)
    skin = BALL & (light[..., 0] > 0.2)
    ones = np.ones((N, N), np.float32)
    shading = np.repeat(7.0 * light, 3, -1)  # in the network's own scale
    albedo, again = network_albedo(image, np.zeros((N, N, 3), np.float32), shading, ones, NORMAL, skin)
    scale = float(light[skin].mean())
    np.testing.assert_allclose(albedo[skin], 0.3 * scale, rtol=0.06)
    fitted = shading_of(again, NORMAL)
    assert np.corrcoef(fitted[skin], light[skin, 0])[0, 1] > 0.98
    plain = np.full((N, N, 3), 0.11, np.float32)
    kept, _ = network_albedo(image, plain, shading, 0 * ones, NORMAL, skin)
    np.testing.assert_allclose(kept, plain, atol=1e-5)


@pytest.mark.parametrize(
    ("towards", "hidden"), [((0, 0, 1), 1.0), ((1, 0, 0), 0.0), ((0.7, 0.1, 0.7), 0.62), (None, 0.0)]
)
def test_only_a_light_at_the_camera_hides_its_shadows(towards: tuple[float, ...] | None, hidden: float) -> None:
    if towards is None:
        light = np.eye(9)[0]
    else:
        direction = np.array(towards) / np.linalg.norm(towards)
        light = sh_basis(direction[None])[0]
    assert hides_shadows(light) == pytest.approx(hidden, abs=0.05)


def test_hidden_shadows_are_not_divided_out() -> None:
    picture = np.full((40, 40, 3), 128, np.uint8)
    even, dark = np.ones((40, 40)), np.ones((40, 40))
    dark[:, 20:] = 0.4
    none = np.zeros((40, 40), np.bool_)
    seen = albedo_map(picture, even, dark, none, even)
    kept = albedo_map(picture, even, dark, none, even, 1.0)
    assert seen[20, 30, 0] == pytest.approx(seen[20, 5, 0] / np.sqrt(0.4), rel=0.01)
    assert kept[20, 30, 0] == pytest.approx(kept[20, 5, 0])


def test_a_flash_is_divided_out_as_what_it_is() -> None:
    """An even ball lit from the camera: its sides are dark for want of light, not of albedo."""
    y, x = np.mgrid[1:-1:81j, -1:1:81j]
    z = np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
    normals, skin = np.stack([x, y, z], -1), z > 0.3
    smooth = 0.6 + 0.4 * z  # what a cautious fit makes of it
    flash = with_flash(smooth, normals, skin, 1.0)
    even = z[skin] / flash[skin]
    assert even == pytest.approx(np.full(len(even), even.mean()), rel=1e-6)
    assert flash[skin].mean() == pytest.approx(smooth[skin].mean())
    assert with_flash(smooth, normals, skin, 0.0) == pytest.approx(smooth)
    nowhere = np.zeros_like(skin)
    assert np.isfinite(with_flash(smooth, normals, nowhere, 1.0)).all()
