"""One sampled person in front of the stage's camera: mesh, materials' coordinates, pose and lens.

Convention: head space in cm as in the FaceKit; camera space cm, x right in the image, y up, z toward the viewer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from narrate_stream.errors import NarrateError
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from offline.facekit import FaceKit, load_facekit
from offline.facemesh import vertex_normals
from offline.lightstage.person import Skin, sample_skin
from offline.lightstage.props import Prop, sample_props
from offline.lightstage.tissue import displacement
from offline.window import FACE_CM, STAGE_SPAN

F64 = NDArray[np.float64]
HIDDEN = ("LacrimalFluid", "EyeBlend", "EyeOcclusion", "EyeLashes")  # refraction and hair cards: not surfaces


NECK = np.array([0.0, -4.0, 0.0])  # cm, the point the head turns about

BACKGROUND, SKIN, HAIR, CLOTH, EYE, MOUTH, GLASSES = range(7)
LABELS = {"skin": SKIN, "hair": HAIR, "cloth": CLOTH, "glasses": GLASSES}


@dataclass(frozen=True)
class Kit:
    """The FaceKit ready for sampling: its arrays as float32 matrices, and the landmarks among its vertices."""

    kit: FaceKit
    marks: NDArray[np.int64]  # (68,) iBUG landmarks

    @cached_property
    def identity(self) -> NDArray[np.float32]:
        """(I, V*3)."""
        return np.asarray(self.kit.identity, np.float32).reshape(len(self.kit.identity), -1)

    @cached_property
    def expression(self) -> NDArray[np.float32]:
        """(E, V*3)."""
        return np.asarray(self.kit.expression, np.float32).reshape(len(self.kit.expression), -1)

    @cached_property
    def shown(self) -> NDArray[np.bool_]:
        """(T,) triangles that are surfaces."""
        hidden = np.array([any(h in n for h in HIDDEN) for n in self.kit.material_names])
        return np.asarray(~hidden[self.kit.material])

    @cached_property
    def origin(self) -> F64:
        """(3,) canonical head space's origin in the kit's."""
        return np.asarray(self.kit.neutral[self.marks[[36, 45]]].mean(0) * [1, 1, 0], np.float64)

    @cached_property
    def landmarks(self) -> NDArray[np.int64]:
        """(468,) vertices nearest to the detector's landmarks on the average head."""
        face = np.unique(self.kit.triangles[self.kit.material == self.kit.material_names.index("M_Face")])
        mean = canonical().landmarks[:468] + self.origin
        return np.asarray(face[np.linalg.norm(self.kit.neutral[face][None] - mean[:, None], axis=-1).argmin(1)])

    def vertices(self, identity: NDArray[np.float32], expression: NDArray[np.float32]) -> NDArray[np.float32]:
        """(V, 3) of one head."""
        moved = identity @ self.identity[: len(identity)] + expression @ self.expression
        return np.asarray(self.kit.neutral + moved.reshape(-1, 3), np.float32)


def load_kit(folder: Path) -> Kit:
    """The kit in `folder`. Raises NarrateError when a file is missing."""
    kit = load_facekit(folder)
    try:
        indices = json.loads((folder / "vertex_indices.json").read_text())
    except (OSError, ValueError) as error:
        raise NarrateError(f"{folder}: not an ICT FaceKit folder ({error})") from error
    return Kit(kit, np.asarray(indices["idx_to_landmark_verts"], np.int64))


@dataclass(frozen=True)
class Head:
    """One person before the camera. vertices (V, 3) camera space cm and normals (V, 3); triangles (T, 3); label (T,);
    neutral (V, 3): where each vertex lies on the average head (nan on props); paint (V, 3): linear albedo of props (nan
    elsewhere); gloss (V, 2): roughness and specular of props; material (T,): the kit's, -1 on props; camera for a
    picture of `size` pixels; landmarks (468, 2) px as the detector should find them."""

    vertices: F64
    normals: F64
    triangles: NDArray[np.int32]
    label: NDArray[np.uint8]
    material: NDArray[np.int32]
    neutral: F64
    paint: F64
    gloss: F64
    skin: Skin
    camera: Camera
    size: int
    landmarks: F64
    rotation: F64


def label_of(material: str) -> int:
    """What a material of the kit is."""
    if "Sclera" in material or "Iris" in material:
        return EYE
    return MOUTH if "Gums" in material or "Teeth" in material else SKIN


def sample_expression(rng: np.random.Generator, names: tuple[str, ...]) -> NDArray[np.float32]:
    """(E,) weights: at rest, one feeling for both sides, or something odd."""
    weight = dict.fromkeys(names, 0.0)

    def both(name: str, value: float, uneven: float = 0.15) -> None:
        for side in ("_L", "_R"):
            weight[name + side if name + side in weight else name] = value * (1 + rng.normal(0, uneven))

    kind = rng.random()
    if kind > 0.35:
        for name, chance, top in (
            ("mouthSmile", 0.4, 0.9), ("jawOpen", 0.3, 0.6), ("browInnerUp", 0.2, 0.8), ("browDown", 0.2, 0.8),
            ("browOuterUp", 0.15, 0.7), ("cheekRaiser", 0.25, 0.8), ("eyeSquint", 0.2, 0.7), ("eyeWide", 0.1, 0.6),
            ("eyeBlink", 0.15, 1.0), ("mouthFrown", 0.12, 0.6), ("mouthPucker", 0.1, 0.7), ("mouthPress", 0.12, 0.6),
            ("noseSneer", 0.12, 0.6), ("mouthStretch", 0.1, 0.4), ("mouthUpperUp", 0.12, 0.5), ("cheekPuff", 0.05, 0.6),
            ("mouthLowerDown", 0.12, 0.5), ("mouthDimple", 0.1, 0.5), ("mouthShrugLower", 0.1, 0.4),
        ):  # fmt: skip
            if rng.random() < chance:
                both(name, rng.uniform(0.1, top))
    if kind > 0.8:
        for name in rng.choice([n for n in names if "Pupil" not in n and "Look" not in n], 3, replace=False):
            weight[str(name)] = rng.uniform(0, 0.6)
    across, up = rng.normal(0, 0.25, 2)
    weight["eyeLookOut_R" if across < 0 else "eyeLookIn_R"] = min(abs(across), 1)
    weight["eyeLookIn_L" if across < 0 else "eyeLookOut_L"] = min(abs(across), 1)
    both("eyeLookUp" if up > 0 else "eyeLookDown", min(abs(up), 1), 0)
    return np.clip([weight[n] for n in names], 0, 1).astype(np.float32)


def sample_camera(rng: np.random.Generator, size: int) -> tuple[Camera, F64]:
    """A lens and where the head stands before it (3,): the face fills the picture alike at every distance."""
    distance = float(np.exp(rng.uniform(np.log(38), np.log(260))))
    focal = size / STAGE_SPAN / FACE_CM * distance
    # the face need not have been in the middle of the photograph that the picture was cut from
    shift = np.tan(np.radians(rng.normal(0, 5, 2).clip(-14, 14))) * focal
    camera = Camera(focal, (size - 1) / 2 + shift[0], (size - 1) / 2 + shift[1])
    middle = (size - 1) / 2 + rng.normal(0, 0.02 * size, 2)
    at = camera.unproject(middle[None], -distance)[0]
    return camera, at


def sample_pose(rng: np.random.Generator) -> F64:
    """(3, 3) camera_from_head: mostly facing the camera, sometimes far round."""
    yaw = rng.uniform(-58, 58) if rng.random() < 0.25 else rng.normal(0, 16)
    return rotation_from_angles(float(yaw), float(np.clip(rng.normal(0, 9), -25, 25)), float(rng.normal(0, 5)))


def uneven(rng: np.random.Generator, stage: Kit, vertices: NDArray[np.float32]) -> NDArray[np.float32]:
    """The head with soft tissue of its own, which moves the skin along its normals."""
    skin = np.unique(stage.kit.triangles[stage.kit.material == stage.kit.material_names.index("M_Face")])
    normals = vertex_normals(vertices.astype(np.float64), stage.kit.triangles)
    out = vertices.copy()
    out[skin] += normals[skin] * displacement(rng, stage.kit.neutral[skin])[:, None]
    return out


def sample_head(rng: np.random.Generator, stage: Kit, size: int, *, props: bool = True) -> Head:
    """A person: identity, expression, skin, hair and clothes, pose and lens."""
    spread = rng.choice([0.7, 0.9, 1.1])
    vertices = stage.vertices(
        rng.normal(0, spread, len(stage.identity)).astype(np.float32),
        sample_expression(rng, stage.kit.expression_names),
    )
    vertices = uneven(rng, stage, vertices)
    skin = sample_skin(rng)
    worn: list[Prop] = sample_props(rng, stage.kit, vertices, stage.marks) if props else []
    triangles = [stage.kit.triangles[stage.shown]]
    material = [stage.kit.material[stage.shown]]
    names = stage.kit.material_names
    of = np.array(
        [EYE if "Sclera" in n or "Iris" in n else MOUTH if "Gums" in n or "Teeth" in n else SKIN for n in names]
    )
    label = [of[material[0]]]
    parts, neutral = [vertices], [stage.kit.neutral]
    paint, gloss = [np.full((len(vertices), 3), np.nan)], [np.full((len(vertices), 2), np.nan)]
    for prop in worn:
        triangles.append(prop.triangles + sum(map(len, parts)))
        material.append(np.full(len(prop.triangles), -1, np.int32))
        label.append(np.full(len(prop.triangles), LABELS[prop.label]))
        parts.append(prop.vertices)
        neutral.append(prop.vertices if prop.label == "skin" else np.full((len(prop.vertices), 3), np.nan))
        paint.append(prop.albedo)
        gloss.append(np.tile([prop.roughness, prop.specular], (len(prop.vertices), 1)))
    corners = np.concatenate(triangles).astype(np.int32)
    camera, at = sample_camera(rng, size)
    rotation = sample_pose(rng)
    face = vertices[stage.landmarks]
    centre = face.mean(0) * 0.5 + (face.max(0) + face.min(0)) / 4
    points = (np.concatenate(parts).astype(np.float64) - centre) @ rotation.T + at
    return Head(
        vertices=points,
        normals=vertex_normals(points, corners),
        triangles=corners,
        label=np.concatenate(label).astype(np.uint8),
        material=np.concatenate(material).astype(np.int32),
        neutral=np.concatenate(neutral).astype(np.float64),
        paint=np.concatenate(paint).astype(np.float64),
        gloss=np.concatenate(gloss).astype(np.float64),
        skin=skin,
        camera=camera,
        size=size,
        landmarks=camera.project(points[stage.landmarks]),
        rotation=rotation,
    )
