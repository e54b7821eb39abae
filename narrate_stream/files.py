"""Files are written whole or not at all: under another name in the same directory, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from narrate_stream.errors import NarrateError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_output(path: Path, suffixes: tuple[str, ...]) -> None:
    """Say early that a file cannot be written. Raises NarrateError, one sentence."""
    if path.suffix.lower() not in suffixes:
        raise NarrateError(f"{path} cannot be written: the name must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise NarrateError(f"{path} is a directory, not a file to write")
    if not path.parent.is_dir():
        raise NarrateError(f"{path} cannot be written: there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise NarrateError(f"{path} cannot be written: no permission in {path.parent}")


def output_directory(path: Path) -> Path:
    """Make the directory if need be. Raises NarrateError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NarrateError(f"{path} cannot be used as a directory: {str(error.strerror).lower()}") from error
    return path


def partial_name(path: Path) -> Path:
    """A name in the same directory, so that the rename at the end is atomic."""
    return path.with_name(f".{path.stem[:100]}.{secrets.token_hex(4)}.partial{path.suffix}")


def write_bytes(path: Path | str, data: bytes) -> None:
    """A whole file or none: written under another name, then renamed. Raises NarrateError."""
    path = Path(path)
    partial = partial_name(path)
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise NarrateError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_png(path: Path | str, rgb: NDArray[Any]) -> None:
    """A still, atomically: (H, W) or (H, W, 3 or 4), RGB order, uint8 or uint16. Raises NarrateError."""
    import cv2

    if rgb.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"a PNG holds uint8 or uint16, not {rgb.dtype}")
    if rgb.ndim == 3:
        rgb = cv2.cvtColor(rgb, cv2.COLOR_RGBA2BGRA if rgb.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", rgb)
    if not done:
        raise NarrateError(f"{path} cannot be written: the picture cannot be encoded")
    write_bytes(path, data.tobytes())
