"""The sound of a driving clip, carried into the clip that is written."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrate_stream.demux import open_clip, packets, reason

if TYPE_CHECKING:
    from av.audio.resampler import AudioResampler
    from av.container import OutputContainer
    from av.packet import Packet

log = logging.getLogger(__name__)

COPIED = ("aac", "mp3", "ac3", "eac3", "alac")  # what an mp4 may hold as it is; anything else becomes AAC


class Sound:
    """The first audio stream of a clip, copied in step with the frames; re-encoded as AAC where mp4 cannot hold it."""

    def __init__(self, path: Path, output: OutputContainer) -> None:
        self._path, self._output = path, output
        self._input = open_clip(path)
        self._stream: Any = None
        streams = self._input.streams.audio
        if not streams or streams[0].codec_context is None:
            self._input.close()
            return
        template = streams[0]
        self._resampler: AudioResampler | None = None
        if _can_be_copied(template.codec_context):
            self._stream = output.add_stream_from_template(template)
        else:
            self._stream = output.add_stream("aac", rate=_aac_rate(template.rate))
            self._resampler = self._make_resampler()
        self._waiting: Packet[Any] | None = None
        self._packets = packets(self._input, [template], path)
        self._offset = Fraction(0)

    def _make_resampler(self) -> AudioResampler:
        from av.audio.resampler import AudioResampler

        self._stream.codec_context.layout = "stereo"
        return AudioResampler(format="fltp", layout="stereo", rate=self._stream.rate)

    def begin(self, start: Fraction) -> None:
        """The moment of the clip that is zero in the output, seconds."""
        self._offset = start

    def copy(self, until: Fraction | None) -> None:
        """Write the sound up to a moment of the output (seconds); None is to the end."""
        while self._stream is not None:
            packet = self._waiting or next(self._packets, None)
            if packet is None:
                break
            if until is not None and packet.pts is not None and packet.pts * packet.time_base - self._offset > until:
                self._waiting = packet
                return
            self._waiting = None
            self._write(packet)
        if until is None and self._stream is not None and self._resampler:
            self._encode(self._resampler.resample(None))
            self._output.mux(self._stream.encode())

    def _write(self, packet: Packet[Any]) -> None:
        import av

        if self._resampler is None:
            self._pass_on(packet)
            return
        try:
            frames: list[Any] = packet.decode()
        except av.error.FFmpegError as error:
            log.warning("%s: damaged sound was skipped (%s)", self._path, reason(error))
            return
        for frame in frames:
            if frame.pts is not None and frame.time_base:
                frame.pts -= round(self._offset / frame.time_base)
            self._encode(self._resampler.resample(frame))

    def _pass_on(self, packet: Packet[Any]) -> None:
        if packet.size and packet.dts is not None:
            shift = round(self._offset / packet.time_base)
            packet.pts = (packet.dts if packet.pts is None else packet.pts) - shift
            packet.dts -= shift
            packet.stream = self._stream
            self._output.mux(packet)

    def _encode(self, frames: list[Any]) -> None:
        for frame in frames:
            self._output.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Release the clip."""
        self._input.close()


def _can_be_copied(codec: Any) -> bool:
    """AAC out of a broadcast stream lacks the header that mp4 wants, so it is encoded anew."""
    return codec.name in COPIED and (codec.name != "aac" or bool(codec.extradata))


def _aac_rate(rate: int) -> int:
    """The sampling rate itself where AAC has it, else 48 kHz."""
    known = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
    return rate if rate in known else 48000
