"""What beside the face is skin, and what is hair or cloth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.colour import linear_table
from narrate_stream.types import Array, Image
from offline.parts import F64, nearest_fill, smoothstep

FINE = 0.12  # cm over which colours are averaged
INSIDE = 0.5  # cm inside the outline: the cheek whose colour is compared
BESIDE = 0.2, 2.2  # cm outside the outline: what is compared with it, as one
ALONG = 0.7  # cm along the outline over which the answer is averaged
HUE, DARKER = 0.5, 0.9  # logarithms: channel ratios, and brightness, that make skin unlikely
CHEEK = 0.4  # of likeness to the face's middle tone
SURE = 0.3, 0.55  # of what is beside the outline: with less it is not skin, with more it is


def bare_skin(colours: Image, face: NDArray[np.bool_], cover: Array, unit: float) -> F64:
    """(h, w) 0..1 how far the picture beside the `face` (h, w) goes on as the cheek does, the same straight outward
    from each point of its outline. colours (H, W, 3) sRGB, any size; cover (h, w) the matte; unit: cm per pixel of
    these."""
    alike = like_cheek(colours, face, unit)
    apart, label = cv2.distanceTransformWithLabels(
        (~face).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    counted = ~face & (cover > 0.5) & (apart * unit > BESIDE[0]) & (apart * unit < BESIDE[1])
    total, count = (np.bincount(label[counted], w, label.max() + 1) for w in (alike[counted], None))
    outline = face & (cv2.erode(face.astype(np.uint8), np.ones((3, 3))) == 0)
    total, count = (cv2.GaussianBlur(a[label] * outline, (0, 0), ALONG / unit) for a in (total, count * 1.0))
    share = np.zeros(label.max() + 1)
    share[label[outline]] = (total / np.maximum(count, 1e-6))[outline]
    return smoothstep(cv2.GaussianBlur(share[label], (0, 0), ALONG / unit), *SURE)


def like_cheek(colours: Image, face: NDArray[np.bool_], unit: float) -> F64:
    """(h, w) 0..1 how far each pixel has the colour of the nearest bare cheek, brighter or a little darker."""
    h, w = face.shape
    linear = linear_table()[cv2.resize(colours, (w, h), interpolation=cv2.INTER_AREA)]
    tone = np.log(cv2.GaussianBlur(linear, (0, 0), FINE / unit) + np.float32(0.004)).astype(np.float64)
    seen = np.stack([tone.mean(-1), tone[..., 0] - tone[..., 1], tone[..., 1] - tone[..., 2]], -1)
    inside = cv2.distanceTransform(face.astype(np.uint8), cv2.DIST_L2, 5) * unit > INSIDE
    if not inside.any():
        return np.zeros((h, w))
    cheek = inside & (likeness(seen - np.median(seen[inside], 0)) > CHEEK)  # no hair that hangs over it, no glasses
    near = np.stack([nearest_fill(a, cheek) for a in np.moveaxis(seen, -1, 0)], -1)
    return likeness(seen - cv2.GaussianBlur(near, (0, 0), INSIDE / unit))


def likeness(off: F64) -> F64:
    """(...) 0..1 of differences (..., 3) in brightness and hue, logarithms."""
    return np.asarray(np.exp(-((np.minimum(off[..., 0], 0) / DARKER) ** 2) - (off[..., 1:] ** 2).sum(-1) / HUE**2))
