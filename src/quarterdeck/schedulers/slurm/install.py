"""`qdeck slurm install`: what would change on this machine, and changing it. Doing it twice changes nothing."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from quarterdeck.errors import Conflict, Invalid
from quarterdeck.schedulers.slurm import conf, files
from quarterdeck.schedulers.slurm.settings import SlurmSettings, load

SOURCES = Path(__file__).parent
PLUGIN = "qdeck_spank.so"
GRES_SLASH = 0x170B00
"""Slurm 23.11 begins a job's GRES with gres/ and older ones with gres: (its sources, 22.05.8 to 26.11)."""
HERE = "unix:///var/lib/quarterdeck/run/qdeck.sock"
"""The daemon that root runs on this machine."""


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where things are on this machine.

    Attributes:
        slurm_conf: The controller's; the other files of Slurm lie beside it.
        library: Our plugin, function and hooks.
        config: Our slurm.toml.
        units: systemd's directory; the agent's unit is written if it exists.
    """

    slurm_conf: Path
    library: Path
    config: Path
    units: Path


def places(root: Path = Path("/"), slurm_conf: Path | None = None) -> Places:
    """The usual ones, below `root`."""
    found = slurm_conf or (Path(os.environ["SLURM_CONF"]) if os.environ.get("SLURM_CONF") else None)
    return Places(
        slurm_conf=found or root / "etc/slurm/slurm.conf", library=root / "usr/local/lib/quarterdeck/slurm",
        config=root / "etc/quarterdeck/slurm.toml", units=root / "etc/systemd/system",
    )  # fmt: skip


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A file that has to change. `new` is None to take it away."""

    path: Path
    old: bytes | None
    new: bytes | None
    mode: int = 0o644

    @property
    def diff(self) -> str:
        """For people."""
        if b"\0" in (self.old or b"") or b"\0" in (self.new or b""):
            return f"--- {self.path}\n(a compiled plugin)\n"
        old, new = ((text or b"").decode(errors="replace").splitlines(keepends=True) for text in (self.old, self.new))
        names = (
            str(self.path) if self.old is not None else "/dev/null",
            str(self.path) if self.new is not None else "/dev/null",
        )
        return "".join(difflib.unified_diff(old, new, *names))


class Installer:
    """Plans and carries out. Raises `Invalid` for what the site has to say first."""

    def __init__(self, where: Places, settings: SlurmSettings, python: str = sys.executable) -> None:
        self.where = where
        self.settings = settings
        self._python = python

    def plan(self) -> list[Change]:
        """What is missing, or differs, for the installation to be complete. The plugin is compiled for that."""
        where, settings = self.where, self.settings
        self._complete()
        text = _read(where.slurm_conf)
        if text is None:
            raise Invalid(str(where.slurm_conf), "there is no such file; name it in --slurm-conf")
        bare = conf.strip(text)
        site_hooks = {key: conf.value(bare, key) for key in ("PrologSlurmctld", "EpilogSlurmctld")}
        plugstack = Path(conf.value(bare, "PlugStackConfig") or where.slurm_conf.with_name("plugstack.conf"))
        gres = ",".join(f"qpu:{name}:{count}" for name, count in settings.devices.items())
        wanted = {
            "GresTypes": "qpu", "JobSubmitPlugins": "lua",
            "PrologSlurmctld": str(where.library / "prolog_slurmctld"),
            "EpilogSlurmctld": str(where.library / "epilog_slurmctld"), "PlugStackConfig": str(plugstack),
        }  # fmt: skip
        if settings.accounting:  # without slurmdbd Slurm would not start with it
            wanted["AccountingStorageTRES"] = ",".join(["gres/qpu", *(f"gres/qpu:{name}" for name in settings.devices)])
        gres_lines = [
            f"NodeName={node} Name=qpu Type={name} Count={count}"
            for node in settings.nodes for name, count in settings.devices.items()
        ]  # fmt: skip
        library, helper = where.library, where.library / "hook"
        stack = (
            f"required {library / PLUGIN} helper={helper} timeout={settings.patience_s + settings.command_s + 5:.0f}"
        )
        prefix = "gres/" if int(_version(Path(settings.include)), 16) >= GRES_SLASH else "gres:"
        lua = where.slurm_conf.with_name("job_submit.lua")
        gres_conf = where.slurm_conf.with_name("gres.conf")
        texts = {
            where.config: (files.slurm_toml(settings), 0o644),
            helper: (files.hook(self._python, where.config), 0o755),
            library / "prolog_slurmctld": (
                files.controller_hook("prolog", helper, site_hooks["PrologSlurmctld"]), 0o755),
            library / "epilog_slurmctld": (
                files.controller_hook("epilog", helper, site_hooks["EpilogSlurmctld"]), 0o755),
            library / "qdeck.lua": ((SOURCES / "qdeck.lua").read_text(encoding="utf-8"), 0o644),
            lua: (conf.job_submit(_read(lua) or files.LUA, files.lua_block(library, settings.state, prefix)), 0o644),
            gres_conf: (conf.append(_read(gres_conf) or "", gres_lines), 0o644),
            plugstack: (conf.append(_read(plugstack) or "", [stack]), 0o644),
            where.slurm_conf: (conf.slurm_conf(text, wanted, {node: gres for node in settings.nodes}), 0o644),
        }  # fmt: skip
        if where.units.is_dir():
            command = f"{self._python} -P -m quarterdeck slurm agent --config {where.config}"
            texts[where.units / "quarterdeck-slurm.service"] = (files.unit(command), 0o644)
        changes = [_change(path, text.encode(), mode) for path, (text, mode) in texts.items()]
        return [change for change in (*self._plugin(), *changes) if change.old != change.new]

    def removal(self) -> list[Change]:
        """What has to change for the machine to be without us. slurm.toml is the site's, and stays."""
        where = self.where
        text = _read(where.slurm_conf) or ""
        bare = conf.strip(text)
        ours = conf.value(text, "PlugStackConfig")
        plugstack = Path(conf.value(bare, "PlugStackConfig") or ours or where.slurm_conf.with_name("plugstack.conf"))
        changes = [_without(path) for path in (where.slurm_conf, where.slurm_conf.with_name("gres.conf"), plugstack)]
        changes.append(_without(where.slurm_conf.with_name("job_submit.lua"), "--", files.LUA))
        names = [PLUGIN, "plugin.stamp", "hook", "prolog_slurmctld", "epilog_slurmctld", "qdeck.lua"]
        gone = [*(where.library / name for name in names), where.units / "quarterdeck-slurm.service"]
        changes += [Change(path=path, old=path.read_bytes(), new=None) for path in gone if path.exists()]
        return [change for change in changes if change.old != change.new]

    def _complete(self) -> None:
        if not self.settings.devices:
            raise Invalid("--device", "name the QPUs that Slurm gives to jobs, such as --device fresnel-emulator:4")
        if not self.settings.nodes:
            raise Invalid("--node", "name the node that jobs with a QPU run on, as slurm.conf has it")
        for name in self.settings.devices:
            if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
                raise Invalid("--device", f"{name!r}: a QPU in Slurm has letters, digits and .-_ only in its name")

    def _plugin(self) -> list[Change]:
        """The plugin belongs to its source and to the version of Slurm: the stamp tells both."""
        source = SOURCES / "qdeck_spank.c"
        stamp = f"{sha256(source.read_bytes()).hexdigest()} {_version(Path(self.settings.include))}\n".encode()
        told = self.where.library / "plugin.stamp"
        built = self.where.library / PLUGIN
        if built.exists() and told.exists() and told.read_bytes() == stamp:
            return []
        return [_change(built, compiled(source, Path(self.settings.include)), 0o755), _change(told, stamp, 0o644)]


def apply(changes: Sequence[Change]) -> None:
    """Write the changes, each file at once. Raises `Conflict` if that is not allowed."""
    for change in changes:
        try:
            if change.new is None:
                change.path.unlink(missing_ok=True)
                continue
            change.path.parent.mkdir(parents=True, exist_ok=True)
            new = change.path.with_name(f".{change.path.name}.new")
            new.write_bytes(change.new)
            if change.path.exists():
                shutil.copystat(change.path, new)
                status = change.path.stat()
                os.chown(new, status.st_uid, status.st_gid)
            else:
                new.chmod(change.mode)
            new.replace(change.path)
        except OSError as error:
            raise Conflict(f"{change.path} cannot be changed: {error.strerror}; run this as root") from None


def compiled(source: Path, include: Path) -> bytes:
    """The plugin for the Slurm whose headers these are. Raises `Conflict` telling what to install."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        raise Conflict("there is no C compiler for the SPANK plugin: install gcc")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / PLUGIN
        words = [compiler, "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", f"-I{include}", "-o", str(out), str(source)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Conflict(f"the SPANK plugin does not compile: {done.stderr.strip()[-500:]}")
        return out.read_bytes()


def _version(include: Path) -> str:
    header = include / "slurm" / "slurm_version.h"
    try:
        for line in header.read_text().splitlines():
            if line.startswith("#define SLURM_VERSION_NUMBER"):
                return line.split()[2]
    except OSError:
        pass
    raise Conflict(
        f"{header} is missing: install Slurm's headers (Debian: libslurm-dev; others: slurm-devel), or name their "
        "place in --include"
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(str(path), f"cannot be read: {error}") from None


def _change(path: Path, new: bytes, mode: int) -> Change:
    return Change(path=path, old=path.read_bytes() if path.exists() else None, new=new, mode=mode)


def _without(path: Path, comment: str = "#", empty: str = "") -> Change:
    """A file of Slurm's without us; away with it if nothing else was ever in it."""
    text = _read(path)
    bare = None if text is None else conf.strip(text, comment)
    old = None if text is None else text.encode()
    return Change(path=path, old=old, new=None if bare in (None, empty) else str(bare).encode())


def settings_of(where: Places, **given: object) -> SlurmSettings:
    """What slurm.toml says, if there is one, with what was given now in its place, and what slurm.conf tells."""
    known = load(where.config) if where.config.exists() else SlurmSettings()
    text = conf.strip(_read(where.slurm_conf) or "")
    told: dict[str, object] = {"conf": str(where.slurm_conf), "url": known.url or HERE}
    if cluster := conf.value(text, "ClusterName"):
        told["cluster"] = cluster.lower()
    for word in conf.value(text, "AuthInfo").split(","):
        if word.startswith("socket="):
            told["munge_socket"] = word.removeprefix("socket=")
    told["accounting"] = conf.value(text, "AccountingStorageType").endswith("slurmdbd")
    told |= {name: value for name, value in given.items() if value}
    return msgspec.structs.replace(known, **told)
