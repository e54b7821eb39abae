from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from narrate_stream.errors import MissingExtra, NarrateError, PortraitError
from offline.picture import load_builtin_portrait, load_picture

H, W = 96, 128


def scene() -> np.ndarray:  # [H, W, 3]
    """Smooth colours, so that lossy formats stay near; no two corners are alike."""
    y, x = np.mgrid[:H, :W]
    return np.stack([x * 255 / W, y * 255 / H, 200 - x * 100 / W], -1).astype(np.uint8)


def save(path: Path, picture: np.ndarray | Image.Image, **options: object) -> Path:
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture.save(path, **options)
    return path


def far(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).max())


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.png", {}, 0),
        ("a.jpg", {"quality": 95, "subsampling": 0}, 8),
        ("a.webp", {"lossless": True}, 0),
        ("a.tif", {}, 0),
        ("a.tiff", {"compression": "tiff_lzw"}, 0),
        ("a.bmp", {}, 0),
        ("picture without a suffix", {"format": "PNG"}, 0),
        ("ünïcode é.png", {}, 0),
    ],
)
def test_formats(tmp_path: Path, name: str, options: dict[str, object], tolerance: float) -> None:
    picture = load_picture(save(tmp_path / name, scene(), **options))
    assert picture.image.dtype == np.uint8
    assert picture.image.flags.c_contiguous
    assert picture.alpha is None
    assert not picture.icc_converted
    assert picture.path == tmp_path / name
    assert far(picture.image, scene()) <= tolerance


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    assert load_picture(str(save(tmp_path / "a.png", scene()))).image.shape == (H, W, 3)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA", "RGB", "I;16"])
def test_png_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(scene()).convert("L")
    if mode == "I;16":
        source = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        assert source.mode == "I;16"
    else:
        source = grey.convert(mode) if mode in ("1", "L", "LA") else Image.fromarray(scene()).convert(mode)
    picture = load_picture(save(tmp_path / "a.png", source))
    expected = np.asarray(source.convert("RGB")) if mode != "I;16" else np.asarray(grey.convert("RGB"))
    assert far(picture.image, expected) == 0
    assert picture.alpha is None  # opaque alpha says nothing


def test_png_with_16_bits_of_colour(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), scene()[..., ::-1].astype(np.uint16) * 257)
    assert far(load_picture(tmp_path / "a.png").image, scene()) <= 1


def test_alpha_is_kept_beside_the_straight_colours(tmp_path: Path) -> None:
    alpha = np.full((H, W), 255, np.uint8)
    alpha[:, :40] = 51
    picture = load_picture(save(tmp_path / "a.png", np.dstack([scene(), alpha])))
    assert picture.alpha is not None
    assert picture.alpha.dtype == np.float32
    assert picture.alpha[0, 0] == pytest.approx(0.2)
    assert picture.alpha[0, 50] == 1
    assert far(picture.image, scene()) == 0


def test_palette_transparency_is_alpha(tmp_path: Path) -> None:
    source = Image.fromarray(np.zeros((H, W), np.uint8)).convert("P")
    source.putpalette([255, 0, 0] * 256)
    picture = load_picture(save(tmp_path / "a.png", source, transparency=0))
    assert picture.alpha is not None
    assert picture.alpha.max() == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int) -> None:
    turn_back = {  # stored pixels that show the upright scene when a viewer applies the orientation
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", np.ascontiguousarray(turn_back(scene())), exif=exif)
    assert far(load_picture(path).image, scene()) == 0


def test_broken_exif_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", scene(), exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff broken", quality=95, subsampling=0)
    assert far(load_picture(path).image, scene()) <= 8


def swapped_profile() -> bytes:
    """sRGB with the tags of red and blue exchanged: a profile whose effect cannot be overlooked."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile = bytearray(bytes(profile).replace(b"s\0R\0G\0B\0 \0b\0u\0i\0l", b"x\0R\0G\0B\0 \0b\0u\0i\0l"))
    return bytes(profile.replace(b"rXYZ", b"tmp ").replace(b"bXYZ", b"rXYZ").replace(b"tmp ", b"bXYZ"))


def test_embedded_profile_becomes_srgb(tmp_path: Path) -> None:
    profile = swapped_profile()
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    assert not ImageCms.getProfileDescription(source).startswith("sRGB")
    picture = load_picture(save(tmp_path / "a.png", scene(), icc_profile=profile))
    assert picture.icc_converted
    assert far(picture.image[..., ::-1], scene()) <= 3


def test_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = load_picture(save(tmp_path / "a.png", scene(), icc_profile=profile))
    assert not picture.icc_converted
    assert far(picture.image, scene()) == 0


@pytest.mark.parametrize("profile", [b"not a profile", swapped_profile()[:200]])
def test_unusable_profile_is_left_out(tmp_path: Path, profile: bytes) -> None:
    picture = load_picture(save(tmp_path / "a.png", scene(), icc_profile=profile))
    assert not picture.icc_converted
    assert far(picture.image, scene()) == 0


def test_colour_profile_on_a_grey_picture_is_left_out(tmp_path: Path) -> None:
    grey = Image.fromarray(scene()).convert("L")
    picture = load_picture(save(tmp_path / "a.png", grey, icc_profile=swapped_profile()))
    assert far(picture.image, np.asarray(grey.convert("RGB"))) == 0


def test_cmyk_jpeg(tmp_path: Path) -> None:
    cmyk = Image.fromarray(scene()).convert("CMYK")
    picture = load_picture(save(tmp_path / "a.jpg", cmyk, quality=95, subsampling=0))
    assert far(picture.image, np.asarray(cmyk.convert("RGB"))) <= 8


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    first, second = Image.fromarray(scene()), Image.new("RGB", (W, H))
    for name in ("a.webp", "a.png", "a.gif"):
        options = {"lossless": True} if name == "a.webp" else {}
        first.save(tmp_path / name, save_all=True, append_images=[second], duration=100, **options)
        shown = load_picture(tmp_path / name).image
        assert np.abs(shown.astype(float) - scene()).mean() < 8, name


def test_heic(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed (extra: heic)")
    path = tmp_path / "a.heic"
    heif.from_pillow(Image.fromarray(scene())).save(path, quality=95)
    assert np.abs(load_picture(path).image.astype(float) - scene()).mean() < 4


def test_heic_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(MissingExtra, match=r"a\.heic.*narrate-stream\[heic\]"):
        load_picture(path)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing: what a decompression bomb looks like from outside."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(8001, 8000), (10_000, 10_000), (60_000, 60_000), (1, 65_000_000)])
def test_more_than_64_megapixels_are_refused_before_decoding(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(*size))
    with pytest.raises(PortraitError, match=r"bomb\.png holds more than 64 megapixels"):
        load_picture(path)


def test_fifty_megapixels_are_fine(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("RGB", (8192, 6144), (10, 200, 30)), quality=30)
    assert load_picture(path).image.shape == (6144, 8192, 3)


def whole(kind: str) -> bytes:
    memory = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (H, W, 3), dtype=np.uint8)
    Image.fromarray(noise).save(memory, format=kind)
    return memory.getvalue()


def refusal(path: Path) -> str:
    with pytest.raises(NarrateError) as raised:
        load_picture(path)
    assert isinstance(raised.value, PortraitError)
    text = str(raised.value)
    assert path.name in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_truncated_files(tmp_path: Path, kind: str, part: float) -> None:
    data = whole(kind)
    path = tmp_path / "cut"
    path.write_bytes(data[: int(len(data) * part)])
    assert "damaged or truncated" in (text := refusal(path)) or "not a picture" in text


def test_damaged_bytes_raise_nothing_else(tmp_path: Path) -> None:
    """Whatever a decoder thinks of a damaged file: a picture or our own sentence."""
    random = np.random.default_rng(3)
    path = tmp_path / "damaged"
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        for _ in range(15):
            data = np.frombuffer(whole(kind), np.uint8).copy()
            data[random.integers(0, len(data), 20)] = random.integers(0, 255, 20)
            data[random.integers(0, 200, 2)] = random.integers(0, 255, 2)
            path.write_bytes(data.tobytes())
            try:
                load_picture(path)
            except PortraitError as error:
                assert "damaged" in str(error)  # noqa: PT017 - both outcomes are right


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("hello, I am a text file\n" * 20)
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n")
    save(tmp_path / "one.png", Image.new("RGB", (1, 1)))
    save(tmp_path / "low.png", Image.new("RGB", (500, 63)))
    save(tmp_path / "float.tif", Image.fromarray(np.zeros((H, W), np.float32)))
    assert "empty" in refusal(tmp_path / "empty.jpg")
    assert "not a picture" in refusal(tmp_path / "text.png")
    assert "not a picture" in refusal(tmp_path / "page.eps")
    assert "1x1" in refusal(tmp_path / "one.png")
    assert "500x63" in refusal(tmp_path / "low.png")
    assert "floating point" in refusal(tmp_path / "float.tif")
    assert "directory" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "missing.jpg")
    assert "not a regular file" in refusal(Path("/dev/null"))


def test_the_builtin_portrait() -> None:
    picture = load_builtin_portrait()
    assert picture.image.shape == (512, 512, 3)
    assert picture.image.dtype == np.uint8
    assert picture.path is None
    assert picture.name == "the built-in portrait"
