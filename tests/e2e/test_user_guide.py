"""The user guide's blocks, run one after the other in a directory that looks like a clone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import ROOT, Daemon


def test_every_block_is_true(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = (ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    blocks = [(language, block) for language, block in blocks if block != "qdeck serve\n"]  # the fixture has done that
    assert len(blocks) > 8
    for language, block in blocks:
        command = {"sh": ["sh", "-eu", "-c"], "python": [sys.executable, "-W", "error", "-c"]}[language]
        done = subprocess.run(
            [*command, block], cwd=tmp_path, env=daemon.environ, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, block + done.stdout + done.stderr
    assert sum(json.loads((tmp_path / "result.json").read_text())["counts"].values()) == 500
