"""Environment maps that a client sends: what is taken, and how many are kept. In memory, and gone with their session.

The maps come from strangers: what a file claims to be is told from its first bytes and its header, and one that would
not fit in memory is refused before anything is decoded.
"""

from __future__ import annotations

import re
import struct
from collections import OrderedDict

from narrate_stream.errors import LightError
from narrate_stream.lights import EXR_MAGIC, decode_map, light_of_map
from narrate_stream.ops.lighting import Lighting

MAX_BYTES = 24 << 20
MAX_PIXELS = 1 << 24  # 4096 x 4096, or 5792 x 2896
KEPT = 4  # maps of one session; each is about 7 MB
PREFIX = "upload:"
_PNG, _JPEG, _HDR = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"#?"
_HDR_SIZE = re.compile(rb"[-+]Y (\d{1,9}) [-+]X (\d{1,9})\n")  # what OpenCV reads; other orders it refuses
_EXR_WINDOW = re.compile(rb"(?:data|display)Window\0box2i\0\x10\0\0\0(.{16})", re.DOTALL)
_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start-of-frame markers


class Uploads:
    """The maps of one session by name, `upload:1` and on; the oldest goes when there are more than KEPT."""

    def __init__(self) -> None:
        self._lights: OrderedDict[str, Lighting] = OrderedDict()
        self._count = 0

    def add(self, data: bytes, source: str) -> Lighting:
        """Keep the map in `data`; the light's name is what a control asks for it by. Raises LightError."""
        lighting = light_of_upload(data, source, f"{PREFIX}{self._count + 1}")
        self._count += 1
        self._lights[lighting.name] = lighting
        while len(self._lights) > KEPT:
            self._lights.popitem(last=False)
        return lighting

    def resolve(self, light: str) -> str | Lighting:
        """The uploaded map of that name, or a LIGHT that is none as it is. Raises LightError for one not kept."""
        if not light.startswith(PREFIX):
            return light
        if light not in self._lights:
            raise LightError(f"{light} is not here (any more): a session keeps its last {KEPT} maps, send it again")
        return self._lights[light]


def light_of_upload(data: bytes, source: str, name: str) -> Lighting:
    """The light of a map in memory, its size checked first. Raises LightError."""
    width, height = claimed_size(data, source)
    if width * height > MAX_PIXELS or min(width, height) < 1:
        raise LightError(f"{source}: {width}x{height} pixels do not fit, a map may have {MAX_PIXELS >> 20} megapixels")
    return light_of_map(decode_map(data, source), name)


def claimed_size(data: bytes, source: str) -> tuple[int, int]:
    """(width, height) from the header of a Radiance, OpenEXR, PNG or JPEG file. Raises LightError for anything else."""
    sizes: list[tuple[int, int]] = []
    if data.startswith(_HDR):
        sizes = [(int(m[2]), int(m[1])) for m in _HDR_SIZE.finditer(data)]
    elif data.startswith(EXR_MAGIC):
        sizes = [(x1 - x0 + 1, y1 - y0 + 1) for m in _EXR_WINDOW.finditer(data) for x0, y0, x1, y1 in [_box(m[1])]]
    elif data.startswith(_PNG):
        sizes = _png_sizes(data)
    elif data.startswith(_JPEG):
        sizes = _jpeg_sizes(data)
    else:
        raise LightError(f"{source} is no environment map: send a .hdr, .exr, .png or .jpg")
    if not sizes:
        raise LightError(f"{source}: the environment map is damaged, its size cannot be read")
    return max(sizes, key=lambda size: size[0] * size[1])  # decoders differ in which they take


def _box(data: bytes) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = struct.unpack("<4i", data)
    return x0, y0, x1, y1


def _png_sizes(data: bytes) -> list[tuple[int, int]]:
    """Of every header; none where a chunk claims more than there is: OpenCV would make room for it first."""
    at, found = len(_PNG), []
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if at + 12 + length > len(data):
            return []
        if kind == b"IHDR" and length >= 8:
            width, height = struct.unpack(">II", data[at + 8 : at + 16])
            found.append((width, height))
        at += 12 + length
    return found


def _jpeg_sizes(data: bytes) -> list[tuple[int, int]]:
    at, found = 2, []
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:  # the picture itself begins
            break
        if marker in _JPEG_SIZES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            found.append((width, height))
        at += 1 if marker == 0xFF else 2 + length
    return found
