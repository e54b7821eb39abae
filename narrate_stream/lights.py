"""The LIGHT grammar: from what a person types to a `Lighting`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.errors import LightError
from narrate_stream.ops import lighting as ops
from narrate_stream.ops.colour import linear_from_srgb
from narrate_stream.ops.geometry import angles_from_rotation
from narrate_stream.ops.lighting import Lighting

ENVIRONMENT_SIZE = (128, 64)
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
    path, _, degrees = text.rpartition("@") if "@" in text else (text, "", "0")
    if Path(path).suffix.lower() in IMAGES:
        try:
            turn = float(degrees)
        except ValueError:
            raise LightError(f"{text}: the rotation after @ must be a number of degrees") from None
        return environment_light(Path(path), turn)
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


def read_radiance(path: Path) -> NDArray[np.float32]:
    """(64, 128, 3) linear radiance of an equirectangular environment map. Raises LightError."""
    if not path.is_file():
        raise LightError(f"{path}: there is no such environment map")
    if path.suffix.lower() == ".exr":
        return _shrunk(_read_exr(path))
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise LightError(f"{path}: the environment map cannot be read")
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, -1)
    rgb = image[..., 2::-1]
    linear = (
        rgb.astype(np.float32)
        if rgb.dtype == np.float32
        else linear_from_srgb(rgb / np.float32(np.iinfo(rgb.dtype).max))
    )
    return _shrunk(linear)


def _shrunk(linear: NDArray[Any]) -> NDArray[np.float32]:
    clean = np.nan_to_num(np.maximum(linear, 0), nan=0.0, posinf=6e4)
    return np.asarray(cv2.resize(clean.astype(np.float32), ENVIRONMENT_SIZE, interpolation=cv2.INTER_AREA))


def _read_exr(path: Path) -> NDArray[np.float32]:
    """OpenEXR through PyAV's decoder: OpenCV's own is switched off by default for safety."""
    import av

    try:
        with av.open(str(path)) as box:
            frame = next(box.decode(video=0))
            planar = frame.reformat(format="gbrpf32le").to_ndarray()
    except (av.FFmpegError, StopIteration, ValueError) as error:
        raise LightError(f"{path}: the environment map cannot be read ({error})") from error
    return np.asarray(planar if planar.shape[-1] == 3 else np.moveaxis(planar, 0, -1), np.float32)


def environment_light(path: Path, turn: float) -> Lighting:
    """Light of an environment map, turned by `turn` degrees (positive: its contents move to the image's right)."""
    radiance = read_radiance(path)
    shift = round(turn / 360 * radiance.shape[1])
    return ops.environment(np.roll(radiance, shift, axis=1), f"{path.name}@{turn:g}")
