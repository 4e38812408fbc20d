"""The examples run as they stand, against the daemon that the environment names, and their physics comes out right."""

from __future__ import annotations

import re
import subprocess
import sys
from math import sqrt

import pytest

from quarterdeck.client import Client
from tests.e2e.conftest import ROOT, Daemon

EXAMPLES = ROOT / "examples"


def run(daemon: Daemon, name: str) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], env=daemon.environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_antiferromagnetic_state(daemon: Daemon) -> None:
    text = run(daemon, "antiferromagnetic_state.py")
    assert "(emulated), 500 shots" in text
    correlations = [float(value) for value in re.findall(r"^   \d  ([+-]\d\.\d+)", text, re.MULTILINE)]
    assert [value > 0 for value in correlations] == [False, True, False, True]
    assert min(map(abs, correlations)) > 0.8
    checkerboard = re.search(r"101010101 +(\d+\.\d)%   the checkerboard", text)
    assert checkerboard is not None
    assert float(checkerboard[1]) > 80


def test_qubo_adiabatic_sweep(daemon: Daemon) -> None:
    text = run(daemon, "qubo_adiabatic_sweep.py")
    assert "Exact optima, all 32 tried: 01011, 00111 with x^T Q x = -27.288" in text
    rows = re.findall(r"^   ([01]{5}) +(\d+\.\d)%", text, re.MULTILINE)
    assert {bits for bits, _ in rows[:2]} == {"01011", "00111"}
    assert all(float(share) > 35 for _, share in rows[:2])


def scan_is_right(text: str) -> None:
    assert len(re.findall(r"^ +\d+\.\d\d rad/us ", text, re.MULTILINE)) == 20
    factor = re.search(r"Rabi frequency \(emulated\): (\d\.\d+)", text)
    assert factor is not None
    assert float(factor[1]) == pytest.approx(sqrt(2), abs=0.05)


def test_parameter_scan(daemon: Daemon, client: Client) -> None:
    scan_is_right(run(daemon, "parameter_scan.py"))
    tasks = [task.info for task in client.tasks() if task.info.name == "Rabi scan"]
    assert len({task.program for task in tasks}) == 1
    assert len({task.parameters["amplitude"] for task in tasks}) == 20


def test_pulser_one_line(daemon: Daemon) -> None:
    text = run(daemon, "pulser_one_line.py")
    assert re.search(r"^batch \w+: DONE$", text, re.MULTILINE)
    assert text.count("500 runs") == 3


def test_a_job_script(daemon: Daemon, client: Client) -> None:
    done = daemon.qdeck("run", "--device", "fresnel-emulator", "--", "sh", EXAMPLES / "job.sh", PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    scan_is_right(done.stdout)
    session = re.search(r"device fresnel-emulator, session (\w+)", done.stdout)
    assert session is not None
    assert sum(1 for _ in client.tasks(session=session[1])) == 20, "the script's tasks run in the job's session"
    assert session[1] not in {open.id for open in client.sessions()}
