"""`qdeck bench`: measure, print, keep."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from quarterdeck.bench import control_plane, dropin, dropin_report, scheduling, scheduling_report
from quarterdeck.bench.report import markdown, show
from quarterdeck.bench.trial import Options
from quarterdeck.errors import QuarterdeckError

app = typer.Typer(no_args_is_help=True, help="Measure this installation, and other systems beside it.")


@app.callback()
def bench() -> None:
    """Measure this installation, and other systems beside it."""


@app.command("control-plane")
def run_control_plane(
    warden: Annotated[str, typer.Option(help="URL of a running Warden to measure beside: http://127.0.0.1:PORT.")] = "",
    qpu_port: Annotated[int, typer.Option(help="Port on which that Warden expects its QPU; we answer there.")] = 8005,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="How often to repeat each measurement.")] = 3,
    quick: Annotated[
        bool, typer.Option("--quick", help="Shorter rounds; 100,000 queued tasks, not a million.")
    ] = False,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where the private daemon keeps its store. Choose a real disk.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"Measure only this part ({', '.join(control_plane.PARTS)}); repeat for more."),
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Submissions, status calls, latency to the device, draining, memory, and the cost of a long queue.

    Starts a private daemon with an instant device. Without --quick it takes about a quarter of an hour.
    """
    unknown = set(only or ()) - set(control_plane.PARTS)
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: not one of {', '.join(control_plane.PARTS)}", param_hint="--only"
        )
    options = Options(
        warden=warden, qpu_port=qpu_port, rounds=rounds, quick=quick, directory=directory, only=tuple(only or ())
    )
    progress = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # take the private daemon along
    try:
        report = control_plane.run(
            options, lambda line: progress.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
        )
    except QuarterdeckError as error:
        progress.print(f"qdeck: {error}", markup=False)
        raise typer.Exit(1) from None
    if as_json:
        print(report.to_json())
    elif as_markdown:
        print(markdown(report))
    else:
        console = Console()
        # In a file the tables may be as wide as they are.
        show(report, console if console.is_terminal else Console(width=200))


@app.command("dropin")
def run_dropin(
    warden: Annotated[
        str,
        typer.Option(help="URL of a running Warden to do the same to: http://127.0.0.1:PORT. Its jobs are in danger."),
    ] = "",
    qpu_port: Annotated[int, typer.Option(help="Port on which that Warden expects its QPU; we answer there.")] = 8005,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where the private daemon keeps its store. Choose a real disk.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"Replay only this ({', '.join(dropin.SCENARIOS)}); repeat for more."),
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Replay faults that sites have met: kills, outages, lost answers, locked databases, nonsense, stolen credentials.

    Needs root and a running munged. A private daemon is started before an emulated QPU; a Warden that is named is put
    before another one, and its scheduler is killed and started again. Takes about three minutes for each system. The
    exit status is 1 if anything of ours was lost, duplicated, burnt, blocked or wrongly accepted.

    \b
        qdeck bench dropin
        qdeck bench dropin --warden http://127.0.0.1:8006 --markdown
    """
    progress = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # take the private daemon along

    def say(line: str) -> None:
        progress.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)

    try:
        with tempfile.TemporaryDirectory(prefix="qdeck-dropin-", dir=directory) as place:
            rows = dropin.run(warden, qpu_port, tuple(only or ()), Path(place), say)
    except QuarterdeckError as error:
        progress.print(f"qdeck: {error}", markup=False)
        raise typer.Exit(1) from None
    if as_json:
        print(dropin_report.to_json(rows))
    elif as_markdown:
        print(dropin_report.markdown(rows))
    else:
        console = Console()
        dropin_report.show(rows, console if console.is_terminal else Console(width=200))
    if any(row.system == "quarterdeck" and (row.tally is None or row.tally.harm) for row in rows):
        raise typer.Exit(1)


@app.command("scheduling")
def run_scheduling(
    quick: Annotated[
        bool, typer.Option("--quick", help="Short workloads, four seeds, one load each: a look, not a verdict.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="Seeds of each setting.")] = 20,
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"Run only this part ({', '.join(scheduling.PARTS)}); repeat for more."),
    ] = None,
    load: Annotated[list[float] | None, typer.Option(help="Run only settings at this load; repeat for more.")] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write each outcome here at once; the same command goes on from there."),
    ] = None,
    processes: Annotated[int, typer.Option(min=0, help="As many at once; 0 is one for each core.")] = 0,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the study as Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the study as JSON.")] = False,
) -> None:
    """Compare policies on workloads like a superconducting and a neutral-atom QPU's, on the daemon's own core.

    Prints the aims with verdicts, then slowdowns, utilisation, fairness and estimates of every policy at every load,
    with 95 % intervals over seeds. The whole study takes hours; with --keep it can be ended and gone on with.

    \b
        qdeck bench scheduling --quick
        qdeck bench scheduling --keep study.jsonl --markdown
        qdeck bench scheduling --only orders --only gaming --seeds 24 --json
    """
    from rich import progress as bars

    screen = Console(stderr=True)
    columns = (
        bars.TextColumn("simulating", style="dim"), bars.BarColumn(), bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(), bars.TextColumn("left:", style="dim"), bars.TimeRemainingColumn(),
    )  # fmt: skip
    options = scheduling.Options(
        seeds=seeds, quick=quick, parts=tuple(only or ()), loads=tuple(load or ()), keep=keep, processes=processes
    )
    try:
        with bars.Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
            bar = progress.add_task("", total=None)
            study = scheduling.run(options, lambda done, of: progress.update(bar, completed=done, total=of))
    except QuarterdeckError as error:
        screen.print(f"qdeck: {error}", markup=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        how = f"the same command goes on from {keep}" if keep else "with --keep FILE it could have been gone on with"
        screen.print(f"qdeck: ended; {how}", markup=False)
        raise typer.Exit(130) from None
    if as_json:
        print(study.to_json())
    elif as_markdown:
        print(scheduling_report.markdown(study))
    else:
        console = Console()
        scheduling_report.show(study, console if console.is_terminal else Console(width=200))


@app.command("decision")
def run_decision(
    policies: Annotated[
        list[str] | None, typer.Option("--policy", "-p", help="A policy to measure; repeat for more. [default: all]")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Up to 100,000 tasks queued, and in the trace.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Time one decision with a thousand to a million queued tasks, and a trace of a million tasks.

    The core alone, without a daemon: from "a slice ended" to the next one being chosen.

    \b
        qdeck bench decision --quick
        qdeck bench decision --policy deck --policy fifo --markdown
    """
    from quarterdeck.bench import decision
    from quarterdeck.core.policy import POLICIES

    screen = Console(stderr=True)
    try:
        report = decision.run(
            tuple(policies or POLICIES), quick, lambda line: screen.print(line, style="dim", markup=False)
        )
    except QuarterdeckError as error:
        screen.print(f"qdeck: {error}", markup=False)
        raise typer.Exit(1) from None
    if as_json:
        print(report.to_json())
    elif as_markdown:
        print(markdown(report))
    else:
        console = Console()
        show(report, console if console.is_terminal else Console(width=200))


@app.command("slurm")
def run_slurm(
    qpu: Annotated[str, typer.Option(help="A QPU of this cluster that --jobs jobs may share; an emulator will do.")],
    program: Annotated[Path, typer.Option(help="A Pulser program for it, such as examples/programs/afm_chain.json.")],
    partition: Annotated[str, typer.Option(help="Where all the jobs go, with and without a QPU.")] = "quantum",
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds of job launches.")] = 3,
    pairs: Annotated[int, typer.Option(min=1, max=1000, help="Launches of each kind in a round.")] = 10,
    jobs: Annotated[int, typer.Option(min=2, max=1000, help="Hybrid jobs at once.")] = 10,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where jobs may write, as the nodes see it. [default: here]")
    ] = None,
    python: Annotated[str, typer.Option(help="A Python with Quarterdeck on the nodes. [default: this one]")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Few launches, short hybrid jobs: a look.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Launch jobs with and without `--qpu`; then hybrid jobs that share a QPU, and each with the QPU for itself.

    On the cluster that sbatch reaches, with Quarterdeck in it. docs/benchmarks.md has a private one in one command.

    \b
        qdeck bench slurm --qpu fresnel-emulator --program examples/programs/afm_chain.json
        qdeck bench slurm --qpu fresnel-emulator --program afm_chain.json --jobs 4 --markdown
    """
    import quarterdeck
    from quarterdeck.bench import slurm

    screen = Console(stderr=True)
    where = directory if directory is not None else Path.cwd()
    try:
        text = program.read_text(encoding="utf-8")
        options = slurm.Options(
            qpu=qpu, partition=partition, rounds=rounds, pairs=pairs, jobs=jobs, directory=where.absolute(),
            program=(text, "pulser"), python=python or sys.executable, quick=quick,
        )  # fmt: skip
        if quick:
            options = msgspec.structs.replace(options, rounds=1, pairs=2, jobs=3, steps=3, think_s=1.0, quantum_s=0.5)
        with quarterdeck.connect() as client:
            report = slurm.run(options, client, lambda line: screen.print(line, style="dim", markup=False))
    except (OSError, QuarterdeckError) as error:
        screen.print(f"qdeck: {error}", markup=False)
        raise typer.Exit(1) from None
    if as_json:
        print(report.to_json())
    elif as_markdown:
        print(markdown(report))
    else:
        console = Console()
        show(report, console if console.is_terminal else Console(width=200))
