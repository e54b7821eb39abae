"""Staying with one driver: nobody steals the avatar by walking in, and a seat that changed hands is driven anew."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from narrate_stream.drivers.keeper import (
    AWAY,
    GLANCE,
    HIDDEN,
    LOOKS,
    PATIENCE,
    USUAL,
    Keeper,
    Sighting,
    sighting,
    without,
)
from narrate_stream.drivers.mesh import MeshDriver
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from narrate_stream.types import Frame, Motion
from offline.picture import load_builtin_portrait

STEP = 1 / 30
OWN = Sighting(np.array([200.0, 200.0]), 60.0, (140, 120, 260, 280), USUAL)
OTHER = Sighting(np.array([500.0, 180.0]), 90.0, (400, 60, 600, 300), 0.028)


def watching() -> Keeper:
    keeper = Keeper()
    assert keeper(OWN, 0.0) == "new"
    for _ in range(30):
        assert keeper(OWN, STEP) == "driver"
    return keeper


def test_a_stranger_is_looked_at_and_then_hidden_for_a_while() -> None:
    keeper = watching()
    assert [keeper(OTHER, STEP) for _ in range(LOOKS)] == ["stranger"] * LOOKS
    assert keeper.hidden == OTHER.box
    for _ in range(round(HIDDEN / STEP) - 1):
        keeper.nobody(STEP)
        assert keeper.hidden == OTHER.box
    keeper.nobody(STEP)
    keeper.nobody(STEP)
    assert keeper.hidden is None
    assert keeper(OWN, STEP) == "driver"
    assert keeper.person == 0


def test_a_stranger_drives_when_the_driver_stays_away() -> None:
    keeper, waited = watching(), 0.0
    while (verdict := keeper(OTHER, STEP)) == "stranger":
        waited += STEP
    assert verdict == "new"
    assert waited == pytest.approx(PATIENCE, abs=2 * STEP)
    assert keeper.person == 1
    assert keeper(replace(OTHER, misfit=0.01), STEP) == "driver"


@pytest.mark.parametrize(("away", "person"), [(0.4, 0), (AWAY - 0.5, 0), (AWAY + 0.5, 1)])
def test_a_driver_who_comes_back_is_known_and_told(away: float, person: int) -> None:
    keeper = watching()
    for _ in range(round(away / STEP)):
        keeper.nobody(STEP)
    moved = replace(OWN, at=OWN.at + np.array([300.0, 0.0]), unit=40.0)
    assert keeper(moved, STEP) == "driver"  # its proportions are its own, wherever it is
    assert keeper.person == person


def test_a_driver_whose_face_fits_badly_for_once_is_not_thrown_out() -> None:
    keeper, odd = watching(), replace(OWN, misfit=0.03)
    assert keeper(odd, STEP) == "driver"
    keeper.nobody(GLANCE / 2)
    assert keeper(odd, STEP) == "driver"
    keeper.nobody(GLANCE)
    assert keeper(odd, STEP) == "stranger"  # now its place proves nothing


def test_a_face_that_jumps_or_swells_is_not_near() -> None:
    for other in (replace(OWN, at=OWN.at + np.array([2 * OWN.unit, 0.0])), replace(OWN, unit=1.5 * OWN.unit)):
        assert watching()(replace(other, misfit=0.03), STEP) == "stranger"


def test_a_head_fits_itself_in_any_pose_and_another_does_not() -> None:
    shape, camera = canonical().landmarks, Camera(800, 319.5, 239.5)
    pose = rotation_from_angles(25, -10, 5), np.array([3.0, -2.0, -70.0])
    seen = camera.project(shape @ pose[0].T + pose[1])
    own = sighting(seen, shape, camera, pose)
    assert own.misfit == pytest.approx(0, abs=1e-9)
    assert own.unit == pytest.approx(800 * np.linalg.norm(shape[33] - shape[263]) / 70)
    assert sighting(seen, shape * [1.0, 1.1, 1.0], camera, pose).misfit > 0.02
    low, high = seen.min(0), seen.max(0)
    assert own.box[0] < low[0] < high[0] < own.box[2]
    assert own.at == pytest.approx((low + high) / 2)


def test_hiding_paints_over_the_box_and_nothing_else() -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    out = without(image, (-5, 10, 30, 200))
    assert np.ptp(out[10:, :30].reshape(-1, 3), axis=0).max() == 0
    assert np.array_equal(out[:10], image[:10])
    assert np.array_equal(out[:, 30:], image[:, 30:])


# ------------------------------------------------------------------ composed frames


@pytest.fixture(scope="module")
def people() -> tuple[np.ndarray, np.ndarray]:
    """The built-in portrait, and somebody else made of it: mirrored, longer, narrower and nearer."""
    face = load_builtin_portrait().image[:300, 80:380]
    return cv2.resize(face, (330, 330)), cv2.resize(np.ascontiguousarray(face[:, ::-1]), (400, 540))


def composed(people: tuple[np.ndarray, np.ndarray], driver: float, other: float) -> np.ndarray:
    """Both side by side, each as much there as its share 0..1 says."""
    picture = np.full((560, 800, 3), 96.0)
    for person, share, x, y in zip(people, (driver, other), (20, 380), (120, 10), strict=True):
        h, w = person.shape[:2]
        picture[y : y + h, x : x + w] += share * (person - picture[y : y + h, x : x + w])
    return picture.astype(np.uint8)


def drive(people: tuple[np.ndarray, np.ndarray], shares: list[tuple[float, float]]) -> list[Motion | None]:
    driver = MeshDriver()
    try:
        pictures = {pair: composed(people, *pair) for pair in dict.fromkeys(shares)}
        return [driver(Frame(pictures[pair], i, Fraction(1, 30))) for i, pair in enumerate(shares)]
    finally:
        driver.close()


def side(motion: Motion | None) -> str:
    return "nobody" if motion is None else "driver" if motion.pixels[:, 0].mean() < 360 else "other"


def test_a_larger_face_that_fades_in_takes_nothing(people: tuple[np.ndarray, np.ndarray]) -> None:
    fading = [(1.0, i / 20) for i in range(21)]
    covered = [(0.0, 1.0)] * 15  # the driver turns away: the detector is free to take another
    found = drive(people, [(1.0, 0.0)] * 5 + fading + covered + [(1.0, 1.0)] * 25)
    sides = [side(motion) for motion in found]
    assert "other" not in sides
    assert set(sides[:26]) == {"driver"}
    assert set(sides[-8:]) == {"driver"}
    assert {motion.person for motion in found if motion} == {0}


def test_who_takes_the_seat_drives_after_a_while_with_a_shape_of_its_own(
    people: tuple[np.ndarray, np.ndarray],
) -> None:
    found = drive(people, [(1.0, 0.0)] * 5 + [(0.0, 1.0)] * round((PATIENCE + 0.5) * 30))
    assert side(found[-1]) == "other"
    assert found[-1] is not None
    assert found[-1].person == 1
    first, last = (m.landmarks for m in (found[0], found[-1]) if m is not None)
    ratio = [np.linalg.norm(face[10] - face[152]) / np.linalg.norm(face[33] - face[263]) for face in (first, last)]
    assert ratio[1] > 1.15 * ratio[0]
