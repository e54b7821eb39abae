"""F_R's data: light between walls, and what the physical path lacks on the stage's heads."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from toy_kit import toy_kit, toy_marks

from narrate_stream.ops.geometry import Camera
from narrate_stream.ops.lighting import sh_basis, stage_directions
from offline.lightstage import lacking
from offline.lightstage.__main__ import main
from offline.lightstage.bounce import Exchange, exchange
from offline.lightstage.heads import SKIN, Kit
from offline.lightstage.lacking import FIELDS, GRID, Guess, projection
from offline.lightstage.shards import Recipe, sample

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")


def valley(side: int = 40) -> tuple[Exchange, np.ndarray]:
    """Two walls at a right angle, open toward a far camera; the exchange and the x of every point, cm."""
    camera = Camera(4000.0, (side - 1) / 2, (side - 1) / 2)
    y, x = np.mgrid[:side, :side].astype(float)
    points = camera.unproject(np.stack([x, y], -1), -1000.0)
    points[..., 2] += np.abs(points[..., 0])
    outward = np.where(points[..., 0] < 0, 1.0, -1.0)
    normal = np.stack([outward, np.zeros_like(outward), np.ones_like(outward)], -1) / np.sqrt(2)
    other = normal * [-1, 1, 1]
    seen = (other.reshape(-1, 3) @ stage_directions().T > 0).reshape(side, side, -1)  # walls without an end
    at = np.ones((side, side), bool)
    made = exchange(points.astype(np.float32), normal.astype(np.float32), seen, at, camera)
    return made, points[..., 0].ravel()


def test_a_wall_gives_the_other_what_geometry_says() -> None:
    """At the crease of two long walls at a right angle half the cosine-weighted view is the other wall's."""
    made, x = valley()
    near = np.abs(x) < 1
    assert (made.shares.sum(1) + made.lost)[near].mean() == pytest.approx((1 - np.cos(np.pi / 2)) / 2, abs=0.08)
    assert made.lost[near].mean() < 0.12  # most rays find the wall
    sides = made.shares[np.ix_(x < 0, x > 0)].sum(), made.shares[np.ix_(x < 0, x < 0)].sum()
    assert sides[1] < 0.1 * sides[0]


def test_light_comes_back_by_the_albedo() -> None:
    """One bounce in proportion to the paint, two bounces more than one, nothing from black walls."""
    made, x = valley()
    direct = (x < 0).astype(np.float32)[:, None]  # one wall is lit

    def received(albedo: float, bounces: int) -> float:
        paint = np.full((len(x), 3), albedo, np.float32)
        return float(made.indirect(direct, paint, bounces)[(x > 0) & (x < 1)].mean())

    assert received(0, 2) == 0
    assert received(0.6, 1) == pytest.approx(2 * received(0.3, 1), rel=1e-4)
    assert received(0.5, 2) >= received(0.5, 1) > 0.1


def test_the_projection_finds_what_lamps_were_made_of() -> None:
    coefficients = np.random.default_rng(0).normal(size=9)
    shading = np.pi * sh_basis(stage_directions()) @ coefficients
    assert projection() @ shading == pytest.approx(coefficients, abs=1e-5)


class NoFace:
    """A detector that sees nothing: the bust has no features."""

    def __call__(self, image: np.ndarray) -> None:
        return None


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    kit = toy_kit()
    one = sample(Recipe(Kit(kit, toy_marks(kit)), (), 5), 3, NoFace())  # type: ignore[arg-type]
    return {name: values[None] for name, values in one.items()}


def test_the_throat_gets_more_from_other_skin_than_the_forehead(data: dict[str, np.ndarray]) -> None:
    """The bust is smooth but for its neck, which sees head and chest."""
    head = lacking.seen_head(data, 0)
    direct = np.clip(head.normal @ stage_directions().T.astype(np.float32), 0, None) * head.seen
    thrown = lacking.indirect(head, direct).mean((2, 3))  # under an even sky
    assert (thrown >= 0).all()
    assert thrown[~head.matte].max() == 0
    rows = np.array([thrown[y][head.matte[y]].mean() if head.matte[y].any() else 0 for y in range(GRID)])
    top = int(np.flatnonzero(head.matte.any(1))[0])
    assert rows.max() > 3 * rows[top + 8 : top + 20].mean()
    assert rows.max() < 0.25


def test_light_maps_are_those_of_the_horizons(data: dict[str, np.ndarray]) -> None:
    """Light from the front is hidden from no forehead; light from the side leaves the far side dark."""
    head = lacking.seen_head(data, 0)
    maps = lacking.light_maps(head, Guess(head.normal, head.albedo))
    inner = cv2.erode(head.skin.astype(np.uint8), np.ones((7, 7))) > 0
    for d in np.eye(3)[[2, 0]]:
        shade = maps @ (np.pi * sh_basis(d))
        cosine = head.normal @ d
        assert np.corrcoef(shade[inner], np.maximum(cosine, 0)[inner])[0, 1] > 0.9


def test_a_row_has_every_field(data: dict[str, np.ndarray]) -> None:
    from narrate_stream.nets.unet import UNet, architecture_for

    row = lacking.sample(data, 0, 2, UNet(architecture_for("normals")).eval())
    assert tuple(row) == FIELDS
    assert row["residual"].shape == (GRID, GRID, 27)
    skin = row["label"] == SKIN
    assert skin.sum() > 500
    assert 0 < np.abs(row["residual"][skin]).mean() < 30


def test_a_folder_without_shards_is_refused_in_one_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["lacking", str(tmp_path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert done.output == f"Error: {tmp_path}: there are no shards in it\n"
    assert not (tmp_path / "out").exists()
