"""Quarterdeck behind Quarterdeck: one daemon's device is another daemon, by way of the unmodified `qrmi` package."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from . import munged as munge_support
from .munged import Munged
from .running import Daemon

pytest.importorskip("qrmi", reason="the package qrmi is not installed")

AFM = (Path(__file__).resolve().parents[2] / "examples" / "programs" / "afm_chain.json").read_text()
SLOW = {"driver": "neutral-atom-emulator", "setup_s": 0.1, "shot_rate_hz": 50.0}
FAST = {"driver": "neutral-atom-emulator", "time_scale": 1000.0}
DRIVE = {
    "pattern": "uniform", "time_series": {"times": ["0.00000000", "0.00000100"], "values": ["6280000.00000000"] * 2},
}  # fmt: skip
FLAT = {
    "pattern": "uniform", "time_series": {"times": ["0.00000000", "0.00000100"], "values": ["0.00000000"] * 2},
}  # fmt: skip
AHS = {
    "setup": {"ahs_register": {"sites": [["0.00000000"] * 2, ["0.00000550", "0.00000000"]], "filling": [1, 1]}},
    "hamiltonian": {"drivingFields": [{"amplitude": DRIVE, "detuning": FLAT, "phase": FLAT}], "localDetuning": []},
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def pair(directory: Path, device: dict[str, Any]) -> Iterator[tuple[Daemon, Daemon]]:
    """(near, far): the near one's device `qpu` is the far one's emulator, through the interface of Pasqal Cloud."""
    listen = f"127.0.0.1:{free_port()}"
    with Daemon(directory / "far", "", {"fresnel-emulator": device}, listen=listen) as far:
        environment = {
            "QRMI_PASQAL_CLOUD_BASE_URL": f"http://{listen}/pasqal-cloud",
            "QRMI_PASQAL_CLOUD_AUTH_TOKEN": far.token(),
            "QRMI_PASQAL_CLOUD_PROJECT_ID": "project",
        }
        settings = {"driver": "qrmi", "type": "pasqal-cloud", "resource": "EMU_FREE", "environment": environment,
                    "poll_s": 0.05}  # fmt: skip
        with Daemon(directory / "near", "", {"qpu": settings}) as near:
            yield near, far


def far_tasks(far: Daemon) -> list[dict[str, Any]]:
    answer = far.http.get("/v1/tasks")
    assert answer.status_code == 200, answer.text
    tasks: list[dict[str, Any]] = answer.json()["items"]
    return tasks


def until_far_has_one(far: Daemon, state: str = "running", within_s: float = 30.0) -> dict[str, Any]:
    deadline = time.monotonic() + within_s
    while not (tasks := [task for task in far_tasks(far) if task["state"] == state]):
        assert time.monotonic() < deadline, far_tasks(far)
        time.sleep(0.02)
    return tasks[0]


def until_accepted(near: Daemon, far: Daemon) -> None:
    """Until the near daemon knows that the far one has the task: before that, the start is one QRMI cannot tell of."""
    until_far_has_one(far)
    deadline = time.monotonic() + 10
    while not any(event["event"] == "SliceAccepted" for event in near.events()):
        assert time.monotonic() < deadline, near.log()
        time.sleep(0.02)


def counts(near: Daemon, task: str) -> dict[str, int]:
    told: dict[str, int] = near.http.get(f"/v1/tasks/{task}/result").json()["counts"]
    return told


def submit(near: Daemon, shots: int, program: str = AFM, format: str = "pulser") -> str:
    answer = near.submit(near.upload(program, format), shots, device="qpu")
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_pulser_and_ahs_programs_reach_the_far_device(tmp_path: Path) -> None:
    with pair(tmp_path, FAST) as (near, far):
        task = submit(near, 200)
        assert near.ended(task)["state"] == "done", near.log()
        found = counts(near, task)
        assert sum(found.values()) == 200 and found["1010101"] > 100
        assert [one["shots"] for one in far_tasks(far)] == [200]
        near_ahs = submit(near, 50, json.dumps(AHS), "ahs")
        assert near.ended(near_ahs)["state"] == "done", near.log()
        assert sum(counts(near, near_ahs).values()) == 50 and set(map(len, counts(near, near_ahs))) == {2}
        assert far.token() not in near.log()


def test_kill_9_of_the_near_daemon_starts_nothing_twice(tmp_path: Path) -> None:
    with pair(tmp_path, SLOW) as (near, far):
        task = submit(near, 100)
        until_accepted(near, far)
        near.kill()
        near.start()
        assert near.ended(task)["state"] == "done", near.log()
        assert sum(counts(near, task).values()) == 100
        assert len(far_tasks(far)) == 1


def test_a_far_daemon_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    with pair(tmp_path, SLOW) as (near, far):
        running = submit(near, 100)
        queued = submit(near, 10)
        until_accepted(near, far)
        far.kill()
        deadline = time.monotonic() + 20
        while (device := near.http.get("/v1/devices/qpu").json())["status"] == "online":
            assert time.monotonic() < deadline, device
            time.sleep(0.05)
        assert near.http.get(f"/v1/tasks/{queued}").json()["state"] == "queued"
        far.start()
        for task, shots in ((running, 100), (queued, 10)):
            assert near.ended(task, 60)["state"] == "done", near.log()
            assert sum(counts(near, task).values()) == shots
        assert sorted(one["shots"] for one in far_tasks(far)) == [10, 100]


def test_cancel_goes_through(tmp_path: Path) -> None:
    with pair(tmp_path, SLOW) as (near, far):
        task = submit(near, 2000)
        until_far_has_one(far)
        answer = near.http.post(f"/v1/tasks/{task}/cancel")
        assert answer.status_code == 200, answer.text
        assert near.ended(task)["state"] == "cancelled"
        until_far_has_one(far, "cancelled")


def test_through_warden_with_a_real_munged(tmp_path: Path) -> None:
    """pasqal-local: a session is opened for the daemon's user, work goes in it, and it is closed at the end."""
    if why := munge_support.missing():
        pytest.skip(why)
    from .test_warden import settings

    munged = Munged()
    try:
        tables = {"warden": settings(munged, first_uid=0)}
        with Daemon(tmp_path / "far", "", {"fresnel-emulator": FAST}, tables) as far:
            url = (far.state / "warden-url").read_text().strip()
            device = {"driver": "qrmi", "type": "pasqal-local", "environment": {"QRMI_WARDEN_URL": url}, "poll_s": 0.05}
            near = Daemon(tmp_path / "near", "", {"qpu": device})
            inside = " ".join(f"'{word}'" for word in munged.seen_by(['"$0"'])[:-1])
            near.start(limits=f'exec {inside} "$0" "$@";')
            try:
                task = submit(near, 100)
                assert near.ended(task)["state"] == "done", near.log()
                assert sum(counts(near, task).values()) == 100
                sessions = far.http.get("/v1/sessions").json()["items"]
                assert [session["state"] for session in sessions] == ["open"], sessions
                far.http.delete(f"/v1/sessions/{sessions[0]['id']}").raise_for_status()
                again = submit(near, 10)
                assert near.ended(again)["state"] == "done", near.log()
                sessions = far.http.get("/v1/sessions").json()["items"]
                assert len(sessions) == 1  # another one
            finally:
                near.stop()
                near.http.close()
            closed = far.http.get(f"/v1/sessions/{sessions[0]['id']}").json()
            assert closed["state"] != "open", near.log()
    finally:
        munged.close()
