"""A clip as a whole: noise goes without lag, and what was exact stays."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from narrate_stream.drivers.clip import (
    aligned,
    calmed,
    centred,
    eye_line,
    joined,
    looked_at,
    relifted,
    runs,
    sharpened,
    steadied,
)
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


def looked_into(frames: list[Frame], motions: list[Motion | None], calm: Motion) -> list[Motion | None]:
    """As `rehearsal` does it."""
    exact = aligned(frames, motions, calm)
    return sharpened(motions, calm, exact, looked_at(frames, exact))


def test_a_noisy_track_comes_nearer_to_the_skin() -> None:
    rng = np.random.default_rng(2)
    true = [seen(x=0.4 * k) for k in range(5)]
    frames = [Frame(painted(m), k, Fraction(1, 30)) for k, m in enumerate(true)]
    wrong = [rng.normal(0, 2.5, 2) * (np.arange(478) % 468 > 200)[:, None] if k else 0.0 for k in range(5)]
    noisy: list[Motion | None] = [seen(x=0.4 * k, noise=wrong[k]) for k in range(5)]
    out = looked_into(frames, noisy, noisy[0])  # type: ignore[arg-type]

    def error(motions: list[Motion | None]) -> float:
        away = [m.pixels - t.pixels for m, t in zip(motions, true, strict=True) if m is not None]
        return float(np.median(np.linalg.norm(np.array(away)[1:, :468], axis=-1)))

    assert error(out) < 0.6 * error(noisy)
    assert all(m is not None and not m.measured for m in out)


def test_frames_without_a_face_or_of_another_size_stay_as_they_are() -> None:
    calm, small = seen(), replace(seen(), size=(160, 140))
    motions = [calm, None, small, calm]  # a stranger's are left alone, too
    frames = [Frame(painted(calm), k, Fraction(1, 30)) for k in range(4)]
    out = looked_into(frames, motions, calm)
    assert out[1] is None
    assert out[2] is small
    assert list(runs(motions, calm)) == [(0, 1), (3, 4)]


def rolling(n: int = 40) -> F64:
    """(n, 478, 2) landmarks that all drift in the same way, without noise."""
    return np.asarray(np.arange(n, dtype=float)[:, None, None] * np.ones((1, 478, 2)))


def test_what_flickers_like_the_calmest_moments_is_noise_and_a_fast_movement_is_not() -> None:
    rng = np.random.default_rng(4)
    drift, noise = rolling(), rng.normal(0, 0.5, (40, 478, 2))
    assert np.abs(calmed(drift) - drift).max() < 1e-9
    left = (calmed(drift + noise) - drift)[2:-2]
    assert left.std() < 0.8 * noise.std()
    blink = np.zeros((40, 478, 2))
    blink[20:23, 159, 1] = -12.0  # a lid, three frames long
    after = calmed(drift + blink + noise)
    assert (drift + blink - after)[19:24, 159, 1].max() < 1.5
    assert calmed(drift[:1]).shape == (1, 478, 2)


def test_joined_landmarks_lie_as_exact_and_move_as_seen() -> None:
    exact, seen = rolling(), rolling() + 3.0  # several looks err by three pixels, always
    assert np.abs(joined(seen, exact) - exact).max() < 1e-9
    flicker = (-1.0) ** np.arange(40)[:, None, None] * np.ones((1, 478, 2))
    assert np.abs(joined(seen, exact + flicker) - exact)[3:-3].max() < 0.2


def test_relative_motion_is_steadied_without_pictures() -> None:
    rng = np.random.default_rng(6)
    true = [seen(x=0.1 * k) for k in range(30)]
    noisy: list[Motion | None] = [seen(x=0.1 * k, noise=rng.normal(0, 0.6, (478, 2))) for k in range(30)]
    noisy[12] = None
    out = steadied(noisy, noisy[0])  # type: ignore[arg-type]
    assert out[12] is None

    def error(motions: list[Motion | None]) -> float:
        pairs = [(m, t) for m, t in zip(motions, true, strict=True) if m is not None]
        return float(np.mean([np.linalg.norm(m.pixels - t.pixels, axis=-1).mean() for m, t in pairs]))

    assert error(out) < 0.85 * error(noisy)


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
