"""The house keeps its floors: imports point down or stay on their floor, and nothing goes in circles."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("narrate_stream", "offline")

# From the ground up. A new module gets its place here, in the commit that brings it.
FLOORS = (
    {"errors", "types", "config", "protocols", "data"},
    # `files` and `demux` are plain reading and writing; the offline stage uses them as well as the live one.
    {"ops", "kernels", "nets", "bands", "files", "demux", "sound", "media"},
    {
        "bundle",
        "drivers",
        "deformer",
        "renderer",
        "outskirts",
        "shading",
        "bending",
        "creases",
        "lids",
        "lightmap",
        "laying",
        "catchlights",
        "relighters",
        "fusion",
        "lights",
        "anchor",
        "onlooker",
        "lips",
        "rehearsal",
        "retarget",
        "calibration",
        "room",
    }
    | {"styles", "backdrops", "dimmer", "idle", "presence"},
    {"metrics", "pipeline", "bench", "stills"},
    {"latest", "media_rtc", "broadcast", "stage", "hub", "rtc", "whip", "signaling", "server", "camera", "doctor"}
    | {"gallery", "thumbnails", "uploads"},
    {"cli", "__main__"},
)
LEVEL = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
OFFLINE_MAY_USE = 3  # up to the pipeline


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Every module of ours that a file names in an import, at the top or late."""
    found: set[str] = set()
    known = {dotted(p) for p in modules()}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{dotted(path)} line {node.lineno}: imports are absolute here"
            name = str(node.module)
            inside = {f"{name}.{alias.name}" for alias in node.names} & known
            found |= inside or {name}
    return {name for name in found if name.partition(".")[0] in PACKAGES}


def room(name: str) -> str:
    """`narrate_stream.ops.colour` is in `ops`."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_every_module_has_a_floor() -> None:
    rooms = {room(dotted(path)) for path in modules() if path.is_relative_to(ROOT / "narrate_stream")} - {""}
    assert rooms <= set(LEVEL), f"give {sorted(rooms - set(LEVEL))} a floor in FLOORS"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_point_down(path: Path) -> None:
    name = dotted(path)
    for target in imports(path):
        if target == "narrate_stream":  # the version
            continue
        if target.startswith("offline"):
            assert name.startswith("offline") or room(name) == "cli", f"{name} imports {target}: only the cli may"
        else:
            limit = OFFLINE_MAY_USE if name.startswith("offline") else LEVEL.get(room(name), len(FLOORS))
            assert LEVEL.get(room(target), -1) <= limit, f"{name} imports {target}, which is on a higher floor"


def test_nothing_goes_in_circles() -> None:
    graph = {dotted(path): imports(path) for path in modules()}
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import circle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name in done:
            return
        for target in graph.get(name, set()) - {"narrate_stream"}:
            walk(target, (*trail, name))
        done.add(name)

    for name in graph:
        walk(name, ())


def test_the_package_itself_imports_nothing() -> None:
    assert imports(ROOT / "narrate_stream" / "__init__.py") == set()
