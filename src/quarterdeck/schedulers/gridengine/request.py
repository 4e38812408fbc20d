"""What a job asks for, out of Grid Engine's own words: resource lists, context, project, queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from quarterdeck.errors import Invalid
from quarterdeck.schedulers.gridengine.site import CLASS, HOOKED, MARK, PROJECT, RANK, Class, Site, ready_of, slots_of

SEVERAL = "+"
"""Between the names of several devices: a comma would start the next resource, and `-l` given twice keeps one."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A job's QPUs. `class_` and `project` are empty where the queue and the account decide."""

    devices: tuple[str, ...]
    class_: str = ""
    project: str = ""


def asked(resources: Mapping[str, str], site: Site) -> Ask:
    """What a hard resource list asks for, by `qpu=NAME` or by the devices' own complexes.

    Raises `Invalid` with a sentence for the user.
    """
    devices = _named(resources[MARK], site) if MARK in resources else []
    for device in site.devices:
        for complex_ in (slots_of(device), ready_of(device)):
            if complex_ in resources and device not in devices:
                devices.append(device)
        if (many := resources.get(slots_of(device), "1")) != "1":
            raise Invalid(slots_of(device), f"{many} of it were asked for; a job needs a device once")
    class_, project = resources.get(CLASS, ""), resources.get(PROJECT, "")
    if not devices and (class_ or project or HOOKED in resources):
        raise Invalid(MARK, f"which QPU? ask for one with -l qpu=NAME; there are {', '.join(sorted(site.devices))}")
    return Ask(devices=tuple(devices), class_=class_, project=project)


def granted(resources: Mapping[str, str], site: Site) -> tuple[str, ...]:
    """The devices that a job holds, once the scheduler has started it."""
    return tuple(device for device in site.devices if slots_of(device) in resources)


def rewritten(resources: Mapping[str, str], ask: Ask) -> dict[str, str]:
    """The resource list for the scheduler: each device's slot and readiness, and a queue that has our hooks."""
    ours = {MARK, CLASS, PROJECT, HOOKED, *(name for d in ask.devices for name in (slots_of(d), ready_of(d)))}
    kept = {name: value for name, value in resources.items() if name not in ours}
    for device in ask.devices:
        kept |= {slots_of(device): "1", ready_of(device): "1"}
    return {**kept, HOOKED: "TRUE"}


def allowed(ask: Ask, queue: str, site: Site) -> Class:
    """The class that the job gets in this queue. Raises `Invalid` if the queue does not give what was asked for."""
    given = site.class_of(queue)
    if not ask.class_:
        return given
    if ask.class_ not in RANK:
        raise Invalid(CLASS, f"no class {ask.class_!r}; there are {', '.join(RANK)}")
    if RANK[ask.class_] > RANK[given]:
        raise Invalid(CLASS, f"queue {queue} gives {given} at most, not {ask.class_}; {_where(ask.class_, site)}")
    wanted: Class = msgspec.convert(ask.class_, Class)
    return wanted


def matching(wanted: Sequence[str], site: Site) -> list[str]:
    """The queues with our hooks among those that were asked for with `-q`: names and patterns, perhaps with hosts."""
    patterns = [part.partition("@")[0] or "*" for part in wanted] or ["*"]
    return [queue for queue in site.queues if any(fnmatchcase(queue, pattern) for pattern in patterns)]


def fitting(ask: Ask, wanted: Sequence[str], site: Site) -> list[str]:
    """Those of them that give the class that was asked for. Raises `Invalid` if there is none."""
    queues = matching(wanted, site)
    if not queues:
        told = ", ".join(site.queues)
        raise Invalid(MARK, f"queue {','.join(wanted) or '*'} takes no jobs with QPUs; these do: {told}")
    fit = [queue for queue in queues if not ask.class_ or RANK.get(ask.class_, 9) <= RANK[site.class_of(queue)]]
    if not fit:
        allowed(ask, queues[0], site)
    return fit


def _named(text: str, site: Site) -> list[str]:
    names = [text] if text in site.devices else text.split(SEVERAL)
    known = ", ".join(sorted(site.devices))
    for name in names:
        if name not in site.devices:
            raise Invalid(MARK, f"no QPU {name!r}; there are {known}, and several are asked for as NAME+NAME")
    return list(dict.fromkeys(names))


def _where(class_: str, site: Site) -> str:
    queues = [queue for queue in site.queues if RANK[site.class_of(queue)] >= RANK[class_]]
    return f"{class_} is in {', '.join(queues)}" if queues else "no queue with QPUs does"


def pairs(text: str) -> dict[str, str]:
    """`a=1,b,c=x` as a job verifier sees it; a name alone is a Boolean."""
    found = {}
    for part in filter(None, text.split(",")):
        name, told, value = part.partition("=")
        found[name] = value if told else "TRUE"
    return found


def joined(values: Mapping[str, str]) -> str:
    """The same back."""
    return ",".join(f"{name}={value}" for name, value in values.items())
