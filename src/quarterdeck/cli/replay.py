"""`qdeck replay`: read a log again, and see that it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quarterdeck.cli.common import Json, connect, note, print_fields, print_json

if TYPE_CHECKING:
    from quarterdeck.core.events import Event
    from quarterdeck.core.replay import Replay


def replay(
    log: Annotated[str, typer.Argument(metavar="LOG", help="Lines of `qdeck events --json`, a store file, or -.")],
    against_daemon: Annotated[
        bool, typer.Option("--against-daemon", help="Compare where it ends with what the daemon says of its tasks.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Play a log again, and check that it holds.

    Every entry goes through the daemon's own core, every invariant is checked, and the end state gets a digest.
    Exit code 1 if the log cannot be true, or if the daemon says something else.

    \b
        qdeck events --json > log.ndjson && qdeck replay log.ndjson --against-daemon
        qdeck replay /var/lib/quarterdeck/quarterdeck.db
    """
    from quarterdeck.core import replay as core
    from quarterdeck.core.invariants import Broken
    from quarterdeck.core.transition import InvalidTransition
    from quarterdeck.simulator.recorded import entries

    counts: Counter[str] = Counter()
    last = 0

    def counted() -> Iterator[Event]:
        nonlocal last
        for seq, event in entries(log):
            if seq != last + 1:
                raise Broken(f"entry {last + 1} is missing: the whole log is needed, as an administrator sees it")
            last = seq
            counts[type(event).__name__] += 1
            yield event

    broken = ""
    ended = None
    try:
        ended = core.replay(counted())
    except (Broken, InvalidTransition, ValueError) as error:
        broken = f"entry {last}: {error}"
    told: dict[str, Any] = {"events": sum(counts.values()), "kinds": dict(sorted(counts.items())), "broken": broken}
    if ended is not None:
        told |= summary(ended)
        if against_daemon:
            told["differences"] = differences(ended)
    if as_json:
        print_json(told)
    else:
        print_fields((key, _words(value)) for key, value in told.items() if key != "differences")
        if "differences" in told:
            print(*(told["differences"] or ["the daemon says the same of every task"]), sep="\n")
    if broken:
        note(f"the log does not hold: {broken}")
    if broken or told.get("differences"):
        raise typer.Exit(1)


def summary(ended: Replay) -> dict[str, Any]:
    """Counts, and a digest of the whole state: the same digest is the same state."""
    from hashlib import sha256

    import msgspec

    deck = ended.deck
    tasks = {**ended.ended, **deck.tasks}
    state = {"tasks": tasks, "slices": deck.slices, "sessions": deck.sessions, "devices": deck.devices,
             "windows": deck.windows, "calendars": deck.calendars, "accounts": deck.ledger.accounts}  # fmt: skip
    return {
        "tasks": len(tasks),
        "states": dict(sorted(Counter(task.state for task in tasks.values()).items())),
        "shots": sum(task.shots_done for task in tasks.values()),
        "open_sessions": len(deck.sessions),
        "digest": sha256(msgspec.json.encode(state, order="deterministic")).hexdigest(),
    }


def differences(ended: Replay) -> list[str]:
    """Where the daemon's word on its tasks is not what the log comes to."""
    tasks = {**ended.ended, **ended.deck.tasks}
    with connect() as client:
        there = {task.id: task.info for task in client.tasks()}
    found = [f"task {id} is in the log and unknown to the daemon" for id in sorted(tasks.keys() - there.keys())]
    found += [f"task {id} is not in the log" for id in sorted(there.keys() - tasks.keys())]
    for id in sorted(tasks.keys() & there.keys()):
        mine, theirs = tasks[id], there[id]
        if (mine.state, mine.shots_done) != (theirs.state, theirs.shots_done):
            found.append(
                f"task {id}: by the log {mine.state} with {mine.shots_done} shots, by the daemon {theirs.state} with "
                f"{theirs.shots_done}"
            )
    return found


def _words(value: Any) -> str:
    return ", ".join(f"{name} {count}" for name, count in value.items()) if isinstance(value, dict) else str(value)


def add(app: typer.Typer) -> None:
    app.command()(replay)
