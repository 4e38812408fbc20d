"""Device types: the names that clients of Pasqal Cloud have for devices, and which device each stands for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from quarterdeck.devices.driver import Target
from quarterdeck.errors import Invalid

QPU, SECOND, EMULATORS = "FRESNEL", "FRESNEL_CAN1", ("EMU_FREE", "EMU_MPS", "EMU_FRESNEL", "EMU_SV")
"""Types that unmodified clients insist on (pasqal-cloud 0.24, QRMI 0.26, CUDA-Q 0.16)."""


class Types:
    """Finds the device behind a type. `given`: the configuration's own types, in place of the usual ones."""

    def __init__(self, targets: Mapping[str, Target], given: Mapping[str, str]) -> None:
        self._all, self._given = targets, given
        self._targets = {name: target for name, target in targets.items() if "pulser" in target.formats}
        atoms = [name for name, target in self._targets.items() if target.modality == "neutral-atom"]
        emulated = [name for name in atoms if targets[name].emulated]
        hardware = [name for name in atoms if name not in emulated]
        usual = {QPU: name} if (name := _only(hardware or emulated)) else {}
        if name := _only(emulated):
            usual.update(dict.fromkeys(EMULATORS, name))  # never hardware
        self.devices = {type: name for type, name in (given or usual).items() if name in self._targets}
        self.devices.update({name: name for name in self._targets})
        self._find = {_plain(type): name for type, name in reversed(self.devices.items())}
        for name, target in self._targets.items():
            self._find.setdefault(_plain(_named(target.spec)), name)

    @lru_cache(maxsize=64)  # noqa: B019  # there are as many as devices, and one of these
    def within(self, devices: tuple[str, ...]) -> Types:
        """The types as a session on these devices sees them: what clients call a QPU is the session's first device.

        What they call another one is its second.
        """
        device = devices[0]
        if device not in self._targets:
            return self
        usual = (QPU, *EMULATORS) if self._targets[device].emulated else (QPU,)
        named = [type for type in usual if type in self._given or not self._given]
        second = {SECOND: devices[1]} if len(devices) > 1 and devices[1] in self._targets else {}
        return Types(self._all, {**self._given, **dict.fromkeys(named, device), **second})

    def any_of(self, type: str) -> list[str]:
        """The devices that a type may stand for, depending on who asks. Raises `Invalid` for an unknown type."""
        plain = _plain(type)
        if plain in (QPU, *EMULATORS) and plain not in self._find:
            return sorted(name for name, target in self._targets.items() if plain == QPU or target.emulated)
        return [self.device(type, "?device_type")]

    def device(self, type: str, where: str = "$.device_type") -> str:
        """The device that a type stands for, in any case and with - for _. Raises `Invalid` naming the known ones."""
        name = self._find.get(_plain(type)) if type else None
        if name is None:
            known = ", ".join(sorted(self.devices)) or "none"
            raise Invalid(where, f"no device {type[:80]!r} here; there are {known}")
        return name

    def of_program(self, written_for: str) -> str:
        """The device for a sequence sent without a type: the one it was written for, else the only one."""
        if len(self._targets) == 1:
            return next(iter(self._targets))
        return self.device(written_for, "$.sequence_builder.device")

    def specs(self) -> dict[str, str]:
        """Type to the device's specification, as clients list them: without EMU_ types of a device listed already."""
        named = {self.devices[type] for type in self.devices if not type.startswith("EMU_")}
        listed = {type: name for type, name in self.devices.items() if type[:4] != "EMU_" or name not in named}
        return {type: self._targets[name].spec for type, name in listed.items()}

    def spec(self, type: str) -> str:
        """A type's specification. Raises `Invalid`."""
        return self._targets[self.device(type)].spec


def _only(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ""


def _plain(type: str) -> str:
    return type.upper().replace("-", "_")


@lru_cache(maxsize=64)
def _named(spec: str) -> str:
    """The name that a device has in its own specification; empty without one."""
    try:
        return msgspec.json.decode(spec, type=_Spec).name
    except msgspec.MsgspecError:
        return ""


class _Spec(msgspec.Struct, frozen=True):
    name: str = ""
