"""Views against turned heads, on an egg with a face's material names in place of the FaceKit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from narrate_stream.errors import NarrateError, PortraitError
from offline.evaluate import sitters, views
from offline.evaluate.align import laid
from offline.evaluate.metrics import psnr
from offline.facekit import FaceKit

SIZE = 160
ROWS, COLUMNS = 60, 80
# 68 places of the iBUG scheme on a face of the kit's size; only eyes, brows and lips matter here
PLACES = np.zeros((68, 2))
PLACES[36], PLACES[45] = (-4.5, 3.4), (4.5, 3.4)
PLACES[17:22] = [(-5.5 + i, 6.0) for i in range(5)]
PLACES[22:27] = [(1.5 + i, 6.0) for i in range(5)]
PLACES[48:60] = [(2.4 * np.cos(t), -3.5 + 0.9 * np.sin(t)) for t in np.linspace(np.pi, -np.pi, 12, endpoint=False)]
PLACES[60:65] = [(-2.2 + 1.1 * i, -3.4) for i in range(5)]


def egg() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles (T, 3) of an upright ellipsoid, 15 x 26 x 18 cm, wound outward."""
    t, p = np.meshgrid(np.linspace(0.02, np.pi - 0.02, ROWS), np.linspace(0, 2 * np.pi, COLUMNS), indexing="ij")
    points = np.stack([7.5 * np.sin(t) * np.sin(p), 1 + 13 * np.cos(t), 9 * np.sin(t) * np.cos(p)], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(ROWS - 1), np.arange(COLUMNS - 1), indexing="ij")
    a = (i * COLUMNS + j).ravel()
    b, c, d = a + 1, a + COLUMNS, a + COLUMNS + 1
    return points, np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])


@pytest.fixture(scope="module")
def gallery() -> sitters.Gallery:
    points, triangles = egg()
    front = points[triangles].mean(1)[:, 2] > 0
    kit = FaceKit(
        neutral=points.astype(np.float32),
        identity=np.zeros((2, len(points), 3), np.float16),
        expression=np.zeros((2, len(points), 3), np.float16),
        expression_names=("mouthSmile_L", "jawOpen"),
        triangles=triangles.astype(np.int32),
        material=np.where(front, 0, 1).astype(np.int32),
        material_names=("M_Face", "M_BackHead"),
    )
    ahead = np.where(points[:, 2:] > 0, points[:, :2], 1e3)
    return sitters.Gallery(kit, np.linalg.norm(ahead[None] - PLACES[:, None], axis=-1).argmin(1))


def scene(gallery: sitters.Gallery, base_yaw: float = 0.0) -> views.Scene:
    sitter = gallery.sitter(1)
    return views.Scene("egg", gallery, sitter, base_yaw, gallery.shoot(sitter, 0, 0, base_yaw, SIZE))


def test_the_same_sitter_twice(gallery: sitters.Gallery) -> None:
    first, again, other = (gallery.shoot(gallery.sitter(n), 5, 0, size=SIZE).image for n in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_shot_shows_a_head(gallery: sitters.Gallery) -> None:
    shot = scene(gallery).photograph
    assert shot.image.shape == (SIZE, SIZE, 3)
    assert 0.1 < shot.head.mean() < 0.6
    assert 0.05 < shot.skin.mean() < shot.head.mean()
    assert shot.facing[shot.skin].max() > 0.99
    assert np.nanmin(shot.depth) == pytest.approx(
        sitters.ROOM * scene(gallery).sitter.focal - np.nanmax(shot.place[..., 2]), abs=0.05
    )


@pytest.mark.parametrize(("yaw", "pitch", "base"), [(25, 0, 0), (-25, 0, 30), (0, 15, 0), (0, -15, 0)])
def test_true_geometry_brings_back_what_was_seen(gallery: sitters.Gallery, yaw: int, pitch: int, base: int) -> None:
    """The projection, its visibility and the light that turns along hold together: seen skin looks as it did."""
    one = scene(gallery, base)
    truth = one.shoot(yaw, pitch)
    seen = views.seen_skin(one, truth)
    assert seen.sum() > 0.4 * truth.skin.sum()
    made = views.true_geometry(one)(yaw, pitch)
    likely, unchanged = (psnr(image / 255, truth.image / 255, seen) for image in (made, one.photograph.image))
    assert likely > 33
    assert likely > unchanged + 6


def test_nothing_is_hidden_from_the_photograph_itself(gallery: sitters.Gallery) -> None:
    one = scene(gallery)
    seen = views.seen_skin(one, one.photograph)
    assert seen[one.photograph.skin & (one.photograph.facing > 0.25)].mean() > 0.99
    far = one.shoot(80, 0)
    assert views.seen_skin(one, far).sum() < 0.6 * far.skin.sum()


def test_positive_yaw_turns_to_the_image_s_right(gallery: sitters.Gallery) -> None:
    def nose(yaw: float, pitch: float) -> np.ndarray:
        shot = gallery.shoot(gallery.sitter(1), yaw, pitch, size=SIZE)
        at = np.argwhere(~np.isnan(shot.depth))
        front = at[np.argmax(shot.place[tuple(at.T)][:, 2])]
        return front[::-1]

    middle = nose(0, 0)
    assert nose(30, 0)[0] > middle[0] + 8
    assert nose(0, 20)[1] < middle[1] - 5


def marks_for(shot: sitters.Shot) -> np.ndarray:
    """The canonical face's landmarks as a detector would put them on a frontal shot."""
    from narrate_stream.ops.canonical import canonical

    points = canonical().landmarks * SIZE / 35
    return np.concatenate([points[:, :2] * [1, -1] + SIZE / 2, -points[:, 2:]], 1)


def test_a_measured_row(gallery: sitters.Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The truth itself is perfect; the truth shifted is not, until it is laid back by its landmarks."""
    one = scene(gallery)
    marks = marks_for(one.photograph)
    monkeypatch.setattr(views, "landmarks_of", lambda image: marks)
    wanted = views.reference(one, 0, 0)
    assert wanted is not None
    perfect = views.measure(wanted.truth.image, wanted)
    assert (perfect["psnr"], perfect["marks"], perfect["pose"]) == (100, 0, pytest.approx(0, abs=0.1))
    moved = laid(wanted.truth.image, np.array([[1.0, 0, 4], [0, 1, 0]]))
    monkeypatch.setattr(views, "landmarks_of", lambda image: marks + np.array([4, 0, 0]))
    row = views.measure(moved, wanted)
    assert row["marks"] == pytest.approx(100 * 4 / wanted.eyes)
    assert row["marks*"] == pytest.approx(0, abs=1e-6)
    assert row["psnr*"] > row["psnr"] + 10
    monkeypatch.setattr(views, "landmarks_of", lambda image: None)
    assert set(views.measure(moved, wanted)) == {"psnr", "ssim"}


def test_the_table_and_its_sheet(gallery: sitters.Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    one = scene(gallery)
    monkeypatch.setattr(views, "scenes", lambda folder, count: iter([one] * count))
    monkeypatch.setattr(views, "landmarks_of", lambda image: marks_for(one.photograph))
    rows: dict[str, Any] = {"input unchanged": views.unchanged, "truth": lambda s: lambda y, p: s.shoot(y, p).image}
    sheet: list[Any] = []
    table = views.evaluate_views(
        Path("kit"), sitters=2, angles=((20, 0), (0, 15)), turners=rows, sheet=sheet, progress=None
    )
    assert list(table["truth"]) == ["yaw +20", "pitch +15", "mean"]
    assert table["truth"]["mean"]["psnr"] == 100
    assert table["input unchanged"]["yaw +20"]["psnr"] < 40
    assert len(sheet) == 4
    assert {line.shape for line in sheet} == {(SIZE, 4 * SIZE, 3)}
    monkeypatch.setattr(views, "landmarks_of", lambda image: None)
    with pytest.raises(NarrateError, match="none of its sitters"):
        views.evaluate_views(Path("kit"), sitters=1, angles=((20, 0),), turners=rows)


def test_a_sitter_that_cannot_be_built(
    gallery: sitters.Gallery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(one: views.Scene) -> views.Turner:
        raise PortraitError(f"{one.name}: no face")

    monkeypatch.setattr(views, "scenes", lambda folder, count: iter([scene(gallery)]))
    with pytest.raises(NarrateError, match="none of its sitters"):
        views.evaluate_views(Path("kit"), sitters=1, turners={"weight-free": refuse})
    assert "egg is left out: egg: no face" in caplog.text


def test_no_kit(tmp_path: Path) -> None:
    with pytest.raises(NarrateError, match="not an ICT FaceKit"):
        next(views.scenes(tmp_path, 1))
