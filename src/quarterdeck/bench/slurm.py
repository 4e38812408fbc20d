"""What `--qpu` costs a Slurm job, and what sharing a QPU among hybrid jobs gains over giving it to one at a time.

On the cluster that `sbatch` reaches: the same job with and without `--qpu`, in turns; then some hybrid
jobs at once, first sharing the QPU, then each with the QPU for itself (`--qpu-mode=exclusive`), as plain Slurm would.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

import quarterdeck
from quarterdeck import wire
from quarterdeck.bench.report import Goal, Machine, Report, Row, compare
from quarterdeck.bench.stats import Latency, Spread
from quarterdeck.client import Client
from quarterdeck.errors import Invalid, NotFound, Unavailable

PLAIN, OURS = "plain", "--qpu"
SRUN, SBATCH = "srun of true, to its end", "sbatch, until it is accepted"
SHARED, EXCLUSIVE = "shared", "exclusive"
LONGEST_S = 1800.0
Tell = Callable[[str], None]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to run.

    Attributes:
        qpu: The QPU's name.
        partition: Where all jobs go, so that with and without `--qpu` is the same but for that.
        pairs: Jobs of each kind in a round.
        jobs: Hybrid jobs at once; as many must be allowed to share the QPU.
        steps: Rounds of thinking and QPU of each.
        think_s, quantum_s: Seconds of each; the shots follow from the device's rate.
        directory: Where jobs may write, as seen from the nodes.
        program: Text and format of a program for the QPU.
    """

    qpu: str
    partition: str = "quantum"
    rounds: int = 3
    pairs: int = 10
    jobs: int = 10
    steps: int = 4
    think_s: float = 2.0
    quantum_s: float = 1.0
    quick: bool = False
    directory: Path = Path()
    program: tuple[str, str]
    python: str = sys.executable


def run(options: Options, client: Client, tell: Tell = lambda line: None) -> Report:
    """Measure. Raises `Invalid` if there is no such QPU, `Unavailable` if Slurm refuses a job."""
    started, began_s = datetime.now(UTC), time.monotonic()
    try:
        device = client.device(options.qpu)
    except NotFound:
        raise Invalid("--qpu", f"the daemon has no QPU {options.qpu}") from None
    rows = _launches(options, tell)
    used = {mode: _together(options, client, device, mode, tell) for mode in (SHARED, EXCLUSIVE)}
    rows += [row for row, _ in used.values()]
    bound = 1 + options.think_s / options.quantum_s
    gain = used[SHARED][1] / used[EXCLUSIVE][1]
    return Report(
        title="slurm", started=started.isoformat(timespec="seconds"), took_s=time.monotonic() - began_s,
        version=quarterdeck.__version__, machine=Machine.here(), rounds=options.rounds, quick=options.quick, rows=rows,
        ratios=compare(rows, OURS, PLAIN, {}), idle=[],
        goals=[
            Goal(name=f"shared over exclusive utilisation; 1 + c/q is {bound:g}", sense="at least",
                 wanted=0.9 * min(bound, options.jobs), got=gain),
        ],
    )  # fmt: skip


def _launches(options: Options, tell: Tell) -> list[Row]:
    """Pairs of jobs with and without a QPU, in turns, so that whatever else the cluster does meets both."""
    asks = {PLAIN: [], OURS: [f"--qpu={options.qpu}"]}
    took: dict[tuple[str, str], list[list[float]]] = {(what, who): [] for what in (SRUN, SBATCH) for who in asks}
    for number in range(options.rounds):
        tell(f"{options.pairs} pairs of jobs, round {number + 1} of {options.rounds}")
        for times in took.values():
            times.append([])
        for pair in range(options.pairs):
            order = [PLAIN, OURS] if pair % 2 else [OURS, PLAIN]
            for who in order:
                took[SRUN, who][-1].append(_time(["srun", *_where(options), *asks[who], "true"]))
            for who in order:
                command = ["sbatch", *_where(options), *asks[who], "-o", "/dev/null", "--wrap", "true"]
                took[SBATCH, who][-1].append(_time(command))
            _drain(options)
    return [
        Row(what=what, system=who, figures={
            name: Spread.of([getattr(Latency.of(seconds), name) for seconds in rounds])
            for name in ("p50_ms", "p99_ms", "max_ms")
        }) for (what, who), rounds in took.items()
    ]  # fmt: skip


def _together(options: Options, client: Client, device: wire.Device, mode: str, tell: Tell) -> tuple[Row, float]:
    """The hybrid jobs; the row, and the share of the time in which the QPU worked."""
    tell(f"{options.jobs} hybrid jobs, {mode}")
    shots = max(1, round(options.quantum_s * device.shot_rate_hz))
    text, format = options.program
    program = options.directory / "bench-program"
    program.write_text(text)
    arguments = [str(options.steps), str(options.think_s), str(shots), format, str(program)]
    script = f"{options.python} -m quarterdeck.bench.slurm_job {' '.join(arguments)}"
    command = ["sbatch", "--parsable", *_where(options, 30), f"--qpu={options.qpu}", f"--qpu-mode={mode}",
               "-o", str(options.directory / f"bench-{mode}-%j.out"), "--wrap", script]  # fmt: skip
    ids = [_run(command).strip().partition(";")[0] for _ in range(options.jobs)]
    _drain(options)
    jobs = [_job(client, id) for id in ids]
    wanted = shots * options.steps
    if short := [job.id for job in jobs if job.usage is None or job.usage.shots != wanted]:
        raise Unavailable("the benchmark", f"{', '.join(short)} did not run all its shots; see its output", 0.0)
    busy_s = sum(job.usage.qpu_s for job in jobs if job.usage is not None)
    span_s = max(job.released_s for job in jobs) - min(job.acquired_s for job in jobs)
    share = busy_s / span_s
    note = f"{share:.1%} of {span_s:.1f} s; {busy_s:.1f} s of QPU time, {options.steps} rounds of " \
           f"{options.think_s:g} s thinking and {options.quantum_s:g} s QPU in each job"  # fmt: skip
    figures = {"rate_hz": Spread.of([len(jobs) / span_s])}
    return Row(what=f"{options.jobs} hybrid jobs", system=mode, figures=figures, note=note), share


def _job(client: Client, id: str) -> wire.Job:
    """Slurm's job in the daemon, whatever the cluster's name is."""
    cluster = _run(["scontrol", "show", "config"]).partition("ClusterName")[2].partition("=")[2].split()[0]
    return client.job(f"slurm:{cluster}:{id}")


def _where(options: Options, minutes: int = 1) -> list[str]:
    return ["-p", options.partition, "-t", str(minutes), "-J", "qdeck-bench"]


def _drain(options: Options) -> None:
    """Wait until none of the benchmark's jobs is left."""
    end = time.monotonic() + LONGEST_S
    while _run(["squeue", "-h", "--me", "-n", "qdeck-bench"]).strip():
        if time.monotonic() > end:
            raise Unavailable("Slurm", f"the benchmark's jobs do not end within {LONGEST_S:.0f} s; see squeue", 0.0)
        time.sleep(0.2)


def _time(command: list[str]) -> float:
    began_s = time.perf_counter()
    _run(command)
    return time.perf_counter() - began_s


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except FileNotFoundError:
        raise Unavailable("Slurm", f"{command[0]} is not installed here", 0.0) from None
    if done.returncode:
        raise Unavailable("Slurm", f"{' '.join(command[:6])} ...: {done.stderr.strip() or done.returncode}", 0.0)
    return done.stdout
