"""`python -m offline.lightstage make|sheet|lacking|check`: shards for training, a contact sheet, F_R's data, a check of
realism."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.errors import NarrateError
from narrate_stream.files import write_png
from offline.lightstage.shards import HEADS, make_one, read_shard, recipe_of, start_worker, write_lights

FOLDER = click.Path(path_type=Path)


@click.group(help=__doc__)
def main() -> None:
    """The command line."""


@main.command()
@click.argument("facekit", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="The folder of the shards; those that are there are kept.")
@click.option("--hdri", type=FOLDER, help="A folder of environment maps (.hdr, .exr).")
@click.option("--shards", default=16, show_default=True, help=f"How many, {HEADS} heads each.")
@click.option("--first", default=0, show_default=True, help="Number of the first.")
@click.option("--seed", default=1, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Processes.")
def make(facekit: Path, out: Path, hdri: Path | None, shards: int, first: int, seed: int, jobs: int) -> None:
    """Sample heads of the FaceKit into shards. A shard depends on the seed and its number only."""
    try:
        recipe_of(facekit, hdri, seed)
        write_lights(out)
    except (NarrateError, OSError) as error:
        raise click.ClickException(str(error)) from error
    work = [(n, out) for n in range(first, first + shards)]
    with (
        ProcessPoolExecutor(
            jobs, mp_context=get_context("spawn"), initializer=start_worker, initargs=(facekit, hdri, seed)
        ) as pool,
        click.progressbar(pool.map(make_one, work), length=len(work), label="shards") as bar,
    ):
        for _ in bar:
            pass


@main.command()
@click.argument("shard", type=FOLDER)
@click.option("-o", "--output", type=FOLDER, required=True, help="The picture to write.")
@click.option("--rows", default=8, show_default=True)
def sheet(shard: Path, output: Path, rows: int) -> None:
    """A contact sheet of a shard: the lightings, normals, the landmark surface's normals, albedo, depth, labels."""
    try:
        write_png(output, contact_sheet(read_shard(shard), rows))
    except NarrateError as error:
        raise click.ClickException(str(error)) from error


def contact_sheet(data: dict[str, NDArray[np.generic]], rows: int) -> NDArray[np.uint8]:
    """One row per head."""
    lines = []
    colours = np.random.default_rng(3).integers(60, 255, (8, 3)).astype(np.uint8) * (np.arange(8) > 0)[:, None]
    for i in range(min(rows, len(data["image"]))):
        matte = data["matte"][i] > 0
        depth = np.where(matte, data["depth"][i].astype(np.float32), np.nan)
        near, far = np.nanpercentile(depth, [99, 2]) if matte.any() else (1, 0)
        level = np.nan_to_num(np.clip((depth - far) / (near - far + 1e-6), 0, 1)) * 255
        maps = [(data[k][i].astype(np.float32) + 127) / 2 for k in ("normal", "prior")]
        lines.append(
            np.concatenate(
                [
                    *data["image"][i],
                    *[m.clip(0, 255).astype(np.uint8) for m in maps],
                    data["albedo"][i],
                    np.repeat(level[..., None], 3, -1).astype(np.uint8),
                    colours[data["label"][i]].astype(np.uint8),
                ],
                1,
            )
        )
    return np.concatenate(lines)


@main.command()
@click.argument("shards", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="The folder for F_R's data; what is there is kept.")
def lacking(shards: Path, out: Path) -> None:
    """What the physical path lacks on the heads of SHARDS, with F_N's estimates of them: the data of F_R."""
    from narrate_stream.data import weights_path
    from narrate_stream.nets.unet import load_network
    from offline.lightstage.lacking import write_lacking

    try:
        if not (paths := sorted(shards.glob("shard_*.safetensors"))):
            raise NarrateError(f"{shards}: there are no shards in it")
        network = load_network(weights_path("normals"))
        write_lights(out)
        with click.progressbar(paths, label="shards") as bar:
            for path in bar:
                write_lacking(path, out, network)
    except (NarrateError, OSError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("folder", type=FOLDER)
def check(folder: Path) -> None:
    """How often the product's detector finds the faces of all shards in FOLDER, in every lighting, and how far its
    landmarks lie from where the average head puts them."""
    seen = total = hits = 0
    with FaceMesh(video=False) as mesh:
        for path in sorted(folder.glob("shard_*.safetensors")):
            data = read_shard(path)
            seen += int(data["found"].sum())
            total += len(data["found"])
            hits += sum(mesh(pictures[-1]) is not None for pictures in data["image"])
    if not total:
        raise click.ClickException(f"{folder}: there are no shards")
    click.echo(f"{total} heads: landmarks found in {100 * seen / total:.1f} % (first lighting), "
               f"{100 * hits / total:.1f} % (last)")  # fmt: skip


if __name__ == "__main__":
    main()
