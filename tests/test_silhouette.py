"""Silhouettes: which edges are one, and how much of a pixel their rim covers."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from narrate_stream.kernels.rasterise import launch
from narrate_stream.kernels.silhouette import Silhouettes, rim_pass, vertex_alpha

ROOF = np.array([[0, 0, 1], [4, 0, 1], [4, 6, 1], [0, 6, 1], [8, 0, 1], [8, 6, 1]], np.float32)  # two faces, one ridge
FACES = np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5], [1, 5, 2]], np.int32)
RIDGE = {1, 2}


def edges(silhouettes: Silhouettes, screen: np.ndarray) -> set[frozenset[int]]:
    """The silhouettes by their two vertices."""
    return {frozenset(e[:2].tolist()) for e in silhouettes.edges[silhouettes.seen(screen)]}


def made(faces: np.ndarray = FACES, feather: float = 8.0, alpha: float = 1.0) -> Silhouettes:
    return Silhouettes(faces, np.full(len(ROOF), feather, np.float32), np.full(len(ROOF), alpha, np.float32))


def test_what_ends_is_a_silhouette_and_what_goes_on_is_none() -> None:
    rim = {frozenset(e) for e in ((0, 1), (1, 4), (4, 5), (5, 2), (2, 3), (3, 0))}
    assert edges(made(), ROOF) == rim


@pytest.mark.parametrize("faces", [FACES, np.concatenate([FACES[:2], FACES[2:, ::-1]])])
def test_a_surface_that_turns_away_has_a_silhouette_however_it_is_wound(faces: np.ndarray) -> None:
    folded = ROOF.copy()
    folded[4:, 0] = 1.0  # its right half lies behind the left one
    assert frozenset(RIDGE) in edges(made(faces), folded)
    assert frozenset(RIDGE) not in edges(made(faces), ROOF)


def test_what_fades_by_itself_or_shows_nothing_has_no_rim() -> None:
    assert len(made(feather=0.5).edges) == 0
    assert len(made(alpha=0.0).edges) == 0


@pytest.mark.parametrize("turned", [False, True])
def test_the_rim_covers_as_much_of_a_pixel_as_the_edge_reaches_into_it(turned: bool) -> None:
    """An edge from (5.25, 0) to (5.95, 8), or the same upside down: the pixel beside it is covered by what is left of
    a pixel up to the edge, and shows what the edge shows."""
    screen = np.array([[5.25, 0, 0.5], [5.95, 8, 0.5], [0, 4, 0.5]], np.float32)
    if turned:
        screen = screen[:, [1, 0, 2]]
    source = np.array([[10, 20, 8], [12, 28, 8], [0, 0, 8]], np.float32)
    size, planes = 12, wp.zeros(2, dtype=wp.mat33, device="cpu")
    fringe = wp.zeros(size * size, dtype=wp.int64, device="cpu")
    given = [wp.array([0], dtype=int), wp.array([[0, 1, 2]], dtype=wp.vec3i), 1, wp.array(screen, dtype=wp.vec3)]
    launch(rim_pass, 1, [*given, wp.array(source, dtype=wp.vec3), size, 0, size, planes, fringe], "cpu")
    keys = fringe.numpy().reshape(size, size)
    for k in range(9):
        row = keys.T[k] if turned else keys[k]
        at = 5.25 + 0.7 * k / 8
        (pixel,) = np.flatnonzero(row)
        assert pixel == np.floor(at) + 1
        x, y = (k, pixel) if turned else (pixel, k)
        shown = planes.numpy()[row[pixel] & 0xFFFFFFFF] @ [1, x, y]
        assert np.allclose(shown, [10 + 2 * k / 8, 20 + k, 1 - (pixel - at)], atol=1e-5)
    assert (keys > 0).sum() == 9


def test_the_matte_of_a_vertex_is_that_of_the_nearest_texel() -> None:
    alpha = np.array([[0, 255], [51, 0]], np.uint8)
    source = np.array([[0.9, 0.1, 1], [-3, 1, 1]], np.float32)
    assert np.allclose(vertex_alpha(alpha, source), [1, 0.2])


def test_sheets_that_do_not_end_have_no_rim_at_their_ends() -> None:
    one = np.array([[0, 1, 2]], np.int32)
    ones = np.ones(3, np.float32)
    assert len(Silhouettes(one, ones, ones).edges) == 3
    assert len(Silhouettes(one, ones, ones, np.array([True, True, False])).edges) == 1
