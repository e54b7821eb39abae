"""Options and fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from narrate_stream.bundle import HybridModel

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", choices=("cpu", "cuda"), help="where the kernels run (default: cpu)")
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden/*.png anew; look at them before a commit"
    )


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """The device that was asked for with --device."""
    return str(request.config.getoption("--device"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's development data, where they lie beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the development data (../shared/data) are not here")
    return SHARED


@pytest.fixture(scope="session")
def model() -> HybridModel:
    """The built-in portrait's model at 512 pixels; about three seconds, once."""
    from offline.build import build_model

    return build_model(None, size=512)


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether tests/golden is to be written anew instead of compared with."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def sentence(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What a failed command said: one line on stderr, nothing on stdout."""

    def read() -> str:
        shown = capsys.readouterr()
        assert shown.out == ""
        (line,) = shown.err.splitlines()
        assert line.startswith("narrate: ")
        return line

    return read


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small pictures are quicker in torch without other threads, and repeat to the last bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
