"""The page in a real browser: a fake camera drives, the avatar plays, the controls change what is seen."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from aioice.ice import get_host_addresses
from doubles import FakeAvatar, gradient, served

from narrate_stream.server import create_app

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.browser

NAMES = ("chromium-headless-shell", "chrome-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
MEAN = """() => {
  const video = document.getElementById('avatar'), canvas = document.createElement('canvas');
  canvas.width = canvas.height = 32;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0, 32, 32);
  const data = context.getImageData(0, 0, 32, 32).data, mean = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) mean[c] += data[i + c] / 1024;
  return mean;
}"""
BAR = """() => {
  const video = document.getElementById('avatar'), canvas = document.createElement('canvas');
  canvas.width = 128; canvas.height = 128;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0, 128, 128);
  const row = context.getImageData(0, 123, 128, 1).data;
  let best = 0, sum = 0;
  for (let x = 0; x < 128; x++) if (row[4 * x] + row[4 * x + 1] + row[4 * x + 2] > 690) { best += x; sum++; }
  return sum ? best / sum : -1;
}"""

HEAR = """() => {
  window.states = [];
  narrate.session.addEventListener('message', ({ detail }) => detail.state && states.push(detail.state));
}"""


def browser_path() -> str | None:
    named = os.environ.get("NARRATE_TEST_BROWSER")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


def write_y4m(path: Path, width: int = 320, height: int = 240, frames: int = 60) -> Path:
    """A clip that a fake camera plays in a loop."""
    with path.open("wb") as out:
        out.write(b"YUV4MPEG2 W%d H%d F30:1 Ip A1:1 C420jpeg\n" % (width, height))
        for n in range(frames):
            picture = cv2.resize(gradient(n), (width, height))
            out.write(b"FRAME\n" + cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path = browser_path()
    if path is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium-headless-shell)")
    if set(get_host_addresses(True, False)) <= {"127.0.0.1"}:
        pytest.skip("no network interface but loopback, over which Chromium opens no peer connection")
    clip = write_y4m(tmp_path_factory.mktemp("camera") / "camera.y4m")
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path=path, args=[*FLAGS, f"--use-file-for-fake-video-capture={clip}"], timeout=20_000
        )
        yield chromium
        chromium.close()


@contextlib.contextmanager
def page(browser: Any, width: int = 1280, height: int = 800) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": width, "height": height})
    tab = context.new_page()
    tab.set_default_timeout(15_000)
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.problems = problems
    yield tab
    context.close()
    assert not problems


def eventually(condition: Callable[[], Any], seconds: float = 12) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.1)
    return value


def seen(tab: Any, expression: str) -> None:
    """Wait for a JavaScript expression (playwright's own way evaluates a string, which the page's policy forbids)."""
    eventually(lambda: tab.evaluate(expression))


def go_live(tab: Any, url: str) -> None:
    tab.goto(url)
    tab.click("#start")
    seen(tab, "document.getElementById('avatar').videoWidth > 0")
    seen(tab, "document.body.dataset.phase === 'live'")


@pytest.fixture
def app() -> Any:
    return create_app(lambda options: FakeAvatar(), models=["fake"])


def test_the_avatar_plays_and_obeys(browser: Any, app: Any) -> None:
    with served(app) as url, page(browser) as tab:
        go_live(tab, url)
        assert tab.evaluate("document.getElementById('avatar').videoWidth") == 256

        first = tab.evaluate(MEAN)
        eventually(lambda: np.abs(np.subtract(tab.evaluate(MEAN), first)).max() > 0.3)  # it moves

        tab.click("[data-light=rembrandt]")  # warm: more red than blue
        eventually(lambda: (mean := tab.evaluate(MEAN))[0] > 1.5 * mean[2])
        tab.click("[data-light=split]")
        eventually(lambda: (mean := tab.evaluate(MEAN))[2] > 1.5 * mean[0])
        assert tab.get_attribute("[data-light=split]", "aria-checked") == "true"

        tab.click("[data-light=original]")
        ball = tab.locator("#ball").bounding_box()
        middle = (ball["x"] + ball["width"] / 2, ball["y"] + ball["height"] / 2)
        tab.mouse.move(*middle)
        tab.mouse.down()
        tab.mouse.move(middle[0] + ball["width"] * 0.38, middle[1], steps=5)
        tab.mouse.up()
        eventually(
            lambda: (mean := tab.evaluate(MEAN))[0] > 1.3 * mean[2]
        )  # the fake turns red under a sun from the right
        assert "°" in tab.inner_text("#ball-text")

        before = eventually(lambda: (at := tab.evaluate(BAR)) >= 0 and at)
        box = tab.locator("#picture").bounding_box()
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.mouse.down()
        tab.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2, steps=5)
        tab.mouse.up()
        eventually(lambda: tab.evaluate(BAR) > before + 8)
        assert tab.is_visible("#turned")
        tab.dblclick("#picture", position={"x": box["width"] / 2, "y": box["height"] / 2})
        eventually(lambda: abs(tab.evaluate(BAR) - before) < 4)

        eventually(lambda: "ms" in tab.inner_text("#hud-delay"))
        with tab.expect_download() as download:
            tab.click("#snapshot")
        assert download.value.suggested_filename.endswith(".png")
        picture = cv2.imread(str(download.value.path()))
        assert picture.shape == (256, 256, 3)


def thumbnail(model: str | None, light: Any) -> bytes:
    """A flat picture: red in split light, green in all others."""
    colour = (0, 0, 220) if light == "split" else (0, 180, 0)
    return bytes(cv2.imencode(".jpg", np.full((24, 24, 3), colour, np.uint8))[1])


def a_map() -> bytes:
    return bytes(cv2.imencode(".hdr", np.full((16, 32, 3), 0.5, np.float32))[1])


def drop(tab: Any, name: str, data: bytes) -> None:
    """Let go of a file over the page."""
    files = tab.evaluate_handle(
        """([name, bytes]) => {
          const files = new DataTransfer();
          files.items.add(new File([new Uint8Array(bytes)], name));
          return files;
        }""",
        [name, list(data)],
    )
    for event in ("dragenter", "dragover"):
        tab.dispatch_event("#picture", event, {"dataTransfer": files})
    assert tab.is_visible("#veil")
    tab.dispatch_event("#picture", "drop", {"dataTransfer": files})
    assert not tab.is_visible("#veil")


def green(tab: Any) -> bool:
    """As the fake avatar looks under an environment map."""
    red, middle, blue = tab.evaluate(MEAN)
    return bool(middle > 1.5 * red and middle > 1.5 * blue)


def test_the_strip_shows_this_face_in_every_light(browser: Any) -> None:
    app = create_app(lambda options: FakeAvatar(), models=["fake"], token="sesame", make_thumbnail=thumbnail)
    with served(app) as url, page(browser) as tab:
        tab.goto(url + "/?token=sesame")
        seen(tab, "document.querySelector('[data-light]')")
        lights = tab.evaluate("[...document.querySelectorAll('[data-light]')].map(b => b.dataset.light)")
        assert {"original", "rembrandt", "webcam"} <= set(lights)
        seen(tab, f"document.querySelectorAll('#lights img.in').length === {len(lights) - 1}")  # all but webcam
        colour = """light => {
          const canvas = document.createElement('canvas').getContext('2d');
          canvas.drawImage(document.querySelector(`[data-light=${light}] img`), 0, 0);
          return [...canvas.getImageData(5, 5, 1, 1).data];
        }"""
        assert tab.evaluate(colour, "split")[0] > 180 > tab.evaluate(colour, "rim")[0]
        assert not tab.query_selector("[data-light=webcam] img")


def test_a_map_that_is_dropped_lights_the_face(browser: Any, app: Any) -> None:
    with served(app) as url, page(browser) as tab:
        go_live(tab, url)
        drop(tab, "sky.hdr", a_map())
        eventually(lambda: green(tab))
        assert tab.get_attribute("[data-map=sky]", "aria-checked") == "true"
        tab.click("[data-light=split]")
        eventually(lambda: (mean := tab.evaluate(MEAN))[2] > 1.5 * mean[0])
        tab.click("[data-map=sky]")  # it is still there
        eventually(lambda: green(tab))

        drop(tab, "broken.exr", b"v/1\x01 and then nothing")
        seen(tab, "document.getElementById('toast').textContent.includes('broken.exr')")
        assert not tab.query_selector("[data-map=broken]")
        drop(tab, "song.mp3", b"la la")
        seen(tab, "document.getElementById('toast').textContent.includes('no environment map')")
        tab.set_input_files("#map-file", {"name": "dusk.hdr", "mimeType": "", "buffer": a_map()})
        seen(tab, "document.querySelector('[data-map=dusk]')?.getAttribute('aria-checked') === 'true'")


def test_a_map_is_there_again_after_a_reconnection(browser: Any, app: Any) -> None:
    with served(app) as url, page(browser) as tab:
        tab.goto(url)
        drop(tab, "sky.hdr", a_map())  # before there is a session: it waits
        tab.click("#start")
        eventually(lambda: tab.evaluate("document.body.dataset.phase === 'live'"))
        eventually(lambda: green(tab))
        before = tab.evaluate("narrate.session.id")
        tab.evaluate("narrate.session.connect()")
        seen(tab, "document.body.dataset.phase === 'live' && narrate.maps.all[0].session === narrate.session.id")
        eventually(lambda: green(tab))
        assert tab.evaluate("narrate.session.id") != before
        assert tab.evaluate("narrate.maps.all.length") == 1


def test_exposure_warmth_and_turn_act_and_are_reset(browser: Any, app: Any) -> None:
    with served(app) as url, page(browser) as tab:
        go_live(tab, url)
        tab.evaluate(HEAR)
        last = "states.at(-1)?."
        eventually(lambda: sum(tab.evaluate(MEAN)) > 100)
        before = sum(tab.evaluate(MEAN))
        tab.fill("#exposure", "-1")
        eventually(lambda: sum(tab.evaluate(MEAN)) < 0.65 * before)
        tab.fill("#warmth", "80")
        eventually(lambda: (mean := tab.evaluate(MEAN))[0] > 1.4 * mean[2])
        assert tab.inner_text("#exposure-out") == "−1.0"
        tab.focus("#dial")
        tab.keyboard.press("ArrowRight")
        seen(tab, last + "turn === 5")
        box = tab.locator("#dial").bounding_box()
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.mouse.move(middle[0], middle[1] + 0.4 * box["height"])
        tab.mouse.down()
        tab.mouse.move(middle[0] + 0.4 * box["width"], middle[1], steps=6)  # from the viewer's side to the right
        tab.mouse.up()
        seen(tab, last + "turn === 90")
        assert tab.inner_text("#turn-out") == "+90°"

        ball = tab.locator("#ball").bounding_box()  # a lamp that is put somewhere by hand stands there
        tab.mouse.click(ball["x"] + 0.8 * ball["width"], ball["y"] + 0.5 * ball["height"])
        seen(tab, last + "turn === 0 && " + last + "light.startsWith('sun:')")
        assert tab.evaluate("narrate.ball.az") > 30
        tab.click("#reset")
        seen(tab, last + "exposure === 0 && " + last + "warmth === 0")
        assert not tab.is_visible("#reset")
        tab.click("[data-ground=environment]")
        seen(tab, last + "background === 'environment'")


def test_the_page_tells_what_the_portrait_holds_back_and_how_well_it_knows_its_driver(browser: Any, app: Any) -> None:
    with served(app) as url, page(browser) as tab:
        go_live(tab, url)
        seen(tab, "document.getElementById('held').textContent === 'turn eased by 14°'")
        assert tab.is_visible("#held")
        seen(tab, "document.getElementById('neutral').getAttribute('aria-valuenow') === '83'")
        assert "83 %" in tab.inner_text("#neutral")
        tab.click("#calibrate")
        seen(tab, "document.getElementById('neutral-text').textContent.includes('by hand')")


def test_idle_has_a_switch_that_survives_a_reconnection(browser: Any, app: Any) -> None:
    with served(app) as url, page(browser) as tab:
        go_live(tab, url)
        tab.evaluate(HEAR)
        assert tab.is_checked("#idle")
        tab.click("#idle")
        seen(tab, "states.at(-1)?.idle === false")
        tab.evaluate("narrate.session.connect()")
        seen(tab, "document.body.dataset.phase === 'live' && states.length > 2 && states.at(-1).idle === false")
        assert not tab.is_checked("#idle")


def test_it_comes_back_after_the_server_does(browser: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with page(browser) as tab:
        with served(create_app(lambda options: FakeAvatar()), port) as url:
            go_live(tab, url)
            tab.click("[data-light=split]")
        seen(tab, "document.body.dataset.phase === 'lost'")
        assert "trying again" in tab.inner_text("#status")
        with served(create_app(lambda options: FakeAvatar()), port):
            seen(tab, "document.body.dataset.phase === 'live'")
            eventually(lambda: (mean := tab.evaluate(MEAN))[2] > 1.5 * mean[0])  # and the light is the one it had


def test_words_for_a_refused_camera(browser: Any, app: Any) -> None:
    with served(app) as url, page(browser) as tab:
        for name, words in (
            ("NotAllowedError", "blocked"),
            ("NotFoundError", "No camera"),
            ("NotReadableError", "busy"),
        ):
            tab.goto(url)
            tab.evaluate(
                "name => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', name); }; }",
                name,
            )
            tab.click("#start")
            seen(tab, f"document.getElementById('welcome-title').textContent.includes('{words}')")
            assert tab.is_enabled("#start")
        tab.goto(url)
        tab.evaluate("() => { Object.defineProperty(navigator, 'mediaDevices', { value: undefined }); }")
        tab.click("#start")
        seen(tab, "document.getElementById('welcome-title').textContent.includes('not secure')")


def test_a_server_with_a_token_asks_for_it(browser: Any) -> None:
    with served(create_app(lambda options: FakeAvatar(), token="sesame")) as url, page(browser) as tab:
        tab.goto(url)
        tab.click("#start")
        seen(tab, "document.getElementById('welcome-title').textContent.includes('token')")
        assert not tab.evaluate("document.getElementById('avatar')?.videoWidth > 0")
        go_live(tab, url + "/?token=sesame")
        assert tab.evaluate("document.getElementById('avatar').videoWidth") > 0


def test_view_only_shows_the_driver_and_nothing_else(browser: Any, app: Any) -> None:
    with served(app) as url, page(browser) as driver, page(browser, 640, 640) as viewer:
        go_live(driver, url)
        driver.click("[data-light=split]")
        viewer.goto(url + "/?view=1")
        seen(viewer, "document.getElementById('avatar')?.videoWidth > 0")
        assert viewer.evaluate("document.body.children.length") == 1
        assert viewer.evaluate("getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"
        eventually(lambda: (mean := viewer.evaluate(MEAN))[2] > 1.5 * mean[0])


def test_a_phone_has_no_sideways_scroll(browser: Any, app: Any) -> None:
    with served(app) as url, page(browser, 390, 844) as tab:
        go_live(tab, url)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        at = "document.querySelector('[data-light=original]').getBoundingClientRect().left"
        assert 0 <= tab.evaluate(at) < 60  # the light that is on is in view
        small = tab.evaluate(
            "[...document.querySelectorAll('button')].filter(b => b.offsetParent && b.offsetHeight < 40).map(b => b.id)"
        )
        assert small == []
        tab.fill("#exposure", "1")
        assert tab.locator("#reset").bounding_box()["height"] >= 40
        tab.locator("#dial").scroll_into_view_if_needed()
        box = tab.locator("#dial").bounding_box()
        tab.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + box["height"] / 2)
        assert tab.inner_text("#turn-out") == "−90°"
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
