"""A clip as a whole: noise goes without lag, and what was exact stays."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from narrate_stream.drivers.clip import centred, eye_line, relifted, runs, sharpened, smoothed
from narrate_stream.drivers.mesh import FOCAL_FACTOR
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from narrate_stream.ops.lift import lifted
from narrate_stream.types import Frame, Image, Motion

F64 = NDArray[np.float64]
W, H = 320, 280


def seen(yaw: float = 0.0, x: float = 0.0, noise: F64 | float = 0.0) -> Motion:
    """The canonical face before a camera, as a detector with this noise (px) sees it."""
    face, rotation = canonical().landmarks, rotation_from_angles(yaw, 0, 0)
    place = np.array([x, 0.0, -50.0])
    camera = Camera(FOCAL_FACTOR * W, (W - 1) / 2, (H - 1) / 2)
    pixels = camera.project(face @ rotation.T + place) + noise
    points = lifted(face, pixels, camera, (rotation, place))
    arrays = (a.astype(np.float32) for a in (rotation, place, points, pixels))
    return Motion(*arrays, size=(W, H), measured=True)


def painted(motion: Motion) -> Image:
    """A picture of spots that lies where the motion's (noiseless) face is."""
    import cv2

    rng = np.random.default_rng(5)
    picture = sum(cv2.GaussianBlur(rng.normal(0, 14 * s, (H, W, 3)), (0, 0), s) for s in (2.0, 5.0, 10.0))
    still = np.clip(140 + picture, 0, 255).astype(np.uint8)
    dx, dy = (motion.pixels - seen().pixels).mean(0)
    return np.asarray(
        cv2.warpAffine(still, np.array([[1, 0, dx], [0, 1, dy]]), (W, H), borderMode=cv2.BORDER_REPLICATE)
    )


def test_a_noisy_track_comes_nearer_to_the_skin() -> None:
    rng = np.random.default_rng(2)
    true = [seen(x=0.4 * k) for k in range(5)]
    frames = [Frame(painted(m), k, Fraction(1, 30)) for k, m in enumerate(true)]
    wrong = [rng.normal(0, 2.5, 2) * (np.arange(478) % 468 > 200)[:, None] if k else 0.0 for k in range(5)]
    noisy: list[Motion | None] = [seen(x=0.4 * k, noise=wrong[k]) for k in range(5)]
    out = sharpened(frames, noisy, noisy[0])  # type: ignore[arg-type]

    def error(motions: list[Motion | None]) -> float:
        away = [m.pixels - t.pixels for m, t in zip(motions, true, strict=True) if m is not None]
        return float(np.median(np.linalg.norm(np.array(away)[1:, :468], axis=-1)))

    assert error(out) < 0.6 * error(noisy)
    assert all(m is not None and not m.measured for m in out)


def test_frames_without_a_face_or_of_another_size_stay_as_they_are() -> None:
    calm, small = seen(), replace(seen(), size=(160, 140))
    motions = [calm, None, small, calm]  # a stranger's are left alone, too
    frames = [Frame(painted(calm), k, Fraction(1, 30)) for k in range(4)]
    out = sharpened(frames, motions, calm)
    assert out[1] is None
    assert out[2] is small
    assert list(runs(motions, calm)) == [(0, 1), (3, 4)]


def test_smoothing_keeps_straight_lines_and_blinks_and_takes_flicker() -> None:
    steps = np.arange(9.0)[:, None, None] * np.ones((1, 478, 2))
    assert np.abs(smoothed(steps) - steps).max() < 1e-9
    flicker = (-1.0) ** np.arange(9)[:, None, None] * np.ones((1, 478, 2))
    after = smoothed(flicker)
    assert np.abs(after[1:-1, 4]).max() < 0.6
    assert (after[:, 159] == flicker[:, 159]).all()  # a lid
    assert smoothed(steps[:1]).shape == (1, 478, 2)


def test_the_mean_error_of_the_calm_frame_is_taken_back() -> None:
    true = [seen(yaw).pixels.astype(np.float64) for yaw in (-5, 0, 5)]
    shared = np.random.default_rng(0).normal(0, 0.02, (478, 2))
    marks: list[F64 | None] = [at + shared @ eye_line(at) for at in true]
    out = centred(marks, [seen(yaw) for yaw in (-5, 0, 5)])
    assert max(np.abs(a - b).max() for a, b in zip(out, true, strict=True) if a is not None) < 0.2


def test_a_face_lifted_anew_has_its_pose() -> None:
    calm, turned = seen(), seen(12)
    wrong = replace(turned, rotation=np.eye(3, dtype=np.float32))
    out = relifted(wrong, turned.pixels.astype(np.float64), calm)
    assert np.abs(out.rotation - turned.rotation).max() < 0.01
    assert np.abs(out.landmarks[:468] - calm.landmarks[:468]).max() < 0.05
