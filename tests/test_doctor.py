from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from narrate_stream import doctor
from narrate_stream.cli import main
from narrate_stream.doctor import BROKEN, CORE, MISSING, NOTE, OK, Finding


def test_every_core_dependency_is_looked_at() -> None:
    """The table in the doctor and the list in pyproject.toml are the same set."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    assert listed
    names = set(re.findall(r'^    "([\w-]+)', listed.group(1), re.MULTILINE))
    assert names == set(CORE)


def test_findings_are_plain() -> None:
    findings = {f.name: f for f in doctor.examine()}
    assert findings["Python"].state == OK
    assert all(findings[name].state == OK for name in CORE)
    assert findings["face models"].state == OK
    assert findings["Warp on the CPU"].state == OK
    assert findings["ffmpeg in av"].state == OK
    assert findings["TensorRT"].state == NOTE
    assert all("\n" not in f.found for f in findings.values())
    assert all(f.advice for f in findings.values() if f.state in (MISSING, BROKEN))


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("libGL.so.1: cannot open shared object file", "sudo apt install libgl1"),
        ("libgthread-2.0.so.0: cannot open shared object file", "sudo apt install libglib2.0-0"),
        ("libfoo.so.7: cannot open", "install the system library libfoo.so.7"),
        ("no module named x", ""),
    ],
)
def test_a_missing_library_names_its_package(message: str, advice: str) -> None:
    assert doctor.library_advice(message) == advice


def test_a_package_that_is_not_there_is_broken() -> None:
    finding = doctor._package("a-package-nobody-has", "nothing")
    assert finding.state == BROKEN
    assert not doctor.core_works([finding])
    assert doctor.core_works([Finding("x", MISSING, ""), Finding("y", NOTE, "")])


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def _sick() -> Iterator[Finding]:
        raise RuntimeError("two\nlines")
        yield

    monkeypatch.setattr(doctor, "CHECKS", (_sick,))
    assert doctor.examine() == [Finding("sick", BROKEN, "RuntimeError: two lines")]


@pytest.mark.parametrize(("state", "status"), [(OK, 0), (MISSING, 0), (BROKEN, 1)])
def test_the_command_exits_0_only_if_the_core_works(
    state: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("thing", state, "found", "pip install 'a[b]'")])
    assert main(["doctor"]) == status
    shown = capsys.readouterr().out
    assert "thing" in shown
    assert "a[b]" in shown
    assert ("does not work" in shown) == (status == 1)
