"""The QA page: all its pictures are there, it needs nothing from elsewhere, and names cannot break out of it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from narrate_stream.errors import NarrateError
from offline.build import Build, build
from offline.picture import load_builtin_portrait
from offline.report import EXPRESSIONS, LIGHTS, VIEWS, depth_picture, expression, page, with_landmarks, write_report


@pytest.fixture(scope="module")
def made() -> Build:
    return build(load_builtin_portrait(), 320)


@pytest.fixture(scope="module")
def folder(made: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "deep" / "qa"
    write_report(made, path)
    return path


class Page(HTMLParser):
    """Collects what a page refers to and says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [str(value) for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_every_picture_of_the_page_is_there_and_shows_something(folder: Path) -> None:
    shown = Page((folder / "index.html").read_text(encoding="utf-8"))
    files = {p.name for p in folder.iterdir()}
    assert set(shown.sources) == files - {"index.html"}
    assert shown.tags.count("img") == 8 + len(VIEWS) + len(LIGHTS) + len(EXPRESSIONS)
    for name in sorted(files - {"index.html"}):
        picture = cv2.imread(str(folder / name))
        assert picture is not None, name
        assert picture.std() > 8, f"{name} shows nothing"


def test_the_page_needs_nothing_from_elsewhere(folder: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|<script|url\(", text)


def test_the_page_tells_times_and_provenance(made: Build, folder: Path) -> None:
    words = Page((folder / "index.html").read_text(encoding="utf-8")).words
    for step, seconds in made.seconds.items():
        assert step in words
        assert f"{seconds:.2f} s" in words
    for key, value in made.model.provenance.items():
        assert key.replace("_", " ") in words
        assert str(value) in words
    assert f"{len(made.model.triangles):,}" in words


def test_a_name_cannot_break_out_of_the_page(made: Build) -> None:
    nasty = replace(made, model=replace(made.model, name='<img src=x onerror=alert(1)>&"'))
    shown = Page(page(nasty, {}))
    assert "img" not in shown.tags
    assert "<img src=x onerror=alert(1)>" in shown.words


def test_pictures_differ_where_they_should(folder: Path) -> None:
    def difference(a: str, b: str) -> float:
        return float(np.abs(cv2.imread(str(folder / a)).astype(int) - cv2.imread(str(folder / b))).mean())

    assert difference("view-yaw-minus25.png", "view-yaw-plus25.png") > 5
    assert difference("light-split.png", "light-butterfly.png") > 3
    assert difference("face-at-rest.png", "face-jaw-open.png") > 0.3
    assert difference("face-at-rest.png", "face-blink.png") > 0.1


def test_landmarks_are_drawn_where_they_are(made: Build) -> None:
    drawn = with_landmarks(made).astype(int)
    x, y = np.round(made.portrait.landmarks[4, :2]).astype(int)
    assert np.abs(drawn[y, x] - [120, 240, 255]).max() < 40
    assert np.array_equal(drawn[:5, :5], made.portrait.image[:5, :5])


def test_depth_is_brighter_at_the_nose_than_at_the_chin(made: Build) -> None:
    picture = cv2.medianBlur(depth_picture(made), 7).astype(int).sum(-1)  # without the contours
    nose, chin = (np.round(made.portrait.landmarks[i, :2]).astype(int) for i in (4, 152))
    assert picture[nose[1], nose[0]] > picture[chin[1], chin[0]] + 60


def test_a_blink_covers_the_eyes(made: Build) -> None:
    rest, shut = (expression(made.model, EXPRESSIONS[name]).astype(int) for name in ("At rest", "Blink"))
    change = np.abs(rest - shut).sum(-1)
    rows = np.nonzero(change > 40)[0]
    assert 50 < (change > 40).sum() < 0.03 * change.size
    assert np.ptp(rows) < 0.2 * change.shape[0]


def test_a_folder_that_cannot_be_made_is_said_so(made: Build, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NarrateError, match="cannot be written"):
        write_report(made, tmp_path / "file")
