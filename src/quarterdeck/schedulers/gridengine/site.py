"""What this site told us: the `[gridengine]` file that `qdeck gridengine install` writes and the hooks read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from quarterdeck.errors import Invalid

FILE = Path("/etc/quarterdeck/gridengine.toml")
MARK, CLASS, PROJECT, HOOKED = "qpu", "qpu_class", "qpu_project", "qpu_hooks"
"""The complexes that users ask with, and the one that only queues with our hooks offer."""
MARKED = "QDECK_QPU"
"""The variable by which the verifier tells the prolog, and programs, what the job asked for: NAME+NAME."""
Class = Literal["production", "test", "development"]
RANK: dict[str, int] = {"development": 0, "test": 1, "production": 2}


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[gridengine]` table.

    Attributes:
        url: The daemon, as in QDECK_URL, for the hooks on every execution host.
        root, cell, qmaster_port, execd_port: Where this Grid Engine is; ports empty for those of the services file.
        binaries: Where qstat and qconf are; empty for the PATH.
        devices: How many jobs may hold each device at once.
        class_: Class of jobs in queues that `classes` does not name; a queue's class is also the highest it gives.
        classes: Class by queue.
        projects: Quarterdeck's project by Grid Engine's; one that is not named here keeps its name.
        hooks: Directory of the verifier, the prolog and the epilog, the same on every host.
        queues: Those that have our prolog and epilog: jobs with a QPU run nowhere else.
        client_s: Longest that a command of Grid Engine may take.
        usage_file: The epilog reports usage in the job's usage file, for Open Cluster Scheduler with usage_patterns.
    """

    url: str
    root: str
    cell: str = "default"
    qmaster_port: str = ""
    execd_port: str = ""
    binaries: str = ""
    devices: dict[str, int]
    class_: Class = msgspec.field(default="development", name="class")
    classes: dict[str, Class] = {}
    projects: dict[str, str] = {}
    hooks: str
    queues: list[str] = []
    client_s: float = 10.0
    usage_file: bool = False

    def class_of(self, queue: str) -> Class:
        """The class that a queue gives, and the highest that it gives."""
        return self.classes.get(queue, self.class_)

    def job(self, number: str, task: str = "") -> str:
        """A job's id for the daemon. `task` is empty or `undefined` for a job that is no array."""
        return f"{self.prefix}{number}" + (f".{task}" if task.isdigit() and task != "0" else "")

    @property
    def prefix(self) -> str:
        """What this cluster's job ids begin with."""
        return f"gridengine:{self.cell}:"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gridengine: Site


def load(path: Path) -> Site:
    """The site's file. Raises `Invalid`, saying what is wrong with it."""
    try:
        site = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).gridengine
    except OSError as error:
        raise Invalid(str(path), f"{error.strerror}; `qdeck gridengine install` writes it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise Invalid(str(path), str(error)) from None
    check(site, str(path))
    return site


def check(site: Site, where: str) -> None:
    """Raise `Invalid` where two devices would share a complex, or a device has no room for a job."""
    taken = {MARK: "", CLASS: "", PROJECT: "", HOOKED: ""}
    for device, slots in site.devices.items():
        for name in (slots_of(device), ready_of(device)):
            if name in taken:
                raise Invalid(where, f"device {device!r} needs the complex {name}, which is {taken[name] or 'ours'}")
            taken[name] = f"that of {device!r}"
        if slots < 1:
            raise Invalid(where, f"devices.{device}: {slots} jobs at once; it must be 1 or more")


def slots_of(device: str) -> str:
    """The consumable of a device: a complex name may not hold everything that a device name may."""
    return "qpu_" + re.sub(r"[^A-Za-z0-9_-]", "_", device)


def ready_of(device: str) -> str:
    """The complex that says whether a device takes work."""
    return slots_of(device) + "_ready"


def dump(site: Site) -> str:
    """The file's text."""
    lines = [
        "# Grid Engine and Quarterdeck. Written by `qdeck gridengine install`; edit the classes of queues and the",
        "# projects as you like: install keeps them.", "", "[gridengine]",
    ]  # fmt: skip
    tables = []
    for name, value in msgspec.to_builtins(site).items():
        if isinstance(value, dict):
            rows = [f"{_key(key)} = {msgspec.json.encode(item).decode()}" for key, item in value.items()]
            tables += ["", f"[gridengine.{name}]", *rows]
        else:
            lines.append(f"{name} = {msgspec.json.encode(value).decode()}")
    return "\n".join([*lines, *tables, ""])


def _key(text: str) -> str:
    return msgspec.json.encode(text).decode()
