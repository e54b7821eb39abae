"""From a picture to a portrait: the face, the crop, the matte and the background behind it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from narrate_stream.errors import PortraitError
from narrate_stream.fusion import brim
from offline import preprocess
from offline.picture import load_builtin_portrait
from offline.preprocess import OVAL, Portrait, clean_plate, connected, crop_box, foreground_colours, matte, push_pull


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return preprocess.prepare(load_builtin_portrait(), 512)


@pytest.fixture(scope="module")
def alpha(portrait: Portrait) -> np.ndarray:
    return matte(portrait)


def test_the_astronauts_face_is_found(portrait: Portrait) -> None:
    x0, y0, scale = portrait.crop
    face = (portrait.landmarks[:, :2] + 0.5) / scale + [x0, y0]
    assert face.mean(0) == pytest.approx([225, 115], abs=15)  # where it is in the photograph
    assert portrait.faces == 1
    assert not portrait.tight
    assert 300 <= max(portrait.image.shape) <= 512  # never larger than asked for
    eyes = portrait.landmarks[[468, 473], 0]
    assert eyes[0] < eyes[1]  # the subject's right eye is on the image's left


def test_the_camera_is_the_photographs(portrait: Portrait) -> None:
    x0, y0, scale = portrait.crop
    camera = portrait.camera
    assert camera.focal / scale == pytest.approx(1.5 * 512)
    assert ((camera.cx + 0.5) / scale + x0, (camera.cy + 0.5) / scale + y0) == pytest.approx((256, 256))


@pytest.mark.parametrize("picture", ["grey", "noise"])
def test_no_face_is_said_in_one_sentence(picture: str) -> None:
    image = np.full((300, 400, 3), 128, np.uint8)
    if picture == "noise":
        image = np.random.default_rng(0).integers(0, 255, image.shape).astype(np.uint8)
    with pytest.raises(PortraitError, match="no human face was found") as caught:
        preprocess.prepare(replace(load_builtin_portrait(), image=image, alpha=None), 512)
    assert "\n" not in str(caught.value)


def test_a_tiny_face_is_refused() -> None:
    import cv2

    picture = load_builtin_portrait()
    small = cv2.resize(picture.image, (150, 150), interpolation=cv2.INTER_AREA)
    with pytest.raises(PortraitError, match=r"pixels wide|no human face"):
        preprocess.prepare(replace(picture, image=np.ascontiguousarray(small), alpha=None), 512)


def test_the_crop_holds_head_and_shoulders_and_stays_inside() -> None:
    marks = np.array([[400.0, 300, 0], [500, 440, 0]])
    x0, y0, x1, y1 = crop_box(marks, 1000, 1000)
    assert x0 < 300 < 600 < x1
    assert y0 < 200 < 600 < y1
    assert crop_box(marks, 520, 450) == (x0, y0, 520, 450)


def test_the_matte_is_one_on_the_face_and_nothing_behind(portrait: Portrait, alpha: np.ndarray) -> None:
    assert alpha.shape == portrait.image.shape[:2]
    assert alpha.min() == 0
    assert alpha.max() == 1
    marks = portrait.landmarks[list(OVAL), :2]
    inner = np.round(marks.mean(0) + 0.85 * (marks - marks.mean(0))).astype(int)
    assert (alpha[inner[:, 1], inner[:, 0]] > 0.98).all()
    assert (alpha[:12] < 0.05).all()
    assert 0.2 < alpha.mean() < 0.8


def test_the_mattes_edge_is_soft_but_narrow(alpha: np.ndarray) -> None:
    soft = (alpha > 0.05) & (alpha < 0.95)
    assert 0.002 < soft.mean() < 0.06


def test_a_matte_that_the_picture_brings_is_kept(portrait: Portrait) -> None:
    own = np.tile(np.linspace(0, 1, portrait.image.shape[1], dtype=np.float32), (portrait.image.shape[0], 1))
    assert np.array_equal(matte(replace(portrait, alpha=own)), own)
    assert (matte(replace(portrait, tight=True)) == 1).all()


def test_layers_put_together_give_the_picture_back(portrait: Portrait, alpha: np.ndarray) -> None:
    plate = clean_plate(portrait.image, alpha)
    front = foreground_colours(portrait.image, alpha, plate)
    a = alpha[..., None]
    again = front * a + plate * (1 - a)
    error = np.abs(again - portrait.image)
    far = cv2.distanceTransform((alpha <= 0).astype(np.uint8), cv2.DIST_L2, 5) > brim(alpha.shape)
    assert np.array_equal(plate[far], portrait.image[far])
    assert error[alpha >= 0.999].max() <= 1
    assert error.mean() < 1.0


def test_what_shines_round_the_person_does_not_stay_behind() -> None:
    """A bright line beside the matte, as sharpening draws it, is none in the plate."""
    image, alpha = np.full((400, 400, 3), 90, np.uint8), np.zeros((400, 400), np.float32)
    alpha[150:, 120:280] = 1
    image[cv2.dilate(alpha, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))) > 0] = 240
    assert np.abs(clean_plate(image, alpha).astype(int) - 90)[:140].max() <= 1
    assert np.abs(clean_plate(image, alpha).astype(int) - 90)[:, :115].max() <= 1


def test_the_plate_shows_nobody(portrait: Portrait, alpha: np.ndarray) -> None:
    plate = clean_plate(portrait.image, alpha)
    from narrate_stream.drivers.landmarks import FaceMesh

    with FaceMesh(video=False) as mesh:
        assert mesh(plate) is None


def test_what_does_not_touch_the_face_is_somebody_else() -> None:
    mask = np.zeros((60, 60), bool)
    mask[5:20, 5:20] = mask[40:55, 40:55] = True
    seed = np.zeros((60, 60), np.uint8)
    seed[10, 10] = 1
    kept = connected(mask, seed)
    assert kept[12, 12] > 0.99
    assert kept[48, 48] < 0.01


def test_filling_keeps_what_is_known_and_goes_on_smoothly() -> None:
    ramp = np.repeat(np.tile(np.linspace(0, 100, 64, dtype=np.float32), (64, 1))[..., None], 3, 2)
    weight = np.ones((64, 64), np.float32)
    weight[20:44, 20:44] = 0
    filled = push_pull(ramp, weight)
    assert np.array_equal(filled[weight > 0], ramp[weight > 0])
    assert np.abs(filled - ramp).max() < 15
