"""`qdeck realtime run`: a host until it is told to stop."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from quarterdeck_realtime.service import Service
from quarterdeck_realtime.settings import load
from quarterdeck_realtime.status import HostStatus

__all__ = ["main"]


def main(config: Path) -> int:
    """Serve what the file says. The first line on standard output says that it is ready, in the words of NVIDIA's
    decoding server if any qubit is reached over UDP; the last ones how many frames came. Raises ValueError, OSError.
    """
    settings, qubits = load(config)
    with Service(settings, qubits) as service:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: service.stop())
        for warning in service.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        ports = {qubit.decoder: qubit.port for qubit in service.qubits() if qubit.port}
        if ports:
            rings = " ".join(f"ring{decoder}={port}" for decoder, port in ports.items())
            print(f"QEC_DECODING_SERVER_READY port={next(iter(ports.values()))} transport=udp {rings}", flush=True)
        else:
            print(f"ready: {len(qubits)} qubits, rings at {service.socket}", flush=True)
        if service.metrics_url:
            print(f"metrics: {service.metrics_url}/metrics", file=sys.stderr)
        service.wait()
        last: HostStatus = service.status()
    for patch in last.patches:
        print(f"QEC_DECODING_SERVER_RING decoder={patch.decoder} dispatched={patch.rounds + patch.shots}")
    return 0
