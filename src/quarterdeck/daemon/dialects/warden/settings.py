"""The `[warden]` table of the configuration."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from quarterdeck.errors import Invalid

SLURM = ("squeue", "--noheader", "--jobs={job}", "--states=CONFIGURING,RUNNING,COMPLETING", "--format=%U")
"""The owner's uid of a job that is being started, runs or is being cleaned up; nothing and an error for any other."""


class WardenSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[warden]`: the interface of Warden, for QRMI's pasqal-local clients. Always there under `/warden`, too."""

    listen: Annotated[
        str, Meta(description="TCP address HOST:PORT of its own, as Warden has (0.0.0.0:8006); empty for none.")
    ] = ""
    device: Annotated[
        str, Meta(description="The device that it stands for; empty if there is only one. /warden/NAME names another.")
    ] = ""
    munge_socket: Annotated[str, Meta(description="munged's socket; empty for the default one.")] = ""
    trusted_uids: Annotated[
        tuple[int, ...], Meta(description="Who may open and close sessions for users: workload managers' uids.")
    ] = (0,)
    authorized_users: Annotated[
        tuple[int | str, ...], Meta(description="Users (uids or names) for whom sessions may be opened; empty: all.")
    ] = ()
    first_uid: Annotated[
        int, Meta(ge=0, description="Lowest uid for which a session may be opened: not root, not the system's own.")
    ] = 1000
    job_check: Annotated[
        str | tuple[str, ...],
        Meta(
            description='Ask the workload manager whether a job runs and is the user\'s: "slurm", or a command that '
            "prints the uid of the owner of running job {job} and fails for any other; empty: do not ask."
        ),
    ] = ""
    origin: Annotated[
        Literal["off", "log", "enforce"],
        Meta(
            description="Compare the address that a credential was made at with the one it comes from. Before "
            "`enforce`, start munged with --origin on every node."
        ),
    ] = "log"
    admin_networks: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks (10.1.0.0/16) from which a trusted uid may set `accessible` over TCP. None by "
            "default: a stolen credential must not close a device. The Unix socket always may."
        ),
    ] = ()
    session_ttl_s: Annotated[
        float, Meta(gt=0, le=7 * 86400, description="Lease of a session in seconds; work in it starts it anew.")
    ] = 86400.0
    enforce: Annotated[
        bool,
        Meta(description="Refuse sessions while the device is not accessible, and tasks while it is in maintenance."),
    ] = True
    hold_s: Annotated[
        float,
        Meta(
            ge=0, le=60, description="How long a job's status call is held while it has not ended; 0 answers at once."
        ),
    ] = 10.0
    hold_until: Annotated[
        Literal["end", "change"], Meta(description="Answer a held call when the job has ended, or when it changes.")
    ] = "end"

    def command(self) -> tuple[str, ...]:
        """The command behind `job_check`; empty for none. Raises `Invalid` for an unknown name."""
        if self.job_check == "slurm":
            return SLURM
        if isinstance(self.job_check, tuple):
            return self.job_check
        if self.job_check:
            raise Invalid("warden.job_check", f'{self.job_check!r} is neither "slurm" nor a list of words')
        return ()

    def check(self) -> None:
        """Raises `Invalid` for what no type catches."""
        self.command()
        for network in self.admin_networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise Invalid("warden.admin_networks", str(error)) from None
