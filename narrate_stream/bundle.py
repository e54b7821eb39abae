"""The hybrid neural-physical model of one portrait (paper, 4.2), and its one file on disk.

The file is a safetensors container (no code runs when an untrusted one is opened) with a JSON manifest in its header;
pictures inside are PNG or JPEG bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.errors import BundleError, NarrateError
from narrate_stream.files import write_bytes
from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array, Image

VERSION = 1
Bytes = NDArray[np.uint8]
_PNG = ("texture", "albedo", "alpha", "surface")
_JPEG = ("plate", "backdrop")


@dataclass(frozen=True)
class HybridModel:
    """Everything the runtime needs. Camera space, cm; the *canvas* is the head-and-shoulders crop at working size.

    frame_size: (W, H) of the portrait picture; crop: (x0, y0, scale), canvas = (picture - (x0, y0)) * scale;
    canvas: (W, H); camera: of the canvas; rotation (3, 3), translation (3,): camera_from_head in the portrait;
    neutral: (478, 3) landmarks in head space; pivot: (3,) camera space, what `view` turns about.

    Mesh: vertices (V, 3); source (V, 3) atlas u, v and feather (coverage ramp, clamped to 0..1); triangles (T, 3).
    Rig: head_weight (V,) 1 moves with the skull, 0 with the shoulders; jaw_weight (V,); eye (V,) 0 none, 1 right,
    2 left iris; rig_indptr/rig_index/rig_value: CSR matrix (V, 468), vertex displacement from landmark offsets.

    Atlas (canvas on top, eyes and mouth below): texture and albedo (H, W, 3) sRGB; alpha (H, W); surface (H, W, 4):
    equal-area x and y of the camera-space normal, head weight, gloss.
    cells: (N, 6) x, y, width, height of every piece below the canvas, and the canvas pixel where it is seen.
    plate (canvas size) and backdrop (whole picture): background without and with the person.

    transport: (h, w, L) visibility 0..255 of each of the L stage lights over the canvas; light: (9,) spherical
    harmonics
    of the portrait's own light, irradiance 1 on average over the face.
    """

    name: str
    frame_size: tuple[int, int]
    crop: tuple[float, float, float]
    camera: Camera
    rotation: Array
    translation: Array
    pivot: Array
    neutral: Array
    vertices: Array
    source: Array
    triangles: NDArray[np.int32]
    head_weight: Array
    jaw_weight: Array
    eye: NDArray[np.int8]
    rig_indptr: NDArray[np.int32]
    rig_index: NDArray[np.int32]
    rig_value: Array
    texture: Image
    albedo: Image
    alpha: Bytes
    surface: Bytes
    cells: Array
    plate: Image
    backdrop: Image
    transport: Bytes
    light: Array
    provenance: dict[str, Any]

    @property
    def canvas(self) -> tuple[int, int]:
        """(W, H) of the canvas in pixels."""
        return self.plate.shape[1], self.plate.shape[0]


def _encode(name: str, picture: Bytes) -> Bytes:
    swapped = picture[..., [2, 1, 0, 3][: picture.shape[2]]] if picture.ndim == 3 else picture
    kind, options = (
        (".png", [cv2.IMWRITE_PNG_COMPRESSION, 4]) if name in _PNG else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95])
    )
    done, data = cv2.imencode(kind, np.ascontiguousarray(swapped), options)
    if not done:
        raise BundleError(f"{name}: the picture could not be encoded")
    return np.asarray(data, np.uint8).ravel()


def _decode(data: Bytes) -> Bytes:
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise BundleError("a picture inside is damaged")
    return np.ascontiguousarray(picture[..., [2, 1, 0, 3][: picture.shape[2]]] if picture.ndim == 3 else picture)


def save_model(model: HybridModel, path: Path) -> None:
    """Writes the model to a temporary name and renames it: a `.narrate` file is whole or absent. Raises BundleError."""
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {}
    manifest: dict[str, Any] = {"format": "narrate", "version": VERSION}
    for field in fields(model):
        value = getattr(model, field.name)
        if field.name in _PNG + _JPEG:
            tensors[field.name] = _encode(field.name, value)
        elif isinstance(value, np.ndarray):
            tensors[field.name] = np.ascontiguousarray(value)
        elif isinstance(value, Camera):
            manifest[field.name] = [value.focal, value.cx, value.cy]
        else:
            manifest[field.name] = value
    data = save(tensors, {"narrate": json.dumps(manifest)})
    try:
        write_bytes(path, data)
    except NarrateError as error:
        raise BundleError(str(error)) from error


def load_model(path: Path) -> HybridModel:
    """Reads a model. Raises BundleError, with the file's name, for anything that is not a whole model of ours."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            manifest = json.loads((file.metadata() or {}).get("narrate", "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise BundleError(f"{path}: there is no such file") from None
    except (SafetensorError, ValueError, OSError) as error:
        raise BundleError(f"{path}: not a narrate model, or damaged ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != "narrate":
        raise BundleError(f"{path}: not a narrate model")
    if manifest.get("version") != VERSION:
        raise BundleError(
            f"{path}: model version {manifest.get('version')}, this release reads {VERSION}; build it again"
        )
    try:
        return _checked(_assembled(manifest, tensors))
    except (KeyError, TypeError, ValueError, IndexError, BundleError) as error:
        raise BundleError(f"{path}: the model is damaged ({error})") from error


def _assembled(manifest: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> HybridModel:
    values: dict[str, Any] = {}
    for field in fields(HybridModel):
        if field.name in _PNG + _JPEG:
            values[field.name] = _decode(tensors[field.name])
        elif field.name in tensors:
            values[field.name] = tensors[field.name]
        else:
            values[field.name] = manifest[field.name]
    values["camera"] = Camera(*(float(x) for x in values["camera"]))
    values["frame_size"] = tuple(int(x) for x in values["frame_size"])
    values["crop"] = tuple(float(x) for x in values["crop"])
    return HybridModel(**values)


def _checked(model: HybridModel) -> HybridModel:
    """Kernels trust indices and shapes, so an untrusted file is checked here, once. Raises ValueError."""
    count = len(model.vertices)
    atlas = model.texture.shape[:2]
    good = (
        model.vertices.shape == model.source.shape == (count, 3)
        and model.triangles.ndim == 2
        and model.triangles.shape[1] == 3
        and model.triangles.dtype == np.int32
        and (len(model.triangles) == 0 or (model.triangles.min() >= 0 and model.triangles.max() < count))
        and model.head_weight.shape == model.jaw_weight.shape == model.eye.shape == (count,)
        and model.rig_indptr.shape == (count + 1,)
        and model.rig_index.shape == model.rig_value.shape == (int(model.rig_indptr[-1]),)
        and (np.diff(model.rig_indptr) >= 0).all()
        and (len(model.rig_index) == 0 or (model.rig_index.min() >= 0 and model.rig_index.max() < 468))
        and model.albedo.shape == model.texture.shape == (*atlas, 3)
        and model.alpha.shape == atlas
        and model.surface.shape == (*atlas, 4)
        and model.neutral.shape == (478, 3)
        and model.rotation.shape == (3, 3)
        and model.transport.ndim == 3
        and model.cells.ndim == 2
        and model.cells.shape[1] == 6
        and np.isfinite(model.cells).all()
        and model.plate.ndim == model.backdrop.ndim == 3
        and model.texture.shape[0] >= model.plate.shape[0]
        and model.texture.shape[1] == model.plate.shape[1]
        and min(model.frame_size) > 0
        and all(
            np.isfinite(a).all() for a in (model.vertices, model.source, model.rig_value, model.neutral, model.light)
        )
    )
    if not good:
        raise ValueError("its parts do not fit together")
    return model
