"""The LIGHT grammar: everything it takes, and one clear sentence for what it does not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.errors import LightError
from narrate_stream.lights import light_of_map, map_of, parse_light, read_radiance
from narrate_stream.ops.colour import linear_from_srgb, srgb_from_linear
from narrate_stream.ops.lighting import PRESETS, direction, shade_normals


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_lights(name: str) -> None:
    assert parse_light(name).name == name


def test_original_is_the_portraits_own() -> None:
    assert parse_light("original").original


@pytest.mark.parametrize(("text", "gain"), [("sun:30,20", 1.0), ("sun:30,20,0.5", 0.5), ("sun: 30 , 20 ,2", 2.0)])
def test_a_sun_is_one_direction_and_nothing_else(text: str, gain: float) -> None:
    light = parse_light(text)
    assert light.directions == pytest.approx(direction(30, 20)[None], abs=1e-6)
    assert light.colours == pytest.approx(np.full((1, 3), gain))
    assert not light.sh.any()


@pytest.mark.parametrize(
    "text",
    ["", "noir", "Rembrandt ", "sun", "sun:", "sun:1", "sun:1,2,3,4", "sun:a,b", "sun:nan,0", "sun:0,inf", "sun:0,0,-1",
     "sun:0,0,99", "webcam", "image:", "room.hdr", "room.hdr@x", "room.hdr@", "@20", "image:absent.png", "file.txt"],
)  # fmt: skip
def test_what_is_no_light_is_said_in_one_sentence(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LightError) as caught:
        parse_light(text)
    assert "\n" not in str(caught.value)


def test_broad_and_short_know_how_the_portrait_is_turned(model: HybridModel) -> None:
    assert parse_light("broad", model).name == "broad"


def room(side: str) -> np.ndarray:
    """(64, 128, 3) linear radiance with a window on one side of the subject."""
    out = np.full((64, 128, 3), 0.05, np.float32)
    column = 96 if side == "right" else 32
    out[20:40, column - 8 : column + 8] = [4.0, 3.0, 2.0]
    return out


def save(path: Path, linear: np.ndarray) -> None:
    if path.suffix == ".hdr":
        assert cv2.imwrite(str(path), linear[..., ::-1].astype(np.float32))
    else:
        assert cv2.imwrite(str(path), np.uint8(srgb_from_linear(linear / linear.max())[..., ::-1] * 255 + 0.5))


@pytest.mark.parametrize("suffix", [".hdr", ".png"])
@pytest.mark.parametrize(("turn", "side"), [("", 1), ("@180", -1), ("@-180", -1), ("@360", 1)])
def test_a_map_lights_from_its_window_and_turns(tmp_path: Path, suffix: str, turn: str, side: int) -> None:
    save(tmp_path / f"room{suffix}", room("right"))
    light = parse_light(f"{tmp_path / 'room'}{suffix}{turn}")
    left, right = shade_normals(light, np.array([[-1.0, 0, 0], [1, 0, 0]])).mean(-1)
    assert (right > 2 * left) if side > 0 else (left > 2 * right)


def test_a_positive_turn_moves_the_contents_to_the_images_right(tmp_path: Path) -> None:
    middle = np.full((64, 128, 3), 0.05, np.float32)
    middle[24:40, 58:70] = 5
    save(tmp_path / "front.hdr", middle)
    light = parse_light(f"{tmp_path / 'front.hdr'}@60")
    assert light.directions.mean(0) @ direction(60, 0) > 0.95


def test_only_maps_are_maps() -> None:
    assert all(map_of(text) is None for text in ("split", "original", "sun:1,2", "image:face.png", "image:a.png@20"))
    assert map_of("a@b.png@-90") == (Path("a@b.png"), -90.0)
    assert map_of("room.exr") == (Path("room.exr"), 0.0)
    with pytest.raises(LightError, match="degrees"):
        map_of("room.exr@left")


def test_colours_of_a_map_are_kept_and_grey_maps_are_taken(tmp_path: Path) -> None:
    save(tmp_path / "room.hdr", room("right"))
    radiance = read_radiance(tmp_path / "room.hdr")
    assert radiance.shape == (64, 128, 3)
    assert radiance[30, 96] == pytest.approx([4, 3, 2], rel=0.02)
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((50, 100), 128, np.uint8))
    assert read_radiance(tmp_path / "grey.png") == pytest.approx(
        np.full((64, 128, 3), linear_from_srgb(np.array(128 / 255))), abs=1e-3
    )


def test_what_is_seen_of_a_map_is_what_lights(tmp_path: Path) -> None:
    save(tmp_path / "room.hdr", room("right"))
    light = parse_light(f"{tmp_path / 'room.hdr'}@90")
    assert light.panorama is not None
    height, width = light.panorama.shape[:2]
    assert (height, width) == (64, 128)  # never more than the file has
    brightest = np.unravel_index(np.argmax(light.panorama.mean(-1)), (height, width))[1]
    assert brightest == pytest.approx((96 + 32) % 128, abs=9)  # the window, turned on by 90 degrees
    even = light_of_map(np.full((2048, 4096, 3), 0.5, np.float32), "even")
    assert even.panorama is not None
    assert even.panorama.shape == (512, 1024, 3)
    assert even.panorama * np.pi == pytest.approx(even.panorama.mean() * np.pi, rel=1e-3)
    assert shade_normals(even, np.array([0.0, 0, 1])) == pytest.approx(even.panorama[0, 0], rel=0.02)


def test_a_damaged_map_is_said_so(tmp_path: Path) -> None:
    for name in ("a.hdr", "a.exr", "a.png"):
        (tmp_path / name).write_bytes(b"not a picture at all")
        with pytest.raises(LightError, match="cannot be read"):
            parse_light(str(tmp_path / name))


def test_a_light_made_already_is_taken_as_it_is() -> None:
    light = parse_light("rembrandt")
    assert parse_light(light) is light
