"""`narrate serve`: the live server."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from narrate_stream.cli.console import open_light, open_model, say
from narrate_stream.cli.options import PATH, EvenSize, device_option, driver_option, idle_option, light_option
from narrate_stream.errors import NarrateError

if TYPE_CHECKING:
    from narrate_stream.gallery import MakeThumbnail
    from narrate_stream.ops.lighting import Lighting
    from narrate_stream.protocols import Avatar

TURN_S = 0.0005  # after which a thread that runs Python lets another one; Python's own 5 ms are a sixth of a frame
LOCAL = ("127.0.0.1", "localhost", "::1")


@click.command(short_help="Serve models live over WebRTC.")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=PATH)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is every one.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 is any free one.")
@click.option("--token", envvar="NARRATE_TOKEN", help="Ask clients for this token [env: NARRATE_TOKEN].")
@click.option(
    "--tls-cert",
    metavar="FILE",
    type=PATH,
    help="Certificate (PEM); browsers allow a webcam only over HTTPS or on this machine.",
)
@click.option(
    "--tls-key", metavar="FILE", type=PATH, help="Its key (PEM), where the certificate's file does not hold it."
)
@click.option(
    "--ice-server", "ice_servers", metavar="URL", multiple=True, help="stun:HOST:PORT or turn:...; may be repeated."
)
@click.option("--latency-marker", is_flag=True, help="Copy the top left 256x16 pixels of the driver into the avatar.")
@click.option("--size", type=EvenSize(128, 1024), default=512, show_default=True, help="Side of the avatar's picture.")
@light_option
@driver_option
@idle_option
@device_option
def serve(
    models: tuple[Path, ...], host: str, port: int, tls_cert: Path | None, tls_key: Path | None, **options: Any
) -> None:
    """Serve models live: the page, signalling, WHIP and WHEP, health and metrics on one port.

    With several models, the first is what a client gets that names none; the others go by their file names.
    """
    if tls_key and not tls_cert:
        raise click.UsageError("--tls-key needs --tls-cert")
    check_files(tls_cert, tls_key)
    check_port(host, port)
    paths, light = named(models), open_light(options["light"])
    loaded = {name: open_model(path) for name, path in paths.items()}
    make_avatar = avatar_maker(
        loaded, options["size"], light, options["device"], options["driver"], idle=options["idle"]
    )
    make_thumbnail = thumbnail_maker(loaded)
    warn_of_exposure(host, options["token"], secure=tls_cert is not None)
    run(
        make_avatar,
        list(loaded),
        host,
        port,
        tls=(tls_cert, tls_key),
        token=options["token"],
        ice_servers=options["ice_servers"],
        latency_marker=options["latency_marker"],
        make_thumbnail=make_thumbnail,
    )


def run(
    make_avatar: Callable[[dict[str, Any]], Avatar],
    models: list[str],
    host: str,
    port: int,
    *,
    tls: tuple[Path | None, Path | None] = (None, None),
    token: str | None = None,
    ice_servers: Sequence[str] = (),
    latency_marker: bool = False,
    make_thumbnail: MakeThumbnail | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Warm up, serve until Ctrl-C, and say where the page is as soon as it answers."""
    from narrate_stream.server import create_app, run_server

    app = create_app(
        make_avatar,
        token=token,
        ice_servers=list(ice_servers),
        latency_marker=latency_marker,
        models=models,
        make_thumbnail=make_thumbnail,
    )
    make_avatar({}).close()  # kernels are compiled now, and a light that is wrong is told now
    gc.collect()
    gc.freeze()  # what is here stays: to look through all of it again would hold every thread for a tenth of a second
    sys.setswitchinterval(TURN_S)  # else packets, bands of the picture and the encoder wait for one another

    def ready(url: str) -> None:
        say(f"serving {', '.join(models)} at {url} (Ctrl-C stops)")
        if on_ready:
            on_ready(url)

    run_server(app, host, port, *tls, on_ready=ready)


def avatar_maker(
    models: dict[str, Any],
    size: int,
    light: str | Lighting,
    device: str,
    transfer: Any = "mesh",
    *,
    idle: bool = True,
) -> Callable[[dict[str, Any]], Avatar]:
    """What makes a frame path for one peer, from the options of its offer.

    The options have passed `signaling.parse_options`; here only what the models know is checked.
    """
    from narrate_stream.drivers.mesh import MeshDriver
    from narrate_stream.pipeline import Pipeline

    first = next(iter(models))

    def make_avatar(options: dict[str, Any]) -> Avatar:
        name = options.get("model") or first
        if name not in models:
            raise NarrateError(f"there is no model {name!r} here; there is {', '.join(models)}")
        avatar = Pipeline(
            models[name],
            driver=MeshDriver(),
            transfer=transfer,
            size=chosen_size(options, size),
            light=options.get("light") or light,
            background=options.get("background") or "relit",
            idle=idle,
            device=device,
        )
        avatar.warm_up()
        return avatar

    return make_avatar


def thumbnail_maker(models: dict[str, Any]) -> MakeThumbnail:
    """What draws the models in the lights of the page's strip."""
    from narrate_stream.thumbnails import Thumbnails

    return Thumbnails(models)


def chosen_size(options: dict[str, Any], most: int) -> int:
    """A client may ask for less than the server's size, never for more. Raises NarrateError."""
    size = options.get("size", most)
    if isinstance(size, bool) or not isinstance(size, int) or not 64 <= size <= most or size % 2:
        raise NarrateError(f"the size must be an even number between 64 and {most}")
    return size


def named(paths: Sequence[Path]) -> dict[str, Path]:
    """Models by file name without suffix. Raises NarrateError when two share one."""
    names: dict[str, Path] = {}
    for path in paths:
        if path.stem in names:
            raise NarrateError(f"{path} and {names[path.stem]} would both be called {path.stem!r}: rename one")
        names[path.stem] = path
    return names


def check_files(*paths: Path | None) -> None:
    """Raises NarrateError for a file that is not there."""
    for path in paths:
        if path is not None and not path.is_file():
            raise NarrateError(f"{path}: no such file")


def check_port(host: str, port: int) -> None:
    """Say before the work that the server cannot listen there. Raises NarrateError."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        reason = str(error.strerror or error).lower()
        raise NarrateError(f"port {port} of {host} cannot be used: {reason} (choose another with --port)") from error


def warn_of_exposure(host: str, token: str | None, *, secure: bool) -> None:
    """What is easily overlooked when others can reach the server."""
    if host in LOCAL:
        return
    if not token:
        say("note: anybody who reaches this machine can use the server; --token asks for one")
    if not secure:
        say("note: without --tls-cert, browsers on other machines refuse the webcam")
