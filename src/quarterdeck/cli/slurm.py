"""`qdeck slurm`: Quarterdeck in a Slurm cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quarterdeck.cli.common import Json, note, print_columns, print_json
from quarterdeck.errors import QuarterdeckError

if TYPE_CHECKING:
    from quarterdeck.schedulers.slurm.agent import Agent, Look
    from quarterdeck.schedulers.slurm.install import Change
    from quarterdeck.schedulers.slurm.queue import SlurmJob

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None,
    help="Slurm: install --qpu= for sbatch, srun and salloc; the agent; what waits and why.",
)  # fmt: skip
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The site's slurm.toml; else QDECK_SLURM, else /etc/quarterdeck."),
]


@app.command()
def install(
    check: Annotated[
        bool, typer.Option("--check", help="Show what would change; exit code 1 if anything would.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Show it and do it.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take everything back, but for slurm.toml.")] = False,
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:COUNT]", help="A QPU, and how many jobs may share it (1). Repeat for more."),
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option(help="Node that jobs with a QPU run on, as slurm.conf names it. Repeat for more."),
    ] = None,
    url: Annotated[
        str, typer.Option(help="The daemon for all machines: http://HOST:PORT; else this one's socket.")
    ] = "",
    partition: Annotated[str, typer.Option(help="Where jobs with a QPU go that name none.")] = "",
    slurm_conf: Annotated[
        Path | None, typer.Option(metavar="FILE", help="slurm.conf; else SLURM_CONF, else /etc/slurm/slurm.conf.")
    ] = None,
    root: Annotated[Path, typer.Option(metavar="DIR", help="Install below this directory.")] = Path("/"),
    include: Annotated[str, typer.Option(metavar="DIR", help="Where slurm/spank.h is; else /usr/include.")] = "",
    state: Annotated[str, typer.Option(metavar="FILE", help="Where the agent tells job_submit.lua about QPUs.")] = "",
    python: Annotated[str, typer.Option(metavar="FILE", help="Python that runs the hooks; else this one.")] = "",
    as_json: Json = False,
) -> None:
    """Install --qpu= into Slurm, or take it out.

    Shows every change as a diff first. Run it on each machine of the cluster, then restart slurmctld and slurmd, and
    start the agent beside slurmctld. Doing it again changes nothing; options left out keep what slurm.toml has.

    \b
        qdeck slurm install --check --node qn1 --device fresnel-emulator:4 --partition quantum
        qdeck slurm install --apply --node qn1 --device fresnel-emulator:4 --partition quantum
        qdeck slurm install --remove
    """
    from quarterdeck.schedulers.slurm.install import Installer, places, settings_of
    from quarterdeck.schedulers.slurm.install import apply as write

    if check + apply + remove != 1:
        raise typer.BadParameter("say one of --check, --apply and --remove")
    where = places(root.absolute(), slurm_conf)
    settings = settings_of(
        where,
        devices=_devices(device or []),
        nodes=tuple(node or ()),
        url=url,
        partition=partition,
        state=state,
        include=include,
    )
    installer = Installer(where, settings, python or sys.executable)
    changes = installer.removal() if remove else installer.plan()
    if not as_json:
        _show(changes)
    if not check:
        write(changes)
    if as_json:
        print_json({"changed": not check and bool(changes),
                    "changes": [{"path": str(change.path), "removed": change.new is None, "diff": change.diff}
                                for change in changes]})  # fmt: skip
    elif not changes:
        print("Nothing to change.")
    elif apply:
        print("Done. Next: the same on every machine, restart slurmctld and slurmd, run the agent beside slurmctld: "
              f"qdeck slurm agent --config {where.config}")  # fmt: skip
    elif remove:
        print("Done. Next: the same on every other machine, then restart slurmctld and slurmd.")
    if check and changes:
        raise typer.Exit(1)


def _devices(given: Sequence[str]) -> dict[str, int]:
    found = {}
    for text in given:
        name, _, count = text.partition(":")
        if not name or (count and not (count.isdigit() and int(count) > 0)):
            raise typer.BadParameter(f"{text!r} is not NAME or NAME:COUNT, such as fresnel:4", param_hint="--device")
        found[name] = int(count or 1)
    return found


def _show(changes: Sequence[Change]) -> None:
    for change in changes:
        print(change.diff)


@app.command()
def agent(
    config: Config = None,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    as_json: Json = False,
) -> None:
    """Keep Slurm and the daemon of one mind.

    Runs beside slurmctld, as root or as Slurm's user, for ever. Holds jobs whose QPU takes no work and lets them go
    when it does, renews leases, takes QPUs back from jobs that are gone, writes usage into AdminComment.

    \b
        qdeck slurm agent
        qdeck slurm agent --once --json
    """
    from quarterdeck.schedulers.slurm.agent import run
    from quarterdeck.schedulers.slurm.settings import load

    settings = load(config)
    worker = _agent(config)
    if not once:
        run(worker, settings.every_s, lambda look: _tell(look, as_json))
    look = worker.look()
    _tell(look, as_json, always=True)
    if look.trouble:
        raise typer.Exit(1)


def _agent(config: Path | None) -> Agent:
    from quarterdeck.schedulers.contract import Contract
    from quarterdeck.schedulers.slurm.agent import Agent
    from quarterdeck.schedulers.slurm.queue import Queue
    from quarterdeck.schedulers.slurm.settings import load

    settings = load(config)
    return Agent(settings, Contract(settings.door), Queue(settings))


def _tell(look: Look, as_json: bool, always: bool = False) -> None:
    if as_json:
        if always or look.eventful:
            print_json(look)
            sys.stdout.flush()
        return
    for verb, jobs in (("held", look.held), ("refused", look.refused), ("let go", look.let_go),
                       ("took QPUs back from", look.released)):  # fmt: skip
        if jobs:
            print(f"{verb} {', '.join(jobs)}", flush=True)
    for sentence in look.trouble:
        note(sentence)
    if always:
        print_columns(("QPU", "STATE"), [(name, why or "ready") for name, why in look.devices.items()])


@app.command()
def status(
    job: Annotated[str, typer.Argument(metavar="[JOB]", help="Only this job.")] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """The QPUs that jobs may have, and what your jobs wait for.

    For root: everybody's jobs.

    \b
        qdeck slurm status
        qdeck slurm status 1234
    """
    from quarterdeck.schedulers.contract import Contract
    from quarterdeck.schedulers.slurm.queue import Queue
    from quarterdeck.schedulers.slurm.settings import load

    settings = load(config)
    told: dict[str, str] = {}
    away = ""
    try:
        found = Contract(settings.door).devices()
        told = {device.name: f"{device.status}{f': {device.reason}' if device.reason else ''}" for device in found}
    except QuarterdeckError as error:
        away = str(error)
    devices = [{"name": name, "jobs_at_once": count, "state": told.get(name, "?" if away else "unknown to the daemon")}
               for name, count in settings.devices.items()]  # fmt: skip
    mine = [_row(each) for each in Queue(settings).jobs()
            if each.qpus and (not each.over or job) and (os.geteuid() == 0 or each.user_name == _me())]  # fmt: skip
    if job:
        mine = [each for each in mine if job in (each["job"], str(each["id"]))]
        if not mine:
            note(f"job {job} has no QPU, or is not yours, or Slurm has forgotten it; `qdeck jobs` may remember it")
            raise typer.Exit(1)
    if as_json:
        print_json({"devices": devices, "jobs": mine, "daemon": away or "ok"})
        return
    if away:
        note(away)
    print_columns(("QPU", "JOBS AT ONCE", "STATE"), [tuple(each.values()) for each in devices])
    if mine:
        print()
        print_columns(("JOB", "USER", "QPUS", "STATE", "WHY"), [tuple(each.values())[1:] for each in mine])


def _row(job: SlurmJob) -> dict[str, Any]:
    from quarterdeck.schedulers.slurm import remark

    why = ""
    if job.job_state == "PENDING":
        reason = "" if job.state_reason == "None" else job.state_reason
        why = remark.read(job.comment, "refused") or remark.read(job.comment, "held") or reason
    return {"id": job.job_id, "job": job.handle, "user": job.user_name, "qpus": ",".join(job.qpus),
            "state": job.job_state, "why": why or remark.read(job.comment, "usage") or ""}  # fmt: skip


def _me() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def add(parent: typer.Typer) -> None:
    parent.add_typer(app, name="slurm")
