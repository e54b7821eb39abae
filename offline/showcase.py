"""The showcase clip: the avatar speaks while the light changes, the view swings and a sun goes round.

Nothing drives it but a script: it needs no camera and nobody's rights. Composition: on the left a panel with the
photograph, what is shown and a ball in the same light, on the right the avatar; `Scene`s fade into each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.script import Script, ScriptDriver, ScriptSource, talking_script
from narrate_stream.files import check_output
from narrate_stream.fusion import fuse, head_framing, over_backdrop
from narrate_stream.lights import parse_light
from narrate_stream.media import VIDEO_SUFFIXES, FileSink
from narrate_stream.ops.colour import srgb_from_linear
from narrate_stream.ops.gloss import highlight
from narrate_stream.ops.lighting import Lighting, ambient, shade_normals, sun
from narrate_stream.pipeline import seen_from
from narrate_stream.relighters import LightMapRelighter
from narrate_stream.renderer import Renderer
from narrate_stream.retarget import Retargeter
from narrate_stream.types import AvatarMotion, Frame, Image, View

Progress = Callable[[str, float], None]
SIZE, FPS, SEED = 576, 30, 7
FADE, EDGE = 0.35, 0.4  # seconds from scene to scene, and from and to black
DIM = 0.30  # what is left of the background where it is not lit with the person
INK, FAINT, DARK, ACCENT = (236, 234, 228), (132, 136, 146), (13, 14, 18), (255, 176, 92)


@dataclass(frozen=True)
class Scene:
    """What is shown for `seconds`: light is a LIGHT, or `orbit` for a sun that goes round; swing: degrees the view goes
    to each side, nod: up and down."""

    seconds: float
    light: str
    title: str
    note: str
    swing: float = 0.0
    nod: float = 0.0

    def view(self, t: float) -> View:
        """The view `t` seconds into the scene; it begins and ends in front."""
        turn = 2 * np.pi * np.clip(t / self.seconds, 0, 1)
        return View(self.swing * float(np.sin(turn)), self.nod * float(np.sin(2 * turn)))

    def azimuth(self, t: float) -> float:
        """Where the sun of an `orbit` stands, degrees."""
        return -105 + 210 * float(np.clip(t / self.seconds, 0, 1))


SCENES = (
    Scene(1.8, "original", "One photograph", "speaks, blinks and looks about"),
    Scene(3.2, "original", "Any angle", "25 degrees to each side", swing=25.0, nod=4.0),
    Scene(1.4, "rembrandt", "Rembrandt", "relit in linear light"),
    Scene(1.4, "sunset", "Sunset", "a low sun and a blue sky"),
    Scene(1.4, "neon", "Neon", "magenta and cyan"),
    Scene(2.6, "orbit", "A moving sun", "shadows follow"),
    Scene(1.4, "clamshell", "Clamshell", "a beauty dish and a reflector"),
)


def render_showcase(
    model: HybridModel,
    out: Path,
    progress: Progress | None = None,
    *,
    size: int = SIZE,
    scenes: tuple[Scene, ...] = SCENES,
) -> None:
    """Writes the clip: 16:9, `size` pixels high, 30 fps. `progress` hears each scene's title and the seconds it took.

    Raises NarrateError when the file cannot be written.
    """
    check_output(out, VIDEO_SUFFIXES)
    show = Show(model, size, scenes)
    with FileSink(out, show.size, Fraction(FPS)) as sink:
        for frame in show.frames(progress):
            sink.write(frame)


class Show:
    """Plays the scenes one after the other."""

    def __init__(self, model: HybridModel, size: int, scenes: tuple[Scene, ...]) -> None:
        self.model, self.scenes = model, scenes
        self.stage = Stage(model, size)
        self.size = self.stage.panel.width + size, size
        ends = np.cumsum([scene.seconds for scene in scenes])
        self.starts = [0.0, *(float(end) for end in ends[:-1])]
        self.seconds = float(ends[-1])

    def frames(self, progress: Progress | None = None) -> Iterator[Frame]:
        """The finished pictures."""
        script = talking_script(self.seconds, SEED, FPS)
        current, begun = 0, time.perf_counter()
        for frame, motion in play_script(self.model, script):
            now = self._scene_at(frame.time)
            if now != current and progress:
                progress(self.scenes[current].title, time.perf_counter() - begun)
                begun = time.perf_counter()
            current = now
            yield frame.with_image(self._faded(self._picture(current, frame.time, motion), frame.time))
        if progress:
            progress(self.scenes[current].title, time.perf_counter() - begun)

    def _scene_at(self, t: float) -> int:
        return int(np.searchsorted(self.starts, t + 1e-6, "right")) - 1

    def _picture(self, index: int, t: float, motion: AvatarMotion) -> Image:
        """The scene's picture, with the last one's showing through while it fades in."""
        since = t - self.starts[index]
        picture = self.stage.shoot(self.scenes[index], since, motion)
        if index == 0 or since >= FADE:
            return picture
        before = self.stage.shoot(self.scenes[index - 1], t - self.starts[index - 1], motion)
        return np.asarray(cv2.addWeighted(picture, ease(since / FADE), before, 1 - ease(since / FADE), 0), np.uint8)

    def _faded(self, picture: Image, t: float) -> Image:
        share = ease(min(t + 1 / FPS, self.seconds - t) / EDGE)
        return picture if share >= 1 else np.asarray(cv2.convertScaleAbs(picture, alpha=share), np.uint8)


def ease(t: float) -> float:
    """0 to 1, smooth at both ends."""
    x = float(np.clip(t, 0, 1))
    return x * x * (3 - 2 * x)


def play_script(model: HybridModel, script: Script) -> Iterator[tuple[Frame, AvatarMotion]]:
    """The avatar's motion for every frame of the script in which somebody is seen."""
    driver, retarget = ScriptDriver(script), Retargeter(model)
    retarget.calibrate(driver.neutral)
    for frame in ScriptSource(script):
        if (motion := driver(frame)) is not None:
            yield frame, retarget(motion, 1 / float(script.fps))


class Stage:
    """Photographs the avatar and puts the panel beside it. One relighter per light, because each keeps its maps."""

    def __init__(self, model: HybridModel, size: int) -> None:
        framing = head_framing(model, size)
        self.model, self.renderer = model, Renderer(model, framing)
        self.background = over_backdrop(model, framing)
        far = cv2.GaussianBlur(self.background, (0, 0), 0.02 * size)
        self.dimmed = np.asarray(cv2.convertScaleAbs(far, alpha=DIM), np.uint8)
        self.panel = Panel(model, size)
        self.relighters: dict[str, tuple[LightMapRelighter, Lighting]] = {}

    def shoot(self, scene: Scene, t: float, motion: AvatarMotion) -> Image:
        """(H, W, 3) the whole composition `t` seconds into the scene."""
        relighter, lighting = self._light(scene, t)
        view = scene.view(t)
        gbuffer = self.renderer(seen_from(motion, view), albedo=not lighting.original)
        core, fringe = relighter(gbuffer, lighting)
        avatar = fuse(core, fringe, gbuffer, self.background if lighting.original else self.dimmed)
        return np.concatenate([self.panel.drawn(scene, lighting, view), avatar], 1)

    def _light(self, scene: Scene, t: float) -> tuple[LightMapRelighter, Lighting]:
        if scene.light not in self.relighters:
            fixed = Lighting("orbit") if scene.light == "orbit" else parse_light(scene.light, self.model)
            self.relighters[scene.light] = LightMapRelighter(self.model), fixed
        relighter, lighting = self.relighters[scene.light]
        if scene.light == "orbit":  # a trace of sky, so that the dark side is not a hole
            az = scene.azimuth(t)
            lighting = replace(sun(az, 24, 1.2), sh=ambient(0.035), name=f"sun:{az:.0f},24")
        return relighter, lighting


class Panel:
    """The left side of the picture; `size` pixels high."""

    def __init__(self, model: HybridModel, size: int) -> None:
        self.model, self.height, self.width = model, size, round(size * 7 / 18) * 2
        self.unit = size / 576
        self.still: dict[str, Image] = {}
        self.words: dict[str, Image] = {}
        side = self._px(104) | 1
        y, x = np.mgrid[1 : -1 : side * 1j, -1 : 1 : side * 1j] * (side / (side - 3))
        self.normals = np.stack([x, y, np.sqrt(np.maximum(1 - x * x - y * y, 0))], -1)
        edge = (1 - np.hypot(x, y)) * side / 2
        self.ball_alpha = np.clip(edge + 0.5, 0, 1)[..., None]

    def _px(self, length: float) -> int:
        return max(1, round(length * self.unit))

    def drawn(self, scene: Scene, lighting: Lighting, view: View) -> Image:
        """(H, W, 3) the panel of this moment."""
        if scene.title not in self.still:
            self.still[scene.title] = self._lettered(scene)
        out = self.still[scene.title].copy()
        self._add_ball(out, lighting)
        self._add_view(out, view)
        column = self._px(44 + 124)
        self._add_value(out, (column, self._px(446)), scene.light if scene.light != "orbit" else lighting.name)
        self._add_value(out, (column, self._px(500)), f"{round(view.yaw):+d}°, {round(view.pitch):+d}°")
        return out

    def _lettered(self, scene: Scene) -> Image:
        """What stays the same during a scene: the photograph and the words."""
        canvas = Pillow.new("RGB", (self.width, self.height), DARK)
        pen, left = ImageDraw.Draw(canvas), self._px(44)
        self._write(pen, (left, self._px(40)), "narrate-stream", 15, FAINT)
        photograph = thumbnail(self.model.backdrop, self._px(132))
        canvas.paste(Pillow.fromarray(photograph), (left, self._px(84)))
        beside = left + photograph.shape[1] + self._px(18)
        self._write(pen, (beside, self._px(84)), "input", 15, INK)
        self._write(pen, (beside, self._px(106)), "one picture", 13, FAINT)
        pen.rectangle((left, self._px(268), left + self._px(28), self._px(270)), fill=ACCENT)
        self._write(pen, (left, self._px(286)), scene.title, 38, INK)
        self._write(pen, (left, self._px(338)), scene.note, 17, FAINT)
        self._write(pen, (left + self._px(124), self._px(428)), "light", 13, FAINT)
        self._write(pen, (left + self._px(124), self._px(482)), "view", 13, FAINT)
        return np.array(canvas)

    def _write(self, pen: Any, at: tuple[int, int], text: str, height: float, colour: tuple[int, int, int]) -> None:
        pen.text(at, text, fill=colour, font=ImageFont.load_default(max(6.0, height * self.unit)))

    def _add_ball(self, out: Image, lighting: Lighting) -> None:
        """A grey ball in the same light."""
        if lighting.original:
            grey = np.repeat(self.model.light[:, None], 3, 1)
            lighting = Lighting("original", (0.8 * grey).astype(np.float32))
        linear = 0.62 * shade_normals(lighting, self.normals) + 0.35 * highlight(lighting, self.normals)
        ball = srgb_from_linear(linear / (1 + 0.25 * linear)) * 255
        x, y = self._px(44), self._px(418)
        box = out[y : y + len(ball), x : x + len(ball)]
        box[:] = (ball * self.ball_alpha + box * (1 - self.ball_alpha) + 0.5).astype(np.uint8)

    def _add_value(self, out: Image, at: tuple[int, int], text: str) -> None:
        """A word or number that changes."""
        if text not in self.words:
            font = ImageFont.load_default(max(6.0, 15 * self.unit))
            box = font.getbbox(text)
            canvas = Pillow.new("RGB", (round(box[2]) + 2, round(box[3]) + 2), DARK)
            ImageDraw.Draw(canvas).text((0, 0), text, fill=INK, font=font)
            self.words[text] = np.array(canvas)
        word, (x, y) = self.words[text], at
        place = out[y : y + word.shape[0], x : x + word.shape[1]]
        place[:] = word[: place.shape[0], : place.shape[1]]

    def _add_view(self, out: Image, view: View) -> None:
        """A line with a dot: how far the viewer has gone round."""
        left, right, y = self._px(44 + 124), self.width - self._px(56), self._px(532)
        middle, reach = (left + right) / 2, (right - left) / 2
        thin = max(1, self._px(1.5))
        cv2.line(out, (left, y), (right, y), (58, 61, 70), thin, cv2.LINE_AA)
        cv2.line(
            out, (round(middle), y - self._px(4)), (round(middle), y + self._px(4)), (92, 96, 106), thin, cv2.LINE_AA
        )
        x = middle + reach * float(np.clip(view.yaw / 30, -1, 1))
        cv2.circle(out, (round(x * 16), y * 16), self._px(5) * 16, ACCENT, -1, cv2.LINE_AA, 4)


def thumbnail(picture: NDArray[np.uint8], height: int) -> Image:
    """The picture shrunk to this height (a very wide one to as much width)."""
    k = min(height / picture.shape[0], 1.4 * height / picture.shape[1])
    size = max(1, round(picture.shape[1] * k)), max(1, round(picture.shape[0] * k))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
