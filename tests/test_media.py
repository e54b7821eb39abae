from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from narrate_stream.errors import MotionError, NarrateError
from narrate_stream.media import FileSink, FileSource, MemorySink, write_png
from narrate_stream.types import Frame

W, H, FPS = 96, 64, 25
TICK = Fraction(1, 12800)


def picture(i: int, width: int = W, height: int = H) -> np.ndarray:  # [H, W, 3]
    """Top left red, the rest blue, and a white bar that says which frame it is."""
    image = np.full((height, width, 3), (30, 40, 180), np.uint8)
    image[: height // 2, : width // 2] = (200, 40, 30)
    image[-8:, : 3 * (i + 1)] = 255
    return image


def frames(count: int, step: int = 512, start: int = 0) -> Iterator[Frame]:
    return (Frame(picture(i), start + i * step, TICK) for i in range(count))


def write_clip(path: Path, moments: list[Frame], audio_from: Path | None = None) -> Path:
    with FileSink(path, (moments[0].image.shape[1], moments[0].image.shape[0]), FPS, audio_from) as sink:
        for frame in moments:
            sink.write(frame)
    return path


def tone(seconds: float, rate: int, click: float) -> np.ndarray:  # [1, N]
    """Silence with a short beep at `click` seconds."""
    t = np.arange(int(seconds * rate)) / rate
    beep = (t >= click) & (t < click + 0.1)
    return (np.sin(2 * np.pi * 880 * t) * beep * 20000).astype(np.int16)[None]


def write_sounding(path: Path, codec: str, seconds: float = 2.0, click: float = 1.0, start: int = 0) -> Path:
    """A clip by PyAV itself: picture and sound made apart from what is tested."""
    rate = 48000 if codec in ("libopus", "aac", "pcm_s16le") else 44100
    with av.open(str(path), "w") as box:
        video = box.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = W, H, "yuv420p"
        audio = box.add_stream(codec, rate=rate)
        audio.layout = "mono"
        for i in range(int(seconds * FPS)):
            image = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            image.pts, image.time_base = start * FPS + i, Fraction(1, FPS)
            box.mux(video.encode(image))
        box.mux(video.encode())
        samples = tone(seconds, rate, click)
        resampler = av.AudioResampler(
            format=audio.format.name, layout="mono", rate=rate, frame_size=audio.frame_size or 1024
        )
        sound = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        sound.rate, sound.pts, sound.time_base = rate, start * rate, Fraction(1, rate)
        for frame in [*resampler.resample(sound), *resampler.resample(None)]:
            box.mux(audio.encode(frame))
        box.mux(audio.encode())
    return path


def heard(path: Path) -> tuple[float, float]:
    """(length, moment of the beep) of the sound, in seconds on the clip's clock."""
    with av.open(str(path)) as box:
        parts = [(float(f.time), f.to_ndarray().mean(0), f.rate) for f in box.decode(audio=0)]
    rate = parts[0][2]
    samples = np.concatenate([p[1] for p in parts])
    loud = np.flatnonzero(np.abs(samples) > 0.3 * np.abs(samples).max())
    return len(samples) / rate, parts[0][0] + loud[0] / rate


def test_a_clip_comes_back(tmp_path: Path) -> None:
    source = FileSource(write_clip(tmp_path / "a.mp4", list(frames(20))))
    assert (source.size, source.fps, source.frames) == ((W, H), FPS, 20)
    read = list(source)
    assert [f.time for f in read] == pytest.approx([i / FPS for i in range(20)])
    for i, frame in enumerate(read):
        assert frame.image.shape == (H, W, 3)
        assert frame.image.dtype == np.uint8
        assert np.abs(frame.image.astype(float) - picture(i)).mean() < 3
    assert len(list(source)) == 20  # again from the start


def test_colours_are_right_for_readers_that_ignore_the_tag(tmp_path: Path) -> None:
    import cv2

    clip = write_clip(tmp_path / "a.mp4", list(frames(5)))
    shown = cv2.VideoCapture(str(clip)).read()[1][..., ::-1]
    assert np.abs(shown[8, 8].astype(int) - (200, 40, 30)).max() < 8
    with av.open(str(clip)) as box:
        assert box.streams.video[0].codec_context.colorspace == 6  # smpte170m: BT.601


def test_variable_frame_rate_is_kept(tmp_path: Path) -> None:
    times = [0, 512, 600, 2000, 2001, 9000, 9512]
    clip = write_clip(tmp_path / "a.mp4", [Frame(picture(i), t, TICK) for i, t in enumerate(times)])
    assert [f.time for f in FileSource(clip)] == pytest.approx([float(t * TICK) for t in times], abs=1e-4)


def test_a_late_start_moves_to_zero_and_a_repeated_time_is_not_fatal(tmp_path: Path) -> None:
    times = [7000, 7512, 7512, 8024]
    clip = write_clip(tmp_path / "a.mp4", [Frame(picture(i), t, TICK) for i, t in enumerate(times)])
    read = [round(f.pts * f.time_base / TICK) for f in FileSource(clip)]
    assert read == [0, 512, 513, 1024]


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_metadata_is_honoured(tmp_path: Path, turn: int) -> None:
    clip = write_clip(tmp_path / "a.mp4", list(frames(6)))
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags, times to duration, layer to volume
    assert struct.unpack(">i", data[at : at + 4])[0] == 1 << 16
    cos, sin = round(np.cos(np.radians(turn))), round(np.sin(np.radians(turn)))
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30)
    clip.write_bytes(data)
    source = FileSource(clip)
    expected = np.rot90(picture(0), -turn // 90)  # the matrix turns clockwise as seen
    assert source.size == (expected.shape[1], expected.shape[0])
    assert np.abs(next(iter(source)).image.astype(float) - expected).mean() < 4


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "aac"), ("a.mkv", "libopus"), ("a.mkv", "pcm_s16le"), ("a.ts", "aac"), ("a.mov", "mp3")],
)
@pytest.mark.parametrize("start", [0, 3])
def test_sound_is_kept_in_step(tmp_path: Path, name: str, codec: str, start: int) -> None:
    clip = write_sounding(tmp_path / name, codec, start=start)
    source = FileSource(clip)
    assert source.has_audio
    out = tmp_path / "out.mp4"
    with FileSink(out, source.size, source.fps, audio_from=clip) as sink:
        for frame in source:
            sink.write(frame)
    result = FileSource(out)
    read = list(result)
    assert len(read) == len(list(source)) == 50
    assert read[0].time == pytest.approx(0, abs=1e-3)
    assert result.fps == pytest.approx(float(source.fps), rel=0.02)
    length, beep = heard(out)
    assert length == pytest.approx(heard(clip)[0], abs=0.1)
    assert beep == pytest.approx(1.0, abs=0.03)
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_sound_and_picture_are_interleaved(tmp_path: Path) -> None:
    clip = write_sounding(tmp_path / "a.mp4", "aac", seconds=4)
    out = write_clip(tmp_path / "out.mp4", list(FileSource(clip)), audio_from=clip)
    with av.open(str(out)) as box:
        order = "".join(p.stream.type[0] for p in sorted(box.demux(), key=lambda p: p.pos or 0) if p.size)
    assert "v" in order[len(order) // 2 :]
    assert "a" in order[: len(order) // 2]


def test_a_clip_without_sound_gives_one_without(tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "a.mp4", list(frames(5)))
    out = write_clip(tmp_path / "out.mp4", list(frames(5)), audio_from=silent)
    assert not FileSource(out).has_audio


def test_a_truncated_clip_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", [Frame(noise(i), i * 512, TICK) for i in range(30)])
    clip.write_bytes(clip.read_bytes()[: int(clip.stat().st_size * 0.6)])
    source = FileSource(clip)
    assert 5 < len(list(source)) < 30


def noise(seed: int) -> np.ndarray:  # [H, W, 3]
    return np.random.default_rng(seed).integers(0, 255, (H, W, 3), dtype=np.uint8)


def test_damaged_clips_raise_our_own_error_or_give_frames(tmp_path: Path) -> None:
    whole = np.frombuffer(
        write_clip(tmp_path / "a.mp4", [Frame(noise(i), i * 512, TICK) for i in range(10)]).read_bytes(), np.uint8
    )
    random = np.random.default_rng(1)
    path = tmp_path / "damaged.mp4"
    for _ in range(25):
        data = whole.copy()
        data[random.integers(0, len(data), 30)] = random.integers(0, 255, 30)
        data[random.integers(0, 900, 3)] = random.integers(0, 255, 3)
        path.write_bytes(data.tobytes())
        try:
            assert len(list(FileSource(path))) >= 1
        except MotionError as error:
            assert "damaged.mp4" in str(error)  # noqa: PT017 - both outcomes are right


def refusal(path: Path) -> str:
    with pytest.raises(MotionError) as raised:
        FileSource(path)
    assert path.name in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video at all\n" * 50)
    (tmp_path / "text.txt").write_text("not a video at all\n" * 50)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    write_png(tmp_path / "still.png", picture(0))
    with av.open(str(tmp_path / "sound.wav"), "w") as box:
        stream = box.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        sound = av.AudioFrame.from_ndarray(tone(0.5, 8000, 0.1), format="s16", layout="mono")
        sound.rate = 8000
        box.mux(stream.encode(sound))
    assert "is empty" in refusal(tmp_path / "empty.mp4")
    assert "not a video" in refusal(tmp_path / "text.mp4")
    assert "not a video" in refusal(tmp_path / "text.txt")
    assert "not a video" in refusal(tmp_path / "still.png")
    assert "no video stream" in refusal(tmp_path / "sound.wav")
    assert "list.m3u8" in refusal(tmp_path / "list.m3u8")
    assert "directory" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "missing.mp4")


def test_nothing_is_left_behind_on_failure(tmp_path: Path) -> None:
    def fail_after(count: int, out: Path) -> None:
        with FileSink(out, (W, H), FPS) as sink:
            for frame in frames(count):
                sink.write(frame)
            raise RuntimeError("stop")

    for count in (0, 1, 30):
        with pytest.raises(RuntimeError, match="stop"):
            fail_after(count, tmp_path / "out.mp4")
    with pytest.raises(MotionError), FileSink(tmp_path / "out.mp4", (W, H), FPS, audio_from=tmp_path / "missing.mp4"):
        pass
    with pytest.raises(NarrateError, match="no frame"), FileSink(tmp_path / "out.mp4", (W, H), FPS):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_old_result_survives_a_failure(tmp_path: Path) -> None:
    out = write_clip(tmp_path / "out.mp4", list(frames(5)))
    before = out.read_bytes()
    with pytest.raises(ValueError, match="does not fit"), FileSink(out, (W, H), FPS) as sink:
        sink.write(Frame(np.zeros((10, 10, 3), np.uint8)))
    assert out.read_bytes() == before


def test_what_cannot_be_written(tmp_path: Path) -> None:
    for name, size, message in (
        ("out.mp4", (W, 63), "even"),
        ("out.avi", (W, H), "must end in"),
        ("nowhere/out.mp4", (W, H), "no directory"),
    ):
        with pytest.raises(NarrateError, match=message):
            FileSink(tmp_path / name, size, FPS)
    assert list(tmp_path.iterdir()) == []


def test_memory_sink_keeps_frames() -> None:
    sink = MemorySink()
    for frame in frames(3):
        sink.write(frame)
    sink.close()
    assert [f.pts for f in sink.frames] == [0, 512, 1024]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [0, 3, 4])
def test_stills_keep_every_bit(tmp_path: Path, dtype: type, channels: int) -> None:
    import cv2

    shape = (H, W, channels) if channels else (H, W)
    image = np.random.default_rng(2).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    write_png(tmp_path / "a.png", image)
    read = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    order = {0: ..., 3: (..., [2, 1, 0]), 4: (..., [2, 1, 0, 3])}[channels]
    assert np.array_equal(read[order], image)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_still_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(NarrateError, match="cannot be written"):
        write_png(tmp_path / "nowhere" / "a.png", picture(0))
    with pytest.raises(TypeError, match="uint8"):
        write_png(tmp_path / "a.png", np.zeros((4, 4), np.float32))
    assert list(tmp_path.iterdir()) == []
