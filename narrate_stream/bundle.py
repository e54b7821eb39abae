"""The hybrid neural-physical model of one portrait (paper, 4.2), and its one file on disk.

The file is a safetensors container (no code runs when an untrusted one is opened) with a JSON manifest in its header;
pictures inside are PNG or JPEG bytes.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.errors import BundleError, NarrateError
from narrate_stream.files import write_bytes
from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array, Image

VERSION = 2
Bytes = NDArray[np.uint8]
_PNG = ("texture", "albedo", "alpha", "surface", "material")
_JPEG = ("plate", "backdrop")
EXACT_BYTES = 4_000_000  # backgrounds up to 1.3 megapixels are kept to the byte, larger ones as JPEG


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
    equal-area x and y of the camera-space normal, head weight, gloss; material (H, W, 4): equal-area x and y of the
    direction in which hair runs, oil 0..255 (share of the sharp highlight), how much of it is hair.
    cells: (N, 6) x, y, width, height of every piece below the canvas, and the canvas pixel where it is seen, -1 for
    none.
    plate (canvas size) and backdrop (whole picture): background without and with the person.

    horizons: (A, h, w) over the canvas, see `ops.horizon`; light: (9,) spherical harmonics of the portrait's own light,
    irradiance 1 on average over the face; residual: (h, w, 27) over the canvas, what F_R adds, see `ops.residual`;
    None in a model built without it.
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
    material: Bytes
    cells: Array
    plate: Image
    backdrop: Image
    horizons: Bytes
    light: Array
    provenance: dict[str, Any]
    residual: Bytes | None = None

    @property
    def canvas(self) -> tuple[int, int]:
        """(W, H) of the canvas in pixels."""
        return self.plate.shape[1], self.plate.shape[0]


def _encode(name: str, picture: Bytes) -> Bytes:
    swapped = picture[..., [2, 1, 0, 3][: picture.shape[2]]] if picture.ndim == 3 else picture
    exact = name in _PNG or picture.size <= EXACT_BYTES
    kind, options = (".png", [cv2.IMWRITE_PNG_COMPRESSION, 4]) if exact else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95])
    done, data = cv2.imencode(kind, np.ascontiguousarray(swapped), options)
    if not done:
        raise BundleError(f"{name}: the picture could not be encoded")
    return np.asarray(data, np.uint8).ravel()


def _decode(data: Bytes) -> Bytes:
    picture = (
        cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.ndim == 1 and data.dtype == np.uint8 and data.size else None
    )
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
        elif field.name in manifest or field.default is MISSING:
            values[field.name] = manifest[field.name]
        else:  # a part that not every model has
            values[field.name] = field.default
    values["camera"] = Camera(*(float(x) for x in values["camera"]))
    values["frame_size"] = tuple(int(x) for x in values["frame_size"])
    values["crop"] = tuple(float(x) for x in values["crop"])
    return HybridModel(**values)


def _checked(model: HybridModel) -> HybridModel:
    """Kernels trust indices, shapes and numbers, so an untrusted file is checked here, once. Raises ValueError."""
    count, atlas = len(model.vertices), model.texture.shape[:2]
    shapes: dict[str, tuple[int, ...]] = {
        "rotation": (3, 3),
        "translation": (3,),
        "pivot": (3,),
        "neutral": (478, 3),
        "vertices": (count, 3),
        "source": (count, 3),
        "triangles": (len(model.triangles), 3),
        "head_weight": (count,),
        "jaw_weight": (count,),
        "eye": (count,),
        "rig_indptr": (count + 1,),
        "rig_value": model.rig_index.shape,
        "texture": (*atlas, 3),
        "albedo": (*atlas, 3),
        "alpha": atlas,
        "surface": (*atlas, 4),
        "material": (*atlas, 4),
        "plate": (*model.plate.shape[:2], 3),
        "backdrop": (*model.backdrop.shape[:2], 3),
        "cells": (len(model.cells), 6),
        "light": (9,),
    }
    for name, shape in shapes.items():
        array = getattr(model, name)
        if array.shape != shape:
            raise ValueError(f"{name} has the shape {array.shape}, not {shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} holds numbers that are none")
    crop, frame = np.array(model.crop, np.float64), np.array(model.frame_size)
    require(crop.shape == (3,) and np.isfinite(crop).all() and 0.01 < crop[2] < 100, "crop")
    require(frame.shape == (2,) and frame.min() >= 16 and frame.max() <= 32768, "frame_size")
    require(
        np.isfinite([model.camera.focal, model.camera.cx, model.camera.cy]).all() and model.camera.focal > 1, "camera"
    )
    require(type(model.name) is str and type(model.provenance) is dict, "name or provenance")
    require(count > 0 and len(model.triangles) > 0, "mesh")
    require(
        model.triangles.dtype == np.int32 and model.triangles.min() >= 0 and model.triangles.max() < count, "triangles"
    )
    indptr, index = model.rig_indptr, model.rig_index
    require(indptr[0] == 0 and indptr[-1] == len(index) and bool((np.diff(indptr) >= 0).all()), "rig")
    require(len(index) == 0 or (index.min() >= 0 and index.max() < 468), "rig")
    require(bool(np.isin(model.eye, (0, 1, 2)).all()) and np.abs(model.vertices).max() < 1e4, "vertices")
    planes = model.horizons
    require(planes.ndim == 3 and min(planes.shape) > 0 and planes.dtype == np.uint8, "horizons")
    extra = model.residual
    fits = isinstance(extra, np.ndarray) and extra.ndim == 3 and min(extra.shape) > 0 and extra.dtype == np.uint8
    require(extra is None or (fits and extra.shape[2] == 27), "residual")
    require(atlas[0] >= model.plate.shape[0] >= 16 and atlas[1] == model.plate.shape[1] >= 16, "atlas")
    require(bool((np.abs(model.cells) <= 65536).all()), "cells")
    return model


def require(good: Any, what: str) -> None:
    """Raises ValueError naming the part that does not hold."""
    if not good:
        raise ValueError(f"its {what} cannot be right")
