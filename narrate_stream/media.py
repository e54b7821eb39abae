"""Frames from and to files: clips in, clips out with their sound.

Convention: a clip's clock is kept. A frame leaves with the `pts` and `time_base` it came with, the sound is copied
beside it, and only the common start is moved to zero. H.264 is written with the BT.601 matrix and says so: players that
read the tag and readers that ignore it (OpenCV, older ffmpeg calls) then show the same colours.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from narrate_stream.demux import open_clip, packets
from narrate_stream.errors import MotionError, NarrateError
from narrate_stream.files import check_output, partial_name, write_png
from narrate_stream.sound import Sound
from narrate_stream.types import Frame, Image

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream

__all__ = ["VIDEO_SUFFIXES", "FileSink", "FileSource", "MemorySink", "write_png"]

log = logging.getLogger(__name__)

MAX_SIDE = 8192
DEFAULT_FPS = Fraction(30)
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
_BT601, _VIDEO_RANGE = 6, 1


class FileSource:
    """The frames of a video file, again from the start with every `iter`.

    size: (width, height) as shown, rotation metadata applied. fps: the average rate. frames: an estimate, 0 if unknown.
    A truncated or damaged file is read as far as it goes. Raises MotionError for a file that gives no frame at all.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with open_clip(self.path) as container:
            stream = self._stream(container)
            rate = stream.average_rate or stream.guessed_rate
            self.fps = rate if rate and 1 <= rate <= 480 else DEFAULT_FPS
            self.frames = stream.frames or _count(container, stream, self.fps)
            self.has_audio = bool(container.streams.audio)
        height, width = self._first().image.shape[:2]
        self.size = (width, height)

    def __iter__(self) -> Iterator[Frame]:
        with open_clip(self.path) as container:
            stream = self._stream(container)
            stream.thread_type = "AUTO"
            time_base = stream.time_base or 1 / self.fps
            last, step = None, max(1, round(1 / (self.fps * time_base)))
            for picture in _decoded(container, stream, self.path):
                pts = picture.pts if picture.pts is not None else (0 if last is None else last + step)
                yield Frame(_rgb(picture), pts, time_base)
                last = pts

    def _first(self) -> Frame:
        for frame in self:
            return frame
        raise MotionError(f"{self.path} holds no frame that can be decoded")

    def _stream(self, container: InputContainer) -> VideoStream:
        import av

        cover = av.stream.Disposition.attached_pic
        streams = [s for s in container.streams.video if not s.disposition & cover and s.codec_context is not None]
        if not streams:
            raise MotionError(f"{self.path} has no video stream")
        if max(streams[0].width, streams[0].height) > MAX_SIDE:
            raise MotionError(f"{self.path} is larger than {MAX_SIDE} pixels a side")
        return streams[0]


def _count(container: InputContainer, stream: VideoStream, fps: Fraction) -> int:
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * fps)
    return round((container.duration or 0) / 1_000_000 * fps)


def _decoded(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    """Every frame that can be had; what is damaged is skipped and said once."""
    import av

    damaged = 0
    for packet in packets(container, [stream], path):
        try:
            pictures = stream.codec_context.decode(packet if packet.size else None)
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            damaged += 1
            continue
        yield from pictures
    if damaged:
        log.warning("%s: %d damaged packets were skipped", path, damaged)


def _rgb(picture: VideoFrame) -> Image:
    """(H, W, 3) sRGB, upright."""
    image = np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)
    turns = round(picture.rotation / 90) % 4  # counterclockwise, as np.rot90 counts
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


class MemorySink:
    """Keeps the frames in a list."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def write(self, frame: Frame) -> None:
        """Append the frame."""
        self.frames.append(frame)

    def close(self) -> None:
        """Nothing to release."""


class FileSink:
    """Frames to an H.264 file (.mp4, .mov, .mkv), with the sound of `audio_from` beside them.

    size: (width, height), both even. Use it as a context manager: the file appears under its name when the block ends
    well, and nothing is left behind when it does not. Times are the frames' own; the first is moved to zero.
    """

    def __init__(
        self,
        path: Path | str,
        size: tuple[int, int],
        fps: Fraction | float,
        audio_from: Path | str | None = None,
        crf: int = 16,
    ) -> None:
        import av

        self.path, self.size = Path(path), size
        if size[0] % 2 or size[1] % 2:
            raise NarrateError(f"{self.path}: H.264 wants an even width and height, not {size[0]}x{size[1]}")
        check_output(self.path, VIDEO_SUFFIXES)
        self._fps = Fraction(fps).limit_denominator(1001)
        self._partial = partial_name(self.path)
        options = {"movflags": "+faststart"} if self.path.suffix.lower() != ".mkv" else {}
        self._container: OutputContainer = av.open(str(self._partial), "w", options=options)
        try:
            self._video = self._add_video(crf)
            self._sound = Sound(Path(audio_from), self._container) if audio_from else None
        except BaseException:
            self.abort()
            raise
        self._start: Fraction | None = None
        self._last = -1

    def _add_video(self, crf: int) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=self._fps, options={"crf": str(crf), "preset": "fast"})
        stream.width, stream.height = self.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = _BT601
        stream.codec_context.color_range = _VIDEO_RANGE
        return stream

    def write(self, frame: Frame) -> None:
        """Encode one frame; times must not run backwards (a repeated time is moved by one tick)."""
        import av

        if frame.image.shape != (self.size[1], self.size[0], 3):
            raise ValueError(f"a frame of shape {frame.image.shape} does not fit a clip of {self.size}")
        if self._start is None:
            self._begin(frame)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image), format="rgb24")
        pts = round(Fraction(frame.pts) * frame.time_base / self._time_base) - self._first_pts
        picture.pts = self._last = max(pts, self._last + 1)
        picture.time_base = self._time_base
        picture.duration = max(1, round(1 / (self._fps * self._time_base)))
        self._container.mux(self._video.encode(picture))
        if self._sound:
            self._sound.copy(until=self._last * self._time_base)

    def _begin(self, frame: Frame) -> None:
        """The first frame decides the clock."""
        self._time_base = frame.time_base
        self._start = frame.pts * frame.time_base
        self._first_pts = frame.pts
        self._video.codec_context.time_base = self._time_base
        if self._sound:
            self._sound.begin(self._start)

    def close(self) -> None:
        """Finish the file and give it its name. Raises NarrateError if no frame was written."""
        if self._start is None:
            self.abort()
            raise NarrateError(f"{self.path} was not written: there is no frame to write")
        try:
            self._container.mux(self._video.encode())
            if self._sound:
                self._sound.copy(until=None)
            self._release()
            self._partial.replace(self.path)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Give up; nothing stays on the disk."""
        try:
            self._release()
        except Exception as error:  # noqa: BLE001 - an encoder that never saw a frame has no trailer to write
            log.debug("closing an unfinished %s: %r", self.path, error)
        self._partial.unlink(missing_ok=True)

    def _release(self) -> None:
        sound, self._sound = getattr(self, "_sound", None), None
        if sound:
            sound.close()
        self._container.close()

    def __enter__(self) -> FileSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
