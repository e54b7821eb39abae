"""`narrate build --report`: one page that shows how a model was made, for people to look at."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.script import ScriptDriver, parse_script
from narrate_stream.errors import NarrateError
from narrate_stream.files import write_bytes, write_png
from narrate_stream.ops.canonical import canonical
from narrate_stream.pipeline import Pipeline
from narrate_stream.types import Frame, Image, View
from offline.facemesh import face_topology
from offline.geometry import Surface
from offline.preprocess import Portrait

F64 = NDArray[np.float64]
SHOT = 480  # pixels of a rendered picture
LONGEST = 1024  # of a map
VIEWS = {"Yaw -25": View(-25, 0), "Yaw +25": View(25, 0), "Pitch -15": View(0, -15), "Pitch +15": View(0, 15)}
LIGHTS = ("rembrandt", "split", "butterfly", "rim")
EXPRESSIONS: dict[str, dict[str, float]] = {
    "At rest": {},
    "Jaw open": {"jawOpen": 0.6},
    "Blink": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "Smile": {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "cheekSquintLeft": 0.3, "cheekSquintRight": 0.3},
}
GREEN = (18, 168, 74)
Figure = tuple[str, str, Image]  # file name, caption, picture


class HasNormals(Protocol):
    """What the page needs of `offline.maps.Maps`."""

    @property
    def normal(self) -> F64:
        """(H, W, 3) normals at canvas size."""


class Made(Protocol):
    """What the page needs of `offline.build.Build`, which imports this module and so cannot be imported here."""

    @property
    def model(self) -> HybridModel:
        """The finished model."""

    @property
    def portrait(self) -> Portrait:
        """Crop and landmarks."""

    @property
    def alpha(self) -> NDArray[np.float32]:
        """(H, W) the matte."""

    @property
    def surface(self) -> Surface:
        """Depth and coarse normals."""

    @property
    def maps(self) -> HasNormals:
        """The model's normals."""

    @property
    def seconds(self) -> dict[str, float]:
        """How long each step took."""


def write_report(made: Made, directory: Path) -> None:
    """`index.html` and the pictures it shows, in `directory`. Raises NarrateError when it cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NarrateError(f"{directory} cannot be written: {error.strerror or error}") from error
    sections = {
        "Portrait": portrait_figures(made),
        "Geometry": geometry_figures(made),
        "Views": view_figures(made.model),
        "Light": light_figures(made.model),
        "Expression": expression_figures(made.model),
    }
    for figures in sections.values():
        for name, _, picture in figures:
            write_png(directory / name, picture)
    write_bytes(directory / "index.html", page(made, sections).encode())


# ------------------------------------------------------------------ pictures


def fitted(picture: NDArray[np.uint8]) -> Image:
    """The picture, not larger than LONGEST."""
    k = LONGEST / max(picture.shape[:2])
    if k >= 1:
        return np.ascontiguousarray(picture)
    return np.asarray(cv2.resize(picture, None, fx=k, fy=k, interpolation=cv2.INTER_AREA), np.uint8)


def portrait_figures(made: Made) -> list[Figure]:
    """What was found in the picture."""
    alpha = made.alpha[..., None]
    keyed = (made.portrait.image * alpha + np.array(GREEN) * (1 - alpha) + 0.5).astype(np.uint8)
    height = made.model.canvas[1]
    return [
        ("crop.png", "Crop with its 478 landmarks", fitted(with_landmarks(made))),
        ("matte.png", "Matte over green", fitted(keyed)),
        ("plate.png", "Background plate", fitted(made.model.plate)),
        (
            "albedo.png",
            "Albedo: the picture with its light divided out",
            fitted(over_dark(made.model.albedo[:height], made.alpha)),
        ),
    ]


def with_landmarks(made: Made) -> Image:
    """The crop, the face's tessellation faintly and the landmarks as dots."""
    out = made.portrait.image.copy()
    marks, size = made.portrait.landmarks[:, :2], max(out.shape[:2])
    over = out.copy()
    cv2.polylines(over, edge_lines(canonical().triangles, marks), False, (255, 255, 255), 1, cv2.LINE_AA, 4)
    out = np.asarray(cv2.addWeighted(over, 0.28, out, 0.72, 0), np.uint8)
    radius = max(1, round(size / 700))
    for i, (x, y) in enumerate(marks):
        colour = (255, 176, 92) if i >= 468 else (120, 240, 255)
        cv2.circle(out, (round(x * 16), round(y * 16)), radius * 16, colour, -1, cv2.LINE_AA, 4)
    return out


def edge_lines(triangles: NDArray[Any], pixels: F64) -> list[NDArray[np.int32]]:
    """Every edge once, as polylines with 4 fractional bits."""
    edges = np.unique(np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    return list(np.round(pixels[edges] * 16).astype(np.int32))


def geometry_figures(made: Made) -> list[Figure]:
    """Depth, normals before and after, and the mesh."""
    person = made.alpha
    return [
        ("depth.png", "Depth (warm is near)", fitted(depth_picture(made))),
        ("normals-coarse.png", "Coarse normals", fitted(normal_picture(made.surface.coarse, person))),
        ("normals.png", "Normals of the model", fitted(normal_picture(made.maps.normal, person))),
        ("mesh.png", f"Mesh: {len(made.model.triangles):,} triangles", fitted(wireframe(made))),
    ]


def normal_picture(normal: F64, alpha: NDArray[np.float32]) -> Image:
    """n = rgb / 255 * 2 - 1 over the person, dark elsewhere."""
    h, w = alpha.shape
    large = cv2.resize(normal.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
    large /= np.linalg.norm(large, axis=-1, keepdims=True) + 1e-9
    return over_dark((large * 0.5 + 0.5) * 255, alpha)


def over_dark(picture: NDArray[Any], alpha: NDArray[np.float32]) -> Image:
    """The person's part of a picture on the page's own ground."""
    a = alpha[..., None]
    return np.asarray(np.clip(picture * a + np.array([22, 24, 30]) * (1 - a) + 0.5, 0, 255), np.uint8)


def depth_picture(made: Made) -> Image:
    """The surface's depth in colours, its contours 1 cm apart."""
    h, w = made.alpha.shape
    z = cv2.resize(made.surface.z, (w, h), interpolation=cv2.INTER_LINEAR)
    inside = made.alpha > 0.5
    near, far = (float(np.percentile(z[inside], q)) for q in (99.8, 0.5)) if inside.any() else (1.0, 0.0)
    level = np.clip((z - far) / max(near - far, 1e-6), 0, 1)
    colour = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1].astype(np.float64)
    steep = np.hypot(np.gradient(z, axis=0), np.gradient(z, axis=1)) + 1e-4
    line = np.clip(1.2 - np.abs(z - np.round(z)) / steep, 0, 1) * (steep < 0.35)
    return over_dark(colour * (1 - 0.35 * line[..., None]), made.alpha)


def wireframe(made: Made) -> Image:
    """The mesh over the dimmed crop: the physical face bright, the rest faint."""
    model = made.model
    scale = max(1.0, 900 / max(model.canvas))
    size = round(model.canvas[0] * scale), round(model.canvas[1] * scale)
    out = np.asarray(cv2.resize(made.portrait.image, size, interpolation=cv2.INTER_AREA) * 0.32 + 12, np.uint8)
    pixels = (model.camera.project(model.vertices) + 0.5) * scale - 0.5
    face = face_topology().smooth.shape[0]
    own = (model.triangles < face).all(1)
    for triangles, colour in ((model.triangles[~own], (62, 92, 112)), (model.triangles[own], (150, 226, 255))):
        cv2.polylines(out, edge_lines(triangles, pixels), False, colour, 1, cv2.LINE_AA, 4)
    return out


def view_figures(model: HybridModel) -> list[Figure]:
    """The resting portrait from the sides, above and below."""
    return [(f"view-{slug(name)}.png", f"{name}°", shot(model, view=view)) for name, view in VIEWS.items()]


def light_figures(model: HybridModel) -> list[Figure]:
    """Four lights that show four faults: cast shadow, half face, from above, from behind."""
    return [(f"light-{name}.png", name.capitalize(), shot(model, light=name)) for name in LIGHTS]


def expression_figures(model: HybridModel) -> list[Figure]:
    """What the rig does, driven by a script's channels."""
    return [(f"face-{slug(name)}.png", name, expression(model, weights)) for name, weights in EXPRESSIONS.items()]


def expression(model: HybridModel, weights: dict[str, float]) -> Image:
    """The avatar holding one expression."""
    script = parse_script({"version": 1, "frames": [{"time": 0, "expression": weights}]})
    return shot(model, driver=ScriptDriver(script))


def shot(model: HybridModel, **options: Any) -> Image:
    """One picture of the head; options as `Pipeline` takes them."""
    pipeline = Pipeline(model, size=SHOT, **options)
    try:
        return pipeline.step(Frame(np.full((64, 64, 3), 127, np.uint8))).image
    finally:
        pipeline.close()


def slug(name: str) -> str:
    """A caption as part of a file name."""
    return name.lower().replace("+", "plus").replace("-", "minus").replace(" ", "-")


# ------------------------------------------------------------------ page

STYLE = """
:root { color-scheme: dark; --ground: #0d0e12; --card: #16181e; --line: #262a33; --ink: #ecebe6; --faint: #8f94a1;
  --warm: #ffb05c; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
main { max-width: 1360px; margin: 0 auto; padding: 56px 32px 96px; }
header p, figcaption, th { color: var(--faint); }
h1 { font-size: 38px; font-weight: 500; letter-spacing: -.02em; line-height: 1.15; margin: 0 0 6px;
  overflow-wrap: anywhere; }
h2 { font-size: 20px; font-weight: 500; margin: 56px 0 16px; }
h2::before { content: ""; display: block; width: 28px; height: 2px; background: var(--warm); margin-bottom: 14px; }
.grid { display: grid; gap: 16px; align-items: start; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr)); }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
figure a { display: block; }
figure img { display: block; width: 100%; height: auto; }
figcaption { padding: 10px 14px 12px; font-size: 13px; }
.tables { display: grid; gap: 32px; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); align-items: start; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--ink); padding-bottom: 8px; }
th, td { text-align: left; font-weight: 400; padding: 7px 12px 7px 0; border-top: 1px solid var(--line);
  vertical-align: top; }
td { overflow-wrap: anywhere; }
td.time { text-align: right; white-space: nowrap; width: 5.5em; padding-right: 0; }
.bar { height: 6px; border-radius: 3px; background: var(--warm); min-width: 2px; margin-top: 8px; }
"""


def page(made: Made, sections: dict[str, list[Figure]]) -> str:
    """The whole document; nothing is loaded from elsewhere."""
    model = made.model
    name = escape(model.name)
    facts = f"{model.frame_size[0]} × {model.frame_size[1]} pixels, canvas {model.canvas[0]} × {model.canvas[1]}"
    body = "".join(section(title, figures) for title, figures in sections.items())
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name} · narrate-stream</title>\n<style>{STYLE}</style>\n<main>\n"
        f"<header><h1>{name}</h1><p>{facts}, built in {sum(made.seconds.values()):.1f} s</p></header>\n"
        f'{body}<h2>Making</h2>\n<div class="tables">{timings(made)}{origins(made)}</div>\n</main>\n</html>\n'
    )


def section(title: str, figures: list[Figure]) -> str:
    """A row of pictures; each opens at its own size."""
    cards = "".join(
        f'<figure><a href="{file}"><img src="{file}" alt="{escape(caption)}" loading="lazy" '
        f'width="{picture.shape[1]}" height="{picture.shape[0]}"></a>'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
        for file, caption, picture in figures
    )
    return f'<h2>{escape(title)}</h2>\n<div class="grid">\n{cards}</div>\n'


def timings(made: Made) -> str:
    """How long each step took."""
    longest = max(made.seconds.values(), default=0.0) or 1.0
    rows = "".join(
        f'<tr><th>{escape(step)}</th><td><div class="bar" style="width:{100 * seconds / longest:.0f}%"></div></td>'
        f'<td class="time">{seconds:.2f} s</td></tr>'
        for step, seconds in made.seconds.items()
    )
    return f"<table><caption>Steps</caption>{rows}</table>"


def origins(made: Made) -> str:
    """Where the model comes from and what it holds."""
    model = made.model
    facts = {
        **{key.replace("_", " "): value for key, value in model.provenance.items()},
        "vertices": f"{len(model.vertices):,}",
        "triangles": f"{len(model.triangles):,}",
        "horizons": " x ".join(map(str, model.horizons.shape)),
        "focal length": f"{model.camera.focal / model.crop[2]:.0f} px",
    }
    rows = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in facts.items())
    return f"<table><caption>Provenance</caption>{rows}</table>"
