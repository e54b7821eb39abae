"""`narrate demo`: the whole thing on the built-in portrait."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Any

import click

from narrate_stream import __version__
from narrate_stream.cli.console import say, steps
from narrate_stream.cli.options import PATH
from narrate_stream.cli.serve import avatar_maker, check_port, run, thumbnail_maker
from narrate_stream.errors import BundleError, NarrateError

HOST = "127.0.0.1"
PORTS = range(8080, 8100)


@click.command(short_help="Try the whole thing on the built-in portrait.")
@click.option("--no-browser", is_flag=True, help="Print the address and open nothing.")
@click.option("--render", "output", metavar="OUT.mp4", type=PATH, help="Write a showcase clip and serve nothing.")
@click.option("--port", type=click.IntRange(1, 65535), help="[default: the first free one from 8080]")
def demo(no_browser: bool, output: Path | None, port: int | None) -> None:
    """Try it: build the built-in portrait, then serve the page and open it (or write a showcase clip)."""
    if output is not None:
        write_showcase(output)
        return
    port = choose_port(port)
    models = {"demo": demo_model()}
    run(
        avatar_maker(models, 512, "original", "cpu"),
        list(models),
        HOST,
        port,
        make_thumbnail=thumbnail_maker(models),
        on_ready=tell if no_browser or not can_show() else open_page,
    )


def write_showcase(output: Path) -> None:
    """`--render`."""
    from narrate_stream.files import check_output
    from narrate_stream.media import VIDEO_SUFFIXES

    check_output(output, VIDEO_SUFFIXES)
    model = demo_model()
    from offline.showcase import render_showcase

    with steps(f"rendering {output.name}") as progress:
        render_showcase(model, output, progress)
    say(str(output))


def demo_model() -> Any:
    """The built-in portrait's model: from the cache if this very code built it, else built and kept."""
    from narrate_stream.bundle import load_model, save_model
    from offline.build import build_model

    path = cache_directory() / f"demo-{__version__}-{code_digest()}.narrate"
    if path.is_file():
        try:
            return load_model(path)
        except BundleError as error:
            say(f"building anew, the cached model cannot be used: {error}")
    say("building the built-in portrait (kept for the next time)")
    with steps("building") as progress:
        model = build_model(None, progress=progress)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob("demo-*.narrate"):
            old.unlink(missing_ok=True)
        save_model(model, path)
    except (OSError, NarrateError) as error:
        say(f"the model is not kept: {error}")
    return model


def cache_directory() -> Path:
    """Where this user's caches live."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "narrate-stream"


def code_digest() -> str:
    """Short digest of the code that builds, so that a checkout never serves yesterday's model."""
    import narrate_stream
    import offline

    digest = hashlib.sha256()
    for package in (narrate_stream, offline):
        for file in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            if "cli" not in file.parts:
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def choose_port(asked: int | None) -> int:
    """The port that was asked for, or the first free one. Raises NarrateError."""
    if asked is not None:
        check_port(HOST, asked)
        return asked
    for port in PORTS:
        try:
            check_port(HOST, port)
        except NarrateError:
            continue
        return port
    raise NarrateError(f"no port between {PORTS.start} and {PORTS.stop - 1} is free; choose one with --port")


def can_show() -> bool:
    """Whether a browser with windows can open here; a text browser in the terminal helps nobody."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def tell(url: str) -> None:
    """Where there is no browser, a person opens it."""
    say(f"open {url} in a browser")


def open_page(url: str) -> None:
    """Open the page beside the server; a browser that is slow to start holds up nothing."""
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
