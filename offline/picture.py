"""Reading the portrait: any picture file a person is likely to have, as upright sRGB pixels, or one clear sentence."""

from __future__ import annotations

import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from narrate_stream.errors import MissingExtra, PortraitError

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

    from narrate_stream.types import Array, Image

log = logging.getLogger(__name__)

MAX_PIXELS = 64_000_000
MIN_SIDE = 64
# A list, so that a renamed EPS or font file never reaches a decoder that runs programs. MPO: the JPEGs of many phones.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000", "PPM")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@dataclass(frozen=True)
class Picture:
    """One still picture, upright: `image` (H, W, 3) uint8 sRGB RGB.

    alpha: (H, W) float32 in 0..1, or None where the file has no transparency (or all of it is opaque); the colours are
    not multiplied by it. path: the file, None for the built-in portrait. icc_converted: whether an embedded colour
    profile was turned into sRGB.
    """

    image: Image
    alpha: Array | None = None
    path: Path | None = None
    icc_converted: bool = False

    @property
    def name(self) -> str:
        """What to call the picture in a message."""
        return str(self.path) if self.path else "the built-in portrait"


def load_picture(path: Path | str) -> Picture:
    """Read a portrait file; EXIF orientation and colour profile are honoured, an animation gives its first frame.

    Raises PortraitError for anything that is not a whole picture between 64 pixels a side and 64 megapixels, and
    MissingExtra for HEIC where pillow-heif is not installed.
    """
    path = Path(path)
    data = _read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata and large pictures; the rules here are our own
        opened = _open(path, data)
        _check_size(path, *opened.size)
        return _decode(path, opened)


def load_builtin_portrait() -> Picture:
    """The astronaut Eileen Collins, 512x512, a NASA photograph in the public domain that scikit-image ships."""
    from skimage import data

    return Picture(np.ascontiguousarray(data.astronaut(), dtype=np.uint8))


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise PortraitError(f"{path} is a directory, not a picture")
    if not path.exists():
        raise PortraitError(f"{path}: no such file")
    if not path.is_file():
        raise PortraitError(f"{path} is not a regular file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PortraitError(f"{path} cannot be read: {error.strerror}") from error
    if not data:
        raise PortraitError(f"{path} is empty")
    return data


def _open(path: Path, data: bytes) -> PilImage:
    """Read the header only; nothing is decoded yet."""
    from PIL import Image, UnidentifiedImageError

    Image.init()
    formats = ["HEIF"] if _is_heif(data) and _register_heif(path) else [f for f in FORMATS if f in Image.OPEN]
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except UnidentifiedImageError as error:
        raise PortraitError(f"{path} is not a picture in a format that can be read (JPEG, PNG, WebP, TIFF)") from error
    except Exception as error:  # decoders of damaged files raise whatever comes
        raise _damaged(path, error) from error


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and b"avif" not in data[8:40]


def _register_heif(path: Path) -> bool:
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingExtra(f"{path} is a HEIC picture: install narrate-stream[heic], or save it as JPEG") from error
    pillow_heif.register_heif_opener()
    return True


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(path, f" ({width}x{height})")
    if min(width, height) < MIN_SIDE:
        raise PortraitError(f"{path} is {width}x{height} pixels: a portrait needs at least {MIN_SIDE} a side")


def _too_large(path: Path, size: str = "") -> PortraitError:
    return PortraitError(f"{path} holds more than {MAX_PIXELS // 1_000_000} megapixels{size}: make it smaller first")


def _damaged(path: Path, cause: Exception) -> PortraitError:
    log.debug("%s: %r", path, cause)
    return PortraitError(f"{path} is a damaged or truncated picture")


def _decode(path: Path, opened: PilImage) -> Picture:
    try:
        if opened.mode == "F":
            raise PortraitError(
                f"{path} has floating point pixels, whose white nobody knows: save it with 8 or 16 bits"
            )
        opened.load()
        upright = _upright(opened)
        colour, alpha = _split_alpha(upright)
        rgb, converted = _to_srgb(path, colour, opened.info.get("icc_profile"))
        image = np.array(rgb, dtype=np.uint8)
    except PortraitError:
        raise
    except Exception as error:  # decoders of damaged files raise whatever comes
        raise _damaged(path, error) from error
    return Picture(image, alpha, path, converted)


def _upright(picture: PilImage) -> PilImage:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(picture)
    except Exception as error:  # noqa: BLE001 - broken EXIF is no reason to refuse a whole picture
        log.debug("EXIF left out: %r", error)
        return picture


def _split_alpha(picture: PilImage) -> tuple[PilImage, Array | None]:
    """The colours in a mode that a colour profile can read (L, RGB, CMYK), and the transparency."""
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"), dtype=np.float32) / 255
        return rgba.convert("RGB"), alpha if alpha.min() < 1 else None
    if picture.mode.startswith("I;16") or picture.mode == "I":
        return _from_16_bit(picture), None
    return (picture if picture.mode in ("L", "RGB", "CMYK", "LAB") else picture.convert("RGB")), None


def _from_16_bit(picture: PilImage) -> PilImage:
    """Grey with 16 bits: Pillow's own conversion clips at 255 instead of scaling."""
    from PIL import Image

    values = np.clip(np.asarray(picture).astype(np.int64), 0, 65535)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _to_srgb(path: Path, picture: PilImage, profile: bytes | None) -> tuple[PilImage, bool]:
    """Through the embedded profile where there is a usable one that is not sRGB already."""
    from PIL import ImageCms

    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if _fits(source, picture.mode) and not ImageCms.getProfileDescription(source).startswith("sRGB"):
                srgb = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(picture, source, srgb, outputMode="RGB")
                return converted or picture.convert("RGB"), converted is not None
        except (ImageCms.PyCMSError, OSError) as error:
            log.warning("%s: its colour profile cannot be used and is left out (%s)", path, error)
    return picture.convert("RGB"), False


def _fits(profile: object, mode: str) -> bool:
    """Whether a profile speaks of the pixels it came with; a grey file often carries an RGB profile by mistake."""
    space = str(profile.profile.xcolor_space).strip()  # type: ignore[attr-defined]
    return space == {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}.get(mode)
