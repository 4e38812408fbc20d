"""`qdeck gridengine install`: what has to change in Grid Engine and on disk, shown first, then done.

Each `Change` is one object of Grid Engine or one file, before and after as text. Nothing that another product set is
overwritten: that is a `Conflict`, with a sentence on what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from difflib import unified_diff
from functools import partial
from pathlib import Path

import msgspec

from quarterdeck.errors import Conflict, Unavailable
from quarterdeck.schedulers.gridengine import hooks
from quarterdeck.schedulers.gridengine.cluster import Cluster, fields, number, values, words
from quarterdeck.schedulers.gridengine.scripts import files, try_verifier
from quarterdeck.schedulers.gridengine.site import CLASS, HOOKED, MARK, PROJECT, Site, ready_of, slots_of


class Change(msgspec.Struct, frozen=True):
    """One thing to change. `apply` does it."""

    what: str
    before: str
    after: str
    apply: Callable[[], object]

    @property
    def diff(self) -> str:
        lines = unified_diff(self.before.splitlines(), self.after.splitlines(), lineterm="", n=1)
        return "\n".join([f"# {self.what}", *list(lines)[2:]])


def plan(site: Site, file: Path, cluster: Cluster, old: Site | None) -> list[Change]:
    """What is missing for this site. `old` is the site as its file describes it now. Raises `Conflict`."""
    texts = files(site, file)
    found = [_file(path, text, 0o644 if path == file else 0o755) for path, text in texts.items()]
    gone = _wanted(old).keys() - _wanted(site).keys() if old else set()
    found += [_complexes(cluster, _wanted(site)), _capacity(cluster, site, old), _complexes(cluster, {}, gone)]
    found += _submit_hosts(cluster)
    found += [_queue(cluster, site, queue) for queue in site.queues]
    found += [
        _queue(cluster, site, queue, off=True) for queue in (old.queues if old else []) if queue not in site.queues
    ]
    found += [_global(cluster, site)]
    return [change for change in found if change.before != change.after]


def removal(site: Site, file: Path, cluster: Cluster) -> list[Change]:
    """What takes us out again, in the order in which it works."""
    found = [_global(cluster, site, off=True)]
    found += [_queue(cluster, site, queue, off=True) for queue in site.queues]
    bare = msgspec.structs.replace(site, devices={})
    found += [_capacity(cluster, bare, site), _complexes(cluster, {}, _wanted(site))]
    found += [_file(path, "", 0) for path in files(site, file)]
    return [change for change in found if change.before != change.after]


def _file(path: Path, text: str, mode: int) -> Change:
    try:
        before = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        before = ""

    def apply() -> None:
        if not text:
            path.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")  # hooks run meanwhile: never half a file
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(mode)
        os.replace(fresh, path)

    return Change(str(path), before, text, apply)


def _wanted(site: Site) -> dict[str, str]:
    """The complexes: name, and shortcut, type, relation, requestable, consumable, default, urgency."""
    found = {name: f"{name} STRING == YES NO NONE 0" for name in (MARK, CLASS, PROJECT)}
    found[HOOKED] = f"{HOOKED} BOOL == YES NO 0 0"
    for device in site.devices:
        found[slots_of(device)] = f"{slots_of(device)} INT <= YES JOB 0 0"
        found[ready_of(device)] = f"{ready_of(device)} INT <= YES NO 0 0"
    return found


def _complexes(cluster: Cluster, wanted: Mapping[str, str], gone: Collection[str] = ()) -> Change:
    def rows() -> tuple[list[str], list[str]]:
        told = cluster.run("qconf", "-sc")
        before = [" ".join(line.split()) for line in told.splitlines() if line.strip() and not line.startswith("#")]
        after = [row for row in before if row.split()[0] not in gone]
        there = {row.split()[0]: row for row in after}
        for name, rest in wanted.items():
            row = f"{name} {rest}"
            if name not in there:
                after.append(row)
            elif there[name].split()[2:6] != row.split()[2:6]:
                raise Conflict(f"the complex {name} is there with another meaning ({there[name]}); rename or remove it")
        return before, after

    before, after = rows()
    # What it is by then: another change may have come between.
    return Change("complexes (qconf -mc)", "\n".join(before), "\n".join(after),
                  lambda: cluster.put("-Mc", "\n".join([*rows()[1], ""])))  # fmt: skip


def _capacity(cluster: Cluster, site: Site, old: Site | None) -> Change:
    """How many jobs may hold each device, cluster-wide: a device is reached from every host."""
    try:
        there: dict[str, str] | None = cluster.values("-se", "global")
    except Unavailable as error:
        if "global" not in str(error):
            raise
        there = None  # no global host yet
    before = dict(there or {})
    gone = [name for device in (old.devices if old else {}) if device not in site.devices
            for name in (slots_of(device), ready_of(device)) if name in before]  # fmt: skip
    after = {name: value for name, value in before.items() if name not in gone}
    for device, slots in site.devices.items():
        if number(before.get(slots_of(device))) != slots:
            after[slots_of(device)] = str(slots)
        after.setdefault(ready_of(device), "0")  # until the agent says otherwise
    changed = {name: value for name, value in after.items() if before.get(name) != value}

    def apply() -> None:
        if there is None:
            rows = [f"{name} NONE" for name in ("load_scaling", "user_lists", "xuser_lists", "projects", "xprojects",
                                                "usage_scaling", "report_variables")]  # fmt: skip
            told = ",".join(f"{name}={value}" for name, value in after.items())
            cluster.put("-Ae", "\n".join(["hostname global", f"complex_values {told}", *rows, ""]))
            return
        if changed:
            cluster.set_values("exechost", "global", changed)
        if gone:
            cluster.drop_values("exechost", "global", {name: before[name] for name in gone})

    return Change("capacity of the whole cluster (qconf -me global)", _lines(before), _lines(after), apply)


def _submit_hosts(cluster: Cluster) -> list[Change]:
    """The prolog asks qstat, which answers administration and submit hosts only."""
    hosts, may = words(cluster.run("qconf", "-sel")), _names(cluster, "-sh") + _names(cluster, "-ss")
    missing = [host for host in hosts if host not in may]
    return [
        Change(f"submit hosts (qconf -as {host})", "", host, partial(cluster.run, "qconf", "-as", host))
        for host in missing
    ]


def _names(cluster: Cluster, option: str) -> list[str]:
    try:
        return words(cluster.run("qconf", option))
    except Unavailable:  # "no submit host defined" is a failure to qconf
        return []


def _queue(cluster: Cluster, site: Site, queue: str, off: bool = False) -> Change:
    shown = cluster.run("qconf", "-sq", queue)
    told = fields(shown)
    directory = Path(site.hooks)
    ours = {
        "prolog": f"root@{directory / 'prolog'} {hooks.PROLOG}",
        "epilog": f"root@{directory / 'epilog'} {hooks.EPILOG}",
    }
    before, after = {}, {}
    for name, wanted in ours.items():
        before[name] = told.get(name, "NONE")
        if before[name] not in ("NONE", wanted):
            if off:
                after[name] = before[name]
                continue
            raise Conflict(
                f"queue {queue} has a {name} already ({before[name]}); set it to NONE, or leave this queue out with "
                "--queue, since Grid Engine runs one only"
            )
        after[name] = "NONE" if off else wanted
    before[HOOKED] = values(shown).get(HOOKED, "")
    after[HOOKED] = "" if off else "TRUE"

    def apply() -> None:
        for name in ours:
            if before[name] != after[name]:
                cluster.run("qconf", "-mattr", "queue", name, after[name], queue)
        if before[HOOKED] != after[HOOKED]:
            if off:
                cluster.drop_values("queue", queue, {HOOKED: "TRUE"})
            else:
                cluster.set_values("queue", queue, {HOOKED: "TRUE"})

    return Change(f"queue {queue} (qconf -mq {queue})", _lines(before), _lines(after), apply)


def _global(cluster: Cluster, site: Site, off: bool = False) -> Change:
    """The server-side verifier."""
    told = cluster.run("qconf", "-sconf")
    there = fields(told)
    verifier = str(Path(site.hooks) / "jsv")
    before = {"jsv_url": there.get("jsv_url", "none")}
    after = dict(before)
    if off:
        after["jsv_url"] = "none" if before["jsv_url"] == verifier else before["jsv_url"]
    elif before["jsv_url"].lower() in ("none", verifier):
        after["jsv_url"] = verifier
    else:
        raise Conflict(
            f"the cluster has a verifier already (jsv_url {before['jsv_url']}); have it call {verifier}, or set it to "
            "none: Grid Engine runs one only"
        )
    rest = {name: value for name, value in there.items() if name not in after and not name.startswith("#")}
    text = "\n".join(f"{name} {value}" for name, value in {**rest, **after}.items())

    def apply() -> None:
        if not off:
            try_verifier(verifier, site)
        cluster.put("-Mconf", text + "\n", "global")

    return Change("global configuration (qconf -mconf)", _lines(before), _lines(after), apply)


def _lines(values: Mapping[str, str]) -> str:
    return "\n".join(f"{name} {value}" for name, value in values.items() if value)
