"""Options and fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", choices=("cpu", "cuda"), help="where the kernels run (default: cpu)")


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
