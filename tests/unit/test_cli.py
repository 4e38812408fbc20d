"""The command line without a daemon: parsing, exit codes, what it prints, what it loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from quarterdeck.cli.common import print_columns
from quarterdeck.cli.submit import parameter
from quarterdeck.core import events as ev

QDECK = Path(sys.executable).with_name("qdeck")
HEAVY = {"httpx", "msgspec", "rich", "numpy", "pulser", "matplotlib", "sqlalchemy", "starlette", "uvicorn", "asyncio",
         "quarterdeck.client", "quarterdeck.daemon", "quarterdeck.core", "quarterdeck.wire"}  # fmt: skip


def qdeck(*words: str | Path, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QDECK_")}
    return subprocess.run(
        [QDECK, *words], env=clean | environ, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def test_it_loads_nothing_heavy() -> None:
    code = "import quarterdeck.cli, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)


@pytest.mark.parametrize(
    "words",
    [
        (), ("nothing",), ("submit",), ("submit", "x.json"), ("submit", "no-such-file", "-d", "x", "-n", "1"),
        ("submit", "-", "-d", "x", "-n", "1", "-p", "a"), ("submit", "-", "-d", "x", "-n", "many"),
        ("session",), ("tasks", "--state", "asleep"), ("run", "--", "true"), ("serve", "--config", "no-such-file"),
        ("devices", "--online"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_wrong_command_line_ends_with_2_and_says_why(words: Sequence[str]) -> None:
    done = qdeck(*words)
    assert done.returncode == 2 and done.stdout == "" and done.stderr
    assert "Traceback" not in done.stderr


def test_no_daemon(tmp_path: Path) -> None:
    done = qdeck("devices", "--json", QDECK_STATE=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1 and f"{tmp_path}/run/qdeck.sock" in done.stderr and "qdeck serve" in done.stderr
    assert qdeck("--url", "ftp://x", "devices").stderr.startswith("qdeck: QDECK_URL: 'ftp://x' is neither")


def test_no_daemon_for_run_starts_nothing(tmp_path: Path) -> None:
    done = qdeck("run", "-d", "fake", "--", "touch", tmp_path / "touched", QDECK_STATE=str(tmp_path))
    assert done.returncode == 1 and not (tmp_path / "touched").exists()


def test_every_command_explains_itself_with_an_example() -> None:
    from typer.main import get_command

    import quarterdeck.cli

    def leaves(command: Any, name: str) -> list[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        return [leaf for k, c in inner.items() for leaf in leaves(c, f"{name} {k}")] if inner else [(name, command)]

    found = leaves(get_command(quarterdeck.cli.app), "qdeck")
    assert len(found) == 44
    for name, command in found:
        if name != "qdeck version":
            assert f"    {name}" in command.help, f"{name} --help has no example"
        assert len(command.get_short_help_str(200)) <= 60, f"{name} needs a shorter first sentence"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    done = qdeck(_QDECK_COMPLETE=f"source_{shell}")
    assert done.returncode == 0 and "_QDECK_COMPLETE" in done.stdout
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0


def test_completion_of_commands_and_of_devices_without_a_daemon(tmp_path: Path) -> None:
    def complete(line: str) -> list[str]:
        words = line.split(" ")
        done = qdeck(
            _QDECK_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), QDECK_STATE=str(tmp_path)
        )
        assert done.stderr == ""
        return done.stdout.split()

    assert complete("qdeck se") == ["serve", "session"]
    assert complete("qdeck submit x --device ") == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a=1", ("a", 1)), ("a=-2.5e3", ("a", -2500.0)), ("a=1,2", ("a", [1, 2])), ("a=[1, 2.5]", ("a", [1, 2.5])),
        ("a=1,", None), ("a", None), ("=1", None), ("a=", None), ("a=x", None), ("a=true", None), ('a="1"', None),
        ("a=[[1]]", None), ("a={}", None),
    ],
)  # fmt: skip
def test_parameters(text: str, told: tuple[str, object] | None) -> None:
    if told is None:
        with pytest.raises(typer.BadParameter):
            parameter(text)
    else:
        assert parameter(text) == told


def test_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_columns(("NAME", "COUNT"), [("a", 5), ("longer", 500)])
    assert capsys.readouterr().out == "NAME    COUNT\na           5\nlonger    500\n"


def test_init_writes_what_serve_reads_and_overwrites_only_when_told(tmp_path: Path) -> None:
    file = tmp_path / "etc" / "q.toml"
    done = qdeck("init", file)
    assert done.returncode == 0 and f"qdeck serve --config {file}" in done.stdout
    assert tomllib.loads(file.read_text())["devices"]
    file.write_text("mine")
    refused = qdeck("init", file)
    assert refused.returncode == 1 and "--force" in refused.stderr and file.read_text() == "mine"
    assert json.loads(qdeck("init", file, "--force", "--json").stdout) == {"path": str(file)}
    assert file.read_text() != "mine"
    usual = qdeck("init", QDECK_CONFIG=str(tmp_path / "usual.toml"))
    assert "`qdeck serve`" in usual.stdout


def test_version() -> None:
    from quarterdeck import __version__

    assert json.loads(qdeck("version", "--json").stdout) == {"version": __version__}


LOG: list[ev.Event] = [
    ev.DeviceDeclared(at_s=1, device="d", slice_shots=10),
    ev.DeviceChanged(at_s=2, device="d", status="online"),
    ev.Submitted(at_s=3, task="t1", user="u", device="d", program="p", shots=10),
    ev.SliceStarted(at_s=3, task="t1", index=0, shots=10),
    ev.Submitted(at_s=4, task="t2", user="u", device="d", program="p", shots=10),
    ev.SliceFinished(at_s=5, task="t1", index=0, shots=10),
]
TWICE: list[ev.Event] = [
    ev.SliceStarted(at_s=4, task="t1", index=0, shots=6),
    ev.SliceFinished(at_s=5, task="t1", index=0, shots=6),
    ev.SliceStarted(at_s=5, task="t1", index=1, shots=6),
]


def lines(log: Sequence[ev.Event]) -> str:
    return "".join(json.dumps({"seq": n, "event": ev.to_json(event)}) + "\n" for n, event in enumerate(log, 1))


def test_replay_tells_where_a_log_ends(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text(lines(LOG))
    told = json.loads(qdeck("replay", file, "--json").stdout)
    assert told["events"] == 6 and told["states"] == {"done": 1, "queued": 1} and told["shots"] == 10
    assert told["broken"] == ""
    again = json.loads(qdeck("replay", "-", "--json", stdin=lines(LOG)).stdout)
    other = json.loads(qdeck("replay", "-", "--json", stdin=lines(LOG[:-1])).stdout)
    assert again["digest"] == told["digest"] != other["digest"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (lines([*LOG, LOG[-1]]), "t1/0"),
        (lines([*LOG[:4], ev.SliceStarted(at_s=4, task="t1", index=1, shots=10)]), "cannot become running"),
        (lines([*LOG[:3], *TWICE]), "runs shots twice"),
        (lines(LOG).partition("\n")[2], "entry 1 is missing"),
        ("not json\n", "-:1"),
        ('{"seq":1,"event":{"event":"Nonsense","at_s":1}}\n', "-:1"),
    ],
    ids=["finished twice", "started twice", "shots twice", "gap", "garbage", "unknown event"],
)
def test_replay_sees_a_log_that_cannot_be_true(text: str, why: str) -> None:
    done = qdeck("replay", "-", stdin=text)
    assert (
        done.returncode == 1 and why in done.stderr and "Traceback" not in done.stderr and "defect" not in done.stderr
    )
