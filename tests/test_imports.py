"""What an import costs, seen from outside: a fresh interpreter each time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from narrate_stream.bundle import HybridModel, save_model

HEAVY = {"torch", "mediapipe", "warp", "aiortc", "av", "cv2", "scipy", "skimage", "PIL", "starlette", "uvicorn", "rich"}


def loaded_by(code: str) -> set[str]:
    """The top-level modules in memory after the code ran."""
    script = f"{code}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_the_package_is_light() -> None:
    loaded = loaded_by("import narrate_stream")
    assert not loaded & HEAVY
    assert "numpy" not in loaded


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["render", "--help"], ["serve", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    loaded = loaded_by(f"from narrate_stream.cli import main\nassert main({arguments!r}) == 0")
    assert not loaded & HEAVY
    assert "offline" not in loaded


def test_a_model_at_hand_is_opened_without_networks(model: HybridModel, tmp_path: Path) -> None:
    """PyTorch alone is 200 MB of a server that never builds."""
    save_model(model, tmp_path / "a.narrate")
    loaded = loaded_by(
        f"from pathlib import Path\nfrom narrate_stream.cli.console import open_model\n"
        f"open_model(Path({str(tmp_path / 'a.narrate')!r}))"
    )
    assert "numpy" in loaded
    assert "torch" not in loaded


@pytest.mark.skipif(not Path("/proc/self/task").is_dir() or os.cpu_count() == 1, reason="needs Linux and two cores")
def test_commands_keep_linear_algebra_in_one_thread() -> None:
    """OpenBLAS starts one for every core when it is loaded, and they wait for work in a loop."""
    script = (
        "import os, sys\nfrom narrate_stream.cli import main\nmain(['--version'])\nassert 'numpy' not in sys.modules\n"
        "import numpy, scipy.linalg\nprint(len(os.listdir('/proc/self/task')), file=sys.stderr)"
    )
    free = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=free)
    assert done.stderr.split() == ["1"]


def test_usage_errors_load_nothing_heavy() -> None:
    loaded = loaded_by("from narrate_stream.cli import main\nassert main(['render', 'a.narrate']) == 2")
    assert not loaded & HEAVY


def test_help_is_quick() -> None:
    """The best of five, because the machine has other work too."""

    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "narrate_stream", "--help"], capture_output=True, check=True)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.5
