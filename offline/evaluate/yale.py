"""Extended Yale B: folders of one subject each, up to 64 photographs under one flash each.

Convention: `yaleB01_P00A+035E-20.pgm` is azimuth +35, elevation -20 in degrees, where positive azimuth is the image's
left: in camera axes the light stands toward (-sin A cos E, sin E, cos A cos E). Bytes are linear; photographs go in,
and are compared, as sRGB. Crops are aligned by the eyes, 168 x 192, so places in them are given as shares of the size.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.errors import NarrateError
from narrate_stream.ops.colour import srgb_from_linear
from narrate_stream.ops.lighting import direction, sun
from offline.evaluate.samples import Sample, Target, enlarged
from offline.evaluate.stereo import Stereo, photometric_stereo

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
Angles = tuple[int, int]  # azimuth, elevation in the set's own sense
NAME = re.compile(r"_P00A([+-]\d{3})E([+-]\d{2})\.pgm$")
FRONTAL: Angles = (0, 0)
# lights to compare under: a spread of what the set has, up to 70 degrees aside
TARGETS: tuple[Angles, ...] = (
    (0, 20), (0, 45), (0, -20), (0, -35),
    *((side * a, e) for a, e in ((25, 0), (35, 40), (35, -20), (50, 0), (50, -40), (60, 20), (70, 0), (70, 45))
      for side in (1, -1)),
)  # fmt: skip
FACE = (0.497, 0.458, 0.464, 0.521)  # ellipse: centre x, y and radii x, y as shares of width and height
EYES = ((0.208, 0.24, 0.173, 0.078), (0.786, 0.24, 0.173, 0.078))
BORDER = 0.017
BROW_LINE = 0.365  # above, a darkened skin is brow or hair
WORST_RESIDUAL, LEAST_SUPPORT, STEEPEST = 0.07, 8.0, 0.15  # beyond, the truth itself is in doubt


def subject_folders(folder: Path) -> list[Path]:
    """Sub-folders that hold a frontal-light photograph, by name; the folder itself when it is one subject."""
    return [p for p in (folder, *sorted(folder.iterdir())) if p.is_dir() and any(p.glob("*_P00A+000E+00.pgm"))]


def read_photographs(folder: Path) -> dict[Angles, F64]:
    """Linear (H, W) 0..1 photographs by light; unreadable, odd-sized and torn ones are left out.

    Raises NarrateError without a usable frontal one.
    """
    found: dict[Angles, F64] = {}
    for path in sorted(folder.glob("*.pgm")):
        match = NAME.search(path.name)
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if match else None
        if match and image is not None and not torn(image):
            found[int(match[1]), int(match[2])] = image.astype(np.float64) / 255
    if FRONTAL not in found:
        raise NarrateError(f"{folder}: the photograph in frontal light (A+000E+00) is missing or damaged")
    shape = found[FRONTAL].shape
    return {light: image for light, image in found.items() if image.shape == shape}


def torn(image: NDArray[np.uint8]) -> bool:
    """Whether odd and even lines come from two moments (interlaced video): then a line resembles the one after next
    more than the next."""
    lines = image.astype(np.float32)
    return bool(np.abs(lines[1:-1] - lines[:-2]).mean() > np.abs(lines[2:] - lines[:-2]).mean() + 0.5)


def light_name(angles: Angles) -> str:
    """As the set writes it: A+035E-20."""
    return f"A{angles[0]:+04d}E{angles[1]:+03d}"


def toward(angles: Angles) -> F64:
    """(3,) camera-space direction to the light: the set's azimuth grows toward the image's left."""
    return direction(-angles[0], angles[1])


def read_subject(folder: Path) -> Sample:
    """Frontal photograph, normals by photometric stereo over all photographs, and the real pictures in other lights."""
    photographs = read_photographs(folder)
    lights = list(photographs)
    stereo = photometric_stereo(np.stack(list(photographs.values())), np.stack([toward(k) for k in lights]))
    shown = srgb_from_linear(photographs[FRONTAL])
    image = np.repeat(np.asarray(shown * 255 + 0.5, np.uint8)[..., None], 3, -1)
    face = face_mask(shown.shape)
    targets = tuple(
        Target(light_name(k), sun(-k[0], k[1]), srgb_from_linear(photographs[k]).astype(np.float64))
        for k in TARGETS
        if k in photographs
    )
    picture = enlarged(image, folder / f"{folder.name}_P00A+000E+00.pgm")
    mask = face & believed(stereo)
    return Sample(folder.name, picture, shown.astype(np.float64), stereo.normal, mask, face, targets)


def ellipse(shape: tuple[int, ...], place: tuple[float, float, float, float]) -> Mask:
    """(H, W) inside of an ellipse given in shares of the picture."""
    h, w = shape[:2]
    y, x = np.mgrid[:h, :w]
    cx, cy, rx, ry = place
    return np.asarray(((x / w - cx) / rx) ** 2 + ((y / h - cy) / ry) ** 2 < 1)


def face_mask(shape: tuple[int, ...]) -> Mask:
    """(H, W) the face with its eyes, without corners and borders."""
    mask = ellipse(shape, FACE)
    edge = max(1, round(BORDER * shape[0]))
    mask[:edge] = mask[-edge:] = False
    return mask


def believed(stereo: Stereo) -> Mask:
    """(H, W) where photometric stereo of skin can be trusted: no eyes, brows, hair, nostrils; lights enough that
    agree; not at the rim."""
    h, w = stereo.albedo.shape
    skin = float(np.median(stereo.albedo[int(0.42 * h) : int(0.68 * h), int(0.12 * w) : int(0.88 * w)]))
    upper = np.arange(h)[:, None] < BROW_LINE * h
    dark = (stereo.albedo < np.where(upper, 0.75, 0.35) * skin).astype(np.uint8)
    mask = cv2.dilate(dark, np.ones((3, 3))) == 0
    for eye in EYES:
        mask &= ~ellipse((h, w), eye)
    mask &= (stereo.residual < WORST_RESIDUAL) & (stereo.support > LEAST_SUPPORT)
    return np.asarray(mask & (stereo.normal[..., 2] > STEEPEST))
