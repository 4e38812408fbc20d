"""A host and a controller that know nothing of each other but a socket."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from quarterdeck_realtime.codes import Experiment, code_circuit, experiment
from quarterdeck_realtime.control import Control
from quarterdeck_realtime.drive import drive
from quarterdeck_realtime.model import model_of
from quarterdeck_realtime.profiles import PROFILES
from quarterdeck_realtime.status import Ledger

EASY = msgspec.structs.replace(PROFILES["superconducting"], cycle_us=20.0)


@pytest.fixture
def host() -> Iterator[tuple[str, Path, Experiment]]:
    """A host process with one qubit, `left`, of distance 3."""
    exp = experiment("surface", 3, 5e-3)
    with tempfile.TemporaryDirectory(prefix="qd") as folder:
        place = Path(folder)
        name = f"drive-{place.name}"
        (place / "left.stim").write_text(str(exp.circuit))
        (place / "host.toml").write_text(
            f'name = "{name}"\nsocket = "{place}/s"\n[[qubit]]\nname = "left"\ncircuit = "left.stim"\ncycle_us = 20.0\n'
        )
        code = f"from pathlib import Path; from quarterdeck_realtime.run import main; main(Path('{place}/host.toml'))"
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert "ready" in process.stdout.readline()
            yield name, place / "s", exp
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_a_process_drives_another(host: tuple[str, Path, Experiment]) -> None:
    name, socket, exp = host
    found = drive(socket, "left", exp, EASY, 400, seed=8)
    assert found.shots == 400
    assert found.differ == found.lost == found.failed == 0
    assert found.logical_errors == found.logical_errors_pymatching
    # Other weights take over; a second controller goes on where the first one left.
    worse = code_circuit("surface", 3, 3, 1e-2).detector_error_model(decompose_errors=True)
    assert model_of(worse).detectors == len(exp.detectors)
    with Control(socket) as control:
        assert control.swap("left", worse) == 1
    again = drive(socket, "left", msgspec.structs.replace(exp, dem=worse), EASY, 200, seed=9)
    assert again.shots == 200
    assert again.differ == again.lost == again.failed == 0
    with Ledger(name) as ledger:
        patch = ledger.status().patches[0]
    assert (patch.shots, patch.epoch, patch.lost_rounds) == (600, 1, 0)
    with pytest.raises(ValueError, match="there is no qubit right"):
        drive(socket, "right", exp, EASY, 1)


def test_nobody_listens() -> None:
    with pytest.raises(OSError, match="qdeck realtime run"):
        drive(Path("/nonexistent/socket"), "left", experiment("surface", 3, 1e-3), EASY, 1)
