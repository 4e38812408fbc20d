"""The `[pasqal_cloud]` table of the configuration."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import msgspec
from msgspec import Meta

from quarterdeck.errors import Invalid


class PasqalCloudSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[pasqal_cloud]`: the interface of Pasqal Cloud, always there under `/pasqal-cloud`."""

    devices: Annotated[
        dict[str, str],
        Meta(
            description="Device types of clients and the devices that they stand for: {FRESNEL = "
            '"fresnel-emulator"}. Empty: FRESNEL stands for the one neutral-atom QPU (else the one emulated), the '
            "EMU_ types for the one emulated. Devices always have their own names, too."
        ),
    ] = {}
    hold_s: Annotated[
        float,
        Meta(
            ge=0, le=20, description="How long a status call is held while its jobs have not ended; 0 answers at once."
        ),
    ] = 10.0
    link_s: Annotated[
        float, Meta(gt=0, le=86400, description="How long the link to a result works, for whoever has it.")
    ] = 300.0
    public_url: Annotated[
        str,
        Meta(
            description="What links to results begin with, such as https://qpu.example.org/pasqal-cloud, where a "
            "proxy hides the daemon's own address; empty: the address that the client asked."
        ),
    ] = ""

    def check(self, devices: Collection[str]) -> None:
        """Raises `Invalid` for a device that the configuration does not have."""
        for type, device in self.devices.items():
            if device not in devices:
                raise Invalid(f"pasqal_cloud.devices.{type}", f"no device {device!r} in the configuration")
