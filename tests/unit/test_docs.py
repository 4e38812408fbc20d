"""Docs are tests: generated pages are current, links lead somewhere, code blocks are code, `run` blocks run."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import quarterdeck
from quarterdeck import errors

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block. A word `run` after the language (```sh run) asks for it to be run, in an empty directory."""

    where: str
    language: str
    run: bool
    text: str


def blocks() -> Iterator[Block]:
    fence = re.compile(r"^```(\w+)( run)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in fence.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield Block(f"{page.relative_to(ROOT)}:{line}", match[1], bool(match[2]), match[3])


BLOCKS = list(blocks())


def slug(heading: str) -> str:
    """The anchor that Markdown viewers make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_generated_pages_are_current() -> None:
    script = [sys.executable, ROOT / "scripts" / "reference.py", "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_error_is_on_its_page() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for name, cls in errors.QuarterdeckError.by_code.items():
        assert f"| `{name}` | {cls.status} | `{cls.__name__}` |" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{target}: no such file"
        if anchor:
            headings = {slug(heading) for heading in re.findall(r"^#+ (.+)$", prose(file), re.MULTILINE)}
            assert anchor in headings, f"{target}: no such heading"


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.name)
def test_every_page_is_in_the_index(page: Path) -> None:
    index = ROOT / "docs" / "index.md"
    assert page == index or f"]({page.relative_to(index.parent)})" in index.read_text(encoding="utf-8"), (
        f"docs/index.md should link {page.name}"
    )


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_blocks_are_what_they_say(block: Block) -> None:
    if block.language == "python":
        ast.parse(block.text)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "sh":
        done = subprocess.run(["sh", "-n"], input=block.text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    else:
        assert block.language in ("text", "ini", "http"), f"{block.where}: what is {block.language}?"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.run], ids=lambda block: block.where)
def test_run_blocks_run(block: Block, tmp_path: Path) -> None:
    command = {"sh": ["sh", "-eu", "-c"], "python": [sys.executable, "-W", "error", "-c"]}[block.language]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = {
        **os.environ, "PATH": path, "HOME": str(tmp_path), "QDECK_STATE": str(tmp_path / "state"), "MPLBACKEND": "Agg"
    }  # fmt: skip
    done = subprocess.run(
        [*command, block.text], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_commands_in_blocks_exist() -> None:
    """Each `qdeck WORDS` in a sh block begins with a command of the CLI, once there is one."""
    import quarterdeck.cli

    app = getattr(quarterdeck.cli, "app", None)
    if app is None:
        assert not (ROOT / "docs" / "cli.md").exists()
        return
    from typer.main import get_command

    for block in BLOCKS:
        if block.language != "sh":
            continue
        for words in re.findall(r"(?:^|[;&|(] *)(?:\./run )?qdeck ([a-z][a-z -]*)", block.text, re.MULTILINE):
            command: Any = get_command(app)
            for word in words.split():
                if not getattr(command, "commands", None):
                    break
                assert word in command.commands, f"{block.where}: no command {word!r} in `qdeck {words.strip()}`"
                command = command.commands[word]


def test_run_help_lists_every_command() -> None:
    script = (ROOT / "run").read_text(encoding="utf-8")
    cases = set(re.findall(r"^([a-z]+)\)", script[script.index("case $command in") :], re.MULTILINE))
    told = subprocess.run(["sh", ROOT / "run", "help"], capture_output=True, text=True, check=True).stdout
    assert cases == set(re.findall(r"^\./run ([a-z]+) ", told, re.MULTILINE))


def test_one_version() -> None:
    version = PROJECT["project"]["version"]
    assert quarterdeck.__version__ == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_lock_holds_every_dependency_and_names_no_host() -> None:
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ \n]+)", LOCK, re.MULTILINE):
        locked.setdefault(canonicalize_name(name), []).append(version)
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(line for extra in PROJECT["project"]["optional-dependencies"].values() for line in extra),
        *PROJECT["dependency-groups"]["dev"],
    ]
    for requirement in map(Requirement, wanted):
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not in requirements.lock: ./run lock"
        assert all(requirement.specifier.contains(version) for version in versions), requirement
    assert "://" not in LOCK
    assert len(re.findall(r"^\S+==", LOCK, re.MULTILINE)) <= LOCK.count("--hash=sha256:")
