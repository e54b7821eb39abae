"""The renderer on the built-in portrait: the resting portrait, turns, edges."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.fusion import brim, coverage, head_framing, portrait_framing
from narrate_stream.pipeline import seen_from, still_motion
from narrate_stream.renderer import Renderer
from narrate_stream.types import View
from offline.build import build_model
from offline.picture import load_builtin_portrait
from offline.stills import Studio, photograph_framing, render_view
from tests.test_deformer import posed


@pytest.fixture(scope="module")
def studio(model: HybridModel) -> Studio:
    return Studio(model, head_framing(model, 256))


def nose_offset(picture: np.ndarray) -> np.ndarray:
    """(2,) the nose's tip from the middle of the face's sides, in face widths; x right, y up."""
    with FaceMesh(video=False) as mesh:
        marks = mesh(picture)
    assert marks is not None, "no face is seen in the rendered picture"
    middle, width = (marks[234, :2] + marks[454, :2]) / 2, np.linalg.norm(marks[234, :2] - marks[454, :2])
    return (marks[4, :2] - middle) / width * [1, -1]


@pytest.mark.parametrize(("size", "least"), [(512, 30), (1024, 35)])
def test_the_original_at_rest_is_the_photograph(model: HybridModel, size: int, least: float) -> None:
    model = model if size == 512 else build_model(None, size=size)
    photograph = load_builtin_portrait().image
    shown = render_view(model, light="original", view=View())
    assert shown.shape == photograph.shape
    matte = coverage(Studio(model, photograph_framing(model)).buffer(View(), albedo=False))
    inside = matte > 0.5
    error = (shown.astype(float) - photograph)[inside]
    assert 10 * np.log10(255**2 / (error**2).mean()) >= least
    reach = 2 * math.ceil(brim(model.canvas) / model.crop[2]) + 3  # the plate hides what is beside the matte
    near = cv2.dilate((matte > 0.004).astype(np.uint8), np.ones((reach, reach), np.uint8))
    outside = np.abs(shown.astype(int) - photograph)[near == 0]
    assert outside.mean() < 0.5
    assert (outside > 8).mean() < 1e-3


@pytest.mark.parametrize("yaw", [-20, 20])
def test_yaw_turns_the_face_to_its_side(studio: Studio, yaw: float) -> None:
    rest, turned = (nose_offset(studio.shoot("original", View(y, 0))) for y in (0.0, yaw))
    assert (turned - rest)[0] * np.sign(yaw) > 0.06


@pytest.mark.parametrize("pitch", [-12, 12])
def test_pitch_lifts_and_lowers_the_face(studio: Studio, pitch: float) -> None:
    rest, turned = (nose_offset(studio.shoot("original", View(0, p))) for p in (0.0, pitch))
    assert (turned - rest)[1] * np.sign(pitch) > 0.03


@pytest.mark.parametrize("view", [View(), View(25, 0), View(-25, 10), View(0, -15)])
def test_the_face_has_no_holes(studio: Studio, view: View) -> None:
    gbuffer = studio.buffer(view, albedo=True)
    face = studio.model.neutral[:468] @ studio.model.rotation.T + studio.model.translation
    face = posed(face, np.ones(468), studio.model.pivot, seen_from(still_motion(), view).pose)
    at = np.round(studio.renderer.camera.project(face)).astype(int)
    middle = at[:, :2].mean(0)
    inner = np.round(middle + 0.8 * (at - middle)).astype(int)
    cover = coverage(gbuffer)[inner[:, 1].clip(0, 255), inner[:, 0].clip(0, 255)]
    assert (cover > 0.9).mean() > 0.99


def test_the_edge_is_a_thin_fringe_with_partial_cover(studio: Studio) -> None:
    gbuffer = studio.buffer(View(12, 0), albedo=True)
    share = len(gbuffer.fringe_at) / gbuffer.covered.size
    assert 0.002 < share < 0.12
    assert gbuffer.fringe_alpha.min() >= 0
    assert gbuffer.fringe_alpha.max() <= 1
    assert ((gbuffer.fringe_alpha > 0.1) & (gbuffer.fringe_alpha < 0.9)).mean() > 0.2
    rows, columns = gbuffer.fringe_at.T
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == len(rows)
    assert (gbuffer.map_x[gbuffer.covered] >= -0.5).all()


def test_framings_keep_their_promise(model: HybridModel) -> None:
    face = model.camera.project(model.neutral[:468] @ model.rotation.T + model.translation)
    head = head_framing(model, 300)
    at = face * head.scale + [head.dx, head.dy]
    assert head.size == (300, 300)
    assert at.min() > 20
    assert at.max() < 280
    assert portrait_framing(model, None).size == model.frame_size
    assert max(portrait_framing(model, 301).size) == 300  # even, as video wants it


def test_the_same_view_twice_is_the_same_picture(model: HybridModel) -> None:
    renderer = Renderer(model, head_framing(model, 128))
    first = renderer(seen_from(still_motion(), View(17, -5)))
    base, alpha = first.base.copy(), first.fringe_alpha.copy()
    renderer(seen_from(still_motion(), View(-20, 5)))
    again = renderer(seen_from(still_motion(), View(17, -5)))
    assert np.array_equal(base[again.covered], again.base[again.covered])
    assert np.array_equal(alpha, again.fringe_alpha)
