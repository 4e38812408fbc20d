"""Who may import whom. DESIGN's arrows: cli, frontends -> client -> (HTTP) -> daemon -> core, programs, devices, ...

The table is about direct imports; import-linter (contracts in pyproject.toml) follows whole chains.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "quarterdeck"

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "wire": {"errors"},
    "places": {"errors"},
    "munge": {"errors"},
    "core": {"errors"},
    "programs": {"errors"},
    "devices": {"errors", "programs"},
    "calibration": {"errors", "programs", "devices"},
    "network": {"errors", "programs", "devices"},
    "daemon": {"errors", "wire", "places", "munge", "core", "programs", "devices", "calibration", "network"},
    "client": {"errors", "wire", "places"},
    "schedulers": {"errors", "wire", "places", "munge"},
    "frontends": {"errors", "wire", "programs", "client"},
    "simulator": {"errors", "core"},
    "bench": {"errors", "wire", "places", "munge", "client", "core", "programs", "devices", "daemon", "simulator"},
    "demo": {"errors", "wire", "client"},
    "cli": {"errors", "wire", "places", "client", "schedulers", "programs", "bench", "frontends", "demo"},
    "__init__": {"errors", "client"},
    "__main__": {"cli"},
}
CLI_HOSTS = {"serve", "init", "replay", "demo", "simulate"}
"""Modules of the cli which, inside functions, may reach the daemon and what is under it."""

IMPURE = {
    "asyncio", "concurrent", "http", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "random",
    "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile",
    "threading", "time", "urllib", "uuid",
}  # fmt: skip
"""The core has no clock, socket, thread, file, environment or unseeded chance."""


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Each module that a file imports, and whether it does so when it is loaded itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"))
        for inner in ast.walk(node)
    }
    package = ("quarterdeck", *path.relative_to(SRC).parts[:-1])
    for node in ast.walk(tree):
        eager = id(node) not in lazy
        if isinstance(node, ast.Import):
            yield from ((alias.name, eager) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield (f"{module}.{alias.name}" if module == "quarterdeck" else module), eager


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


FILES = sorted(SRC.rglob("*.py"))


def test_every_room_is_in_the_table() -> None:
    assert {room_of(path) for path in FILES} <= MAY_IMPORT.keys(), "a new room needs its arrows in MAY_IMPORT"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_arrows(path: Path) -> None:
    room = room_of(path)
    for module, eager in imports(path):
        parts = module.split(".")
        if parts[0] != "quarterdeck" or len(parts) == 1 or parts[1] in (room, "__version__"):
            continue
        hosted = room == "cli" and path.stem in CLI_HOSTS and not eager and parts[1] in MAY_IMPORT
        assert hosted or parts[1] in MAY_IMPORT[room], f"{room} may not import {module}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if room_of(p) == "core"], ids=lambda path: str(path.relative_to(SRC))
)
def test_core_is_sans_io(path: Path) -> None:
    for module, _ in imports(path):
        top = module.split(".")[0]
        assert top not in IMPURE, f"core may not import {module}"
        assert top in sys.stdlib_module_names or top in ("quarterdeck", "msgspec", "numpy", "dateutil"), (
            f"core may not import {module}"
        )
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"open", "print", "input", "exec", "eval", "__import__"}
    methods = {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not methods & {"now", "utcnow", "today"}, "the core has no clock"


def test_import_linter_agrees() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
