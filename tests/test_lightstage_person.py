"""People drawn at random."""

from __future__ import annotations

import numpy as np

from offline.lightstage.person import sample_skin
from offline.lightstage.tone import tone


def test_a_seed_is_a_person() -> None:
    one, two, other = (sample_skin(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one == two
    assert other != one


def test_lightness_is_drawn_evenly() -> None:
    people = [sample_skin(np.random.default_rng(i)) for i in range(300)]
    rgb = tone(np.float32([p.melanin for p in people]), np.float32([p.blood for p in people]))
    star = 116 * np.cbrt(rgb @ np.float32([0.2126, 0.7152, 0.0722])) - 16
    share = np.histogram(star, bins=[20, 36, 48, 60, 75])[0] / 300
    assert share.min() > 0.17


def test_beards_grow_without_make_up() -> None:
    people = [sample_skin(np.random.default_rng(i)) for i in range(300)]
    bearded = [p for p in people if p.beard]
    painted = [p for p in people if p.lipstick or p.liner or p.shadow or p.blush]
    assert min(len(bearded), len(painted)) > 20
    assert not set(bearded) & set(painted)
