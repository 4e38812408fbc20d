"""Where things are when nobody says otherwise. Shared by the daemon, which puts them there, and by clients."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def state_dir(environ: Mapping[str, str] | None = None) -> Path:
    """The daemon's own directory: `QDECK_STATE`, else /var/lib/quarterdeck for root, else under XDG_STATE_HOME."""
    environ = os.environ if environ is None else environ
    if named := environ.get("QDECK_STATE"):
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/lib/quarterdeck")
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "quarterdeck"


def config_file(environ: Mapping[str, str] | None = None) -> Path:
    """The daemon's configuration: `QDECK_CONFIG`, else /etc/quarterdeck for root, else under XDG_CONFIG_HOME."""
    environ = os.environ if environ is None else environ
    if named := environ.get("QDECK_CONFIG"):
        return Path(named)
    if os.geteuid() == 0:
        return Path("/etc/quarterdeck/qdeck.toml")
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "quarterdeck" / "qdeck.toml"


def socket_file(state: Path) -> Path:
    """The Unix socket on which the daemon answers local users."""
    return state / "run" / "qdeck.sock"


def key_file(state: Path) -> Path:
    """The key from which the tokens of jobs are made, readable by the daemon's owner only."""
    return state / "key"


def token_file(state: Path) -> Path:
    """The token for TCP clients, readable by the daemon's owner only."""
    return state / "token"
