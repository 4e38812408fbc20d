"""`qdeck demo`: a whole hybrid job in one command, on a daemon of its own or on any other."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

import msgspec
from rich.console import Console

from quarterdeck.errors import QuarterdeckError

DEVICE = "fresnel-emulator"
TIME_SCALE = 20.0
"""The private QPU runs twenty times faster than a machine, which is about as fast as it can be emulated."""
INTERRUPTED = 130
MODULES = ("numpy", "scipy", "matplotlib", "pulser", "pulser_simulation")
SUFFIXES = (".png", ".svg", ".pdf")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(
        prog="qdeck demo",
        description="Solve a maximum-independent-set problem with a hybrid quantum-classical loop on a QPU (emulated,"
        " unless you name a daemon that has a real one), and draw a picture of it. Starts a private daemon for the"
        " time it takes, and leaves nothing behind but the picture.",
    )
    made.add_argument("--url", help="use the daemon at this address: unix:///PATH or http://HOST:PORT")
    made.add_argument("--no-daemon", action="store_true", help="use the daemon that QDECK_URL or the usual places name")
    made.add_argument("--device", help=f"the device (default: QDECK_DEVICE, else {DEVICE})")
    made.add_argument("--rounds", type=_between(2, 200), default=12, help="rounds of tuning (default 12)")
    made.add_argument("--pulses", type=_between(5, 50), default=6, help="tasks in a round (default 6)")
    made.add_argument("--shots", type=_between(10, 100_000), default=200, help="shots of a task (default 200)")
    made.add_argument("--atoms", type=_between(3, 14), default=11, help="vertices of the graph (default 11)")
    made.add_argument("--seed", type=_between(0, 2**32 - 1), default=1, help="chooses graph and tuning (default 1)")
    made.add_argument(
        "--out", type=Path, default=Path("quarterdeck-demo.png"), help="the picture: .png, .svg or .pdf"
        " (default quarterdeck-demo.png)",
    )  # fmt: skip
    made.add_argument("--json", action="store_true", help="print one JSON document, and progress on standard error")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo. Returns 0 if a valid set was found, 1 if not or something failed, 130 when interrupted."""
    options = parser()
    given = options.parse_args(argv)
    if given.out.suffix.lower() not in SUFFIXES or not given.out.parent.is_dir():
        options.error(f"--out {given.out}: not a {', '.join(SUFFIXES)} file in a directory that exists")
    console = Console(stderr=given.json)
    try:
        with _terminable():
            return _run(given, console)
    except KeyboardInterrupt:
        console.print("interrupted")
        return INTERRUPTED
    except (QuarterdeckError, OSError) as error:
        print(f"qdeck demo: {error}", file=sys.stderr)
        return 1


def _run(given: argparse.Namespace, console: Console) -> int:
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        print(f"qdeck demo: needs {', '.join(missing)}: pip install 'quarterdeck[pulser,plot]'", file=sys.stderr)
        return 1
    from quarterdeck.client import connect
    from quarterdeck.demo.job import Job, Options
    from quarterdeck.demo.private import PrivateDaemon
    from quarterdeck.demo.screen import Screen

    other = bool(given.url) or given.no_daemon
    device = given.device or (os.environ.get("QDECK_DEVICE") if other else None) or DEVICE
    options = Options(
        device=device, rounds=given.rounds, pulses=given.pulses, shots=given.shots, atoms=given.atoms, seed=given.seed,
        out=given.out,
    )  # fmt: skip
    with ExitStack() as stack:
        screen = stack.enter_context(Screen(console))
        url = given.url
        if not other:
            screen.say("Starting a private daemon with an emulated neutral-atom QPU")
            url = stack.enter_context(PrivateDaemon(device, time_scale=TIME_SCALE))
        client = stack.enter_context(connect(url))
        outcome = Job(client, options, screen).run()
    screen.finish(outcome)
    if given.json:
        print(msgspec.json.format(msgspec.json.encode(outcome), indent=1).decode())
    return 0 if outcome.valid else 1


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP are Ctrl-C: what was begun is cleaned up."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    heard = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}  # nohup stays nohup
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _between:
    """An argparse type: a whole number in a range."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = self.least - 1
        if not self.least <= value <= self.most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {self.least} to {self.most}")
        return value
