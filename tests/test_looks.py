"""Several looks are one detector: symmetrical, of the followed face only, with eyes that close."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.drivers.looks import NEAR, SeveralLooks, distance, mirrored, plain_share
from narrate_stream.lips import MOUTH
from narrate_stream.ops.canonical import canonical
from narrate_stream.retarget import LOWER_LIDS, UPPER_LIDS
from narrate_stream.types import Image
from offline.picture import load_builtin_portrait


@pytest.fixture(scope="module")
def picture() -> Image:
    """The built-in portrait's head, as large as a webcam shows one."""
    return np.ascontiguousarray(cv2.resize(load_builtin_portrait().image[:300, 70:370], (480, 480)))


@pytest.fixture
def looks() -> Iterator[SeveralLooks]:
    made = SeveralLooks()
    yield made
    made.close()


def test_a_mirror_image_twice_is_the_picture() -> None:
    marks = np.random.default_rng(1).uniform(0, 500, (2, 478, 3))
    assert mirrored(mirrored(marks, 512), 512) == pytest.approx(marks)
    face = np.concatenate([canonical().landmarks[None] * [1, -1, 1] * 20 + 250])
    assert distance(face[0], mirrored(face, 501))[0] < 0.02  # each landmark under its partner's name
    assert not len(mirrored(np.zeros((0,)), 512))


def test_the_plain_network_has_no_say_at_eyes_and_lips() -> None:
    share = plain_share()[:, 0]
    assert (share[list(UPPER_LIDS[0] + LOWER_LIDS[1] + MOUTH)] < 0.05).all()
    assert (share[[4, 10, 152, 50, 280]] == 1).all()


def test_picture_and_mirror_image_are_seen_alike(looks: SeveralLooks, picture: Image) -> None:
    flipped = np.ascontiguousarray(picture[:, ::-1])

    def differs(look: SeveralLooks | FaceMesh) -> float:
        marks, other = look.settled(picture), look.settled(flipped)
        assert marks is not None
        assert other is not None
        return float(distance(marks, mirrored(other[None], picture.shape[1]))[0])

    with FaceMesh(video=True) as one:
        single = differs(one)
    assert differs(looks) < 0.25 * single


def test_somebody_else_is_not_mixed_in(looks: SeveralLooks, picture: Image) -> None:
    two = np.ascontiguousarray(np.concatenate([picture, picture[:, ::-1]], 1))
    with FaceMesh(video=True) as one:
        followed, found = one.settled(two), looks.settled(two)
    assert followed is not None
    assert found is not None
    assert distance(followed, found[None])[0] < NEAR / 2
    empty = np.full_like(picture, 90)
    assert SeveralLooks()(empty) is None
