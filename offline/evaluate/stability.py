"""A still driver and a fast one: how much the avatar trembles, and how much later it comes.

Still: one frame again and again, each time with a webcam's noise and JPEG's, goes through the live path; wobble is the
mean distance of landmarks from their own mean place, pixels of a 512 pixel avatar. Fast: scripted motion without noise,
at 30 frames a second, goes through the retargeting with its filters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.mesh import MeshDriver
from narrate_stream.drivers.script import Script, ScriptDriver, ScriptSource
from narrate_stream.ops.geometry import angles_from_rotation
from narrate_stream.pipeline import Pipeline
from narrate_stream.renderer import Renderer
from narrate_stream.retarget import LOWER_LID_INDEX, UPPER_LID_INDEX, Retargeter, gaze_of
from narrate_stream.types import AvatarMotion, Frame, Image, Motion
from offline.evaluate.following import Row, lag_of
from offline.evaluate.tracks import eye_distance

F64 = NDArray[np.float64]
Judge = Callable[[Image], F64]  # (478, 3) landmarks, nan without a face
SIZE, FPS = 512, 30
FRAMES, SETTLE = 75, 15  # of which the first ones do not count
READ, SHOT = 1.5, 0.25  # noise of a webcam indoors: sRGB levels in the dark, and per root of a level
JPEG = 82  # quality
FAST = 6.0  # seconds of the fast script


def steadiness(model: HybridModel, picture: Image, judge: Judge, seed: int = 0) -> Row:
    """wobble_px of the avatar's geometry; seen_px: what the judge sees of it in the pictures; driver_px: what it sees
    in the driving frames, at the avatar's size; lag_...: frames."""
    pipeline = Pipeline(model, size=SIZE, driver=MeshDriver())
    places, seen, driven = [], [], []
    try:
        for i in range(FRAMES):
            frame = Frame(noisy(picture, seed + i), i, Fraction(1, FPS))
            shown = pipeline.step(frame).image
            if i >= SETTLE:
                places.append(landmarks_on_screen(pipeline.renderer, pipeline.motion))
                seen.append(judge(shown))
                driven.append(judge(frame.image))
    finally:
        pipeline.close()
    avatar, driver = np.array(seen), np.array(driven)
    scale = float(np.nanmedian(eye_distance(avatar)) / np.nanmedian(eye_distance(driver)))
    found = {"wobble_px": wobble(np.array(places)), "seen_px": wobble(avatar), "driver_px": scale * wobble(driver)}
    return found | lags(model)


def noisy(picture: Image, seed: int) -> Image:
    """The picture as a webcam sends it: noise that grows with the root of the level, then JPEG."""
    chance = np.random.default_rng(seed)
    level = picture.astype(np.float32)
    grain = chance.standard_normal(level.shape, np.float32) * (READ + SHOT * np.sqrt(level))
    rough = np.clip(level + grain + 0.5, 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", rough[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def wobble(places: F64) -> float:
    """Mean over landmarks of the root mean square distance from the mean place; places (N, K, 2 or 3), nan skipped."""
    flat = places[~np.isnan(places[:, 0, 0]), :468, :2]
    if len(flat) < 2:
        return float("nan")
    return float(np.sqrt(((flat - flat.mean(0)) ** 2).sum(-1).mean(0)).mean())


def landmarks_on_screen(renderer: Renderer, motion: AvatarMotion) -> F64:
    """(468, 2) pixels where the avatar's landmarks are, without looking."""
    model = renderer.model
    points = (model.neutral[:468] + motion.offsets) @ model.rotation.T + model.translation
    posed = (points - model.pivot) @ motion.pose.rotation.T + model.pivot + motion.pose.translation
    return renderer.camera.project(posed)


# ------------------------------------------------------------------ lag


def lags(model: HybridModel) -> Row:
    """Frames by which yaw, mouth, lids and gaze come later than the fast script."""
    script = fast_script()
    driver, retarget = ScriptDriver(script), Retargeter(model)
    retarget.calibrate(driver.neutral)
    asked, shown = [], []
    for frame in ScriptSource(script):
        motion = driver(frame)
        assert motion is not None
        asked.append(driver_tracks(motion))
        seen = replace(motion, measured=True)  # as a detector's: a script's own motion passes no filter
        shown.append(avatar_tracks(model, retarget(seen, 1 / FPS)))
    pairs = zip(("yaw", "mouth", "lids", "gaze"), np.array(asked).T, np.array(shown).T, strict=True)
    return {f"lag_{name}": lag_of(a, b) for name, a, b in pairs}


def fast_script() -> Script:
    """Somebody who shakes the head, talks fast, blinks every second and looks about, without noise."""
    times = np.arange(round(FAST * FPS)) / FPS
    pose = np.zeros((len(times), 6))
    pose[:, 0] = 12 * np.sin(2 * np.pi * 1.3 * times)
    jaw = 0.25 - 0.25 * np.cos(2 * np.pi * 3.1 * times)
    lids = np.clip(1.5 - np.abs((times + 0.5) % 1.0 - 0.5) / 0.08, 0, 1)
    look = np.stack([0.8 * np.sign(np.sin(2 * np.pi * 0.9 * times + 1)), np.zeros_like(times)], -1)
    face = np.stack([jaw, lids, lids], -1)
    names = ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight")
    return Script(Fraction(FPS), times, pose, look, face, names, np.ones(len(times)), np.zeros(6))


def driver_tracks(motion: Motion) -> tuple[float, float, float, float]:
    """Yaw, mouth, lids, gaze of the driver."""
    face = motion.landmarks.astype(np.float64)
    return _yaw(motion.rotation), _mouth(face), _lids(face), float(gaze_of(face)[:, 0].mean())


def avatar_tracks(model: HybridModel, motion: AvatarMotion) -> tuple[float, float, float, float]:
    """The same of the avatar."""
    face = model.neutral[:468] + motion.offsets.astype(np.float64)
    return _yaw(motion.pose.rotation), _mouth(face), _lids(face), float(motion.gaze[:, 0].mean())


def _yaw(rotation: NDArray[np.floating[Any]]) -> float:
    return float(angles_from_rotation(rotation)[0])


def _mouth(face: F64) -> float:
    return float(face[13, 1] - face[14, 1])


def _lids(face: F64) -> float:
    return float((face[UPPER_LID_INDEX, 1] - face[LOWER_LID_INDEX, 1]).mean())
