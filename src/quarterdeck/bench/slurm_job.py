"""A hybrid job for the benchmark: thinks, asks the QPU, thinks again. Started in a job; see `bench.slurm`.

Arguments: rounds, seconds of thinking before each, shots of each, format, file of the program.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import quarterdeck


def main(rounds: int, think_s: float, shots: int, format: str, file: str) -> None:
    with quarterdeck.connect() as client:
        program = client.upload(Path(file).read_text(), format=format)
        for _ in range(rounds):
            time.sleep(think_s)
            client.submit(program, shots=shots).result()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
