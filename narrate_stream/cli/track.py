"""`narrate track`: what a driver sees in a clip, recorded as channels that share no face."""

from __future__ import annotations

from pathlib import Path

import click

from narrate_stream.cli.console import say, track
from narrate_stream.cli.options import PATH
from narrate_stream.cli.render import open_drive
from narrate_stream.errors import MotionError


@click.command("track", short_help="Record a clip's motion as JSON, without the face.")
@click.argument("clip", metavar="CLIP", type=PATH)
@click.option("-o", "--output", metavar="MOTION.json", type=PATH, required=True, help="The recording to write.")
@click.option("--driver", type=click.Choice(["mesh"]), default="mesh", show_default=True, help="How faces are tracked.")
def track_motion(clip: Path, output: Path, driver: str) -> None:
    """Record how the face in a clip moves; `narrate render MODEL --drive MOTION.json` plays it on any avatar.

    The file holds channels over time and nothing of the face itself: no pictures, no landmarks, no proportions. (How
    somebody moves can still be characteristic.)

    \b
    {"version": 2, "fps": 30, "neutral": {POSE}, "frames": [
      {"time": 0.0, "pose": {POSE}, "expression": {CHANNELS}, "gaze": {"x": 0.1, "y": 0}, "confidence": 1}, ...]}
    \b
    time        seconds from 0, ascending; linear between key frames; what is not named is at rest
    pose        yaw, pitch, roll in degrees; x, y, z in cm (right, up, nearer), 0 is 60 cm before the camera
    expression  ARKit's 52 names, 0..1: jawOpen, eyeBlinkLeft (the subject's left), mouthSmileRight, ...
    gaze        x, y to the image's right and up: 1 is far, 2 the most
    confidence  0..1, 1 when absent; 0 is nobody seen, until the next key frame
    neutral     the pose that relative motion counts from: the clip's most neutral moment
    """
    from narrate_stream.drivers.record import record
    from narrate_stream.files import check_output, write_bytes

    check_output(output, (".json",))
    source, tracker = open_drive(clip)
    try:
        moments = [(frame.time, tracker(frame)) for frame in track(source, "tracking", source.frames)]
    finally:
        tracker.close()
    try:
        script = record(moments, source.fps)
    except MotionError as error:
        raise MotionError(f"{clip}: {error}") from error
    write_bytes(output, script.as_text().encode())
    lost = sum(motion is None for _, motion in moments)
    say(
        f"{output}: {len(script.times)} frames, {float(script.fps):g} a second"
        + (f", {lost} without a face" if lost else "")
    )
