"""Highlights: where they lie, how wide they are, what they may give."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops import gloss
from narrate_stream.ops.lighting import Lighting, direction, sun

FRONT = np.array([0.0, 0.0, 1.0])


def ball(side: int = 181) -> tuple[np.ndarray, np.ndarray]:
    """Normals (side, side, 3) of the front of a ball, and where there are any."""
    y, x = np.mgrid[1 : -1 : side * 1j, -1 : 1 : side * 1j]
    r2 = x * x + y * y
    return np.stack([x, y, np.sqrt(np.clip(1 - r2, 0, 1))], -1), r2 < 0.98


@pytest.mark.parametrize(("az", "el"), [(0, 0), (40, 20), (-60, 35)])
def test_a_highlight_lies_half_way_to_the_light(az: float, el: float) -> None:
    normals, inside = ball()
    half = direction(az, el) + FRONT
    half /= np.linalg.norm(half)
    for lobe in (0, 1):
        shine = np.where(inside, gloss.lobes(normals, direction(az, el), FRONT, 0.0)[..., lobe], 0)
        at = normals[np.unravel_index(shine.argmax(), shine.shape)]
        assert np.degrees(np.arccos(at @ half)) < 9  # rough lobes lean outward


def test_oil_is_sharper_and_brighter_and_a_window_softer_than_a_bulb() -> None:
    normals, inside = ball()
    d = direction(30, 10)
    bulb, window = (np.where(inside[..., None], gloss.lobes(normals, d, FRONT, s), 0) for s in (0.0, 0.6))
    assert bulb[..., 1].max() > 3 * bulb[..., 0].max()
    assert bulb[..., 1].max() > 1.5 * window[..., 1].max()
    width = [(a > 0.5 * a.max()).sum() for a in (bulb[..., 1], window[..., 1])]
    assert width[1] > 1.5 * width[0]


def test_nothing_shines_from_behind() -> None:
    made = gloss.lobes(np.stack([FRONT, direction(40, 0)]), direction(180, 0), FRONT, 0.0)
    assert made[:, :2] == pytest.approx(0)
    assert gloss.highlight(sun(180, 0), FRONT) == pytest.approx(0)
    assert gloss.sheen(sun(20, 0), FRONT[None]) == pytest.approx(0)


def test_the_energy_of_a_lobe_stays_below_its_reflectance() -> None:
    """White furnace: lamps of equal shading from everywhere give back less than the reflectance at the rim."""
    rng = np.random.default_rng(3)
    lamps = rng.normal(size=(4000, 3))
    lamps /= np.linalg.norm(lamps, axis=1, keepdims=True)
    lamps = lamps[lamps[:, 2] > 0]
    total = np.mean([gloss.lobes(FRONT, d, FRONT, 0.0)[:2] for d in lamps], 0) * 2  # uniform sky: mean shading 1/2
    assert (total > 0.3 * gloss.F0).all()
    assert (total < 1.6 * gloss.F0).all()


def test_the_band_on_hair_lies_across_the_strands() -> None:
    """On upright strands bent over a cylinder the band is level, and moves up with the light."""
    angle = np.radians(np.arange(-60, 61))
    tangents = np.stack([np.zeros_like(angle), -np.cos(angle), np.sin(angle)], -1)  # top of the head: angle > 0
    peaks = [angle[gloss.lobes(tangents, direction(0, el), FRONT, 0.0)[:, 2].argmax()] for el in (0, 30, 60)]
    assert np.diff(peaks).min() > np.radians(8)
    aside = gloss.lobes(tangents, direction(35, 30), FRONT, 0.0)[:, 2]
    assert angle[aside.argmax()] == pytest.approx(peaks[1], abs=np.radians(6))


def test_a_mirrored_sky_is_seen_where_it_is() -> None:
    mirror = np.zeros((24, 48, 3), np.float32)
    mirror[:, 30:34] = 1.0  # to the right of the middle
    lighting = Lighting("sky", mirror=mirror)
    left, right = gloss.sheen(lighting, np.stack([direction(-25, 0), direction(25, 0)]))
    assert right.min() > 0.02
    assert left == pytest.approx(0)
