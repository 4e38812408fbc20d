"""Which devices a request means: one by name, several, or what a device must have."""

from __future__ import annotations

from collections.abc import Iterable

from quarterdeck import wire
from quarterdeck.daemon.engine import Engine
from quarterdeck.errors import Invalid, NotFound


class Choice:
    """Finds devices."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def known(self, name: str) -> str:
        """The device of this name, as the one string that all its tasks share. Raises `NotFound`."""
        target = self._engine.targets.get(name)
        if target is None:
            raise NotFound("device", name)
        return target.name

    def of(self, request: wire.TaskSubmit | wire.SessionOpen) -> list[str]:
        """The devices that a request allows, the best first; none if it does not say."""
        if (request.device is not None) + bool(request.devices) + (request.needs is not None) > 1:
            raise Invalid("$.device", "give one of device, devices and needs")
        if request.device is not None:
            return [self.known(request.device)]
        if request.device is None and not request.devices and request.needs is None:
            return []
        if request.devices:
            found = [self.known(name) for name in dict.fromkeys(request.devices)]
        else:
            needs = request.needs
            assert needs is not None
            found = [
                target.name for target in self._engine.targets.values()
                if (not needs.modality or target.modality == needs.modality) and target.qubits >= needs.qubits
                and (needs.emulated is None or target.emulated == needs.emulated)
            ]  # fmt: skip
            if not found:
                raise Invalid("$.needs", "no device of this daemon has that; `qdeck devices` shows what there is")
        return self.best_first(found)

    def best_first(self, names: Iterable[str]) -> list[str]:
        known = self._engine.deck.devices
        return sorted(names, key=lambda name: (-known[name].quality, -known[name].shot_rate_hz, name))
