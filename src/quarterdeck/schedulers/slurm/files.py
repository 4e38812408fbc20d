"""The files that are installed, as text."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import msgspec

from quarterdeck.schedulers.slurm.settings import SlurmSettings

WRITTEN = "Written by `qdeck slurm install`; do not edit, run it again."
ABOUT = {
    "url": "The daemon, as every machine reaches it: http://HOST:PORT, or unix:///PATH where all is one machine.",
    "munge_socket": "munged's socket, if not the usual one; for a daemon that is reached over HTTP.",
    "cluster": "Slurm's ClusterName; part of the jobs' ids in the daemon.",
    "conf": "Its slurm.conf.",
    "bin": "Where Slurm's commands are, if not on the usual path.",
    "include": "Where its headers are: the directory above slurm/spank.h.",
    "partition": "Where jobs with a QPU go that name none; empty leaves it to Slurm.",
    "nodes": "The nodes that have the QPUs.",
    "state": "Tells job_submit.lua which QPUs take work; the agent writes it, on the controller's machine.",
    "every_s": "How often the agent looks, in seconds.",
    "command_s": "Longest that a command of Slurm, or the daemon, may take.",
    "patience_s": "How long a starting job waits for a daemon that is away, before Slurm queues it again.",
    "grace_s": "How much longer than its time limit a job may keep its QPU.",
    "accounting": "There is a slurmdbd, which keeps the usage of jobs that ended.",
}


def slurm_toml(settings: SlurmSettings) -> str:
    """The site's settings with an explanation of each; what the site set is kept."""
    lines = ["# Quarterdeck in Slurm. `qdeck slurm install` keeps the values; docs/slurm.md explains them.", ""]
    for name, about in ABOUT.items():
        lines += [f"# {about}", f"{name} = {json.dumps(getattr(settings, name))}", ""]
    lines += ["# QPUs, and how many jobs may share each at a time.", "[devices]"]
    lines += [f"{json.dumps(name)} = {count}" for name, count in settings.devices.items()]
    lines += [
        "", "# What a job's QPU work counts as: production, test or development. The QOS decides, else the partition.",
        "[classes]", f"default = {json.dumps(settings.classes.default)}",
        f"qos = {_table(settings.classes.qos)}", f"partition = {_table(settings.classes.partition)}", "",
        "# Who pays. Accounts that are not named here have the project of the same name, if same_name is true.",
        "[projects]", f"same_name = {json.dumps(settings.projects.same_name)}",
        f"account = {_table(settings.projects.account)}", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _table(values: object) -> str:
    pairs = msgspec.to_builtins(values)
    return "{ " + ", ".join(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in pairs.items()) + " }"


def hook(python: str, config: Path) -> str:
    """What the SPANK plugin calls. -P: no module from whatever directory a step runs in."""
    return (
        f"#!/bin/sh\n# {WRITTEN}\nQDECK_SLURM={shlex.quote(str(config))} exec {shlex.quote(python)} -P -m "
        'quarterdeck.schedulers.slurm.hook "$@"\n'
    )


def controller_hook(action: str, helper: Path, site: str) -> str:
    """PrologSlurmctld or EpilogSlurmctld. Jobs without a QPU pass at once; the site's own program runs first."""
    lines = ["#!/bin/sh", f"# {WRITTEN}"]
    if site:
        lines += [f"{shlex.quote(site)} || exit $?"]
    lines += [
        '[ -n "${SPANK_QDECK_QPU#none}" ] || exit 0', f"exec {shlex.quote(str(helper))} {action}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def lua_block(library: Path, state: str, gres: str) -> list[str]:
    """What joins our functions to those that job_submit.lua has."""
    return [
        "do",
        f"  local qdeck = dofile({json.dumps(str(library / 'qdeck.lua'))})",
        f"  qdeck.state = {json.dumps(state)}",
        f"  qdeck.gres = {json.dumps(gres)}",
        "  local submit, modify = slurm_job_submit, slurm_job_modify",
        "  function slurm_job_submit(job, partitions, uid)",
        "    local rc = qdeck.submit(job, partitions, uid)",
        "    if rc ~= slurm.SUCCESS or submit == nil then return rc end",
        "    return submit(job, partitions, uid)",
        "  end",
        "  function slurm_job_modify(job, record, partitions, uid)",
        "    local rc = qdeck.modify(job, record, partitions, uid)",
        "    if rc ~= slurm.SUCCESS or modify == nil then return rc end",
        "    return modify(job, record, partitions, uid)",
        "  end",
        "end",
    ]


LUA = f"-- {WRITTEN}\nreturn slurm.SUCCESS\n"
"""job_submit.lua where the site has none."""


def unit(command: str) -> str:
    """The agent as a service."""
    return (
        f"# {WRITTEN}\n[Unit]\nDescription=Quarterdeck's agent for Slurm\n"
        "After=network-online.target slurmctld.service\n\n"
        f"[Service]\nExecStart={command}\nRestart=always\nRestartSec=2\n\n[Install]\nWantedBy=multi-user.target\n"
    )
