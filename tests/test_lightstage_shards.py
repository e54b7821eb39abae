"""Samples of the stage from a toy kit: whole, repeatable, and lit by the light that is stored with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_kit import toy_kit, toy_marks

from narrate_stream.errors import NarrateError
from narrate_stream.ops.colour import linear_table
from narrate_stream.ops.lighting import stage_directions
from offline.lightstage import shards
from offline.lightstage.__main__ import contact_sheet
from offline.lightstage.heads import SKIN, Kit, load_kit, sample_head
from offline.lightstage.shards import FIELDS, LIGHTINGS, SIZE, Recipe, read_shard, sample, write_shard
from offline.lightstage.tissue import LARGEST, displacement


class NoFace:
    """A detector that sees nothing: the bust has no features."""

    def __call__(self, image: np.ndarray) -> None:
        return None


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    kit = toy_kit()
    return Recipe(Kit(kit, toy_marks(kit)), (), 5)


@pytest.fixture(scope="module")
def one(recipe: Recipe) -> dict[str, np.ndarray]:
    return sample(recipe, 3, NoFace())  # type: ignore[arg-type]


def test_a_sample_has_every_field_in_its_form(one: dict[str, np.ndarray]) -> None:
    assert set(one) == set(FIELDS)
    assert one["image"].shape == (LIGHTINGS, SIZE, SIZE, 3)
    assert one["light"].shape == (LIGHTINGS, len(stage_directions()), 3)
    assert one["visibility"].shape == (SIZE // 2, SIZE // 2, 15)
    assert one["found"] == 0
    assert not one["prior"].any()
    matte = one["matte"] > 0
    assert 0.15 < matte.mean() < 0.95
    length = np.linalg.norm(one["normal"].astype(np.float32) / 127, axis=-1)
    np.testing.assert_allclose(length[matte], 1, atol=0.02)
    assert (one["label"][~matte] == 0).all()
    assert one["depth"][matte].max() < -20


def test_the_same_number_gives_the_same_head(recipe: Recipe, one: dict[str, np.ndarray]) -> None:
    again = sample(recipe, 3, NoFace())  # type: ignore[arg-type]
    for name in FIELDS:
        np.testing.assert_array_equal(one[name], again[name])
    other = sample(recipe, 4, NoFace())  # type: ignore[arg-type]
    assert (other["image"] != one["image"]).any()


def test_the_picture_follows_from_albedo_normals_and_the_stored_light(one: dict[str, np.ndarray]) -> None:
    """albedo * visibility * cosine * light gives the matte part of the photograph back, to its highlights."""
    at = one["label"] == SKIN
    inner = at[1::2, 1::2]
    normal = one["normal"][1::2, 1::2][inner].astype(np.float32) / 127
    seen = np.unpackbits(one["visibility"], axis=-1)[inner][:, : len(stage_directions())]
    transport = np.clip(normal @ stage_directions().T, 0, None) * seen / np.pi
    albedo = linear_table()[one["albedo"]][1::2, 1::2][inner]
    agreement = []
    for image, light in zip(one["image"], one["light"].astype(np.float32), strict=True):
        made = (albedo * (transport @ light)).mean(1)
        real = linear_table()[image][1::2, 1::2][inner].mean(1)
        if made.std() > 0.02:
            agreement.append(np.corrcoef(made, real)[0, 1])
            assert np.median(real / np.maximum(made, 0.02)) == pytest.approx(1, abs=0.45)
    assert np.median(agreement) > 0.85


def test_a_shard_is_whole_and_kept(
    recipe: Recipe, one: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "HEADS", 2)
    path = write_shard(recipe, 2, tmp_path, NoFace())  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir()] == ["shard_00002.safetensors"]
    data = read_shard(path)
    assert data["image"].shape == (2, LIGHTINGS, SIZE, SIZE, 3)
    before = path.stat().st_mtime_ns
    write_shard(recipe, 2, tmp_path, NoFace())  # type: ignore[arg-type]
    assert path.stat().st_mtime_ns == before
    assert contact_sheet(data, 2).shape == (2 * SIZE, (LIGHTINGS + 5) * SIZE, 3)


def test_heads_fill_the_picture_alike_at_every_distance(recipe: Recipe) -> None:
    heads = [sample_head(np.random.default_rng(s), recipe.stage, SIZE, props=False) for s in range(12)]
    spans = [np.ptp(h.landmarks[:, 1]) / SIZE for h in heads]
    distances = [-float(h.vertices[:, 2].mean()) for h in heads]
    assert max(distances) > 2 * min(distances)
    assert max(spans) < 1.7 * min(spans)
    assert 0.3 < np.median(spans) < 0.75


def test_tissue_is_small_smooth_and_only_in_front(recipe: Recipe) -> None:
    points = recipe.stage.kit.neutral
    for seed in range(6):
        moved = displacement(np.random.default_rng(seed), points)
        assert np.abs(moved).max() <= LARGEST
        assert (moved[points[:, 2] < 3] == 0).all()
        assert moved[points[:, 2] > 7].std() > 0.01


def test_a_folder_that_is_no_kit_is_named(tmp_path: Path) -> None:
    with pytest.raises(NarrateError, match="not an ICT FaceKit folder"):
        load_kit(tmp_path)
