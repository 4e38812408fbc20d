"""Programs that the emulated QPU cannot run are refused before anything is queued, and the limit is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .running import Daemon

pytest.importorskip("pulser", reason="Pulser is not installed: pip install 'quarterdeck[pulser]'")
DEVICE = "fresnel-emulator"
CHAIN = json.loads((Path(__file__).parents[2] / "examples" / "programs" / "afm_chain.json").read_text())


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    devices = {DEVICE: {"driver": "neutral-atom-emulator", "time_scale": 1000.0}, "fake": {"driver": "fake"}}
    with Daemon(tmp_path_factory.mktemp("d"), "", devices) as daemon:
        yield daemon


def spread(n: int, step_um: float) -> list[dict[str, Any]]:
    """A chain of atoms around the origin."""
    return [{"name": f"q{i}", "x": (i - (n - 1) / 2) * step_um, "y": 0.0} for i in range(n)]


def grid(n: int) -> list[dict[str, Any]]:
    """Five atoms to a row, 6 um apart."""
    return [{"name": f"q{i}", "x": 6.0 * (i % 5) - 12.0, "y": 6.0 * (i // 5) - 9.0} for i in range(n)]


def pulse(sequence: dict[str, Any], kind: str, value: float) -> None:
    """A constant amplitude or detuning in place of the first pulse's, in rad/us."""
    first = next(op for op in sequence["operations"] if op["op"] == "pulse")
    for name in ("amplitude", "detuning"):
        first[name] = {"kind": "constant", "duration": 400, "value": value if name == kind else 1.0}


BAD: list[tuple[str, Callable[[dict[str, Any]], None], str]] = [
    ("atoms too close", lambda s: s.update(register=spread(7, 2.0)), "distance"),
    ("atoms too far out", lambda s: s.update(register=spread(7, 20.0)), "at most 38"),
    ("more atoms than can be emulated", lambda s: s.update(register=grid(20)), "20 atoms"),
    ("amplitude too high", lambda s: pulse(s, "amplitude", 1e3), "amp"),
    ("detuning too high", lambda s: pulse(s, "detuning", 1e4), "det"),
    ("a channel that it has not", lambda s: s["channels"].update(rydberg="raman_local"), "channel"),
]


@pytest.mark.parametrize(("spoil", "named"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_the_limit_is_named(daemon: Daemon, spoil: Callable[[dict[str, Any]], None], named: str) -> None:
    sequence = json.loads(json.dumps(CHAIN))
    sequence.pop("layout", None)  # it would fix where atoms may be
    spoil(sequence)
    body = {"device": DEVICE, "program": {"format": "pulser", "payload": json.dumps(sequence)}, "shots": 10}
    answer = daemon.http.post("/v1/tasks", json=body)
    error = answer.json()["error"]
    assert answer.status_code == 422 and error["code"] in ("bad_program", "too_costly"), error
    assert named in (error["where"] + error["why"]).lower(), error
    assert daemon.http.get("/v1/tasks").json()["items"] == []


def test_more_shots_than_the_device_takes(daemon: Daemon) -> None:
    body = {"device": DEVICE, "program": {"format": "pulser", "payload": json.dumps(CHAIN)}, "shots": 10**9}
    answer = daemon.http.post("/v1/tasks", json=body)
    assert (answer.status_code, answer.json()["error"]["where"]) == (422, "$.shots")


def test_a_program_in_a_format_for_another_device(daemon: Daemon) -> None:
    body = {"device": DEVICE, "program": {"format": "opaque", "payload": "x"}, "shots": 1}
    error = daemon.http.post("/v1/tasks", json=body).json()["error"]
    assert error["code"] == "bad_program" and "pulser" in error["why"]


def test_a_program_for_another_machine(daemon: Daemon) -> None:
    """Both names are in the sentence."""
    import pulser

    register = pulser.Register.from_coordinates([(0.0, 0.0), (0.0, 8.0)], prefix="q")
    sequence = pulser.Sequence(register, pulser.DigitalAnalogDevice)
    sequence.declare_channel("ram", "raman_local", initial_target="q0")
    sequence.add(pulser.Pulse.ConstantPulse(200, 2.0, 0.0, 0.0), "ram")
    body = {"device": DEVICE, "program": {"format": "pulser", "payload": sequence.to_abstract_repr()}, "shots": 1}
    error = daemon.http.post("/v1/tasks", json=body).json()["error"]
    assert error["code"] == "bad_program"
    assert "DigitalAnalogDevice" in error["message"] and DEVICE in error["message"], error


def test_an_upload_may_be_checked_against_a_device_at_once(daemon: Daemon) -> None:
    good = {"format": "pulser", "payload": json.dumps(CHAIN), "device": DEVICE}
    assert daemon.http.post("/v1/programs", json=good).status_code == 201
    close = json.loads(json.dumps(CHAIN))
    close["register"] = spread(7, 2.0)
    bad = daemon.http.post("/v1/programs", json={**good, "payload": json.dumps(close)})
    assert (bad.status_code, bad.json()["error"]["code"]) == (422, "bad_program")
