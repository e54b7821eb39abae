"""`narrate`: the commands together, and how a failure is told."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import click

from narrate_stream import __version__
from narrate_stream.cli.bench import bench
from narrate_stream.cli.build import build
from narrate_stream.cli.camera import camera
from narrate_stream.cli.demo import demo
from narrate_stream.cli.doctor import doctor
from narrate_stream.cli.evaluate import evaluate
from narrate_stream.cli.options import Commands
from narrate_stream.cli.render import render
from narrate_stream.cli.retarget import retarget
from narrate_stream.cli.serve import serve
from narrate_stream.cli.stills import grid, maps, relight, view
from narrate_stream.cli.track import track_motion
from narrate_stream.errors import NarrateError

INTERRUPTED = 130


@click.group(cls=Commands, context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="narrate")
def app() -> None:
    """From one portrait photograph to a live avatar: relit, seen from where you like, moved by your face.

    Start with `narrate demo`. Angles are degrees: yaw > 0 turns the face toward the image's right, pitch > 0 looks up.

    \b
    LIGHT is one of
      original                      the light of the photograph
      rembrandt loop butterfly split broad short clamshell rim flat neon sunset candle
      sun:AZ,EL[,GAIN]              one lamp and nothing else; AZ > 0 is right of the face, EL > 0 above
      FILE.hdr|.exr|.png|.jpg[@DEG] an environment map, turned by DEG
      image:FILE                    the light of another portrait
    and --exposure, --warmth and --turn change it.

    \b
    BACKGROUND is one of
      relit                         the photograph's own in the new light
      original                      the photograph's own as it is
      blur                          relit, and out of focus
      environment                   the environment map behind the head; under other lights a wall of paper
      green, #rrggbb                one colour
      transparent                   for PNG stills
    """


for command in (demo, build, maps, view, relight, retarget, render, track_motion, grid):
    app.add_command(command)
for command in (serve, camera, bench, evaluate, doctor):
    app.add_command(command)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 for work done, 2 for wrong usage, 130 for Ctrl-C and 1 otherwise."""
    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments
    _prepare(debug)
    try:
        status = app.main(arguments, prog_name="narrate", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return 1
    except Exception as error:
        if debug:
            raise
        click.echo(f"narrate: {_sentence(error)}", err=True)
        return 1
    return status if isinstance(status, int) else 0


def _sentence(error: Exception) -> str:
    """One line for any failure; what was not foreseen says so."""
    if isinstance(error, NarrateError):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    if isinstance(error, MemoryError):
        return "there is not enough memory for this"
    text = " ".join(str(error).split())[:300]
    return f"this should not happen: {type(error).__name__}: {text} (run it again with --debug and report what it says)"


def _prepare(debug: bool) -> None:
    """Logs to stderr, the native libraries' chatter off, and one thread for linear algebra.

    Ours is small and called many times a second. OpenBLAS would wake a thread per core for it, which then waits for
    more in a loop: a core's worth of nothing, taken from the frame, the encoder and the browser beside them.
    """
    if not debug:
        _hush_native()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy and scipy are loaded: nobody has, by now
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="narrate: %(message)s")
    if debug:
        for noisy in ("PIL", "aioice", "aiortc", "matplotlib", "numba"):
            logging.getLogger(noisy).setLevel(logging.INFO)


def _hush_native() -> None:
    """What C++ writes to descriptor 2 (MediaPipe's and CUDA's greetings) goes nowhere; Python's stderr stays as it is.

    Environment variables do not silence all of it, and a failure is to be one sentence. `--debug` shows everything.
    """
    if sys.stderr is not sys.__stderr__ or sys.stderr is None:
        return  # a test or a host program has put its own in place
    try:
        kept = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    except OSError:
        return
    sys.stderr = os.fdopen(kept, "w", buffering=1, encoding="utf-8", errors="backslashreplace")


def _forget_stdout() -> None:
    """The reader (`| head`) is gone; without this the interpreter complains while it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
