"""`qdeck realtime`: the real-time host, a distribution of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from quarterdeck.cli.common import Json, note, print_columns, print_json
from quarterdeck.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from quarterdeck_realtime.status import HostStatus

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None,
    help="The real-time host: decode syndromes against a deadline, and see why answers were late.",
)  # fmt: skip
Name = Annotated[str, typer.Argument(metavar="HOST", help="The host's name, as its settings have it.")]


def _part(name: str) -> ModuleType:
    """A module of quarterdeck-realtime. Raises `Unavailable` where it is not installed."""
    from importlib import import_module

    try:
        return import_module(f"quarterdeck_realtime.{name}")
    except ImportError as error:
        what = "quarterdeck-realtime is not installed; from Quarterdeck's sources: pip install ./realtime"
        raise Unavailable("the real-time host", f"{what} ({error})", 0.0) from None


@app.command()
def run(
    config: Annotated[Path, typer.Argument(metavar="FILE", help="host.toml, or a cudaq-qec decoders.yaml.")],
) -> None:
    """Start a host; Ctrl-C or SIGTERM ends it.

    It prints one line once it is ready. Controllers get their rings of shared memory at its socket, or send frames of
    cudaq-realtime to its UDP ports.

    \b
        qdeck realtime run host.toml
        qdeck realtime run decoders.yaml
    """
    try:
        raise typer.Exit(_part("run").main(config))
    except FileNotFoundError:
        raise NotFound("file", str(config)) from None
    except ValueError as error:
        raise Invalid("settings", str(error)) from None
    except OSError as error:
        raise Unavailable("the real-time host", str(error), 0.0) from None


@app.command()
def status(
    name: Name,
    watch: Annotated[float | None, typer.Option(help="Again every so many seconds.", min=0.1)] = None,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="As Prometheus text.")] = False,
    as_json: Json = False,
) -> None:
    """How a host is doing: reactions, late answers and why.

    It is read from shared memory; the host notices nothing. Causes of late answers: transport, backlog, decode, and
    preempted (by the machine).

    \b
        qdeck realtime status d7
        qdeck realtime status d7 --watch 1
        qdeck realtime status d7 --prometheus > /var/lib/node_exporter/d7.prom
    """
    part = _part("status")
    while True:
        try:
            with part.Ledger(name) as ledger:
                found = ledger.status()
        except FileNotFoundError as error:
            raise NotFound("real-time host", name) from error
        except ValueError as error:
            raise Invalid("HOST", str(error)) from None
        if as_json:
            print_json(found)
        elif prometheus:
            print(part.prometheus(found), end="")
        else:
            _print_status(found)
        if watch is None:
            return
        sys.stdout.flush()
        time.sleep(watch)


@app.command()
def swap(
    name: Name,
    qubit: Annotated[str, typer.Argument(metavar="QUBIT", help="Which logical qubit.")],
    dem: Annotated[Path, typer.Argument(metavar="FILE", help="Stim's detector error model with the new weights.")],
    kind: Annotated[
        Literal["matching", "union-find", "lookup", "erasure", "relay"] | None,
        typer.Option(help="Another kind of decoder."),
    ] = None,
    socket: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The host's socket, if not the usual one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Give a logical qubit new weights while it runs.

    It is built and warmed beside the loop and takes over between two volumes; no round is lost.

    \b
        qdeck realtime swap d7 left recalibrated.dem
        qdeck realtime swap d7 left recalibrated.dem --kind union-find
    """
    import stim

    service, control = _part("service"), _part("control")
    try:
        model = stim.DetectorErrorModel.from_file(dem)
        with control.Control(socket or service.default_socket(name)) as host:
            epoch = host.swap(qubit, model, kind)
    except (ValueError, IndexError) as error:
        raise Invalid(str(dem), str(error)) from None
    except OSError as error:
        raise Unavailable("the real-time host", str(error), 0.0) from None
    if as_json:
        print_json({"qubit": qubit, "epoch": epoch})
    else:
        print(f"{qubit}: answers from epoch {epoch} on are the new decoder's")


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A look, in less than a minute.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="The decoders alone, beside other packages'.")] = False,
    as_json: Json = False,
) -> None:
    """Measure controller, host and machine in one run.

    Every correction is compared with PyMatching's. The controller is emulated: it publishes rounds that Stim sampled
    at a fixed cadence. What the machine itself takes is measured beside, and so is a host without a decoder.

    \b
        qdeck realtime bench --quick
        qdeck realtime bench --json
        qdeck realtime bench --offline
    """
    if offline:
        part = _part("bench_offline")
        report = part.compare((5, 7, 9), seconds=20.0, repeats=5) if quick else part.compare()
    else:
        part = _part("report")
        report = _part("bench").bench(quick=quick, tell=note)
    if as_json:
        print_json(report)
    else:
        print(part.markdown(report))


def _print_status(found: HostStatus) -> None:
    state = "runs" if found.alive else "does not run"
    granted = ", ".join(
        word for word, true in (("pinned", found.pinned), ("real-time", found.fifo), ("locked", found.locked)) if true
    )
    print(
        f"the loop {state}: core {found.core} ({granted or 'nothing granted'}), busy {100 * found.busy_share:.1f} %, "
        f"{found.gaps_per_s:.0f} gaps/s of the machine"
    )
    rows = [
        (p.name, p.decoder, p.state, p.epoch, p.shots, f"{p.budget_us:g}", f"{p.reaction.p50_us:.2f}",
         f"{p.reaction.p99_us:.2f}", f"{p.reaction.p999_us:.1f}", p.late,
         " ".join(f"{cause} {n}" for cause, n in p.misses.items() if n), p.lost_rounds, p.failures)
        for p in found.patches
    ]  # fmt: skip
    head = ("QUBIT", "DECODER", "STATE", "EPOCH", "SHOTS", "BUDGET us", "p50 us", "p99 us", "p99.9 us", "LATE", "WHY",
            "LOST", "FAILED")  # fmt: skip
    print_columns(head, rows)


def add(root: typer.Typer) -> None:
    root.add_typer(app, name="realtime")
