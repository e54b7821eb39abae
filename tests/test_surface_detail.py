"""Normals from a network in the surface: served where they are believed, followed by the depth, else without effect."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import pytest

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera
from offline.geometry import RESOLVED, Detail, Surface, build_surface
from offline.headfit import MARKS, HeadFit, fit_head, head_stats
from offline.integrate import blurred, normals_from_depth

SIZE = 256


@lru_cache(maxsize=1)
def sitter() -> tuple[HeadFit, np.ndarray, np.ndarray, Camera]:
    """The canonical face as the detector sees it, in a matte of a head and a chest."""
    camera = Camera(1.7 * SIZE, (SIZE - 1) / 2, (SIZE - 1) / 2)
    face = canonical().landmarks.copy()
    face[:MARKS] += head_stats().mean.reshape(-1, 3)
    marks = 6.0 * face * [1, -1, -1] + [camera.cx, camera.cy - 10, 0]
    y, x = np.mgrid[:SIZE, :SIZE]
    matte = np.hypot((x - camera.cx) / 62, (y - camera.cy) / 88) < 1
    matte |= np.hypot((x - camera.cx) / 115, (y - SIZE) / 70) < 1
    fit, camera = fit_head(marks, camera)
    return fit, marks, cv2.GaussianBlur(matte.astype(np.float32), (0, 0), 1), camera


def surface(detail: Detail | None) -> Surface:
    fit, marks, matte, camera = sitter()
    return build_surface(fit, marks, matte, camera, detail)


@lru_cache(maxsize=1)
def plain() -> Surface:
    return surface(None)


def ridged() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normals of the plain surface with ridges of 0.15 cm on it, belief in them on a patch of the face, and z."""
    base = plain()
    rows = np.arange(base.z.shape[0])[:, None] * np.ones((1, base.z.shape[1]))
    # of the coarse depth itself: ridges are all that is new
    z = base.z + 0.15 * np.sin(2 * np.pi * rows / 20)
    middle = base.camera.project(sitter()[0].points[[4, 50, 280]]).mean(0)
    y, x = np.mgrid[: z.shape[0], : z.shape[1]]
    patch = (np.abs(x - middle[0]) < 30) & (np.abs(y - middle[1]) < 30)
    return as_seen(z), patch, z


def as_seen(z: np.ndarray) -> np.ndarray:
    """The normals of a depth as a network sees them."""
    return blurred(normals_from_depth(z, plain().camera), RESOLVED / plain().unit)


def same(a: Surface, b: Surface) -> bool:
    return all(np.array_equal(getattr(a, k), getattr(b, k), equal_nan=True) for k in ("z", "normal", "coarse"))


def test_belief_of_nothing_changes_nothing() -> None:
    normal, _, _ = ridged()
    assert same(surface((normal, np.zeros(normal.shape[:2]))), plain())


def test_believed_normals_are_served() -> None:
    normal, patch, _ = ridged()
    found = surface((normal, patch.astype(np.float64)))
    inside = cv2.erode(patch.astype(np.uint8), np.ones((3, 3))) > 0
    assert found.normal[inside] == pytest.approx(normal[inside], abs=1e-5)
    assert np.abs(plain().normal[inside] - normal[inside]).max() > 0.1  # they are news
    assert (found.coarse == plain().coarse).all()  # the geometry's own stay as they were
    assert found.normal[~patch].shape == plain().normal[~patch].shape
    assert np.linalg.norm(found.normal, axis=-1) == pytest.approx(np.ones(patch.shape), abs=1e-6)


def test_depth_follows_believed_normals() -> None:
    normal, patch, z = ridged()
    found, before = surface((normal, patch.astype(np.float64))), plain()
    inside = cv2.erode(patch.astype(np.uint8), np.ones((17, 17))) > 0
    change, wanted = (a - cv2.GaussianBlur(a, (0, 0), 8) for a in (found.z - before.z, z - before.z))
    assert np.corrcoef(change[inside], wanted[inside])[0, 1] > 0.9
    assert change[inside].std() == pytest.approx(wanted[inside].std(), rel=0.25)
    far = cv2.dilate(patch.astype(np.uint8), np.ones((81, 81))) == 0
    assert np.abs(found.z - before.z)[far].max() < 0.3  # what is far from the patch stays in its place


def test_the_whole_relief_follows_believed_normals() -> None:
    base = plain()
    y, x = np.mgrid[: base.z.shape[0], : base.z.shape[1]]
    middle = base.camera.project(sitter()[0].points[[4, 50, 280]]).mean(0)
    r = np.hypot(x - middle[0], y - middle[1]) * base.unit
    z = base.z + 0.8 * np.exp(-((r / 3.0) ** 2))  # a face that bulges more
    found = surface((as_seen(z), base.face.astype(np.float64)))
    change = found.z - base.z
    rise = change[r < 0.5].mean() - change[(r > 3.8) & (r < 4.2) & base.face].mean()
    assert rise == pytest.approx(0.8 * (1 - np.exp(-((4.0 / 3.0) ** 2))), rel=0.1)
    assert np.abs(change[base.face].mean()) < 0.02  # how far away the whole is the landmarks say


def test_detail_of_any_resolution_is_taken() -> None:
    normal, _, _ = ridged()
    small = cv2.resize(normal, (100, 100), interpolation=cv2.INTER_AREA)
    found = surface((small, np.ones((100, 100))))
    wide = cv2.resize(small.astype(np.float32), found.z.shape[::-1], interpolation=cv2.INTER_AREA)
    assert found.normal == pytest.approx(wide / np.linalg.norm(wide, axis=-1, keepdims=True), abs=1e-5)
