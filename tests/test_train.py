"""Training: shards, augmentation, losses, the loop. The data are spheres whose normals are known."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from narrate_stream.errors import NarrateError
from narrate_stream.nets.unet import CHANNELS, Architecture, load_network, read_about
from narrate_stream.ops.lighting import COSINE, sh_basis, stage_directions
from narrate_stream.ops.residual import STORED
from offline.train import losses
from offline.train.__main__ import main
from offline.train.augment import Dice, jpeg, photographed, untouched
from offline.train.data import Batch, open_shards
from offline.train.loop import Plan, Trainer, rate_at
from offline.train.tasks import under_lamps
from offline.train.warp import Similarity, random_similarity, warped

SIZE, HEADS, LIGHTINGS = 80, 6, 2


def sphere(radius: float, x: float, y: float, size: int = SIZE) -> tuple[Tensor, Tensor]:
    """Normals (size, size, 3) of a sphere seen from the front and its matte, at pixel x, y."""
    rows, columns = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    nx, ny = (columns - x) / radius, -(rows - y) / radius
    inside = nx * nx + ny * ny < 1
    nz = (1 - nx * nx - ny * ny).clamp_min(0).sqrt()
    return torch.stack([nx, ny, nz], -1) * inside[..., None], inside


def shard(generator: torch.Generator) -> dict[str, Tensor]:
    """Painted balls under two lights each, as the light stage writes its heads."""
    directions = torch.from_numpy(stage_directions().astype(np.float32))
    fields: dict[str, list[Tensor]] = {}
    for _ in range(HEADS):
        u = torch.rand(8, generator=generator)
        normal, inside = sphere(22 + 10 * float(u[0]), 36 + 8 * float(u[1]), 36 + 8 * float(u[2]))
        albedo = (0.25 + 0.6 * u[3:6]).expand(SIZE, SIZE, 3) * inside[..., None]
        light = torch.zeros(LIGHTINGS, 114, 3)
        front = (directions[:, 2] > 0.35).nonzero().flatten()
        for k in range(LIGHTINGS):
            light[k, front[torch.randint(len(front), (1,), generator=generator)]] = math.pi
        diffuse = torch.einsum("hwl,klc->khwc", (normal @ directions.T).clamp_min(0), light) / math.pi + 0.03
        image = losses.srgb_from_linear(losses.linear_from_srgb(albedo) * diffuse).clamp(0, 1)
        flat = torch.nn.functional.normalize(normal * torch.tensor([0.4, 0.4, 1]), dim=-1)
        prior = flat * (inside & (normal[..., 2] > 0.4))[..., None]
        sample = {
            "image": (image * 255).round().byte(),
            "light": light.half(),
            "normal": (normal * 127).round().to(torch.int8),
            "prior": (prior * 127).round().to(torch.int8),
            "albedo": (albedo * 255).round().byte(),
            "matte": inside.byte() * 255,
            "label": inside.byte(),
        }
        for name, values in sample.items():
            fields.setdefault(name, []).append(values)
    return {name: torch.stack(values).contiguous() for name, values in fields.items()}


def lacking(generator: torch.Generator) -> dict[str, Tensor]:
    """Balls as `lightstage lacking` writes heads: the path lacks light where they face up, the more the paler."""
    fields: dict[str, list[Tensor]] = {}
    for _ in range(HEADS):
        u = torch.rand(4, generator=generator)
        normal, inside = sphere(22 + 10 * float(u[0]), 36 + 8 * float(u[1]), 36 + 8 * float(u[2]))
        albedo = (0.25 + 0.6 * u[3]).expand(SIZE, SIZE, 3) * inside[..., None]
        residual = torch.zeros(SIZE, SIZE, 3, 9)
        residual[..., 0] = 0.2 * (albedo * normal[..., 1:2]).clamp_min(0)
        transfer = torch.from_numpy(sh_basis(normal.numpy()) * COSINE) * inside[..., None]
        sample = {
            "normal": (normal * 127).round().to(torch.int8),
            "albedo": (albedo * 255).round().byte(),
            "transfer": transfer.half(),
            "residual": (residual.flatten(2) * STORED).round().to(torch.int16),
            "matte": inside.byte() * 255,
            "label": inside.byte(),
        }
        for name, values in sample.items():
            fields.setdefault(name, []).append(values)
    return {name: torch.stack(values).contiguous() for name, values in fields.items()}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spheres")
    generator = torch.Generator().manual_seed(5)
    for number in range(3):
        save_file(shard(generator), path / f"shard_{number:05d}.safetensors")
    np.save(path / "lights.npy", stage_directions().astype(np.float32))
    return path


@pytest.fixture(scope="session")
def lacking_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lacking")
    generator = torch.Generator().manual_seed(6)
    for number in range(3):
        save_file(lacking(generator), path / f"shard_{number:05d}.safetensors")
    np.save(path / "lights.npy", stage_directions().astype(np.float32))
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that learn balls in seconds."""
    monkeypatch.setattr(
        "offline.train.loop.architecture_for",
        lambda task: Architecture(task, *CHANNELS[task], widths=(16, 32, 48), fine=16),
    )


def quiet(_: object, __: object = None) -> None:
    """Nobody listens."""


def test_the_last_shards_are_held_out(folder: Path) -> None:
    shards = open_shards(folder, "normals", 1)
    assert set(shards.train[:, 0].tolist()) == {0, 1}
    assert shards.validation.tolist() == [[2, row] for row in range(HEADS)]
    batch = shards.draw(4, torch.Generator().manual_seed(0))
    assert batch["image"].shape == (4, SIZE, SIZE, 3)
    assert batch["light"].shape == (4, 114, 3)


def test_bad_folders_are_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(NarrateError, match="0 shards"):
        open_shards(tmp_path, "normals")
    for number in range(2):
        (tmp_path / f"shard_{number:05d}.safetensors").write_bytes(b"nothing")
    with pytest.raises(NarrateError, match="damaged"):
        open_shards(tmp_path, "normals")


def one_ball() -> Batch:
    """A ball off centre in a batch of one; the picture shows its normals, so that what moves can be compared."""
    normal, inside = sphere(18, 48, 34)
    stored = (normal * 127).round().to(torch.int8)[None]
    return {
        "image": ((normal / 2 + 0.5) * 255 * inside[..., None]).round().byte()[None],
        "normal": stored,
        "prior": stored,
        "matte": inside.byte()[None] * 255,
        "label": inside.byte()[None],
        "light": torch.ones(1, 114, 3),
        "directions": torch.from_numpy(stage_directions().astype(np.float32))[None],
    }


def similarity(angle: float, mirror: float, scale: float = 1.1, x: float = 0.05, y: float = -0.03) -> Similarity:
    return Similarity(torch.tensor([scale]), torch.tensor([angle]), torch.tensor([[x, y]]), torch.tensor([mirror]))


@pytest.mark.parametrize("mirror", [1.0, -1.0])
@pytest.mark.parametrize("angle", [-0.4, 0.0, 0.3])
def test_a_turned_ball_is_a_ball(angle: float, mirror: float) -> None:
    """Its own normals, turned with the picture, are those of the ball where it is now."""
    maps = warped(one_ball(), similarity(angle, mirror), 64)
    inside = maps["matte"][0, 0] > 0.99
    rows, columns = inside.nonzero().float().T
    truth, there = sphere(18 * 1.1, float(columns.mean()) + 0.5, float(rows.mean()) + 0.5, 64)
    at = inside & there & (truth[..., 2] > 0.3)
    assert at.sum() > 500
    error = losses.angle(maps["normal"], truth.permute(2, 0, 1)[None])[0, 0]
    assert float(error[at].mean()) < math.radians(1.5)


def test_a_ball_goes_where_it_is_sent() -> None:
    """Counter-clockwise as seen, then mirrored, then shifted (right and down); the middle of the picture is fixed."""
    angle, scale = 0.3, 1.1
    x, y = (48 - 40) * scale, -(34 - 40) * scale  # y up
    x, y = math.cos(angle) * x - math.sin(angle) * y, math.sin(angle) * x + math.cos(angle) * y
    for mirror in (1.0, -1.0):
        maps = warped(one_ball(), similarity(angle, mirror, scale), 64)
        rows, columns = (maps["matte"][0, 0] > 0.5).nonzero().float().T
        assert float(columns.mean()) + 0.5 == pytest.approx(32 + mirror * x + 0.05 * 64, abs=0.4)
        assert float(rows.mean()) + 0.5 == pytest.approx(32 - y - 0.03 * 64, abs=0.4)


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_lights_turn_with_the_picture(mirror: float) -> None:
    """Shading by the turned lights on the turned normals is the turned shading."""
    ball = one_ball()
    light = torch.zeros(1, 114, 3)
    light[0, 20] = 1
    shade = (ball["normal"].float() / 127 @ ball["directions"][0, 20]).clamp_min(0)
    maps = warped(
        {**ball, "image": (shade[..., None].expand(-1, -1, -1, 3) * 255).byte()}, similarity(0.35, mirror), 64
    )
    again = (maps["normal"] * maps["directions"][:, 20, :, None, None]).sum(1).clamp_min(0)
    at = maps["matte"][:, 0] > 0.999
    assert float((again - maps["image"][:, 0]).abs()[at].mean()) < 0.02


def test_the_augmented_photograph_stays_one(folder: Path) -> None:
    shards = open_shards(folder, "albedo")
    generator = torch.Generator().manual_seed(2)
    raw = shards.draw(32, generator)
    maps = photographed(warped(raw, random_similarity(32, generator), 64), generator)
    assert maps["image"].shape == (32, 3, 64, 64)
    assert 0 <= float(maps["image"].min()) <= float(maps["image"].max()) <= 1
    assert 0 <= float(maps["mask"].min()) <= float(maps["mask"].max()) <= 1
    assert bool((maps["matte"][maps["valid"] > 0] > 0.89).all())
    grey = (maps["image"].amax(1) - maps["image"].amin(1)).flatten(1).amax(1) < 1e-3
    assert 3 <= int(grey.sum()) <= 24
    lost = (maps["prior"].abs().flatten(1).amax(1) == 0).sum()
    assert 5 < int(lost) < 26
    length = maps["prior"].square().sum(1)
    assert bool(((length - 1).abs() < 1e-3).logical_or(length == 0).all())
    inside = untouched(maps)["valid"] > 0
    share = (maps["valid"] * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp_min(1)
    assert float(share.mean()) > 0.5  # crops and holes leave most of it


def test_augmentation_repeats_from_its_seed(folder: Path) -> None:
    def once() -> Tensor:
        generator = torch.Generator().manual_seed(9)
        raw = open_shards(folder, "normals").draw(4, generator)
        return photographed(warped(raw, random_similarity(4, generator), 64), generator)["image"]

    torch.testing.assert_close(once(), once(), atol=0, rtol=0)


def test_jpeg_keeps_the_picture_and_loses_detail() -> None:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.linspace(0, 1, 50).expand(2, 3, 44, 50).contiguous()
    assert float((jpeg(smooth, Dice(2, generator, "cpu")) - smooth).abs().mean()) < 0.03
    fine = torch.rand((2, 3, 48, 48), generator=generator) * 0.2 + 0.4
    assert float(jpeg(fine, Dice(2, generator, "cpu")).std()) < 0.8 * float(fine.std())


def test_angles_are_angles() -> None:
    a = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
    b = torch.tensor([math.sin(0.5), 0.0, math.cos(0.5)]).view(1, 3, 1, 1).requires_grad_()
    assert float(losses.angle(a, b).detach()) == pytest.approx(0.5, abs=1e-4)
    losses.angle(b, b).sum().backward()
    assert b.grad is not None
    assert bool(b.grad.isfinite().all())
    numbers = losses.angle_numbers(torch.tensor([1.0, 4.0, 10.0, 20.0, 28.0]))
    assert numbers["mean"] == pytest.approx(12.6)
    assert [round(numbers[f"under_{n}"]) for n in (5, 15, 25, 30)] == [40, 60, 80, 100]


def test_ssim_knows_same_from_different() -> None:
    generator = torch.Generator().manual_seed(0)
    picture, other = torch.rand((2, 1, 3, 40, 40), generator=generator)
    weight = torch.ones(1, 1, 40, 40)
    assert float(losses.ssim(picture, picture, weight)) == pytest.approx(1, abs=1e-5)
    assert abs(float(losses.ssim(picture, other, weight))) < 0.1


def test_what_is_not_valid_does_not_count() -> None:
    picture, truth = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    picture[..., 16:] = 1
    weight = torch.ones(1, 1, 32, 32)
    weight[..., 16:] = 0
    assert float(losses.picture_loss(picture, truth, weight)) == pytest.approx(0, abs=1e-5)


def test_the_expected_error_learns_the_real_one() -> None:
    log_error = torch.zeros(1, 1, 1, 1, requires_grad=True)
    optimiser = torch.optim.Adam([log_error], 0.05)
    truth = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
    truth = truth.expand(1, 3, 8, 8)
    normal = torch.tensor([math.sin(0.2), 0.0, math.cos(0.2)]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    for _ in range(200):
        optimiser.zero_grad()
        losses.normals_loss(normal, log_error, truth, torch.ones(1, 1, 8, 8)).backward()
        optimiser.step()
    assert float(log_error.detach().exp()) == pytest.approx(0.2, rel=0.05)


def test_the_rate_warms_up_and_falls() -> None:
    assert rate_at(0, 0) < 2e-5
    assert rate_at(0.1, 1000) > 9e-4
    assert rate_at(1.0, 1000) == pytest.approx(1e-5)


@pytest.mark.usefixtures("small")
def test_normals_are_learned_from_balls(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    shards = open_shards(folder, "normals")
    trainer = Trainer(Plan("normals", tmp_path, steps=60, batch=4, size=64), shards, quiet)
    before = trainer.look(HEADS)["plain"]["mean"]
    path = trainer.run(quiet)
    facts = read_about(path)["facts"]
    after = facts["validation"]["plain"]["mean"]
    assert after < 0.75 * before
    assert facts["steps"] == 60
    assert path.stat().st_size < 12e6
    card = (tmp_path / "normals.md").read_text()
    assert f"{after:.4g}" in card
    for name in ("normals_curves.png", "normals_plain.png", "normals_hard.png"):
        assert cv2.imread(str(tmp_path / name)) is not None
    maps = trainer.judged(shards.validation[:2], None, 0)[1]
    ours = trainer.task.predict(trainer.average, maps)["normal"].detach()
    shipped = trainer.task.predict(load_network(path), maps)["normal"].detach()
    assert float((ours - shipped).abs().max()) < 0.02


@pytest.mark.usefixtures("small")
def test_albedo_is_learned(folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(Plan("albedo", tmp_path, steps=60, batch=4, size=64), open_shards(folder, "albedo"), quiet)
    first = trainer.look(HEADS)["plain"]
    last = read_about(trainer.run(quiet))["facts"]["validation"]["plain"]
    assert last["rmse"] < 0.95 * first["rmse"]


@pytest.mark.usefixtures("small")
def test_what_the_path_lacks_is_learned(lacking_folder: Path, tmp_path: Path) -> None:
    shards = open_shards(lacking_folder, "relight")
    trainer = Trainer(Plan("relight", tmp_path, steps=80, batch=4, size=64), shards, quiet)
    last = read_about(trainer.run(quiet))["facts"]["validation"]["plain"]
    assert last["rmse"] < 0.7 * last["plain_rmse"]
    assert "better than without it" in (tmp_path / "relight.md").read_text()


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_harmonics_turn_with_the_picture(lacking_folder: Path, mirror: float) -> None:
    """A ball's light maps, turned, are those of its turned normals; under turned light they give the same shading."""
    shards = open_shards(lacking_folder, "relight")
    raw = shards.batch(shards.train[:1], torch.zeros(1, dtype=torch.int64))
    maps = warped(raw, similarity(0.35, mirror), 64)
    normal = maps["normal"][0].permute(1, 2, 0).numpy()
    at = (maps["matte"][0, 0] > 0.999).numpy() & (normal[..., 2] > 0.2)
    mine = maps["transfer"][0].permute(1, 2, 0).numpy()
    assert np.abs(mine - sh_basis(normal) * COSINE)[at].max() < 0.05
    residual = maps["residual"][0].numpy()
    assert np.abs(residual[1:9]).max() < 1e-3  # what is even stays even
    assert residual[0][at].max() == pytest.approx(float(raw["residual"].max()) / STORED, rel=0.05)


def test_a_lamp_is_what_the_loss_counts() -> None:
    """The mean square over the channels is that of the shading under lamps all round."""
    generator = torch.Generator().manual_seed(3)
    residual = torch.randn((1, 27, 1, 1), generator=generator)
    lights = stage_directions()
    shading = math.pi * np.einsum("ck,lk->lc", residual.view(3, 9).numpy(), sh_basis(lights))
    weight = np.where(lights[:, 2] > -0.2, 1.0, 0.25)
    expected = float((weight[:, None] * shading**2).sum() / weight.sum() / 3)
    assert float(under_lamps(residual).square().mean()) == pytest.approx(expected, rel=1e-3)


@pytest.mark.usefixtures("small")
def test_a_run_is_taken_up_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    shards = open_shards(folder, "normals")
    whole = Trainer(Plan("normals", tmp_path / "whole", steps=4, batch=2, size=32), shards, quiet)
    halves = Trainer(Plan("normals", tmp_path / "halves", steps=4, batch=2, size=32), shards, quiet)
    for trainer in (whole, halves):
        trainer.plan.out.mkdir()
    for _ in range(4):
        whole.step()
    for _ in range(2):
        halves.step()
    halves.save()
    again = Trainer(halves.plan, shards, quiet)
    again.resume()
    assert again.state.step == 2
    for _ in range(2):
        again.step()
    assert again.state.step == whole.state.step
    for a, b in zip(again.network.parameters(), whole.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


def test_a_checkpoint_of_another_kind_is_refused(folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(Plan("normals", tmp_path, steps=1, batch=2, size=32), open_shards(folder, "normals"), quiet)
    with pytest.raises(NarrateError, match="no checkpoint"):
        trainer.resume()
    trainer.checkpoint.write_bytes(b"rubbish")
    with pytest.raises(NarrateError, match="damaged"):
        trainer.resume()


def test_the_command_trains_and_explains(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["offline.train", *arguments])
        status = main()
        said = capsys.readouterr()
        return status, said.out, said.err

    usual = ("normals", "--data", str(folder), "--out", str(tmp_path), "--batch", "2", "--size", "32")
    status, out, _ = run(*usual, "--steps", "2")
    assert status == 0
    assert load_network(Path(out.strip())).architecture.task == "normals"
    status, _, error = run(*usual, "--steps", "2")
    assert status == 1
    assert "--resume" in error
    status, _, _ = run(*usual, "--steps", "3", "--resume")
    assert status == 0
    assert read_about(tmp_path / "normals.safetensors")["facts"]["steps"] == 3
    assert run(*usual)[0] == 2
    status, _, error = run("normals", "--data", str(tmp_path), "--out", str(tmp_path), "--steps", "1")
    assert status == 1
    assert "shards" in error


def test_training_may_start_from_weights(folder: Path, tmp_path: Path) -> None:
    shards = open_shards(folder, "normals")
    first = Trainer(Plan("normals", tmp_path, steps=3, batch=2, size=32), shards, quiet).run(lambda *_: None)
    again = Trainer(Plan("normals", tmp_path / "b", steps=3, batch=2, size=32, start=first), shards, quiet)
    for name, values in load_network(first).state_dict().items():
        torch.testing.assert_close(again.network.state_dict()[name], values)
    with pytest.raises(NarrateError, match="another network than albedo"):
        Trainer(Plan("albedo", tmp_path / "c", steps=3, start=first), open_shards(folder, "albedo"), quiet)
