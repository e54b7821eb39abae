"""The face's relief: shadows of a wall as long as they are, pits that are none, and what is too steep left alone."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops import horizon
from narrate_stream.ops.geometry import Camera
from narrate_stream.ops.lighting import direction
from offline.relief import FINEST, above_own, finer, odd, relief_of, unspecked, with_relief

CAMERA = Camera(1000.0, 128.0, 128.0)
SIZE = (64, 64)
FAR = -60.0  # cm: a relief pixel is 0.06 cm wide there


def ridge(height: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (H, W, 2) and depths (H, W) of a plane with a smooth vertical ridge `height` cm high in its middle."""
    n = SIZE[0] * FINEST
    pixels = np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).astype(np.float64)
    x = (pixels[..., 0] - n / 2) * 0.06
    return pixels, FAR + height * np.exp(-0.5 * (x / 0.5) ** 2)


def shadow(height: float, az: float) -> np.ndarray:
    """(w,) 0..1 light on the middle row beside that ridge under a point lamp at azimuth az."""
    pixels, z = ridge(height)
    everywhere = np.ones(z.shape, np.bool_)
    relief = relief_of(CAMERA, pixels, z, everywhere, everywhere, SIZE)
    planes = with_relief(np.zeros((horizon.AZIMUTHS, *SIZE[::-1]), np.uint8), relief)
    return horizon.seen(planes, direction(az, 0), 0.0)[SIZE[1] // 2]


def test_a_plane_is_lit_from_everywhere_above_it() -> None:
    assert shadow(0.0, 80)[4:-4] == pytest.approx(1)
    assert shadow(0.0, -80)[4:-4] == pytest.approx(1)


def test_the_shadow_of_a_ridge_ends_where_it_should() -> None:
    """1.5 cm high under a light at 60 degrees from the viewer, which leaves the ridge at u where height(u) tan 60 - u
    is greatest, and is that far behind the crest when it meets the plane."""
    row = shadow(1.5, 60)
    dark = np.flatnonzero(row < 0.5)
    x = (np.arange(SIZE[0]) + 0.5 - SIZE[0] / 2) * 0.06 * FINEST
    u = np.linspace(-1.5, 0, 1000)
    longest = (1.5 * np.exp(-0.5 * (u / 0.5) ** 2) * np.tan(np.radians(60)) - u).max()
    assert np.interp(0.5, row[: dark[0] + 1][::-1], x[: dark[0] + 1][::-1]) == pytest.approx(-longest, abs=0.15)
    assert x[dark].max() < 0.1
    assert row[x > 0.6] == pytest.approx(1, abs=0.05)


def test_sizes_are_those_of_the_face_not_of_the_picture() -> None:
    assert [finer(texel) for texel in (0.02, 0.1, 0.16, 0.25, 1.0)] == [1, 2, 3, 4, 4]
    assert [odd(0.5, texel, 9) for texel in (0.02, 0.1, 0.2, 0.5)] == [9, 5, 3, 3]


def test_above_its_own_plane_a_horizon_counts_in_full() -> None:
    own = np.array([-0.2, -0.2, -0.2], np.float32)
    found = above_own(np.array([-1.0, -0.2, 0.5], np.float32), own)
    assert found == pytest.approx([-0.5, -0.5, 0.5])


def test_a_single_pit_is_none() -> None:
    planes = np.full((4, 9, 9), 100, np.uint8)
    planes[:, 4, 4] = 180
    assert (unspecked(planes, np.ones((9, 9), np.bool_), 3) == 100).all()
    assert (unspecked(planes, np.zeros((9, 9), np.bool_), 3)[:, 4, 4] == 180).all()


def test_beside_a_step_and_off_the_skin_nothing_is_changed() -> None:
    pixels, z = ridge(0.0)
    z[:, z.shape[1] // 2 :] += 5
    skin = np.ones(z.shape, np.bool_)
    skin[: z.shape[0] // 2] = False
    relief = relief_of(CAMERA, pixels, z, skin | True, skin, SIZE)
    assert not relief.good[: SIZE[1] // 2].any()
    assert not relief.good[:, SIZE[0] // 2 - 1 : SIZE[0] // 2 + 1].any()
    assert relief.good[SIZE[1] // 2 + 4 : -4, 4 : SIZE[0] // 2 - 4].all()
    planes = np.full((8, *SIZE[::-1]), 7, np.uint8)
    assert (with_relief(planes, relief)[:, ~relief.good] == 7).all()
    assert with_relief(planes, relief_of(CAMERA, pixels, z, skin, ~skin & False, SIZE)) is planes
