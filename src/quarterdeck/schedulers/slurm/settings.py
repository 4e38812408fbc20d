"""`slurm.toml`: what the site decides. Readable by every user, so nothing in it is secret."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from quarterdeck.errors import Invalid
from quarterdeck.schedulers.door import Door

Class = Literal["production", "test", "development"]
RANK: dict[str, int] = {"development": 0, "test": 1, "production": 2}
DEFAULT = Path("/etc/quarterdeck/slurm.toml")
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1, le=10000)]


class Classes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[classes]`: what a job's QPU work counts as. The QOS is asked first, then the partition."""

    qos: dict[str, Class] = {}
    partition: dict[str, Class] = {}
    default: Class = "development"


class Projects(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[projects]`: who pays. `account` maps accounts to projects; others have a project of the account's own name."""

    account: dict[str, str] = {}
    same_name: bool = True


class SlurmSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file.

    Attributes:
        url: The daemon, for the controller and for every node: http://HOST:PORT, or unix:///PATH on one machine.
        munge_socket: munged's, if not the usual one; for a daemon that is reached over HTTP.
        cluster: Slurm's ClusterName; part of the job's id in the daemon.
        conf: Its slurm.conf; empty for where Slurm looks by itself.
        bin: Where Slurm's commands are, if not on the usual path.
        include: Where its headers are, for the plugin: the directory above `slurm/spank.h`.
        partition: Where jobs with a QPU go that name none; empty leaves it to Slurm.
        nodes: The nodes that have the QPUs.
        state: File that tells job_submit.lua which QPUs take work; on the controller's machine.
        every_s: How often the agent looks.
        command_s: Longest that a command of Slurm may take: they hang while there is no controller.
        patience_s: How long a starting job waits for a daemon that is away, before Slurm queues it again.
        grace_s: How much longer than its time limit a job may keep its QPU's session.
        accounting: slurmdbd keeps the usage of jobs that ended.
        devices: QPUs, and how many jobs may share each.
    """

    url: str = ""
    munge_socket: str = ""
    cluster: str = "cluster"
    conf: str = ""
    bin: str = ""
    include: str = "/usr/include"
    partition: str = ""
    nodes: tuple[str, ...] = ()
    state: str = "/run/quarterdeck/slurm.state"
    every_s: Positive = 5.0
    command_s: Positive = 10.0
    patience_s: Annotated[float, Meta(ge=0)] = 20.0
    grace_s: Annotated[float, Meta(ge=0)] = 120.0
    accounting: bool = False
    devices: dict[str, Count] = {}
    classes: Classes = Classes()
    projects: Projects = Projects()

    @property
    def door(self) -> Door:
        """The way to the daemon."""
        return Door(self.url, munge_socket=self.munge_socket, timeout_s=self.command_s)

    def class_of(self, partition: str, qos: str, asked: str = "") -> str:
        """A job's class. Asking for a lower one is allowed. Raises `Invalid` for a higher one."""
        given = self.classes.qos.get(qos) or self.classes.partition.get(partition)
        known: str = given or self.classes.default
        if not asked:
            return known
        if asked not in RANK:
            raise Invalid("--qpu-class", f"{asked!r} is none of production, test, development")
        if given and RANK[asked] > RANK[given]:
            raise Invalid("--qpu-class", f"{asked} is more than {_place(partition, qos)} gives, which is {given}")
        return asked

    def project_of(self, account: str, asked: str = "") -> str:
        """Who pays for a job; empty for nobody in particular."""
        if asked or not account:
            return asked
        return self.projects.account.get(account, account if self.projects.same_name else "")


def _place(partition: str, qos: str) -> str:
    return " and ".join([*([f"QOS {qos}"] if qos else []), f"partition {partition}"])


def load(path: Path | None = None) -> SlurmSettings:
    """The settings in a file, `QDECK_SLURM` or the usual place. Raises `Invalid` naming what is wrong."""
    file = path or Path(os.environ.get("QDECK_SLURM") or DEFAULT)
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid(str(file), f"cannot be read: {error.strerror}; `qdeck slurm install` writes it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(str(file), f"is not TOML: {error}") from None
    try:
        return msgspec.convert(data, SlurmSettings)
    except msgspec.ValidationError as error:
        raise Invalid(str(file), str(error)) from None
