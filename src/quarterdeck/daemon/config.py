"""The daemon's configuration: one frozen object, read once at start-up, passed down explicitly."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from quarterdeck import places
from quarterdeck.core.policy import PolicySettings, make_policy
from quarterdeck.daemon.dialects.pasqal_cloud.settings import PasqalCloudSettings
from quarterdeck.daemon.dialects.warden.settings import WardenSettings
from quarterdeck.daemon.limits import LimitSettings
from quarterdeck.errors import Invalid

Positive = Annotated[float, Meta(gt=0)]


class DaemonSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[daemon]`: where it keeps its state, where it answers, and its limits."""

    state: Annotated[
        str, Meta(description="Directory for the store, the socket and the token. Created, mode 0755.")
    ] = ""
    store: Annotated[
        str, Meta(description="Database: empty for SQLite in the state directory, or postgresql://USER@HOST/NAME.")
    ] = ""
    socket: Annotated[str, Meta(description="Unix socket; empty for run/qdeck.sock in the state directory.")] = ""
    listen: Annotated[
        str,
        Meta(description="TCP address HOST:PORT for clients with a token; empty for none. Port 0 takes a free one."),
    ] = "127.0.0.1:8765"
    advertise: Annotated[
        str,
        Meta(description="URL under which other daemons on the same PostgreSQL reach this one; empty: from listen."),
    ] = ""
    administrators: Annotated[
        tuple[str, ...], Meta(description="Users who may see and do everything, besides root and the daemon's owner.")
    ] = ()
    max_body_bytes: Annotated[
        int, Meta(ge=1024, description="Largest request body; a larger one is refused (413) while it arrives.")
    ] = 8 * 1024 * 1024
    max_parameters_bytes: Annotated[int, Meta(ge=2, description="Largest `parameters` of a task, as JSON.")] = 64 * 1024
    max_wait_s: Annotated[
        float, Meta(ge=0, le=600, description="Longest time that a status call may be held open.")
    ] = 60.0
    probe_s: Annotated[Positive, Meta(description="Seconds between two looks at a device's status.")] = 5.0
    answer_s: Annotated[Positive, Meta(description="Longest that a driver may take to accept or cancel a slice.")] = (
        60.0
    )
    munge: Annotated[
        bool,
        Meta(
            description="Take MUNGE credentials over TCP, so that hooks and users on all nodes of a cluster need no "
            "token. Root of any node with the cluster's key is an administrator then."
        ),
    ] = False
    munge_socket: Annotated[str, Meta(description="munged's socket; empty for the default one.")] = ""
    grace_s: Annotated[
        Positive,
        Meta(description="How much longer than planned (three times over) a slice may run before it counts as hung."),
    ] = 120.0
    key_s: Annotated[Positive, Meta(description="How long an Idempotency-Key is remembered, in seconds.")] = 86400.0
    exclusive_idle_s: Annotated[
        float,
        Meta(
            ge=0, description="Exclusive sessions that ask for nothing else end after so many idle seconds; 0: never."
        ),
    ] = 300.0
    batch_idle_s: Annotated[
        float, Meta(ge=0, description="The same for batch sessions, from the end of their last task.")
    ] = 60.0
    lend_s: Annotated[
        Positive,
        Meta(description="Longest slice of others while an exclusive session lends its idle gaps, in seconds."),
    ] = 10.0


def _embedded() -> dict[str, dict[str, Any]]:
    return {"fresnel-emulator": {"driver": "neutral-atom-emulator"}}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. Each `[devices.NAME]` names its `driver`, perhaps `slice_shots`, and that driver's settings."""

    daemon: DaemonSettings = DaemonSettings()
    policy: PolicySettings = PolicySettings()
    warden: WardenSettings = WardenSettings()
    pasqal_cloud: PasqalCloudSettings = PasqalCloudSettings()
    limits: LimitSettings = LimitSettings()
    devices: dict[str, dict[str, Any]] = msgspec.field(default_factory=_embedded)

    @property
    def state(self) -> Path:
        return Path(self.daemon.state) if self.daemon.state else places.state_dir()

    @property
    def store_url(self) -> str:
        return self.daemon.store or f"sqlite:///{self.state / 'quarterdeck.db'}"

    @property
    def socket(self) -> Path:
        return Path(self.daemon.socket) if self.daemon.socket else places.socket_file(self.state)

    @property
    def listen(self) -> tuple[str, int] | None:
        """Host and port, or None. Raises `Invalid` for anything else than HOST:PORT."""
        return _address("daemon.listen", self.daemon.listen)

    @property
    def warden_listen(self) -> tuple[str, int] | None:
        """Host and port of Warden's interface, or None. Raises `Invalid` for anything else than HOST:PORT."""
        return _address("warden.listen", self.warden.listen)


def _address(where: str, text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise Invalid(where, f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


TABLES: dict[str, type[msgspec.Struct]] = {
    "daemon": DaemonSettings, "policy": PolicySettings, "warden": WardenSettings, "pasqal_cloud": PasqalCloudSettings,
    "limits": LimitSettings,
}  # fmt: skip
"""The tables of the file, but for the devices'."""


def load(path: Path | None) -> Settings:
    """The settings in a TOML file, or the defaults. Raises `Invalid` naming the key that is wrong."""
    if path is None:
        return Settings()
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        raise Invalid(str(path), f"cannot be read: {error.strerror}; write one with `qdeck init`") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(str(path), f"is not TOML: {error}") from None
    try:
        settings = msgspec.convert(data, Settings)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise Invalid(f"{path}: {where.rstrip('`') or 'the file'}", what) from None
    for name, device in settings.devices.items():
        if not isinstance(device.get("driver"), str):
            raise Invalid(f"{path}: devices.{name}", 'needs driver = "KIND", such as "neutral-atom-emulator"')
    settings.listen, settings.warden_listen  # noqa: B018  # refuses a bad address now
    settings.warden.check()
    try:
        make_policy(settings.policy.name, settings.policy)
        settings.pasqal_cloud.check(settings.devices)
    except Invalid as error:
        raise Invalid(f"{path}: {error.where}", error.why) from None
    if settings.warden.device and settings.warden.device not in settings.devices:
        raise Invalid(f"{path}: warden.device", f"no device {settings.warden.device!r} in the configuration")
    return settings


def template() -> str:
    """An annotated configuration file with every setting at its default."""
    lines = ["# Quarterdeck's configuration. Every line that is commented out shows the default.", ""]
    for name, table in TABLES.items():
        lines += [f"[{name}]"]
        defaults = table()
        for field in msgspec.inspect.type_info(table).fields:  # type: ignore[attr-defined]
            extra = getattr(field.type, "extra_json_schema", None) or {}
            value = msgspec.json.encode(getattr(defaults, field.name)).decode()
            lines += [f"# {extra.get('description', '')}", f"# {field.name} = {value}", ""]
    lines += [
        "# One table for each device. `driver` is its kind: neutral-atom-emulator, fake, or one that a plug-in brings.",
        "# `slice_shots` sets the most shots of a slice; without it, see slice_ of [policy].",
        "[devices.fresnel-emulator]",
        'driver = "neutral-atom-emulator"',
        "# How much faster than a real machine it runs: 10 divides set-up and shot times by ten.",
        "# time_scale = 1.0",
        "",
    ]
    return "\n".join(lines)
