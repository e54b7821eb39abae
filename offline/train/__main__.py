"""`python -m offline.train normals|albedo|relight --data DIR --out DIR`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from narrate_stream.errors import DeviceError, NarrateError

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("task", type=click.Choice(["normals", "albedo", "relight"]))
@click.option("--data", type=FOLDER, required=True, help="Folder of the light stage's shards.")
@click.option(
    "--out", type=FOLDER, required=True, help="Folder for weights, model card, checkpoint, curves and sheets."
)
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Train for so long (sessions add up).")
@click.option("--steps", type=click.IntRange(1), help="Train for so many steps instead.")
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True)
@click.option("--size", type=click.IntRange(32), default=128, show_default=True, help="Pixels of a training picture.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda (there with mixed precision).")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--validation-shards", type=click.IntRange(1), default=1, show_default=True, help="Last shards held out.")
@click.option("--start", type=click.Path(path_type=Path), help="Weights of the same task to begin from.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
def command(
    task: str, data: Path, out: Path, minutes: float | None, steps: int | None, batch: int, size: int, device: str,
    seed: int, validation_shards: int, start: Path | None, resume: bool,
) -> None:  # fmt: skip
    """Train F_N, F_A or F_R on the light stage's shards; ends with TASK.safetensors and its model card."""
    if (minutes is None) == (steps is None):
        raise click.UsageError("give either --minutes or --steps")
    from offline.train.data import open_shards
    from offline.train.loop import Plan, Trainer

    check_device(device)
    out.mkdir(parents=True, exist_ok=True)
    shards = open_shards(data, task, validation_shards)
    with bar(task) as (tick, say):
        trainer = Trainer(Plan(task, out, minutes, steps, batch, size, device, seed, start), shards, say)
        if resume:
            trainer.resume()
        elif trainer.checkpoint.exists():
            raise NarrateError(
                f"{trainer.checkpoint} is there already: --resume goes on from it, another --out starts anew"
            )
        path = trainer.run(tick)
    click.echo(str(path))


def check_device(device: str) -> None:
    """Raises DeviceError: nothing else is taken silently."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceError("--device cuda was asked for, but torch finds no CUDA device")


@contextmanager
def bar(title: str) -> Iterator[tuple[Callable[[float, str], None], Callable[[str], None]]]:
    """A progress bar on stderr: `tick(progress, words)` moves it, `say(line)` leaves a line."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        shown = progress.add_task(title, total=1.0)

        def tick(done: float, words: str) -> None:
            progress.update(shown, completed=done, description=f"{title}  {words}")

        yield tick, lambda line: console.print(line, markup=False)


def main() -> int:
    """Exit status: 0 done, 1 with one sentence on stderr."""
    try:
        command.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 1
    except NarrateError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
