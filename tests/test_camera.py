from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from doubles import FakeAvatar, gradient, served

from narrate_stream.camera import CLOCK, Capture, Report, VirtualCamera, run_camera, run_remote, webcam
from narrate_stream.errors import DeviceError, MissingExtra, NarrateError
from narrate_stream.server import create_app
from narrate_stream.types import Frame


class MemorySink:
    def __init__(self, width: int, height: int, fps: float) -> None:
        self.size, self.frames, self.closed = (width, height), [], False

    def write(self, frame: Frame) -> None:
        self.frames.append(frame)

    def close(self) -> None:
        self.closed = True


def pictures(count: int, fps: float = 0) -> Iterator[Frame]:
    for n in range(count):
        if fps:
            time.sleep(1 / fps)
        yield Frame(gradient(n), n * 3000, CLOCK)


def test_every_frame_of_a_source_is_animated_in_order() -> None:
    sinks: list[MemorySink] = []
    report = run_camera(FakeAvatar((128, 96)), pictures(12), lambda *a: sinks.append(MemorySink(*a)) or sinks[-1])
    assert report.frames == 12
    assert [frame.pts for frame in sinks[0].frames] == [n * 3000 for n in range(12)]
    assert sinks[0].frames[0].image.shape == (96, 128, 3)
    assert sinks[0].closed


def test_it_stops_when_told() -> None:
    report = run_camera(FakeAvatar(), pictures(100), MemorySink, stop=lambda r: r.frames >= 3)
    assert report.frames == 3


def test_a_capture_keeps_the_newest_and_passes_errors_on() -> None:
    capture = Capture(pictures(50))
    time.sleep(0.3)
    frame = capture.get(1)
    assert frame is not None
    assert frame.pts == 49 * 3000
    assert capture.latest.dropped == 49

    def broken() -> Iterator[Frame]:
        yield Frame(gradient(0))
        raise DeviceError("the webcam was unplugged")

    capture = Capture(broken())
    with pytest.raises(DeviceError, match="unplugged"):
        for _ in capture.frames():
            pass
    capture.close()


def test_a_webcam_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match="webcam 97"):
        next(webcam(97))


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(MissingExtra, match=r"narrate-stream\[camera\]"):
        VirtualCamera(64, 64)


def test_a_virtual_camera_by_a_test_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="the extra `camera` is not installed")
    sent: list[np.ndarray] = []

    class Backend:
        def __init__(self, *, width: int, height: int, **_: Any) -> None:
            self.shape = (height, width, 3)

        def send(self, frame: np.ndarray) -> None:
            sent.append(np.array(frame).reshape(self.shape))

        def close(self) -> None:
            sent.append(np.zeros(0))

        def device(self) -> str:
            return "test"

        def native_fourcc(self) -> None:
            return None

    monkeypatch.setitem(pyvirtualcam.camera.BACKENDS, "test", Backend)
    report = run_camera(FakeAvatar((64, 48)), pictures(3), lambda w, h, fps: VirtualCamera(w, h, fps, backend="test"))
    assert report.frames == 3
    assert [a.shape for a in sent] == [(48, 64, 3)] * 3 + [(0,)]
    wide = VirtualCamera(32, 32, backend="test")
    wide.write(Frame(gradient(0)))
    wide.close()
    assert sent[-2].shape == (32, 32, 3)


def test_no_virtual_camera_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="the extra `camera` is not installed")
    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {})
    with pytest.raises(DeviceError, match="no virtual camera"):
        VirtualCamera(64, 64)


def test_by_a_remote_server() -> None:
    sinks: list[MemorySink] = []
    with served(create_app(lambda options: FakeAvatar((128, 128)), token="t")) as url:
        address = url.replace("http", "ws")

        def enough(report: Report) -> bool:
            return report.frames >= 10

        make = lambda *a: sinks.append(MemorySink(*a)) or sinks[-1]  # noqa: E731
        report = run_remote(address, pictures(400, 60), make, token="t", controls={"light": "split"}, stop=enough)
        assert report.frames == 10
        assert sinks[0].size == (128, 128)
        colour = sinks[0].frames[-1].image.mean((0, 1))
        assert colour[2] > 1.3 * colour[0]  # the light it began with
        with pytest.raises(NarrateError, match="token"):
            run_remote(address, pictures(50, 60), make)
    with pytest.raises(NarrateError, match="cannot be used"):
        run_remote(address, pictures(50, 60), make)
