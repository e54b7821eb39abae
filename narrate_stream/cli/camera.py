"""`narrate camera`: the avatar as a webcam for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from narrate_stream.cli.console import open_light, open_model, say
from narrate_stream.cli.options import PATH, EvenSize, device_option, idle_option, light_option, view_options


@click.command(short_help="Send the avatar to a virtual camera.")
@click.argument("model", metavar="MODEL", type=PATH, required=False)
@click.option(
    "--webcam",
    metavar="N",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Number of the webcam that drives.",
)
@click.option(
    "--remote", metavar="ws://...", help="Let a narrate server do the work (ws://HOST:PORT/ws); needs no MODEL."
)
@click.option("--token", envvar="NARRATE_TOKEN", help="Token of the remote server [env: NARRATE_TOKEN].")
@click.option("--size", type=EvenSize(128, 1024), default=512, show_default=True, help="Side of the avatar's picture.")
@light_option
@view_options
@idle_option
@device_option
def camera(model: Path | None, webcam: int, remote: str | None, token: str | None, **options: Any) -> None:
    """Send the avatar to a virtual camera (extra `camera`; OBS, or v4l2loopback on Linux)."""
    if (model is None) == (remote is None):
        raise click.UsageError("give either MODEL or --remote")
    from narrate_stream.camera import run_camera, run_remote

    if remote is not None:
        start = {
            "light": options["light"],
            "view": {"yaw": options["yaw"], "pitch": options["pitch"]},
            "idle": options["idle"],
        }
        say(f"the virtual camera shows {remote} (Ctrl-C stops)")
        done = run_remote(remote, webcam, token=token, controls=start)
    else:
        assert model is not None
        avatar = make_avatar(model, options)
        say("the virtual camera is on (Ctrl-C stops)")
        try:
            done = run_camera(avatar, webcam)
        finally:
            avatar.close()
    say(f"{done.frames} frames, {done.fps:.1f} a second")


def make_avatar(model: Path, options: dict[str, Any]) -> Any:
    """The frame path on this machine."""
    from narrate_stream.drivers.mesh import MeshDriver
    from narrate_stream.pipeline import Pipeline
    from narrate_stream.types import View

    light = open_light(options["light"])
    return Pipeline(
        open_model(model),
        driver=MeshDriver(),
        size=options["size"],
        light=light,
        view=View(options["yaw"], options["pitch"]),
        idle=options["idle"],
        device=options["device"],
    )
