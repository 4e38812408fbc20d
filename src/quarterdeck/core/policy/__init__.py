"""What picks the next slice: one interface, several orders of service."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import msgspec

from quarterdeck.core.policy.deck import DeckPolicy
from quarterdeck.core.policy.fifo import Fifo
from quarterdeck.core.policy.orders import FairShare, Priority, ResponseRatio, Shortest
from quarterdeck.core.policy.policy import Choice, Facts, Moment, Place, Policy
from quarterdeck.core.policy.settings import PolicySettings
from quarterdeck.errors import Invalid

POLICIES: dict[str, type[Policy]] = {
    policy.name: policy for policy in (DeckPolicy, Fifo, Priority, ResponseRatio, Shortest, FairShare)
}


def make_policy(name: str, settings: dict[str, Any] | PolicySettings | None = None) -> Policy:
    """The policy of this name, of ours or a plug-in's (entry points `quarterdeck.policies`), with settings.

    Raises `Invalid` for an unknown name or setting.
    """
    found = POLICIES.get(name)
    if found is None:
        plugins = {one.name: one for one in entry_points(group="quarterdeck.policies")}
        if name not in plugins:
            raise Invalid("policy.name", f"{name!r} is unknown; there are {', '.join([*POLICIES, *plugins])}")
        found = plugins[name].load()
    if not isinstance(settings, PolicySettings):
        try:
            settings = msgspec.convert({**(settings or {}), "name": name}, PolicySettings)
        except msgspec.ValidationError as error:
            raise Invalid("policy", str(error)) from None
    settings.check()
    return found(settings)  # type: ignore[call-arg]  # the protocol says nothing of how they are made


__all__ = [
    "POLICIES", "Choice", "DeckPolicy", "Facts", "Fifo", "Moment", "Place", "Policy", "PolicySettings", "make_policy",
]  # fmt: skip
