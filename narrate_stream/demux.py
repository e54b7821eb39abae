"""Opening media files that a person hands in, and reading them as far as they go."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrate_stream.errors import MotionError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet

log = logging.getLogger(__name__)

_STILLS = ("image2", "_pipe", "tty")  # ffmpeg "demuxes" pictures and plain text too


def open_clip(path: Path) -> InputContainer:
    """Open a media file for reading. Raises MotionError for what is none, one sentence."""
    import av

    _require_file(path)
    try:
        # Nothing but files: a playlist that calls itself .mp4 must not reach the network.
        container = av.open(str(path.resolve()), options={"protocol_whitelist": "file"})
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MotionError(f"{path} is not a video that can be read ({reason(error)})") from error
    if any(word in container.format.name for word in _STILLS):
        container.close()
        raise MotionError(f"{path} is not a video")
    return container


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise MotionError(f"{path} is a directory, not a video")
    if not path.exists():
        raise MotionError(f"{path}: no such file")
    if path.is_file() and path.stat().st_size == 0:
        raise MotionError(f"{path} is empty")


def reason(error: Exception) -> str:
    """What a library says of a failure, as the end of a sentence."""
    return (getattr(error, "strerror", None) or str(error)).lower()


def packets(container: InputContainer, streams: list[Any], path: Path) -> Iterator[Packet[Any]]:
    """The packets of the streams; a file that breaks off ends early, with a warning."""
    import av

    stored = container.demux(streams)
    while True:
        try:
            packet = next(stored)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            log.warning("%s ends early (%s)", path, reason(error))
            return
        yield packet
