"""The rasteriser kernel against a plain numpy reference: depth order, two layers, no cracks."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
import warp as wp

from narrate_stream.kernels import rasterise

W, H = 48, 40


@dataclass
class Scene:
    """screen (V, 3) x, y, 1/depth; source (V, 3) u, v, feather; triangles (T, 3); opaque (T,); alpha (h, w)."""

    screen: np.ndarray
    source: np.ndarray
    triangles: np.ndarray
    opaque: np.ndarray
    alpha: np.ndarray


@dataclass
class Picture:
    x: np.ndarray
    y: np.ndarray
    fringe: dict[int, np.ndarray]
    covered: np.ndarray | None = None
    whole: np.ndarray | None = None
    part: np.ndarray | None = None
    seen: np.ndarray | None = None


def soup(seed: int, count: int = 60) -> Scene:
    """Random triangles, half of them possibly transparent, some of them outside the picture."""
    chance = np.random.default_rng(seed)
    middle = chance.uniform([-5, -5], [W + 5, H + 5], (count, 1, 2))
    xy = middle + chance.normal(0, 9, (count, 3, 2))
    z = np.repeat(chance.uniform(0.01, 0.2, (count, 1, 1)), 3, 1) + chance.normal(0, 1e-3, (count, 3, 1))
    screen = np.concatenate([xy, z], -1).reshape(-1, 3)
    source = chance.uniform([0, 0, 0.2], [31, 31, 1.6], (count * 3, 3))
    alpha = chance.choice([0, 90, 180, 255], (32, 32)).astype(np.uint8)
    alpha = np.kron(alpha[::8, ::8], np.ones((8, 8), np.uint8))
    opaque = chance.integers(0, 2, count)
    return Scene(screen, source, np.arange(count * 3).reshape(-1, 3), opaque, alpha)


def kernel(scene: Scene, device: str, bands: int = 1, before: Scene | None = None) -> Picture:
    """What the product's kernel draws, into buffers in which the scene `before` was drawn."""

    def array(a: np.ndarray, dtype: object) -> wp.array:
        return wp.array(np.ascontiguousarray(a), dtype=dtype, device=device)

    def empty(shape: object, dtype: object) -> wp.array:
        return wp.zeros(shape, dtype=dtype, device=device)

    keys = [empty(W * H, wp.int64) for _ in range(2)]
    x, y = (wp.full(W * H, -1.0, dtype=float, device=device) for _ in range(2))
    out = [empty(W * H, wp.uint8), x, y, empty((W * H, 2), wp.int16), empty(W * H, wp.uint16)]
    seen, pixel, at = empty((4, 8), wp.uint8), empty(W * H, int), empty(W * H, wp.vec3)
    found: dict[int, np.ndarray] = {}
    for drawn in [scene] if before is None else [before, scene]:
        found.clear()
        seen.zero_()
        n = len(drawn.triangles)
        given = [array(drawn.screen.astype(np.float32), wp.vec3), array(drawn.source.astype(np.float32), wp.vec3),
                 array(drawn.triangles.astype(np.int32), wp.vec3i), array(drawn.opaque.astype(np.uint8), wp.uint8),
                 array(drawn.alpha, wp.uint8)]  # fmt: skip
        for first, last in itertools.pairwise(np.linspace(0, H, bands + 1).astype(int).tolist()):
            setup, count, rows = empty(n, wp.mat33), empty(1, int), [W, first, last]
            runs = -(-n // rasterise.TRIANGLES), -(-W * (last - first) // rasterise.PIXELS)
            rasterise.launch(rasterise.depth_pass, runs[0], [*given, *rows, setup, *keys], device)
            rasterise.launch(
                rasterise.resolve_pass,
                runs[1],
                [setup, *keys, *rows, *out, seen, wp.vec2(8 / 32, 4 / 32), count, pixel, at],
                device,
            )
            span = slice(first * W, first * W + int(count.numpy()[0]))
            found.update(zip(pixel.numpy()[span].tolist(), at.numpy()[span], strict=True))
    covered, x, y, whole, part = (a.numpy() for a in out)
    shape = (H, W)
    return Picture(x.reshape(shape), y.reshape(shape), found, covered.reshape(shape), whole, part, seen.numpy())


def reference(scene: Scene) -> tuple[Picture, np.ndarray]:
    """The same in plain numpy, and which pixels lie so close to an edge that rounding may decide."""
    py, px = np.mgrid[:H, :W]
    best = np.zeros((2, H, W))
    at = np.full((2, H, W, 3), -1.0)
    doubtful = np.zeros((H, W), bool)
    for corners, solid in zip(scene.triangles, scene.opaque, strict=True):
        p = scene.screen[corners]
        (ax, ay), (bx, by), (cx, cy) = p[:, :2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-6:
            continue
        w0 = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
        w1 = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
        weight = np.stack([w0, w1, 1 - w0 - w1], -1)
        longest = max(np.hypot(bx - ax, by - ay), np.hypot(cx - bx, cy - by), np.hypot(ax - cx, ay - cy))
        margin = weight.min(-1) * abs(area) / longest  # pixels from the nearest edge, at least
        inside = margin >= 0
        doubtful |= np.abs(margin) < 0.01
        z = weight @ p[:, 2]
        uvf = weight @ scene.source[corners]
        iu = np.clip((uvf[..., 0] + 0.5).astype(int), 0, 31)
        iv = np.clip((uvf[..., 1] + 0.5).astype(int), 0, 31)
        cover = np.ones((H, W)) if solid else scene.alpha[iv, iu] / 255 * np.clip(uvf[..., 2], 0, 1)
        if not solid:
            near = np.abs(uvf[..., :2] + 0.5 - np.round(uvf[..., :2] + 0.5)).min(-1) < 1e-3
            doubtful |= inside & (near | (np.abs(cover - rasterise.CORE_ALPHA) < 1e-3))
        for layer, here in enumerate((cover >= rasterise.CORE_ALPHA, (cover < rasterise.CORE_ALPHA) & (cover > 0.004))):
            doubtful |= inside & here & (np.abs(z - best[layer]) < 1e-6)
            front = inside & here & (z > best[layer])
            best[layer][front], at[layer][front] = z[front], uvf[front]
    doubtful |= (np.abs(best[0] - best[1]) < 1e-6) & (best[0] > 0)
    before = (best[1] > best[0]) & (best[1] > 0)
    fringe = {int(i): at[1].reshape(-1, 3)[i] for i in np.flatnonzero(before)}
    return Picture(at[0][..., 0], at[0][..., 1], fringe), doubtful


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("bands", [1, 3])
def test_the_kernel_draws_what_the_reference_draws(seed: int, bands: int, device: str) -> None:
    scene = soup(seed)
    drawn, (wanted, doubtful) = kernel(scene, device, bands), reference(scene)
    sure = ~doubtful
    assert sure.mean() > 0.8
    assert (wanted.x >= 0)[sure].mean() > 0.25
    assert np.array_equal((drawn.x >= 0)[sure], (wanted.x >= 0)[sure])
    assert drawn.x[sure] == pytest.approx(wanted.x[sure], abs=2e-3)
    assert drawn.y[sure] == pytest.approx(wanted.y[sure], abs=2e-3)
    pixels = [p for p in range(W * H) if sure.flat[p] and (p in drawn.fringe or p in wanted.fringe)]
    assert len(pixels) > 20
    for p in pixels:
        assert (p in drawn.fringe) == (p in wanted.fringe), divmod(p, W)
        assert drawn.fringe[p][:2] == pytest.approx(wanted.fringe[p][:2], abs=2e-3)
        assert drawn.fringe[p][2] == pytest.approx(np.clip(wanted.fringe[p][2], 0, 1), abs=1e-3)


def test_a_picture_leaves_no_trace_in_the_next(device: str) -> None:
    after, alone = kernel(soup(1, 20), device, 2, before=soup(2, 20)), kernel(soup(1, 20), device, 2)
    assert (kernel(soup(2, 20), device).x >= 0)[alone.x < 0].mean() > 0.1
    for name in ("x", "y", "covered", "whole", "part", "seen"):
        assert np.array_equal(getattr(after, name), getattr(alone, name)), name
    assert np.array_equal(alone.covered > 0, alone.x >= -0.9)
    assert after.fringe.keys() == alone.fringe.keys()


def test_the_blocks_that_are_seen_are_those_of_core_and_fringe(device: str) -> None:
    drawn = kernel(soup(4, 9), device, 2)
    at = np.concatenate([np.stack([drawn.x, drawn.y], -1)[drawn.covered > 0], [a[:2] for a in drawn.fringe.values()]])
    wanted = np.zeros((4, 8), np.uint8)
    wanted[((at[:, 1] + 0.5) / 8).astype(int), ((at[:, 0] + 0.5) / 4).astype(int)] = 1
    assert 0 < wanted.sum() < wanted.size
    assert np.array_equal(drawn.seen, wanted)


def test_the_fixed_point_is_the_one_that_remap_takes(device: str) -> None:
    drawn = kernel(soup(3), device)
    whole, part = cv2.convertMaps(np.maximum(drawn.x, 0), np.maximum(drawn.y, 0), cv2.CV_16SC2)
    ours = drawn.whole.reshape(H, W, 2).astype(int) * 32 + np.stack(np.divmod(drawn.part.reshape(H, W), 32)[::-1], -1)
    opencv = whole.astype(int) * 32 + np.stack(np.divmod(part, 32)[::-1], -1)
    assert (opencv[..., 0] % 32).std() > 5
    assert np.abs(ours - opencv).max() <= 1  # a half is rounded up here and to even there
    assert (ours == opencv).mean() > 0.99


def grid(step: float, shift: float, turn: float) -> Scene:
    """A mesh of shared edges that covers the picture, turned so that edges run through pixel centres at odd places."""
    n = int(2 * max(W, H) / step)
    gy, gx = np.mgrid[:n, :n].astype(float) * step - max(W, H) / 2 + shift
    c, s = np.cos(turn), np.sin(turn)
    x, y = c * (gx - W / 2) - s * (gy - H / 2) + W / 2, s * (gx - W / 2) + c * (gy - H / 2) + H / 2
    screen = np.stack([x, y, np.full_like(x, 0.02)], -1).reshape(-1, 3)
    i = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    triangles = np.concatenate([np.stack([i, i + n, i + 1], 1), np.stack([i + 1, i + n, i + n + 1], 1)])
    source = np.stack([x.ravel(), y.ravel(), np.full(x.size, 8.0)], -1)
    return Scene(screen, source, triangles, np.ones(len(triangles)), np.full((1, 1), 255, np.uint8))


@pytest.mark.parametrize(
    ("step", "shift", "turn"), [(4, 0, 0), (3.7, 0.31, 0.2), (2.3, -0.4, 0.7854), (5, 0.5, -0.463648)]
)
def test_shared_edges_leave_no_crack(step: float, shift: float, turn: float, device: str) -> None:
    drawn = kernel(grid(step, shift, turn), device)
    assert (drawn.x >= 0)[1:, 1:].all()
    gy, gx = np.mgrid[:H, :W]
    assert drawn.x[1:, 1:] == pytest.approx(gx[1:, 1:], abs=0.01)
    assert drawn.y[1:, 1:] == pytest.approx(gy[1:, 1:], abs=0.01)


def test_the_nearer_triangle_wins_from_either_side(device: str) -> None:
    xy = np.array([[5, 5], [40, 6], [20, 35]], float)
    near = np.concatenate([xy, np.full((3, 1), 0.05)], 1)
    far = np.concatenate([xy, np.full((3, 1), 0.03)], 1)
    source = np.repeat([[10.0, 10, 1], [20, 20, 1]], 3, 0)
    for winding in ([0, 1, 2], [2, 1, 0]):
        triangles = np.array([winding, [3, 4, 5]])
        scene = Scene(np.concatenate([near, far]), source, triangles, np.ones(2), np.full((32, 32), 255, np.uint8))
        assert kernel(scene, device).x[15, 20] == pytest.approx(10)


def test_nothing_and_slivers_draw_nothing(device: str) -> None:
    line = np.array([[5, 5, 0.1], [20, 5, 0.1], [35, 5, 0.1]], float)
    scene = Scene(line, line, np.array([[0, 1, 2]]), np.ones(1), np.full((1, 1), 255, np.uint8))
    assert (kernel(scene, device).x == -1).all()
    scene.triangles, scene.opaque = np.zeros((0, 3), int), np.zeros(0)
    drawn = kernel(scene, device)
    assert (drawn.x == -1).all()
    assert not drawn.fringe


def test_threads_that_launch_together_load_a_module_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def load(module: Any, device: str) -> None:
        time.sleep(0.02)
        loads.append(module.name)

    monkeypatch.setattr(rasterise, "_loaded", set())
    monkeypatch.setattr(rasterise.wp, "load_module", load)
    monkeypatch.setattr(rasterise.wp, "launch", lambda *_, **__: None)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: rasterise.launch(rasterise.depth_pass, 1, [], "cpu"), range(8)))
    assert loads == [rasterise.depth_pass.module.name]
