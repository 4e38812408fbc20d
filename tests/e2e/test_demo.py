"""`qdeck demo`, as users start it: on a daemon that is there already, and on a private one."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.client import Client
from tests.e2e.conftest import Daemon

DEVICE = "fresnel-emulator"


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary directory with a short name, since a Unix socket goes below it."""
    with tempfile.TemporaryDirectory(prefix="qd-") as name:
        yield Path(name)


def processes_of(directory: Path) -> list[str]:
    """Command lines of the processes that were given something in `directory`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes()
        except OSError:
            continue
        if str(directory).encode() in line:
            found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_the_same_job_on_a_daemon_that_is_there(daemon: Daemon, client: Client, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    words = ["--rounds", "10", "--atoms", "7", "--seed", "1", "--out", str(picture)]
    done = daemon.qdeck("demo", "--no-daemon", "--json", *words)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)

    assert told["emulated"] is True
    assert told["valid"] is True
    assert told["optimal"] is True
    assert told["found"] in told["exact"]["sets"]
    assert [entry["round"] for entry in told["rounds"]] == list(range(1, 11))
    assert told["cost_best"] < told["cost_first"]
    assert told["after"]["cost"] < told["before"]["cost"]
    assert told["after"]["share_of_optima"] > 2 * told["before"]["share_of_optima"]
    assert told["tasks"] == 10 * 6 + 2
    assert told["shots"] == 60 * 200 + 2 * 1000
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "emulated" in done.stderr
    assert "The optimum was found" in done.stderr

    tasks = [task.info for task in client.tasks(device=DEVICE) if task.info.name.startswith("mis-demo")]
    assert len(tasks) == told["tasks"]
    assert len({task.program for task in tasks}) == 1, "the program is uploaded once"
    assert len({task.session for task in tasks}) == 1
    assert tasks[0].session not in {session.id for session in client.sessions()}, "its session is closed"


def test_a_private_daemon_is_gone_afterwards(daemon: Daemon, client: Client, temporary: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    words = ["--rounds", "2", "--pulses", "5", "--atoms", "5", "--out", str(picture)]
    seen = sum(1 for _ in client.tasks())
    done = daemon.qdeck("demo", *words, TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr
    assert sum(1 for _ in client.tasks()) == seen, "it asked another daemon than its own"
    assert "exact optimum" in done.stdout
    assert "EMULATED" in picture.read_text()
    assert list(temporary.iterdir()) == []
    assert processes_of(temporary) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_demo_leaves_nothing_behind(daemon: Daemon, temporary: Path, number: signal.Signals) -> None:
    command = ["qdeck", "demo", "--rounds", "50", "--atoms", "8", "--out", str(temporary / "p.png")]
    environ = daemon.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("round  2/"):
                break
        assert processes_of(temporary), "the private daemon is not where this test looks for it"
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(30) == 130, rest
    assert "interrupted" in rest
    assert list(temporary.iterdir()) == []
    deadline = time.monotonic() + 10
    while processes_of(temporary) and time.monotonic() < deadline:
        time.sleep(0.05)  # workers need a moment to see that their daemon is gone
    assert processes_of(temporary) == []


def test_a_device_that_cannot_is_told_so(daemon: Daemon, tmp_path: Path) -> None:
    done = daemon.qdeck("demo", "--no-daemon", "--device", "fake", "--out", str(tmp_path / "p.png"))
    assert done.returncode == 1
    assert "does not describe itself as a Pulser device" in done.stderr
    done = daemon.qdeck("demo", "--no-daemon", "--device", "none", "--out", str(tmp_path / "p.png"))
    assert done.returncode == 1
    assert "no device 'none'" in done.stderr
    assert list(tmp_path.iterdir()) == []
