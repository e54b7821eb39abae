"""What a person sees while a command works: everything here goes to stderr, stdout is for results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from narrate_stream.errors import LightError

if TYPE_CHECKING:
    from narrate_stream.ops.lighting import Lighting

T = TypeVar("T")
Report = Callable[[str, float], None]


def say(text: str) -> None:
    """One line of progress or result for a person."""
    click.echo(text, err=True)


@contextmanager
def steps(title: str) -> Iterator[Report]:
    """A running clock, and one line with its time for each step that is reported as done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        bar.add_task(title, total=None)

        def done(step: str, seconds: float) -> None:
            console.print(f"  {step:<32} {seconds:7.2f} s", markup=False)

        yield done


def track(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Pass the items on, with a bar (total 0: unknown)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total or None)
        for item in items:
            yield item
            bar.advance(task)


def open_model(path: Path) -> Any:
    """A `.narrate` file, or a model built from a picture on the way (with its progress)."""
    from offline.stills import load_or_build

    if path.suffix.lower() == ".narrate":
        return load_or_build(path)
    with steps(f"building {path.name}") as progress:
        return load_or_build(path, progress=progress)


def open_light(text: str) -> str | Lighting:
    """A LIGHT: `image:FILE` looked up, every other as it was typed. Raises LightError."""
    if not text.startswith("image:"):
        return text
    if text == "image:":
        raise LightError("'image:' names no picture: write image:FILE")
    from offline.target import light_of_picture

    return light_of_picture(Path(text[6:]))
