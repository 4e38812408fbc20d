"""What picks the next slice: one interface, several orders of service."""

from quarterdeck.core.policy.fifo import Fifo
from quarterdeck.core.policy.policy import Place, Policy

POLICIES: dict[str, type[Policy]] = {Fifo.name: Fifo}

__all__ = ["POLICIES", "Fifo", "Place", "Policy"]
