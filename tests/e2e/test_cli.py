"""`qdeck` as users type it, against a real daemon."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck.client import Client
from quarterdeck.errors import NotFound
from tests.e2e.conftest import PROGRAM, ROOT, Daemon

QPU = "fresnel-emulator"


@pytest.fixture
def stopped(client: Client) -> Iterator[None]:
    """While nothing starts on the fake device."""
    client.set_device("fake", "maintenance", "new laser")
    yield
    client.set_device("fake", "online")


def test_submit_wait_json_gives_all_shots(daemon: Daemon) -> None:
    done = daemon.qdeck("submit", PROGRAM, "--device", QPU, "--shots", "500", "--wait", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert sum(told["counts"].values()) == 500 and told["emulated"] is True and not told["partial"]
    assert max(told["counts"], key=told["counts"].get) == "1010101"


def test_the_way_of_a_task(daemon: Daemon, stopped: None) -> None:
    submit = ("submit", "-", "-d", "fake", "-n", "7", "--format", "opaque", "--name", "mine", "--key", "k1")
    task = daemon.qdeck(*submit, stdin="hello").stdout.strip()
    assert daemon.qdeck(*submit, stdin="hello").stdout.strip() == task, "the same key is the same task"
    assert daemon.qdeck(*submit, stdin="other").returncode == 1
    assert "new laser" in daemon.qdeck("why", task).stdout
    assert daemon.qdeck("result", task).returncode == 1
    assert json.loads(daemon.qdeck("result", task, "--partial", "--json").stdout)["shots_done"] == 0
    late = daemon.qdeck("result", task, "--wait", "--timeout", "0.1")
    assert late.returncode == 1 and "still queued" in late.stderr and f"qdeck why {task}" in late.stderr
    assert task in daemon.qdeck("tasks", "--state", "queued").stdout
    daemon.qdeck("devices", "fake", "--online")
    told = json.loads(daemon.qdeck("task", task, "--wait", "--json").stdout)
    assert (told["state"], told["name"], told["shots_done"]) == ("done", "mine", 7)
    counts = daemon.qdeck("result", task).stdout.splitlines()
    assert sum(int(line.split()[1]) for line in counts[1:]) == 7
    assert "7 shots" in daemon.qdeck("log", task).stdout
    assert json.loads(daemon.qdeck("tasks", "--limit", "1", "--json").stdout)["items"][0]["id"] == task


def test_cancel(daemon: Daemon, stopped: None) -> None:
    task = daemon.qdeck("submit", "-", "-d", "fake", "-n", "7", "--format", "opaque", stdin="x").stdout.strip()
    assert daemon.qdeck("cancel", task).stdout == f"{task} cancelled\n"
    assert daemon.qdeck("task", task, "--wait").returncode == 0


def test_refusals_are_one_sentence_and_what_to_do_next(daemon: Daemon) -> None:
    for words, why in (
        (("task", "t0"), "no task 't0'; `qdeck tasks`"),
        (("submit", PROGRAM, "-d", "none", "-n", "1"), "`qdeck devices`"),
        (("submit", PROGRAM, "-d", QPU, "-n", "20000"), "at most 10000 shots"),
        (("submit", PROGRAM, "-d", QPU, "-n", "0"), "$.shots"),
        (("session", "close", "s0"), "`qdeck session list`"),
    ):
        done = daemon.qdeck(*words)
        assert (done.returncode, done.stdout) == (1, "") and done.stderr.count("\n") == 1, done.stderr
        assert why in done.stderr


def test_devices(daemon: Daemon) -> None:
    assert {device["name"] for device in json.loads(daemon.qdeck("devices", "--json").stdout)["items"]} == {QPU, "fake"}
    assert "emulated" in daemon.qdeck("devices").stdout
    assert json.loads(json.loads(daemon.qdeck("devices", QPU, "--json").stdout)["spec"])["name"] == QPU


def test_sessions(daemon: Daemon) -> None:
    session = daemon.qdeck("session", "open", "-d", "fake", "--mode", "exclusive").stdout.strip()
    assert session in daemon.qdeck("session", "list").stdout
    assert daemon.qdeck("session", "open", "-d", "fake", "--mode", "exclusive").returncode == 1
    assert daemon.qdeck("session", "renew", session).returncode == 0
    assert daemon.qdeck("session", "close", session).stdout == f"{session} closed\n"
    assert session not in daemon.qdeck("session", "list").stdout


JOB = """
test "$QDECK_DEVICE" = fake && test -n "$QDECK_URL" && test -z "${QDECK_TOKEN-}" || exit 90
if [ -n "${QDECK_TOKEN_FILE-}" ]; then stat -c %a "$QDECK_TOKEN_FILE"; else echo none; fi
echo "$QDECK_SESSION"
echo hello | qdeck submit - --format opaque --shots 5 --json || exit 91
exit 7
"""


@pytest.mark.parametrize("way", ["socket", "tcp"])
def test_run_gives_a_job_its_environment(daemon: Daemon, client: Client, way: str, tmp_path: Path) -> None:
    environ = {}
    if way == "tcp":
        token = (daemon.state / "token").read_text().strip()
        url = next(line for line in (daemon.state / "url").read_text().split() if line.startswith("http"))
        environ = {"QDECK_URL": url, "QDECK_TOKEN": token, "QDECK_STATE": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = daemon.qdeck("run", "--device", "fake", "--", "sh", "-c", JOB, **environ)
    assert done.returncode == 7, done.stderr
    mode, session, task = done.stdout.splitlines()
    assert mode == ("600" if way == "tcp" else "none")
    assert json.loads(task)["session"] == session
    assert client.open_session(session).info.state == "closed"
    assert not list(tmp_path.iterdir()), "the token's file is gone"


def test_run_ends_as_its_command_does_and_closes_its_session(daemon: Daemon, client: Client) -> None:
    for command, code in (("true", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143)):
        assert daemon.qdeck("run", "-d", "fake", "--", "sh", "-c", command).returncode == code
    assert daemon.qdeck("run", "-d", "fake", "--", "no-such-command").returncode == 127
    assert daemon.qdeck("run", "-d", "fake", "--", str(daemon.directory)).returncode == 126
    assert client.sessions() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_run_passes_signals_on(daemon: Daemon, client: Client, number: signal.Signals) -> None:
    job = f"trap 'echo caught; exit 9' {number.value}; echo ready; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        ["qdeck", "run", "-d", "fake", "--", "sh", "-c", job], env=daemon.environ, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
        assert [session.device for session in client.sessions()] == ["fake"]
        process.send_signal(number)
        assert process.stdout.read() == "caught\n"
    assert process.wait(20) == 9
    assert client.sessions() == []


def test_the_log_replays_to_the_same_state(daemon: Daemon, tmp_path: Path) -> None:
    assert daemon.qdeck("submit", PROGRAM, "-d", QPU, "-n", "20", "--wait").returncode == 0
    log = tmp_path / "log"
    log.write_text(daemon.qdeck("events", "--json").stdout)
    done = daemon.qdeck("replay", log, "--against-daemon", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["broken"] == "" and told["differences"] == [] and told["tasks"] > 0
    stored = json.loads(daemon.qdeck("replay", daemon.state / "quarterdeck.db", "--json").stdout)
    assert stored["digest"] == told["digest"]
    last = log.read_text().splitlines()
    ended = max(n for n, line in enumerate(last) if '"SliceFinished"' in line)
    log.write_text("\n".join(last[:ended]))
    less = daemon.qdeck("replay", log, "--against-daemon")
    assert less.returncode == 1 and "by the daemon done" in less.stdout


def test_events_follow(daemon: Daemon, client: Client) -> None:
    last = max(entry.seq for entry in client.events())
    command = ["qdeck", "events", "--follow", "--after", str(last), "--limit", "1", "--json"]
    with subprocess.Popen(command, env=daemon.environ, stdout=subprocess.PIPE, text=True) as process:
        with client.session("fake") as session:
            told, _ = process.communicate(timeout=20)
    entry = json.loads(told)
    assert entry["seq"] == last + 1
    assert (entry["event"]["event"], entry["event"]["session"]) == ("SessionOpened", session.id)


def test_progress_is_on_standard_error_and_only_on_a_terminal(daemon: Daemon) -> None:
    ours, theirs = pty.openpty()
    command = ["qdeck", "submit", PROGRAM, "-d", QPU, "-n", "100", "--wait", "--json"]
    done = subprocess.run(
        command, env=daemon.environ | {"TERM": "xterm", "COLUMNS": "100"}, stdout=subprocess.PIPE, stderr=theirs,
        text=True, timeout=60, check=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    assert b"shots" in shown and b"/100" in shown
    assert sum(json.loads(done.stdout)["counts"].values()) == 100
    assert daemon.qdeck(*command[1:]).stderr == ""


def test_completion_knows_devices(daemon: Daemon) -> None:
    line = "qdeck submit x --device f"
    done = daemon.qdeck(_QDECK_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD="4")
    assert done.stdout.split() == ["fake", QPU]


def test_a_session_that_was_lost_is_told(client: Client) -> None:
    with client.session("fake") as session:
        client.open_session(session.id).close()
        with pytest.raises(NotFound):
            session.submit("x", format="opaque", shots=1)


def test_run_lets_programs_written_for_qrmi_find_their_qpu(daemon: Daemon, client: Client) -> None:
    """The public examples' shape, unmodified, without a workload manager and without MUNGE."""
    python = ROOT / ".tools" / "clients" / "pasqal" / "bin" / "python"
    if not python.exists():
        pytest.skip("the client pasqal is not installed: ./run clients")
    run = ("run", "-d", "fresnel-emulator", "--", str(python))
    done = daemon.qdeck(*run, str(ROOT / "tests" / "clients" / "pulser_qrmi.py"), "0")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["device"] == "fresnel-emulator" and [sum(counts.values()) for counts in seen["counts"]] == [200, 200]
    done = daemon.qdeck(*run, str(ROOT / "tests" / "clients" / "qiskit_qrmi.py"))
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout)["counts"].values()) == 200
    assert client.sessions() == []
