"""Whether there is anything to test: without the extension all other tests here are left out (see conftest.py)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_extension_is_built() -> None:
    hot = pytest.importorskip("quarterdeck_realtime._hot", reason="quarterdeck-realtime is not built: ./run realtime")
    assert "hot path" in hot.__doc__


def test_the_stub_tells_what_the_extension_has(tmp_path: Path) -> None:
    """`./run realtime` writes it anew."""
    pytest.importorskip("quarterdeck_realtime._hot", reason="quarterdeck-realtime is not built: ./run realtime")
    pytest.importorskip("nanobind.stubgen", reason="nanobind comes with the packages of requirements.lock")
    made = tmp_path / "_hot.pyi"
    command = [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", "quarterdeck_realtime._hot", "-o", str(made)]
    subprocess.run(command, check=True, timeout=60)
    stub = Path(__file__).parents[1] / "python" / "quarterdeck_realtime" / "_hot.pyi"
    assert made.read_text() == stub.read_text()


def test_it_stands_alone() -> None:
    """The house's command imports it when used; it knows nothing of the house."""
    package = Path(__file__).parents[1] / "python" / "quarterdeck_realtime"
    house = re.compile(r"^\s*(from|import) quarterdeck\b(?!_)", re.MULTILINE)
    files = list(package.rglob("*.py"))
    assert len(files) > 20 and [file.name for file in files if house.search(file.read_text())] == []
