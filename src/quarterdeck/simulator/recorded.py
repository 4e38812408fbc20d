"""A daemon's own log as a workload: what was asked of it, when, and how long the devices really took."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import msgspec

from quarterdeck.core import events as ev
from quarterdeck.errors import Invalid
from quarterdeck.simulator.site import Calendar, DeviceSpec, Site
from quarterdeck.simulator.workload import Job, Round, Workload

MAGIC = b"SQLite format 3\0"


def entries(log: str) -> Iterator[tuple[int, ev.Event]]:
    """Number and event of each entry of a log: lines of `qdeck events --json`, a store file, or `-` for standard input.

    Raises `Invalid` for what is no log.
    """
    if log != "-" and _is_store(Path(log)):
        yield from ((seq, ev.decode(body)) for seq, body in _rows(Path(log)))
        return
    decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
    with nullcontext(sys.stdin.buffer) if log == "-" else Path(log).open("rb") as lines:
        for number, text in enumerate(lines, 1):
            if not text.strip():
                continue
            try:
                line = decoder.decode(text)
                entry = int(bytes(line["seq"])), ev.decode(line["event"])
            except (msgspec.DecodeError, UnicodeDecodeError, KeyError, ValueError) as error:
                raise Invalid(f"{log}:{number}", f"is no line of `qdeck events --json`: {error}") from None
            yield entry


def _is_store(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise Invalid(str(path), f"cannot be read: {error.strerror}") from None


def _rows(path: Path) -> Iterator[tuple[int, bytes]]:
    """The log in a store file, read without disturbing the daemon that writes it."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            yield from connection.execute("SELECT seq, body FROM event ORDER BY seq")
    except sqlite3.Error as error:
        raise Invalid(str(path), f"is not a store that can be read: {error}") from None


class _Done(msgspec.Struct):
    """A task of the log that measured something."""

    asked: ev.Submitted
    shots: int = 0
    shots_s: float = 0.0
    end_s: float = 0.0


def recorded(events: Iterable[ev.Event], *, name: str = "recorded", closed: bool = False) -> Workload:
    """The tasks of a log that measured shots, on the devices and with the windows that it declares.

    Each task takes the device seconds that it really took, set-ups aside, and a register as long to set up as it did.
    Open loop: every task comes when it came, as a job of its own in its session, which is a shared one. `closed`: a
    session's tasks are one job's rounds, whose think times are the pauses between a task's end and the next one's
    submission (0 if they overlapped); tasks without a session are jobs of their own.
    Raises `Invalid` if there is nothing to run.
    """
    begin_s: float | None = None
    devices: dict[str, ev.DeviceDeclared] = {}
    windows: dict[str, ev.WindowSet] = {}
    tasks: dict[str, _Done] = {}
    opened: dict[str, ev.SessionOpened] = {}
    setups: dict[str, dict[str, float]] = {}
    for event in events:
        begin_s = event.at_s if begin_s is None else begin_s
        match event:
            case ev.DeviceDeclared():
                devices[event.device] = event
            case ev.WindowSet():
                windows[event.window] = event
            case ev.WindowCleared() if event.window in windows:
                at = windows[event.window]
                windows[event.window] = msgspec.structs.replace(at, end_s=min(at.end_s, event.at_s))
            case ev.SessionOpened():
                opened[event.session] = event
            case ev.Submitted():
                tasks[event.task] = _Done(event)
            case ev.SliceFinished() if event.task in tasks:
                task = tasks[event.task]
                task.shots += event.shots
                task.shots_s += max(0.0, event.qpu_s - event.setup_s)
                task.end_s = event.at_s
                if event.setup_s and task.asked.register:
                    setups.setdefault(task.asked.device, {})[task.asked.register] = event.setup_s
            case _:
                pass
    done = sorted((task for task in tasks.values() if task.shots), key=lambda task: task.asked.at_s)
    if begin_s is None or not done:
        raise Invalid(name, "has no task that measured anything")
    groups: dict[str, list[_Done]] = {}
    for task in done:
        groups.setdefault((closed and task.asked.session) or f"task {task.asked.task}", []).append(task)
    jobs = [_job(number, group, opened, begin_s, closed) for number, group in enumerate(groups.values(), 1)]
    jobs.sort(key=lambda job: (job.arrival_s, job.job))
    return Workload(name=name, site=_site(devices, windows, setups, begin_s), jobs=jobs)


def _job(number: int, tasks: list[_Done], opened: dict[str, ev.SessionOpened], begin_s: float, closed: bool) -> Job:
    first = tasks[0].asked
    session = opened.get(first.session) if closed else None
    arrival_s = session.at_s if session else first.at_s
    rounds, free_s = [], arrival_s
    for task in tasks:
        asked = task.asked
        think_s = max(0.0, asked.at_s - free_s)
        rounds.append(Round(think_s, task.shots_s, asked.estimate_s, task.shots, asked.register))
        free_s = max(task.end_s, free_s)
    return Job(
        job=number, arrival_s=arrival_s - begin_s, user=first.user, project=first.project, class_=first.class_,
        rounds=rounds, devices=first.devices or (first.device,), joins="" if closed else first.session,
        session=session.mode if session else ("shared" if first.session else "none"),
        deadline_s=max(0.0, first.deadline_s - arrival_s) if first.deadline_s else 0.0,
    )  # fmt: skip


def _site(
    devices: dict[str, ev.DeviceDeclared], windows: dict[str, ev.WindowSet], setups: dict[str, dict[str, float]],
    begin_s: float,
) -> Site:  # fmt: skip
    specs = []
    for id, told in devices.items():
        calendar = [
            Calendar(kind=w.kind, offset_s=max(0.0, w.start_s - begin_s), hard=w.hard, slack_s=w.slack_s,
                     user=w.user, project=w.project, duration_s=w.end_s - max(w.start_s, begin_s))
            for w in sorted(windows.values(), key=lambda w: w.start_s) if w.device == id and w.end_s > w.start_s
        ]  # fmt: skip
        spec = DeviceSpec(
            id=id, modality=told.modality, qubits=told.qubits, lanes=told.lanes, shot_rate_hz=told.shot_rate_hz,
            setup_s=told.setup_s, setups=setups.get(id, {}), overhead_s=told.overhead_s, slice_shots=told.slice_shots,
            window=[each for each in calendar if each.duration_s > 0],
        )  # fmt: skip
        specs.append(spec)
    return Site(specs)
