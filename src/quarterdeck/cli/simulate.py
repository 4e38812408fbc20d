"""`qdeck simulate`: the daemon's own core under virtual time, to choose a policy before touching production."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from quarterdeck.cli.common import Json, note, print_columns, print_json
from quarterdeck.errors import Invalid

if TYPE_CHECKING:
    from quarterdeck.simulator.metrics import Figures
    from quarterdeck.simulator.record import Record
    from quarterdeck.simulator.site import Site
    from quarterdeck.simulator.workload import Job, Workload


def simulate(
    workload: Annotated[
        str,
        typer.Argument(help="A shipped workload (see --list), or a file: .swf, .swf.gz, a QStone .json, a log .jsonl."),
    ] = "",
    policies: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            "-p",
            metavar="NAME[,KEY=VALUE...]",
            help="A policy, with settings of its own; repeat it to compare. [default: deck]",
        ),
    ] = None,
    devices: Annotated[
        str,
        typer.Option("--devices", "-d", help="A shipped site (see --list) or a TOML file. [default: the workload's]"),
    ] = "",
    load: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=5, help="Quantum seconds offered over the time outside windows. [default: the workload's]"
        ),
    ] = None,
    closed: Annotated[
        bool, typer.Option("--closed", help="Of a log: a session's task waits for the one before, as users do.")
    ] = False,
    days: Annotated[
        float | None, typer.Option(min=0.01, help="How long work arrives. [default: the workload's]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the jobs; the same for all policies.")] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="policy.KEY=VALUE", help="A setting for all policies.")
    ] = None,
    tau_s: Annotated[
        float | None,
        typer.Option(
            "--tau", min=0.001, help="Jobs shorter than this count as this long, in s. [default: 10, atoms 60]"
        ),
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write pictures here: summary, Gantt, waits, utilisation, queue.")
    ] = None,
    picture: Annotated[Literal["png", "svg", "pdf"], typer.Option(help="Format of the pictures.")] = "png",
    qstone_rows: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each job's steps here as rows of QStone's schema.")
    ] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="Show the shipped workloads and sites, and the policies.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Try policies on a workload, in virtual time.

    The very core that serves users decides; only time, users and devices are simulated. Each policy gets the same jobs.
    A month of a busy QPU takes seconds to minutes. docs/simulator.md tells what each figure means.

    \b
        qdeck simulate study-sc -p fifo -p deck --days 3
        qdeck simulate study-na -p deck -p deck,weight_production=8,weight_test=3 --load 0.7 --plots pictures
        qdeck simulate trace.swf.gz --devices site.toml -p fifo -p deck --json
        qdeck simulate --list
    """
    if listing:
        _list(as_json)
        return
    if not workload:
        raise typer.BadParameter("name one, such as study-sc; --list shows them", param_hint="WORKLOAD")
    if plots:
        _need_matplotlib()
    variants = [_variant(text, _settings(settings or ())) for text in policies or ["deck"]]
    from quarterdeck.core.policy import make_policy
    from quarterdeck.simulator.metrics import SHARE_WINDOW_S, TAU_S, measure
    from quarterdeck.simulator.run import simulate
    from quarterdeck.simulator.site import load_site

    for _, name, given in variants:
        make_policy(name, given)  # all of them are known, before the first one runs
    chosen = load_site(devices) if devices else None
    what = _workload(workload, load, seed, days, closed, chosen)
    site = chosen or (load_site(what.site) if isinstance(what.site, str) else what.site)
    kind = "neutral-atom" if any(device.modality == "neutral-atom" for device in site.device) else "superconducting"
    tau_s = tau_s or TAU_S[kind]
    until_s = days * 86400.0 if days and what.population else None
    records, figures = [], []
    with _progress(what, [label for label, *_ in variants], sys.stderr.isatty() and not as_json) as track:
        for label, name, given in variants:
            record = simulate(
                track(label), partial(make_policy, name, given), site=site, seed=seed, until_s=until_s,
                slices=True, spans=bool(plots), eta_every=what.ask_every,
            )  # fmt: skip
            record.policy = label
            records.append(record)
            figures.append(measure(record, tau_s, SHARE_WINDOW_S[kind], middle=1.0 if what.population else MIDDLE))
    where = Path(devices).stem or (what.site if isinstance(what.site, str) else what.name)
    title = _title(what.name, where, records[0], seed)
    written: list[Path] = []
    if plots:
        from quarterdeck.simulator.plots import write

        written += write(plots, records, figures, title, picture)
    if qstone_rows:
        from quarterdeck.simulator.qstone_rows import write as write_rows

        for record in records:
            written += write_rows(qstone_rows, record)
    if as_json:
        about = {"workload": what.name, "site": where, "seed": seed, "days": days, "load": load}
        print_json(about | {"policies": [_told(*each) for each in zip(variants, records, figures, strict=True)],
                            "files": [str(path) for path in written]})  # fmt: skip
        return
    from rich.console import Console

    from quarterdeck.simulator import table

    console = Console()
    table.show(figures, console if console.is_terminal else Console(width=160), title)
    for path in written[:8]:
        note(f"wrote {path}")
    if len(written) > 8:
        note(f"and {len(written) - 8} more files")


MIDDLE = 0.8


WORDS = {
    "study-sc": "one superconducting-like QPU, tasks of seconds; twelve users in three classes",
    "study-na": "one neutral-atom-like QPU, tasks of minutes, registers that cost a set-up; the same users",
    "facility": "2,000 tasks a day on one superconducting-like QPU: office hours, lectures, heavy tails",
    "facility-x10": "20,000 tasks a day on ten QPUs of three modalities, with outages",
    "facility-x100": "200,000 tasks a day on the same ten",
    "qstone": "QStone's sample mix: VQE, randomised benchmarking, matching",
}
"""What the shipped workloads are."""
ROUNDS_PER_JOB, USABLE = 13.25, 0.92
"""Of the studies: .2 (20..60) + .3 (5..20) + .5 (1..5) rounds; the part of the time outside calibrations."""


def _workload(
    name: str, load: float | None, seed: int, days: float | None, closed: bool, site: Site | None
) -> Workload:
    """A shipped workload or one from a file, cut to its first days. Raises `Invalid`."""
    from itertools import takewhile

    from msgspec.structs import replace

    from quarterdeck.simulator.catalogue import WORKLOADS, load_workload
    from quarterdeck.simulator.study import MODALITIES

    given: dict[str, Any] = {} if load is None else {"load": load}
    if name.startswith("study") and name in WORKLOADS and days:
        modality = MODALITIES[name.removeprefix("study-")]
        usual = 0.85 if name == "study-sc" else 0.7
        given["jobs"] = max(1, round(USABLE * days * 86400 * (load or usual) / (ROUNDS_PER_JOB * modality.quantum_s)))
    elif name.startswith("facility") and name in WORKLOADS:
        if load is not None:
            raise Invalid("--load", f"does not apply to {name}, which is so many tasks a day: choose another scale")
        given = {"days": ceil(days)} if days else {}
    elif name.endswith((".swf", ".swf.gz")) and site is not None and site.device[0].modality == "neutral-atom":
        given["modality"] = "na"
    elif closed:
        given["closed"] = True
    found = load_workload(name, seed=seed, **given)
    if days and not name.startswith(("study", "facility")):
        jobs = found.jobs
        return replace(found, jobs=_Cut(lambda: takewhile(lambda job: job.arrival_s < days * 86400, jobs)))
    return found


class _Cut:
    """Jobs made anew for each run."""

    def __init__(self, make: Callable[[], Iterator[Job]]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[Job]:
        return self.make()


def _list(as_json: bool) -> None:
    import msgspec

    from quarterdeck.core.policy import POLICIES
    from quarterdeck.simulator.catalogue import WORKLOADS
    from quarterdeck.simulator.site import SHIPPED, load_site

    sites = {name: [msgspec.to_builtins(device) for device in load_site(name).device] for name in SHIPPED}
    if as_json:
        print_json(
            {"workloads": {name: WORDS.get(name, "") for name in WORKLOADS}, "sites": sites, "policies": list(POLICIES)}
        )
        return
    print_columns(("WORKLOAD", "WHAT IT IS"), [(name, WORDS.get(name, "")) for name in WORKLOADS])
    print()
    print_columns(("SITE", "DEVICES"), [(name, ", ".join(one["id"] for one in of)) for name, of in sites.items()])
    print("\npolicies:", ", ".join(POLICIES))


def _variant(text: str, common: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Label, policy and settings of a `--policy`."""
    name, *pairs = text.split(",")
    return text.replace(",", ", "), name, common | dict(_pair(pair, "--policy") for pair in pairs)


def _settings(texts: Sequence[str]) -> dict[str, Any]:
    return dict(_pair(text.removeprefix("policy."), "--set") for text in texts)


def _pair(text: str, where: str) -> tuple[str, Any]:
    import json

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise typer.BadParameter(f"{text!r} is no KEY=VALUE, as in weight_production=8", param_hint=where)
    try:
        return key.strip(), json.loads(value)
    except json.JSONDecodeError:
        return key.strip(), value.strip()


def _need_matplotlib() -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        note("pictures need matplotlib: pip install 'quarterdeck[plot]', or leave --plots out")
        raise typer.Exit(1)


@contextmanager
def _progress(workload: Workload, labels: Sequence[str], shown: bool) -> Iterator[Callable[[str], Workload]]:
    """Follows each run by the jobs that arrive: a function that gives the workload for the run of a label."""
    from msgspec.structs import replace
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[jobs]}"),
               TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown) as progress:

        def track(label: str) -> Workload:
            bar = progress.add_task(label, total=None, jobs="")

            def jobs() -> Iterator[Job]:
                number = 0
                for number, job in enumerate(workload.jobs, 1):
                    if not number % 64:
                        progress.update(bar, completed=number, jobs=f"{number:,} jobs, day {job.arrival_s / 86400:.1f}")
                    yield job
                progress.update(bar, total=number, completed=number, jobs=f"{number:,} jobs")

            return replace(workload, jobs=jobs())

        yield track


def _title(workload: str, site: str, record: Record, seed: int) -> str:
    devices = f"{len(record.devices)} devices" if len(record.devices) > 1 else "1 device"
    return f"{workload} on {site} ({devices}), seed {seed}, {record.end_s / 86400:.1f} days"


def _told(variant: tuple[str, str, dict[str, Any]], record: Record, figures: Figures) -> dict[str, Any]:
    import msgspec

    return {"name": variant[1], "settings": variant[2], **msgspec.to_builtins(figures), "counters": record.counters}


def add(app: typer.Typer) -> None:
    app.command()(simulate)
