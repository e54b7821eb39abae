"""Statistics of expressions: landmarks find their place on a kit, mixtures and modes are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.drivers.channels import LANDMARKS, LOWER, UPPER, basis, open_jaw
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.expression import expression_basis
from offline.expression_stats import (
    LIVELY,
    MARKS,
    MODES,
    fast_share,
    importance,
    landmarks_on,
    mixtures,
    principal_modes,
)
from offline.facekit import FaceKit
from offline.lightstage.heads import Kit

REST = canonical().landmarks[:LANDMARKS]


def landmark_kit() -> Kit:
    """A kit whose vertices are our landmarks, in another order, moved aside and a little larger."""
    order = np.random.default_rng(0).permutation(LANDMARKS)
    place = np.argsort(order)  # of each landmark among the vertices
    names, fields = basis()
    blink = {name: field for name, field in zip(names, fields, strict=True) if name.startswith("eyeBlink")}
    shapes = {"eyeBlink_L": blink["eyeBlinkLeft"], "eyeBlink_R": blink["eyeBlinkRight"]}
    shapes |= {"jawOpen": open_jaw(REST, 1.0) - REST, "PupilDilate_L": np.ones((LANDMARKS, 3))}
    kit = FaceKit(
        neutral=(1.04 * REST + [0, 3.4, 0])[order].astype(np.float32),
        identity=np.zeros((1, LANDMARKS, 3), np.float16),
        expression=np.stack([field[order] for field in shapes.values()]).astype(np.float16),
        expression_names=tuple(shapes),
        triangles=place[canonical().triangles].astype(np.int32),
        material=np.zeros(len(canonical().triangles), np.int32),
        material_names=("M_Face",),
    )
    marks = np.zeros(68, np.int64)
    marks[list(MARKS)] = place[list(MARKS.values())]
    return Kit(kit, marks)


def test_landmarks_find_their_place_and_no_lip_takes_the_others() -> None:
    kit = landmark_kit()
    found = landmarks_on(kit)
    apart = np.linalg.norm(kit.kit.neutral[found] - (1.04 * REST + [0, 3.4, 0]), axis=-1)
    assert np.median(apart) < 1e-5
    assert apart.max() < 0.6
    drop = -kit.kit.expression[2][found, 1].astype(float)
    assert drop[[i for row in UPPER for i in row]].max() < drop[[i for row in LOWER for i in row]].min()


def test_mixtures_are_few_and_nearly_even() -> None:
    names = ["jawOpen", "mouthSmile_L", "mouthSmile_R", *(f"other{i}" for i in range(20))]
    weights = mixtures(names, 4000, np.random.default_rng(1))
    assert weights.min() >= 0
    assert weights.max() <= 1
    assert (weights[:, 0] > 0).mean() == pytest.approx(0.35, abs=0.03)
    left, right = weights[:, 1], weights[:, 2]
    assert 0.85 < np.corrcoef(left, right)[0, 1] < 0.99
    assert ((left > 0.1) & (right == 0)).any()  # half a smile happens


def test_principal_modes_have_one_sigma_and_span_what_there_is() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(0, 1, (2, LANDMARKS, 3))
    amounts = rng.normal(0, 1, (500, 2)) * [2.0, 0.5]
    modes = principal_modes(np.tensordot(amounts, np.stack([first, second]), 1), 3)
    assert np.abs(modes[2]).max() < 1e-5
    flat = (modes * importance()[:, None]).reshape(3, -1)
    assert flat[0] @ flat[1] == pytest.approx(0, abs=1e-6 * (flat[0] @ flat[0]))
    span = np.linalg.lstsq(modes[:2].reshape(2, -1).T, first.ravel(), rcond=None)[0] @ modes[:2].reshape(2, -1)
    assert span == pytest.approx(first.ravel(), abs=1e-6)
    assert np.linalg.norm(modes[0]) == pytest.approx(2 * np.linalg.norm(first), rel=0.1)


def test_shares_are_wieners() -> None:
    noise = np.full(LANDMARKS, 0.02**2)
    share = fast_share(noise, 4 * noise)
    assert share[[4, 10, 152]] == pytest.approx(0.75)
    assert fast_share(noise, noise)[[4, 10, 152]] == pytest.approx(0)
    assert fast_share(noise, noise)[[13, 14, 159, 145]] == pytest.approx(LIVELY)


def test_what_is_shipped_can_smile_on_one_side_and_is_small() -> None:
    shipped = expression_basis()
    assert shipped.modes.shape == (MODES, LANDMARKS, 3)
    names, fields = basis()
    flat = shipped.modes[..., :2].reshape(MODES, -1)
    for name in ("mouthSmileLeft", "mouthPucker", "browInnerUp"):
        wanted = fields[names.index(name)][..., :2].ravel()
        left = wanted - np.linalg.lstsq(flat.T, wanted, rcond=None)[0] @ flat
        assert np.linalg.norm(left) < 0.6 * np.linalg.norm(wanted), name
    assert 0.01 < shipped.noise.mean() < 0.05
