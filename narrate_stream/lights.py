"""The LIGHT grammar: from what a person types to a `Lighting`."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.errors import LightError
from narrate_stream.ops import lighting as ops
from narrate_stream.ops.colour import linear_from_srgb
from narrate_stream.ops.environment import environment
from narrate_stream.ops.geometry import angles_from_rotation
from narrate_stream.ops.grading import turned_map
from narrate_stream.ops.lighting import Lighting

ENVIRONMENT_WIDTH, PANORAMA_WIDTH = 128, 1024  # of a map as a light, and as what is seen behind the person
EXR_MAGIC = b"v/1\x01"
IMAGES = (".hdr", ".exr", ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


def parse_light(text: str | Lighting, model: HybridModel | None = None) -> Lighting:
    """`original`, a preset, `sun:AZ,EL[,GAIN]`, `FILE.hdr[@DEG]` (also .exr, .png, .jpg), or a light made already.

    Raises LightError with one sentence for anything else; `webcam` belongs to the live pipeline, and `image:FILE` is
    looked up by the offline stage before (`offline.target`): it takes a second and F_N.
    """
    if isinstance(text, Lighting):
        return text
    if text == "original":
        return Lighting("original", original=True)
    if text in ops.PRESETS:
        yaw = float(angles_from_rotation(model.rotation)[0]) if model is not None else 0.0
        return ops.preset(text, yaw)
    if text.startswith("sun:"):
        return _sun(text)
    if text.startswith("image:"):
        raise LightError(f"{text!r}: a light is taken from a picture before the avatar starts, not while it plays")
    named = map_of(text)
    if named is not None:
        return environment_light(*named)
    known = ", ".join(ops.PRESETS)
    raise LightError(f"{text!r} is no light: use original, one of {known}, sun:AZ,EL, an environment map or image:FILE")


def _sun(text: str) -> Lighting:
    try:
        numbers = [float(part) for part in text[4:].split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(np.isfinite(numbers)):
        raise LightError(f"{text!r}: a sun is written sun:AZ,EL or sun:AZ,EL,GAIN, in degrees")
    if len(numbers) == 3 and not 0 <= numbers[2] <= 20:
        raise LightError(f"{text!r}: the gain of a sun lies between 0 and 20")
    return ops.sun(*numbers)


def map_of(text: str) -> tuple[Path, float] | None:
    """File and turn in degrees of the environment map `FILE[@DEG]`; None for other LIGHTs. Raises LightError."""
    file, _, degrees = text.rpartition("@") if "@" in text else (text, "", "0")
    if text.startswith("image:") or Path(file).suffix.lower() not in IMAGES:
        return None
    try:
        return Path(file), float(degrees)
    except ValueError:
        raise LightError(f"{text}: the rotation after @ must be a number of degrees") from None


def environment_light(path: Path, turn: float) -> Lighting:
    """Light of an environment map, turned by `turn` degrees (positive: its contents move to the image's right)."""
    return light_of_map(read_map(path), f"{path.name}@{turn:g}", turn)


def light_of_map(linear: NDArray[np.float32], name: str, turn: float = 0.0) -> Lighting:
    """Light of an equirectangular map (H, W, 3), linear, of any size."""
    light, seen = resized(linear, ENVIRONMENT_WIDTH), resized(linear, min(PANORAMA_WIDTH, linear.shape[1]))
    return environment(turned_map(light, turn), name, panorama=turned_map(seen, turn))


def read_radiance(path: Path) -> NDArray[np.float32]:
    """(64, 128, 3) linear radiance of an equirectangular environment map. Raises LightError."""
    return resized(read_map(path), ENVIRONMENT_WIDTH)


def read_map(path: Path) -> NDArray[np.float32]:
    """(H, W, 3) linear radiance of the map in a file. Raises LightError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise LightError(f"{path}: there is no such environment map") from None
    except OSError as error:
        raise LightError(f"{path}: the environment map cannot be read ({error.strerror})") from error
    return decode_map(data, str(path))


def resized(linear: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """(width / 2, width, 3) the map, area-averaged where that shrinks it."""
    return np.asarray(cv2.resize(linear, (width, max(1, width // 2)), interpolation=cv2.INTER_AREA), np.float32)


def decode_map(data: bytes, source: str) -> NDArray[np.float32]:
    """(H, W, 3) linear radiance of a map in memory: Radiance HDR, OpenEXR or a picture. A LightError names `source`."""
    linear = _decode_exr(data, source) if data.startswith(EXR_MAGIC) else _decode_picture(data, source)
    return np.nan_to_num(np.maximum(linear, 0), nan=0.0, posinf=6e4).astype(np.float32, copy=False)


def _decode_picture(data: bytes, source: str) -> NDArray[np.float32]:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:  # what a header claims may be beyond what OpenCV dares to allocate
        image = None
    if image is None:
        raise LightError(f"{source}: the environment map cannot be read")
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, -1)
    rgb = image[..., 2::-1]
    if rgb.dtype == np.float32:
        return np.asarray(rgb)
    return linear_from_srgb(rgb / np.float32(np.iinfo(rgb.dtype).max))


def _decode_exr(data: bytes, source: str) -> NDArray[np.float32]:
    """OpenEXR through PyAV's decoder: OpenCV's own is switched off by default for safety."""
    import av

    try:
        with av.open(BytesIO(data), format="exr_pipe") as box:
            frame = next(box.decode(video=0))
            planar = frame.reformat(format="gbrpf32le").to_ndarray()
    except (av.FFmpegError, StopIteration, ValueError) as error:
        raise LightError(f"{source}: the environment map cannot be read ({error})") from error
    return np.asarray(planar if planar.shape[-1] == 3 else np.moveaxis(planar, 0, -1), np.float32)
