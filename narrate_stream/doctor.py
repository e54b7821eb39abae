"""What works on this machine, found by trying it: each check runs the thing, none reads a promise."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

OK, MISSING, BROKEN, NOTE = "ok", "missing", "broken", "note"

# The distribution, and the module to import where its name is another.
CORE = {
    "aiortc": "",
    "av": "",
    "click": "",
    "mediapipe": "",
    "numpy": "",
    "opencv-contrib-python": "cv2",
    "pillow": "PIL",
    "prometheus-client": "prometheus_client",
    "rich": "",
    "safetensors": "",
    "scikit-image": "skimage",
    "scipy": "",
    "starlette": "",
    "torch": "",
    "uvicorn": "",
    "warp-lang": "warp",
    "websockets": "",
}
APT = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libEGL.so.1": "libegl1",
}
FACE_MODELS = (
    "modules/face_landmark/face_landmark_with_attention.tflite",
    "modules/face_detection/face_detection_short_range.tflite",
    "modules/selfie_segmentation/selfie_segmentation.tflite",
)
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Finding:
    """One line of the table: state is `ok`, `missing` (optional), `broken` (the core needs it) or `note`."""

    name: str
    state: str
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Every check, in the order in which a person would mend things."""
    return [finding for check in CHECKS for finding in _guarded(check)]


def core_works(findings: list[Finding]) -> bool:
    """Whether nothing that the core needs is broken."""
    return all(finding.state != BROKEN for finding in findings)


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A check that fails in a way nobody foresaw is itself a finding."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - a broken machine may raise anything, the table must still appear
        yield Finding(check.__name__.removeprefix("_"), BROKEN, _line(error))


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]


def _python() -> Iterator[Finding]:
    right = (3, 10) <= sys.version_info[:2] < (3, 13)
    advice = "" if right else "3.10 to 3.12: mediapipe has no wheel for others"
    yield Finding("Python", OK if right else BROKEN, f"{platform.python_version()} on {platform.machine()}", advice)


def _packages() -> Iterator[Finding]:
    for name, module in CORE.items():
        yield _package(name, module or name)


def _package(name: str, module: str) -> Finding:
    try:
        version = importlib.metadata.version(name)
        importlib.import_module(module)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, BROKEN, "not installed", "pip install narrate-stream")
    except Exception as error:  # noqa: BLE001 - a package that cannot be imported may raise anything
        return Finding(name, BROKEN, _line(error), library_advice(str(error)))
    return Finding(name, OK, version)


def library_advice(message: str) -> str:
    """The Debian package that holds the shared library a message complains of."""
    missing = re.search(r"(lib[\w.+-]+\.so[.\d]*)", message)
    if not missing:
        return ""
    library = missing.group(1)
    return f"sudo apt install {APT[library]}" if library in APT else f"install the system library {library}"


def _one_opencv() -> Iterator[Finding]:
    others = [
        name
        for name in ("opencv-python", "opencv-python-headless", "opencv-contrib-python-headless")
        if _installed(name)
    ]
    if others:
        yield Finding(
            "OpenCV twice", BROKEN, ", ".join(others), f"pip uninstall {' '.join(others)}, then reinstall ours"
        )


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _face_models() -> Iterator[Finding]:
    import mediapipe

    folder = Path(mediapipe.__file__).parent
    lost = [name for name in FACE_MODELS if not (folder / name).is_file()]
    if lost:
        yield Finding("face models", BROKEN, f"not in the wheel: {', '.join(lost)}", "pip install mediapipe==0.10.21")
    else:
        yield Finding("face models", OK, f"{len(FACE_MODELS)} in mediapipe's wheel")


def _networks() -> Iterator[Finding]:
    from narrate_stream.data import weights_path

    missing = [task for task in ("normals", "albedo", "relight") if not weights_path(task).is_file()]
    if missing:
        advice = "install the package anew; `narrate build` works without, from geometry alone"
        yield Finding("network weights", MISSING, f"no {', '.join(missing)}", advice)
        return
    from narrate_stream.nets.unet import load_network

    count = sum(p.numel() for t in ("normals", "albedo", "relight") for p in load_network(weights_path(t)).parameters())
    yield Finding("network weights", OK, f"normals, albedo, relight: {count / 1e6:.1f} million numbers")


def _kernels() -> Iterator[Finding]:
    import warp

    warp.config.log_level = warp.LOG_ERROR
    works = float(warp.full(8, 0.5, dtype=float, device="cpu").numpy().sum()) == 4
    yield Finding("Warp on the CPU", OK if works else BROKEN, "runs" if works else "computes nonsense")
    if warp.is_cuda_available():
        yield Finding("Warp on CUDA", OK, ", ".join(str(d.name) for d in warp.get_cuda_devices()))
    else:
        yield Finding("Warp on CUDA", MISSING, "no device", "optional: an NVIDIA GPU with its driver")


def _torch_cuda() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        yield Finding("torch on CUDA", OK, torch.cuda.get_device_name())
    else:
        built = torch.version.cuda or "a CPU build"
        yield Finding("torch on CUDA", MISSING, f"no device ({built})", "optional: the live path needs no GPU")


def _codecs() -> Iterator[Finding]:
    import av
    from av.codec import Codec

    def has(name: str) -> bool:
        try:
            Codec(name, "w")
        except av.error.FFmpegError:
            return False
        except ValueError:
            return False
        return True

    wanted = {"libx264": "clips", "libvpx": "live video", "aac": "sound"}
    lost = [f"{name} ({use})" for name, use in wanted.items() if not has(name)]
    version = ".".join(str(part) for part in av.library_versions["libavcodec"])
    if lost:
        yield Finding("ffmpeg in av", BROKEN, f"no {', '.join(lost)}", "use the wheel of PyAV, not a build of your own")
    else:
        yield Finding("ffmpeg in av", OK, f"libavcodec {version} with {', '.join(wanted)}")


def _page() -> Iterator[Finding]:
    package = Path(__file__).parent
    places = (package / "client_demo", package.parent / "client_demo")
    found = next((place for place in places if (place / "index.html").is_file()), None)
    if found:
        yield Finding("client page", OK, str(found))
    else:
        yield Finding("client page", BROKEN, "index.html is not there", "reinstall narrate-stream")


def _webcams() -> Iterator[Finding]:
    devices = sorted(str(path) for path in Path("/dev").glob("video*"))
    if devices:
        yield Finding("webcams", OK, ", ".join(devices))
    elif sys.platform.startswith("linux"):
        yield Finding("webcams", MISSING, "no /dev/video*", "the browser's webcam works without one on the server")
    else:
        yield Finding("webcams", NOTE, "not looked for on this system")


def _virtual_camera() -> Iterator[Finding]:
    virtual = _optional("pyvirtualcam")
    if virtual is None:
        yield Finding(
            "virtual camera", MISSING, "pyvirtualcam is not installed", "pip install 'narrate-stream[camera]'"
        )
        return
    try:
        with virtual.Camera(width=128, height=128, fps=30) as camera:
            yield Finding("virtual camera", OK, f"{camera.device} ({camera.backend})")
    except RuntimeError:
        linux = "sudo apt install v4l2loopback-dkms; sudo modprobe v4l2loopback exclusive_caps=1"
        advice = linux if sys.platform.startswith("linux") else "install OBS, start its virtual camera once"
        yield Finding("virtual camera", MISSING, "no device that it could write to", advice)


def _heic() -> Iterator[Finding]:
    heif = _optional("pillow_heif")
    if heif is None:
        yield Finding("HEIC pictures", MISSING, "pillow-heif is not installed", "pip install 'narrate-stream[heic]'")
    else:
        yield Finding("HEIC pictures", OK, f"pillow-heif {heif.__version__}")


def _optional(module: str) -> ModuleType | None:
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def _browser() -> Iterator[Finding]:
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found:
        yield Finding("Chromium for tests", OK, found)
    else:
        yield Finding("Chromium for tests", MISSING, "none", "sudo apt install chromium-headless-shell")


def _pytorch3d() -> Iterator[Finding]:
    package, whole = _optional("pytorch3d"), _optional("pytorch3d.renderer")
    source = "--no-build-isolation 'git+https://github.com/facebookresearch/pytorch3d.git@v0.7.9'"
    if package is None:
        advice = f"only offline/fit_pytorch3d.py uses it: pip install {source} (20 minutes)"
        yield Finding("PyTorch3D", MISSING, "not installed", advice)
    elif whole is None:
        yield Finding("PyTorch3D", MISSING, "built for another torch", f"pip install --force-reinstall {source}")
    else:
        yield Finding("PyTorch3D", OK, str(package.__version__))


def _tensorrt() -> Iterator[Finding]:
    yield Finding("TensorRT", NOTE, "not used yet", "nothing to install: the networks run once, while a model is built")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _one_opencv,
    _face_models,
    _networks,
    _kernels,
    _torch_cuda,
    _codecs,
    _page,
    _webcams,
    _virtual_camera,
    _heic,
    _browser,
    _pytorch3d,
    _tensorrt,
)
