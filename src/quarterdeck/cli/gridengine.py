"""`qdeck gridengine`: install into Grid Engine, run the agent, look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck.cli.common import Json, connect, note, print_columns, print_json

if TYPE_CHECKING:
    from quarterdeck.schedulers.gridengine.site import Site

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None,
    help="Grid Engine and Open Cluster Scheduler: qsub -l qpu=NAME.",
)  # fmt: skip
DEFAULT = Path("/etc/quarterdeck/gridengine.toml")
File = Annotated[Path, typer.Option("--file", help="The site's file; the hooks lie in the directory beside it.")]


@app.command()
def install(
    check: Annotated[
        bool, typer.Option("--check", help="Only show what would change; exit code 1 if anything.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Change it.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take everything out again.")] = False,
    file: File = DEFAULT,
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=JOBS]", help="A QPU, and how many jobs may hold it; else all of the daemon's, 1."),
    ] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=CLASS]", help="A queue for jobs with QPUs, and its class; else every queue."),
    ] = None,
    url: Annotated[
        str, typer.Option(help="The daemon for the hooks on every host; else QDECK_URL or the usual socket.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Set up Grid Engine for QPUs, or take it out.

    Run it on an administration host as a manager of Grid Engine, with its settings.sh sourced. It shows what changes:
    the complexes, the capacity of each QPU, prolog and epilog of the queues, the job verifier, and its own files.
    Doing it twice changes nothing; devices and queues that are not named again stay as they are, --device NAME=0 and
    --queue NAME=none take one out.

    \b
        qdeck gridengine install --check
        qdeck gridengine install --apply --device fresnel=1 --device emulator=8 --queue qprod=production --queue qdev
        qdeck gridengine install --apply --url http://qpu.example.org:8765
        qdeck gridengine install --remove
    """
    from quarterdeck.schedulers.gridengine import install as installer
    from quarterdeck.schedulers.gridengine.cluster import Cluster
    from quarterdeck.schedulers.gridengine.site import load

    if check + apply + remove > 1:
        raise typer.BadParameter("give one of --check, --apply and --remove")
    old = load(file) if file.exists() else None
    if remove and old is None:
        raise typer.BadParameter(f"{file} is not there: nothing of ours is installed by it", param_hint="--file")
    site = old if remove and old is not None else _site(file, device or [], queue or [], url, old)
    cluster = Cluster(site)
    changes = installer.removal(site, file, cluster) if remove else installer.plan(site, file, cluster, old)
    if as_json:
        print_json([{"what": one.what, "before": one.before, "after": one.after} for one in changes])
    elif changes:
        print("\n".join(one.diff for one in changes))
    else:
        print("everything is as it should be")
    if apply or remove:
        for one in changes:
            one.apply()
            note(f"done: {one.what}")
    elif changes:
        note("nothing was changed; --apply does it")
        raise typer.Exit(1)


@app.command()
def agent(
    once: Annotated[
        bool, typer.Option("--once", help="Look once; exit code 1 if something could not be done.")
    ] = False,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.2, help="Between two looks.")] = 5.0,
    file: File = DEFAULT,
) -> None:
    """Keep Grid Engine and the daemon in step.

    It tells Grid Engine which QPUs take work, and waiting jobs why they wait; it renews the leases of running jobs
    and releases those of jobs that are gone. Run it as a service on the qmaster's host, as root or as Grid Engine's
    admin user. Jobs go on without it; what changes meanwhile is made up for when it is back.

    \b
        qdeck gridengine agent
        qdeck gridengine agent --once
    """
    from quarterdeck.schedulers.gridengine import door
    from quarterdeck.schedulers.gridengine.agent import DAEMON_S, Agent, run
    from quarterdeck.schedulers.gridengine.cluster import Cluster
    from quarterdeck.schedulers.gridengine.site import load

    site = load(file)
    raise typer.Exit(run(Agent(site, Cluster(site), door.contract(site, DAEMON_S)), interval, once))


@app.command()
def status(file: File = DEFAULT, as_json: Json = False) -> None:
    """What Grid Engine and the daemon say of each QPU.

    \b
        qdeck gridengine status
        qdeck gridengine status --json
    """
    from quarterdeck.schedulers.gridengine import status as module
    from quarterdeck.schedulers.gridengine.site import load

    rows = module.status(load(file))
    if as_json:
        print_json({"items": rows})
        return
    head = ("DEVICE", "ASK WITH", "JOBS AT ONCE", "IN GRID ENGINE", "DAEMON", "RUNNING", "WAITING", "REASON")
    print_columns(head, [(r.device, f"-l qpu={r.device}", r.slots, "ready" if r.ready else "not ready", r.daemon,
                          r.running, r.waiting, r.reason) for r in rows])  # fmt: skip


def _site(file: Path, devices: list[str], queues: list[str], url: str, old: Site | None) -> Site:
    """The site that the options, the file as it is, and the environment describe."""
    import msgspec

    from quarterdeck import places
    from quarterdeck.schedulers.gridengine.cluster import Cluster, binaries, words
    from quarterdeck.schedulers.gridengine.site import Class, Site, check

    told = os.environ
    if old is None and not told.get("SGE_ROOT"):
        raise typer.BadParameter("SGE_ROOT is not set: source Grid Engine's settings.sh first", param_hint="SGE_ROOT")
    where = url or (old.url if old else told.get("QDECK_URL", "")) or f"unix://{places.socket_file(places.state_dir())}"
    base = old or Site(
        url=where, root=told["SGE_ROOT"], cell=told.get("SGE_CELL", "default"), devices={},
        qmaster_port=told.get("SGE_QMASTER_PORT", ""), execd_port=told.get("SGE_EXECD_PORT", ""),
        hooks=str(file.resolve().with_suffix("")), binaries=binaries(),
    )  # fmt: skip
    held = dict(base.devices) or ({} if devices else _daemon_devices())
    for name, _, slots in (one.partition("=") for one in devices):
        if slots and not slots.isdigit():
            raise typer.BadParameter(f"{name}={slots}: how many jobs may hold it?", param_hint="--device")
        held[name] = int(slots or 1)
    held = {name: slots for name, slots in held.items() if slots}
    classes, named = dict(base.classes), [*base.queues] or ([] if queues else words(Cluster(base).run("qconf", "-sql")))
    for name, _, class_ in (one.partition("=") for one in queues):
        named = list(dict.fromkeys([*named, name]))
        if class_ and class_ not in ("production", "test", "development", "none"):
            raise typer.BadParameter(f"{class_!r} is none of production, test, development, none", param_hint="--queue")
        if class_ == "none":
            named.remove(name)
            classes.pop(name, None)
        elif class_:
            classes[name] = msgspec.convert(class_, Class)
    reports = "qdeck_" in Cluster(base).run("qconf", "-sconf")  # usage_patterns of Open Cluster Scheduler
    site = msgspec.structs.replace(base, url=where, devices=held, classes=classes, queues=named, usage_file=reports)
    check(site, str(file))
    return site


def _daemon_devices() -> dict[str, int]:
    with connect() as client:
        return {device.name: 1 for device in client.devices()}


def add(parent: typer.Typer) -> None:
    parent.add_typer(app, name="gridengine")
