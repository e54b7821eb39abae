"""The command line, with fakes in place of what builds and draws."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from narrate_stream.cli import main
from narrate_stream.cli.options import MIRED, STOPS
from narrate_stream.cli.retarget import light_taken
from narrate_stream.errors import BundleError, LightError, NarrateError, PortraitError
from narrate_stream.files import write_png
from narrate_stream.media import FileSink, FileSource
from narrate_stream.ops.grading import MAX_EXPOSURE, MAX_WARMTH, Grade
from narrate_stream.ops.lighting import Lighting, ambient, sun
from narrate_stream.types import Frame, View

Fake = Callable[..., ModuleType]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put a module with these names in place of a real one."""

    def put(name: str, **names: Any) -> ModuleType:
        module = ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return put


# ------------------------------------------------------------------ usage and failures


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["build"],
        ["build", "a.png"],
        ["build", "a.png", "-o", "m.narrate", "--size", "10"],
        ["build", "a.png", "-o", "m.narrate", "--what"],
        ["view", "a.png"],
        ["view", "a.png", "-o", "b.png", "--yaw", "much"],
        ["view", "a.png", "-o", "b.png", "--yaw", "nan"],
        ["view", "a.png", "-o", "b.png", "--yaw", "91"],
        ["view", "a.png", "-o", "b.png", "--exposure", "5"],
        ["view", "a.png", "-o", "b.png", "--warmth", "nan"],
        ["relight", "a.png", "-o", "b.png"],
        ["retarget", "m.narrate", "-o", "b.png"],
        ["retarget", "m.narrate", "--to", "a.png"],
        ["retarget", "m.narrate", "--to", "a.png", "-o", "b.png", "--no-pose", "--no-light"],
        ["relight", "a.png", "-o", "b.png", "--light", "rim", "--lights-file", "f.json"],
        ["render", "m.narrate", "-o", "b.mp4"],
        ["render", "m.narrate", "--drive", "c.mp4", "-o", "b.mp4", "--size", "511"],
        ["render", "m.narrate", "--drive", "c.mp4", "-o", "b.mp4", "--motion", "other"],
        ["render", "m.narrate", "--drive", "c.mp4", "-o", "b.mp4", "--style", "oil"],
        ["track", "c.mp4"],
        ["track", "c.mp4", "-o", "m.json", "--driver", "glance"],
        ["grid", "m.narrate", "-o", "b.png", "--poses", "1,2,3"],
        ["grid", "m.narrate", "-o", "b.png", "--poses", "left"],
        ["serve"],
        ["serve", "m.narrate", "--port", "70000"],
        ["serve", "m.narrate", "--tls-key", "key.pem"],
        ["camera"],
        ["camera", "m.narrate", "--remote", "ws://somewhere/ws"],
        ["bench", "m.narrate", "--frames", "1"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert "Usage: narrate" in shown.err
    assert "Traceback" not in shown.err


COMMANDS = [
    "demo",
    "build",
    "maps",
    "view",
    "relight",
    "retarget",
    "render",
    "track",
    "grid",
    "serve",
    "camera",
    "bench",
    "eval",
    "doctor",
]


def test_the_limits_of_a_grade_are_those_of_the_light() -> None:
    assert (STOPS.limit, MIRED.limit) == (MAX_EXPOSURE, MAX_WARMTH)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [word for line in shown.split("Commands:")[1].splitlines() if (word := line.split(" ")[2:3])] == [
        [name] for name in COMMANDS
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: narrate {command}" in shown
    assert "--debug" in shown


def test_an_expected_failure_is_one_sentence(fake: Fake, tmp_path: Path, sentence: Callable[[], str]) -> None:
    def build_model(portrait: Path | None, **options: Any) -> None:
        raise PortraitError(f"{portrait} shows no\nhuman face")

    fake("offline.build", build_model=build_model)
    fake("narrate_stream.bundle", save_model=None)
    assert main(["build", "cat.png", "-o", str(tmp_path / "m.narrate")]) == 1
    assert sentence() == "narrate: cat.png shows no human face"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("odd\nthing"), ["should not happen", "RuntimeError: odd thing", "--debug"]),
        (FileNotFoundError(2, "No such file or directory", "x.bin"), ["x.bin: no such file"]),
        (MemoryError(), ["not enough memory"]),
    ],
)
def test_an_unexpected_failure_is_one_sentence_too(
    error: Exception, words: list[str], fake: Fake, tmp_path: Path, sentence: Callable[[], str]
) -> None:
    fake("offline.stills", load_or_build=raising(error), write_maps=None)
    assert main(["maps", "m.narrate", "-o", str(tmp_path / "maps")]) == 1
    line = sentence()
    assert all(word in line for word in words)
    assert not (tmp_path / "maps").exists()


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> None:
        raise error

    return call


def test_debug_shows_the_traceback(fake: Fake, tmp_path: Path) -> None:
    fake("offline.stills", load_or_build=raising(BundleError("m.narrate is damaged")), write_maps=None)
    with pytest.raises(BundleError):
        main(["maps", "m.narrate", "-o", str(tmp_path / "maps"), "--debug"])


def test_ctrl_c_exits_130(fake: Fake, tmp_path: Path) -> None:
    fake("offline.stills", load_or_build=raising(KeyboardInterrupt()), write_maps=None)
    assert main(["maps", "m.narrate", "-o", str(tmp_path / "maps")]) == 130


def test_as_a_program(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "narrate_stream", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)

    assert run("--version").stdout.startswith("narrate, version ")
    assert run("build").returncode == 2
    done = run("relight", "a.png", "--lights-file", str(tmp_path / "none.json"), "-o", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"narrate: {tmp_path}/none.json cannot be read: no such file or directory\n"


# ------------------------------------------------------------------ build and stills


def test_build(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: dict[str, Any] = {}

    def build_model(portrait: Path, *, progress: Callable[[str, float], None], **options: Any) -> str:
        asked.update(portrait=portrait, **options)
        progress("face and matte", 0.5)
        return "a model"

    fake("offline.build", build_model=build_model)
    fake("narrate_stream.bundle", save_model=lambda model, path: path.write_text(model))
    out = tmp_path / "m.narrate"
    assert main(["build", "a.png", "-o", str(out), "--size", "512", "--report", "qa"]) == 0
    learned = {"networks": True, "learned_albedo": False, "learned_relight": True}
    assert asked == {"portrait": Path("a.png"), "size": 512, "report": Path("qa"), **learned}
    assert out.read_text() == "a model"
    shown = capsys.readouterr()
    assert "face and matte" in shown.err
    assert str(out) in shown.err
    assert shown.out == ""


def test_build_without_networks_or_with_more(fake: Fake, tmp_path: Path, sentence: Callable[[], str]) -> None:
    asked: list[tuple[bool, bool, bool]] = []

    def build_model(portrait: Path, *, networks: bool, learned_albedo: bool, learned_relight: bool, **_: Any) -> str:
        asked.append((networks, learned_albedo, learned_relight))
        return "a model"

    fake("offline.build", build_model=build_model)
    fake("narrate_stream.bundle", save_model=lambda model, path: path.write_text(model))
    out = str(tmp_path / "m.narrate")
    assert main(["build", "a.png", "-o", out, "--weight-free"]) == 0
    assert main(["build", "a.png", "-o", out, "--learned-albedo"]) == 0
    assert main(["build", "a.png", "-o", out, "--physical-light"]) == 0
    assert asked == [(False, False, True), (True, True, True), (True, False, False)]
    assert main(["build", "a.png", "-o", out, "--weight-free", "--learned-albedo"]) != 0
    assert len(asked) == 3


@pytest.mark.parametrize("name", ["m.zip", "none/m.narrate"])
def test_an_impossible_output_is_told_before_the_work(name: str, tmp_path: Path, sentence: Callable[[], str]) -> None:
    assert main(["build", "a.png", "-o", str(tmp_path / name)]) == 1
    assert "cannot be written" in sentence()


def red() -> np.ndarray:  # [H, W, 3]
    return np.full((8, 6, 3), (255, 0, 0), np.uint8)


def test_view_and_relight_write_a_still(fake: Fake, tmp_path: Path) -> None:
    import cv2

    asked: list[tuple[Any, ...]] = []

    def render_view(model: str, *, light: str, view: View, **look: Any) -> np.ndarray:
        asked.append((model, light, view, look))
        return red()

    fake("offline.stills", load_or_build=lambda path, progress=None: f"model of {path}", render_view=render_view)
    out = tmp_path / "o.png"
    assert main(["view", "a.png", "--yaw", "-20", "--pitch", "5", "-o", str(out)]) == 0
    assert main(["relight", "m.narrate", "--light", "sun:10,20", "-o", str(out)]) == 0
    grade = ["--exposure", "-1.5", "--warmth", "40", "--turn", "90"]
    assert main(["view", "a.png", *grade, "--background", "blur", "-o", str(out)]) == 0
    plain = {"grade": Grade(), "background": "relit"}
    assert asked == [
        ("model of a.png", "original", View(-20, 5), plain),
        ("model of m.narrate", "sun:10,20", View(0, 0), plain),
        ("model of a.png", "original", View(0, 0), {"grade": Grade(-1.5, 40, 90), "background": "blur"}),
    ]
    assert tuple(cv2.imread(str(out))[0, 0]) == (0, 0, 255)


def test_the_light_of_a_picture_is_looked_up_before_a_model_is_opened(fake: Fake, tmp_path: Path) -> None:
    asked: list[Any] = []
    fake("offline.target", light_of_picture=lambda path: asked.append(path) or "its light")
    fake(
        "offline.stills",
        load_or_build=lambda path, progress=None: asked.append(path),
        render_view=lambda model, *, light, view, **look: asked.append(light) or red(),
    )
    assert main(["relight", "m.narrate", "--light", "image:a b.jpg", "-o", str(tmp_path / "o.png")]) == 0
    assert asked == [Path("a b.jpg"), Path("m.narrate"), "its light"]


def test_an_image_light_names_its_picture(tmp_path: Path, sentence: Callable[[], str]) -> None:
    assert main(["relight", "m.narrate", "--light", "image:", "-o", str(tmp_path / "o.png")]) == 1
    assert "image:FILE" in sentence()


def test_retarget_says_what_it_took_and_what_it_held_back(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, bool]] = []

    def retargeted(model: str, target: str, **wanted: bool) -> SimpleNamespace:
        asked.append(wanted)
        far, shown = np.array([50.0, 1, 0]), np.array([27.0, 1, 0])
        return SimpleNamespace(image=red(), asked=far, shown=shown, lighting=sun(-40, 20))

    fake("offline.stills", load_or_build=lambda path, progress=None: "model")
    fake("offline.target", read_target=lambda path: f"target {path}")
    fake("offline.likeness", retargeted=retargeted)
    arguments = ["retarget", "m.narrate", "--to", "t.jpg", "-o", str(tmp_path / "o.png")]
    assert main([*arguments, "--expression"]) == 0
    pose, light = capsys.readouterr().out.splitlines()
    assert "yaw +27" in pose.split(";")[0]
    assert "yaw +50" in pose.split(";")[1]
    assert "azimuth -40, elevation +20" in light
    assert "from all sides" in light_taken(Lighting("", ambient(0.5)))
    assert main([*arguments, "--no-light"]) == 0
    assert capsys.readouterr().out.splitlines() == [pose]
    assert asked == [
        {"pose": True, "light": True, "expression": True},
        {"pose": True, "light": False, "expression": False},
    ]


def test_relight_with_a_file_of_lights(fake: Fake, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def relight_many(model: str, lights: dict[str, str], directory: Path, view: View, **look: Any) -> None:
        asked.update(lights=lights, directory=directory, view=view, **look)

    fake("offline.stills", load_or_build=lambda path, progress=None: "model", relight_many=relight_many)
    lights = tmp_path / "l.json"
    lights.write_text(json.dumps([{"name": "a b", "az": -130, "el": 20.5}, {"name": "top", "az": 0, "el": 90}]))
    arguments = ["relight", "m.narrate", "--lights-file", str(lights), "-o", str(tmp_path / "out" / "x"), "--yaw", "10"]
    assert main(arguments) == 0
    assert asked == {
        "lights": {"a b": "sun:-130,20.5", "top": "sun:0,90"},
        "directory": tmp_path / "out" / "x",
        "view": View(10, 0),
        "grade": Grade(),
        "background": "relit",
    }
    assert asked["directory"].is_dir()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is not JSON"),
        ("{nope", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "must hold a list"),
        ("[]", "must hold a list"),
        ("[3]", "light 1: not an object"),
        ('[{"az": 1, "el": 2}]', "light 1: the name"),
        ('[{"name": "../up", "az": 1, "el": 2}]', "light 1: the name"),
        ('[{"name": "..", "az": 1, "el": 2}]', "light 1: the name"),
        ('[{"name": "", "az": 1, "el": 2}]', "light 1: the name"),
        ('[{"name": "a", "el": 2}]', "light 1: az must be a number"),
        ('[{"name": "a", "az": "1", "el": 2}]', "light 1: az must be a number"),
        ('[{"name": "a", "az": true, "el": 2}]', "light 1: az must be a number"),
        ('[{"name": "a", "az": NaN, "el": 2}]', "light 1: az must be a number"),
        ('[{"name": "a", "az": 1, "el": 91}]', "light 1: el is 91, outside"),
        ('[{"name": "a", "az": 1, "el": 2}, {"name": "a", "az": 3, "el": 2}]', "light 2: the name 'a' is there twice"),
    ],
)
def test_a_bad_file_of_lights(content: str, words: str, tmp_path: Path, sentence: Callable[[], str]) -> None:
    lights = tmp_path / "l.json"
    lights.write_text(content)
    assert main(["relight", "m.narrate", "--lights-file", str(lights), "-o", str(tmp_path / "out")]) == 1
    line = sentence()
    assert "l.json" in line
    assert words in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "poses", "lights"),
    [
        (["--poses", "-25,0", "0,0", "25,-5.5"], [(-25, 0), (0, 0), (25, -5.5)], 4),
        (["--poses", "-25,0 0,0", "--lights", "rim", "sun:10,20"], [(-25, 0), (0, 0)], ["rim", "sun:10,20"]),
        (["--lights", "rim;image:my face.png", "--poses=0,0"], [(0, 0)], ["rim", "light of my face.png"]),
        (["--lights", "rim", "--lights", "loop", "--size", "64"], 3, ["rim", "loop"]),
        ([], 3, 4),
    ],
)
def test_grid(options: list[str], poses: Any, lights: Any, fake: Fake, tmp_path: Path) -> None:
    asked: list[Any] = []

    def pose_light_grid(model: str, views: list[View], lights: list[str], size: int, **look: Any) -> np.ndarray:
        asked.extend([[(v.yaw, v.pitch) for v in views], lights])
        return red()

    fake("offline.stills", load_or_build=lambda path, progress=None: "model", pose_light_grid=pose_light_grid)
    fake("offline.target", light_of_picture=lambda path: f"light of {path}")
    out = tmp_path / "g.png"
    assert main(["grid", "m.narrate", *options, "-o", str(out)]) == 0
    assert out.is_file()
    for got, expected in zip(asked, (poses, lights), strict=True):
        assert (len(got) if isinstance(expected, int) else got) == expected


# ------------------------------------------------------------------ render


class FakePipeline:
    """Shows the driving picture's mean; remembers what it was asked."""

    made: FakePipeline

    def __init__(self, model: Any, **options: Any) -> None:
        self.options, self.size = options, (32, 32)
        self.views: list[View] = []
        self.closed = False
        FakePipeline.made = self

    def rehearse(self, frames: Any, motions: list[Any], fps: float) -> list[Any]:
        assert len(list(frames)) == len(list(frames)) == len(motions)
        self.motions = motions
        return motions

    def set_view(self, view: View) -> None:
        self.views.append(view)

    def play(self, frame: Frame, motion: Any) -> Frame:
        return frame.with_image(np.full((32, 32, 3), int(frame.image.mean()), np.uint8))

    def step(self, frame: Frame) -> Frame:
        return self.play(frame, None)

    def warm_up(self) -> None:
        self.warm = True

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def stage(fake: Fake, tmp_path: Path) -> SimpleNamespace:
    """A clip of 12 frames, a tracker that sees a face in the later ones, and a fake pipeline."""
    clip = tmp_path / "clip.mp4"
    with FileSink(clip, (32, 32), 30) as sink:
        for i in range(12):
            sink.write(Frame(np.full((32, 32, 3), 20 * i, np.uint8), 3000 * i))
    result = SimpleNamespace(clip=clip, out=tmp_path / "out.mp4", sees=lambda frame: frame.time > 0.1 or None)
    driver = SimpleNamespace(close=lambda: None)
    fake("offline.stills", load_or_build=lambda path, progress=None: "model")
    fake("narrate_stream.drivers.mesh", MeshDriver=lambda **_: lambda frame: result.sees(frame))
    fake("narrate_stream.pipeline", Pipeline=FakePipeline)
    result.driver = driver
    return result


def test_render(stage: SimpleNamespace) -> None:
    look = ["--light", "rim", "--warmth", "-20", "--background", "environment"]
    assert main(["render", "m.narrate", "--drive", str(stage.clip), "-o", str(stage.out), *look]) == 0
    pipeline = FakePipeline.made
    assert len(pipeline.motions) == 12
    assert pipeline.motions[0] is None
    assert pipeline.closed
    assert not pipeline.options.pop("idle")
    assert pipeline.views == []
    options = {k: v for k, v in pipeline.options.items() if k != "driver"}
    assert options == {
        "size": 512,
        "framing": "head",
        "motion": "relative",
        "transfer": "mesh",
        "light": "rim",
        "grade": Grade(0, -20, 0),
        "background": "environment",
        "view": View(0, 0),
        "device": "cpu",
    }
    shown = list(FileSource(stage.out))
    assert [f.time for f in shown] == pytest.approx([f.time for f in FileSource(stage.clip)])
    assert shown[10].image.mean() == pytest.approx(200, abs=6)


@pytest.mark.parametrize(
    ("options", "size"),
    [(["--frame", "portrait"], None), (["--frame", "portrait", "--size", "256"], 256), (["--size", "1024"], 1024)],
)
def test_render_sizes(options: list[str], size: int | None, stage: SimpleNamespace) -> None:
    assert main(["render", "m.narrate", "--drive", str(stage.clip), "-o", str(stage.out), *options]) == 0
    assert FakePipeline.made.options["size"] == size


def test_render_by_first_order_motion(stage: SimpleNamespace) -> None:
    arguments = ["render", "m.narrate", "--drive", str(stage.clip), "-o", str(stage.out), "--driver", "first-order"]
    assert main(arguments) == 0
    assert FakePipeline.made.options["transfer"] == "first-order"


@pytest.mark.parametrize(
    "command", [["render", "m.narrate", "--drive", "x.mp4", "-o", "y.mp4"], ["serve", "m.narrate"]]
)
def test_fomm_has_no_weights_here(command: list[str], sentence: Callable[[], str]) -> None:
    assert main([*command, "--driver", "fomm"]) == 1
    assert "no weights for FOMM" in sentence()


def test_a_driver_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "m.narrate", "--driver", "puppet"]) == 2
    assert "first-order" in capsys.readouterr().err


def test_orbit_swings_around_the_chosen_view(stage: SimpleNamespace) -> None:
    arguments = ["render", "m.narrate", "--drive", str(stage.clip), "-o", str(stage.out), "--orbit", "--yaw", "5"]
    assert main(arguments) == 0
    yaws = [view.yaw for view in FakePipeline.made.views]
    assert len(yaws) == 12
    assert (min(yaws), max(yaws), yaws[0]) == pytest.approx((-20, 30, 5))


def test_a_clip_without_a_face(stage: SimpleNamespace, sentence: Callable[[], str]) -> None:
    stage.sees = lambda frame: None
    assert main(["render", "m.narrate", "--drive", str(stage.clip), "-o", str(stage.out)]) == 1
    assert "clip.mp4: no face" in sentence()
    assert not stage.out.exists()
    assert FakePipeline.made.closed


def test_a_clip_that_is_none(stage: SimpleNamespace, tmp_path: Path, sentence: Callable[[], str]) -> None:
    write_png(tmp_path / "still.png", red())
    assert main(["render", "m.narrate", "--drive", str(tmp_path / "still.png"), "-o", str(stage.out)]) == 1
    assert "still.png is not a video" in sentence()


def test_a_failure_while_rendering_leaves_nothing(
    stage: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(FakePipeline, "play", raising(KeyboardInterrupt()))
    assert main(["render", "m.narrate", "--drive", str(stage.clip), "-o", str(stage.out)]) == 130
    assert sorted(tmp_path.iterdir()) == before


def test_a_script_drives_without_sound(stage: SimpleNamespace, fake: Fake) -> None:
    class ScriptSource:
        fps, frames = 25, 5

        def __init__(self, path: Path) -> None:
            assert path.suffix == ".json"

        def __iter__(self) -> Any:
            return (Frame(np.zeros((32, 32, 3), np.uint8), 3600 * i) for i in range(5))

    fake("narrate_stream.drivers.script", ScriptSource=ScriptSource, ScriptDriver=lambda path: lambda frame: "motion")
    assert main(["render", "m.narrate", "--drive", "s.json", "-o", str(stage.out)]) == 0
    assert FakePipeline.made.motions == ["motion"] * 5
    assert [f.time for f in FileSource(stage.out)] == pytest.approx([i / 25 for i in range(5)])


# ------------------------------------------------------------------ live


@pytest.fixture
def live(fake: Fake) -> Iterator[dict[str, Any]]:
    """A server that notes what it was given and ends at once."""
    asked: dict[str, Any] = {}
    before = sys.getswitchinterval()

    def create_app(make_avatar: Any, **options: Any) -> str:
        asked.update(options, make_avatar=make_avatar)
        return "app"

    def run_server(app: str, host: str, port: int, tls_cert: Any, tls_key: Any, on_ready: Any) -> None:
        asked.update(host=host, port=port, tls=(tls_cert, tls_key))
        on_ready(f"http://{host}:{port}/")

    fake("narrate_stream.server", create_app=create_app, run_server=run_server)
    fake("narrate_stream.pipeline", Pipeline=FakePipeline)
    fake("narrate_stream.thumbnails", Thumbnails=lambda models: f"thumbnails of {', '.join(models)}")
    fake("offline.stills", load_or_build=lambda path, progress=None: f"model of {path}")
    yield asked
    sys.setswitchinterval(before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_serve(live: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    options = ["--token", "t", "--ice-server", "stun:a", "--ice-server", "stun:b", "--latency-marker", "--size", "256"]
    options += ["--driver", "first-order"]
    assert main(["serve", "x/one.narrate", "two.narrate", "--port", str(port), *options]) == 0
    make = live.pop("make_avatar")
    assert live == {
        "token": "t",
        "ice_servers": ["stun:a", "stun:b"],
        "latency_marker": True,
        "models": ["one", "two"],
        "make_thumbnail": "thumbnails of one, two",
        "host": "127.0.0.1",
        "port": port,
        "tls": (None, None),
    }
    assert f"http://127.0.0.1:{port}/" in capsys.readouterr().err
    avatar = make({"model": "two", "light": "rim", "background": "blur"})
    assert avatar.warm
    assert avatar.options.pop("driver") is not None
    assert avatar.options == {
        "size": 256,
        "light": "rim",
        "background": "blur",
        "idle": True,
        "device": "cpu",
        "transfer": "first-order",
    }
    assert make({"size": 128}).options["size"] == 128
    assert main(["serve", "one.narrate", "--port", str(free_port()), "--no-idle"]) == 0
    assert live["make_avatar"]({}).options["idle"] is False
    for wrong in ({"model": "three"}, {"size": 1024}, {"size": 127}, {"size": True}, {"size": "256"}):
        with pytest.raises(NarrateError):
            make(wrong)


def test_threads_of_a_server_take_short_turns(live: dict[str, Any]) -> None:
    assert main(["serve", "one.narrate", "--port", str(free_port())]) == 0
    assert sys.getswitchinterval() == pytest.approx(0.0005)


def test_serve_refuses_early(live: dict[str, Any], tmp_path: Path, sentence: Callable[[], str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["serve", "one.narrate", "--port", port]) == 1
        assert f"port {port}" in sentence()
    assert main(["serve", "a/one.narrate", "b/one.narrate", "--port", str(free_port())]) == 1
    assert "both be called 'one'" in sentence()
    assert main(["serve", "one.narrate", "--tls-cert", str(tmp_path / "no.pem")]) == 1
    assert "no.pem: no such file" in sentence()
    assert live == {}


def test_a_wrong_light_is_told_before_serving(live: dict[str, Any], fake: Fake, sentence: Callable[[], str]) -> None:
    fake("narrate_stream.pipeline", Pipeline=raising(LightError("there is no light 'candle'")))
    assert main(["serve", "one.narrate", "--port", str(free_port()), "--light", "candle"]) == 1
    assert "candle" in sentence()
    assert "host" not in live


def test_an_open_server_says_so(live: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "one.narrate", "--host", "0.0.0.0", "--port", str(free_port())]) == 0
    shown = capsys.readouterr().err
    assert "--token" in shown
    assert "--tls-cert" in shown


@pytest.fixture
def builds(fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """How often the built-in portrait is built; its cache is a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "platform", "linux")
    built: list[Any] = []

    def build_model(portrait: Path | None, *, progress: Any) -> str:
        built.append(portrait)
        return "a model"

    def load_model(path: Path) -> str:
        text = path.read_text()
        if text != "a model":
            raise BundleError(f"{path} is damaged")
        return text

    fake("offline.build", build_model=build_model)
    fake("narrate_stream.bundle", save_model=lambda model, path: path.write_text(model), load_model=load_model)
    return built


def test_demo_builds_once(live: dict[str, Any], builds: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--no-browser"]) == 0
    assert main(["demo", "--no-browser"]) == 0
    assert builds == [None]
    assert live["models"] == ["demo"]
    assert live["host"] == "127.0.0.1"
    assert f"open http://127.0.0.1:{live['port']}/ in a browser" in capsys.readouterr().err


def test_demo_mends_its_cache(live: dict[str, Any], builds: list[Any], tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "narrate-stream"
    folder.mkdir(parents=True)
    (folder / "demo-0.0.0-old.narrate").write_text("of another version")
    assert main(["demo", "--no-browser"]) == 0
    (kept,) = folder.iterdir()
    kept.write_text("damaged")
    assert main(["demo", "--no-browser"]) == 0
    assert builds == [None, None]
    assert kept.read_text() == "a model"


def test_demo_works_without_a_cache(live: dict[str, Any], builds: list[Any], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert main(["demo", "--no-browser"]) == 0
    assert builds == [None]


def test_demo_opens_a_browser_only_on_a_desktop(
    live: dict[str, Any], builds: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading
    import webbrowser

    opened = threading.Event()
    monkeypatch.setattr(webbrowser, "get", lambda *args: None)
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.set())
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main(["demo"]) == 0
    assert not opened.is_set()
    monkeypatch.setenv("DISPLAY", ":0")
    assert main(["demo"]) == 0
    assert opened.wait(5)


def test_demo_takes_the_next_free_port(
    live: dict[str, Any], builds: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from narrate_stream.cli import demo

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(demo, "PORTS", range(port, port + 20))
        assert main(["demo", "--no-browser"]) == 0
    assert port < live["port"] < port + 20


def test_demo_renders_a_clip(fake: Fake, builds: list[Any], tmp_path: Path) -> None:
    def render_showcase(model: str, out: Path, progress: Callable[[str, float], None]) -> None:
        progress("orbit", 1.0)
        out.write_text(model)

    fake("offline.showcase", render_showcase=render_showcase)
    assert main(["demo", "--render", str(tmp_path / "o.mp4")]) == 0
    assert (tmp_path / "o.mp4").read_text() == "a model"


def test_camera(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Any] = []

    def run_camera(*arguments: Any, **options: Any) -> SimpleNamespace:
        asked.append((*arguments, options))
        return SimpleNamespace(frames=90, fps=30.0)

    fake("narrate_stream.camera", run_camera=run_camera, run_remote=run_camera)
    fake("narrate_stream.pipeline", Pipeline=FakePipeline)
    fake("offline.stills", load_or_build=lambda path, progress=None: "model")
    assert main(["camera", "m.narrate", "--webcam", "2", "--yaw", "10"]) == 0
    assert main(["camera", "--remote", "ws://there:8080/ws", "--token", "t", "--light", "rim"]) == 0
    avatar, number, _ = asked[0]
    assert avatar.options["view"] == View(10, 0)
    assert avatar.options["idle"]
    assert avatar.closed
    assert number == 2
    start = {"light": "rim", "view": {"yaw": 0.0, "pitch": 0.0}, "idle": True}
    assert asked[1] == ("ws://there:8080/ws", 0, {"token": "t", "controls": start})
    assert "90 frames, 30.0 a second" in capsys.readouterr().err


# ------------------------------------------------------------------ bench


def test_bench(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = {"p50": 1.0, "p95": 2.0, "p99": 3.0}
    result = {
        "size": 512,
        "frames": 20,
        "stages": {"track": times, "render": times},
        "frame": times,
        "fps": 80.5,
        "memory_mb": 700,
        "hardware": "2 cores [x]",
        "commit": "abc",
    }
    fake("narrate_stream.bench", run_bench=lambda model, size, frames: result)
    fake("offline.stills", load_or_build=lambda path, progress=None: "model")
    out = tmp_path / "b.json"
    assert main(["bench", "m.narrate", "--frames", "20", "--json", str(out)]) == 0
    assert json.loads(out.read_text()) == result
    shown = capsys.readouterr().out
    assert "render" in shown
    assert "2 cores [x]" in shown
    assert main(["bench", "m.narrate", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == result
