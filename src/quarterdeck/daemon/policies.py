"""What decides the order on the devices, for people to look at."""

from __future__ import annotations

import msgspec

from quarterdeck import wire
from quarterdeck.core.policy import PolicySettings
from quarterdeck.core.policy.slicing import slice_s
from quarterdeck.daemon.engine import Engine


def show(engine: Engine) -> wire.Policy:
    """The policy in effect, its knobs, and what it makes of each device."""
    deck = engine.deck
    policy = deck.policy
    defaults = PolicySettings()
    knobs = []
    for field in msgspec.inspect.type_info(PolicySettings).fields:  # type: ignore[attr-defined]
        about = (getattr(field.type, "extra_json_schema", None) or {}).get("description", "")
        knob = wire.Knob(
            name=field.name, value=getattr(policy.settings, field.name), default=getattr(defaults, field.name),
            about=about, used=field.name == "name" or field.name in policy.knobs(),
        )  # fmt: skip
        knobs.append(knob)
    devices = []
    for name in sorted(engine.targets):
        device = deck.devices[name]
        waiting = dict.fromkeys(("production", "test", "development"), 0)
        for task in deck.tasks.values():
            if task.state == "queued" and name in task.eligible:
                waiting[task.class_] += 1
        one = wire.PolicyDevice(
            device=name, waiting=waiting, owed=policy.owed(name), slice_s=slice_s(device, policy.settings, False),
            overhead_s=device.overhead_s, typical_s=device.typical_s, setup_s=device.setup_s,
        )  # fmt: skip
        devices.append(one)
    return wire.Policy(
        name=policy.name, configured=engine.policy.name, failed=deck.policy_failure, knobs=knobs, devices=devices
    )
