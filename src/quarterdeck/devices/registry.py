"""Drivers by kind. Outsiders join by the entry-point group `quarterdeck.drivers`: a callable `(name, **settings)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from quarterdeck.devices.driver import Driver
from quarterdeck.errors import Invalid

GROUP = "quarterdeck.drivers"
KINDS = {
    "fake": "quarterdeck.devices.faulty:fake",
    "neutral-atom-emulator": "quarterdeck.devices.neutral_atom:NeutralAtomEmulator",
    "pasqal-qpu": "quarterdeck.devices.pasqal_qpu:PasqalQpu",
    "qrmi": "quarterdeck.devices.qrmi:Qrmi",
}


def make(name: str, kind: str, settings: dict[str, Any], state: Path) -> Driver:
    """The driver of a device. Raises `Invalid` for an unknown kind, an unknown setting or a bad value.

    `state` is a directory for what the driver keeps across restarts; one that wants it has a parameter of that name.
    """
    where = f"devices.{name}"
    factory = _factory(where, kind)
    known = inspect.signature(factory)
    if "state" in settings:
        raise Invalid(f"{where}.state", "is not a setting: the daemon chooses it")
    if "state" in known.parameters:
        settings = settings | {"state": state}
    try:
        known.bind(name, **settings)
    except TypeError as error:
        have = ", ".join(key for key in list(known.parameters)[1:] if key != "state") or "none"
        raise Invalid(where, f"driver {kind!r}: {error}; its settings are {have}") from None
    try:
        return factory(name, **settings)
    except (TypeError, ValueError) as error:
        raise Invalid(where, f"driver {kind!r}: {error}") from error


def _factory(where: str, kind: str) -> Callable[..., Driver]:
    if kind in KINDS:
        module, _, attribute = KINDS[kind].partition(":")
        factory: Callable[..., Driver] = getattr(import_module(module), attribute)
        return factory
    others = entry_points(group=GROUP)
    for entry in others:
        if entry.name == kind:
            loaded: Callable[..., Driver] = entry.load()
            return loaded
    known = sorted({*KINDS, *others.names})
    raise Invalid(f"{where}.driver", f"unknown driver {kind!r}; known are {', '.join(known)}")
