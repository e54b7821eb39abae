"""Environment maps from strangers: what is taken, what is refused before it is decoded, and how many are kept."""

from __future__ import annotations

import contextlib
import struct
import time
import zlib

import cv2
import numpy as np
import pytest

from narrate_stream.errors import LightError
from narrate_stream.lights import decode_map
from narrate_stream.ops.lighting import Lighting
from narrate_stream.uploads import KEPT, MAX_PIXELS, Uploads, claimed_size, light_of_upload


def encoded(suffix: str, width: int = 64, height: int = 32) -> bytes:
    """A map with a bright right half."""
    linear = np.full((height, width, 3), 0.1, np.float32)
    linear[:, width // 2 :] = 0.9
    picture = linear if suffix == ".hdr" else np.uint8(linear * 255)
    return bytes(cv2.imencode(suffix, picture)[1])


def exr(width: int = 8, height: int = 4, claimed: tuple[int, int] | None = None) -> bytes:
    """An uncompressed OpenEXR file, half floats, all 0.5; `claimed`: the size that its header tells."""
    w, h = claimed or (width, height)

    def attribute(name: str, kind: str, value: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value

    channels = b"".join(c + b"\0" + struct.pack("<iiii", 1, 0, 1, 1) for c in (b"B", b"G", b"R")) + b"\0"
    box = struct.pack("<4i", 0, 0, w - 1, h - 1)
    head = b"v/1\x01" + struct.pack("<i", 2)
    head += attribute("channels", "chlist", channels) + attribute("compression", "compression", b"\0")
    head += attribute("dataWindow", "box2i", box) + attribute("displayWindow", "box2i", box)
    head += attribute("lineOrder", "lineOrder", b"\0") + attribute("pixelAspectRatio", "float", struct.pack("<f", 1))
    head += attribute("screenWindowCenter", "v2f", struct.pack("<ff", 0, 0))
    head += attribute("screenWindowWidth", "float", struct.pack("<f", 1)) + b"\0"
    line = np.full(3 * width, 0.5, np.float16).tobytes()
    first = len(head) + 8 * height
    lines = [struct.pack("<ii", y, len(line)) + line for y in range(height)]
    table = struct.pack(f"<{height}Q", *(first + y * len(lines[0]) for y in range(height)))
    return head + table + b"".join(lines)


def huge_png(width: int, height: int) -> bytes:
    """A PNG header alone that claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


@pytest.mark.parametrize("suffix", [".hdr", ".png", ".jpg"])
def test_a_map_lights_from_where_it_is_bright(suffix: str) -> None:
    data = encoded(suffix)
    assert claimed_size(data, "m") == (64, 32)
    light = light_of_upload(data, "m", "upload:1")
    assert light.name == "upload:1"
    assert light.panorama is not None
    assert light.sh[3, 1] > 0.2  # the harmonic of x: bright right of the person


def test_an_exr_is_taken() -> None:
    assert claimed_size(exr(), "m") == (8, 4)
    light = light_of_upload(exr(), "sky.exr", "upload:1")
    assert light.panorama is not None
    assert np.ptp(light.panorama) < 1e-3


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no environment map"),
        (b"GIF89a and more", "is no environment map"),
        (b"#!/bin/sh\n", "is no environment map"),
        (b"II*\0", "is no environment map"),
        (b"\x89PNG\r\n\x1a\n", "size cannot be read"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "size cannot be read"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n", "size cannot be read"),
        (b"v/1\x01 and nothing more", "size cannot be read"),
        (encoded(".png")[:60], "size cannot be read"),
        (encoded(".png")[:-20] + b"\x7f" + encoded(".png")[-19:], "cannot be read"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 32 +X 64\n" + b"\2\2", "cannot be read"),
        (exr()[:200], "cannot be read"),
        (huge_png(100_000, 100_000), "do not fit"),
        (huge_png(0, 5), "do not fit"),
        (b"#?RADIANCE\n\n-Y 1 +X 1\n-Y 99999 +X 99999\n", "do not fit"),
        (exr(claimed=(60_000, 30_000)), "do not fit"),
        (exr(claimed=(-5, 4)), "do not fit"),
    ],
)
def test_a_bad_file_is_one_sentence_that_names_it(data: bytes, words: str) -> None:
    with pytest.raises(LightError, match=words) as caught:
        light_of_upload(data, "sky.hdr", "upload:1")
    assert str(caught.value).startswith("sky.hdr")


def test_the_size_is_checked_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("narrate_stream.uploads.decode_map", lambda *_: pytest.fail("it was decoded"))
    side = int(MAX_PIXELS**0.5)
    with pytest.raises(LightError, match="16 megapixels"):
        light_of_upload(huge_png(side, side + 1), "m.png", "upload:1")


@pytest.mark.parametrize("suffix", [".hdr", ".png", ".jpg", ".exr"])
def test_damaged_bytes_raise_nothing_else(suffix: str) -> None:
    rng = np.random.default_rng(5)
    good = exr() if suffix == ".exr" else encoded(suffix)
    begun = time.monotonic()
    for _ in range(60):
        data = np.frombuffer(good, np.uint8).copy()
        data[rng.integers(0, len(data), 4)] = rng.integers(0, 256, 4)
        with contextlib.suppress(LightError):
            claimed_size(data.tobytes(), "m")
            assert np.isfinite(decode_map(data.tobytes(), "m")).all()
    assert time.monotonic() - begun < 5  # nor does any make a decoder allocate what its header dreams of


def test_a_session_keeps_its_last_maps_and_no_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("narrate_stream.uploads.light_of_map", lambda linear, name: Lighting(name))
    uploads = Uploads()
    names = [uploads.add(encoded(".png"), "m.png").name for _ in range(KEPT + 1)]
    assert names == [f"upload:{n}" for n in range(1, KEPT + 2)]
    assert isinstance(uploads.resolve(names[-1]), Lighting)
    for gone in (names[0], "upload:99", "upload:/etc/passwd"):
        with pytest.raises(LightError, match="not here"):
            uploads.resolve(gone)
    assert uploads.resolve("rembrandt") == "rembrandt"
    with pytest.raises(LightError):
        uploads.add(b"junk", "junk")
    assert uploads.add(encoded(".png"), "m.png").name == f"upload:{KEPT + 2}"  # a refused one takes no number
