"""The study of scheduling policies on our own core: the cases, and running them on all processors, resumably."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

import msgspec

import quarterdeck
from quarterdeck.bench.report import Machine
from quarterdeck.bench.scheduling_aims import CENTRE, DECK, EVEN, FIRST, GAMES, NA, PLAIN, RATIOS, SC, STRICT
from quarterdeck.bench.scheduling_case import ABLATIONS, POLICIES, outcome
from quarterdeck.bench.scheduling_report import Study
from quarterdeck.bench.scheduling_results import Case, Outcome, Results, Setting
from quarterdeck.errors import Invalid

PARTS = ("orders", "tails", "estimates", "sharing", "gaming", "capacity", "centre", "ablation")
JOBS = {SC: 5000, NA: 2000, CENTRE: 15_000}
STABLE = {SC: 0.85, NA: 0.7}
"""The load at which the modalities are compared: high, and within what FIFO can carry."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to run.

    Attributes:
        seeds: Seeds of each setting.
        quick: Fewer settings, short workloads; for a look, not for a verdict.
        parts: Which of `PARTS`; all if empty.
        loads: Only settings at these offered loads (saturated ones have 0); all if empty.
        keep: File of the outcomes so far; cases in it, of the same code, are not run again.
        processes: As many at once; 0 for one for each core.
    """

    seeds: int = 20
    quick: bool = False
    parts: tuple[str, ...] = ()
    loads: tuple[float, ...] = ()
    keep: Path | None = None
    processes: int = 0


def plan(options: Options) -> list[Case]:
    """Every case, seeds turning slowest, so that what there is when somebody stops is about complete."""
    parts = options.parts or PARTS
    settings = [
        setting
        for setting in (_quick() if options.quick else _full())
        if setting.part in parts and (not options.loads or setting.load in options.loads)
    ]
    seeds = min(options.seeds, 4) if options.quick else options.seeds
    shrink = 6 if options.quick else 1
    few = {"capacity": 2, "sharing": 2}  # a saturated system tells as much in fewer jobs
    return [
        Case(setting=setting, seed=seed, jobs=JOBS[setting.shape] // shrink // few.get(setting.part, 1))
        for seed in range(1, seeds + 1)
        for setting in settings
    ]


def _full() -> Iterator[Setting]:
    for shape in (SC, NA):
        for load in (0.5, 0.7, 0.85, 0.95, 1.1):
            yield from (Setting("orders", shape, load, "", policy) for policy in POLICIES)
    for shape in (SC, NA):
        load = STABLE[shape]
        for variant in ("sizes alike", "sizes nearly alike"):
            yield from (
                Setting("tails", shape, load, variant, policy) for policy in (PLAIN, STRICT, "sjf", DECK, FIRST)
            )
        for policy in (PLAIN, "sjf", DECK):
            yield Setting("estimates", shape, load, "estimate error doubled", policy)
        for ratio in RATIOS:
            for access in ("exclusive", "shared"):
                yield Setting("sharing", shape, 0.0, f"c/q {ratio:g}, {access}", DECK)
            yield Setting("sharing", shape, 0.0, f"c/q {ratio:g}, shared", PLAIN)
        yield from (Setting("gaming", shape, load, game, DECK) for game in ("honest", *GAMES))
        yield from (Setting("ablation", shape, load, "", f"{DECK}, {change}") for change in ABLATIONS)
    for sessions in ("48 sessions", "16 sessions"):
        for policy in (PLAIN, "fifo", STRICT, "sjf", DECK, EVEN, FIRST):
            yield Setting("capacity", NA, 0.0, sessions, policy)

    for policy in (PLAIN, "fifo", "sjf", DECK):
        yield Setting("centre", CENTRE, 0.0, "", policy)


def _quick() -> Iterator[Setting]:
    for shape in (SC, NA):
        for policy in (PLAIN, "fifo", STRICT, "sjf", DECK, EVEN, FIRST):
            yield Setting("orders", shape, STABLE[shape], "", policy)
    for policy in (PLAIN, DECK):
        yield Setting("capacity", NA, 0.0, "48 sessions", policy)


def run(options: Options, tell: Callable[[int, int], None] = lambda done, of: None) -> Study:
    """Run what is not in `options.keep` yet, and report. `tell` is given how many cases are done, and of how many.

    Raises `Invalid` for an unknown part or a file that is none of ours.
    """
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        raise Invalid("part", f"{', '.join(sorted(unknown))}: not one of {', '.join(PARTS)}")
    if not plan(options):
        raise Invalid("load", "no setting of these parts has such a load; there are 0.5, 0.7, 0.85, 0.95 and 1.1")
    started, began_s = datetime.now(UTC), time.monotonic()
    cases = plan(options)
    known = kept(options.keep, set(cases)) if options.keep else {}
    missing = [case for case in cases if case not in known]
    with ExitStack() as stack:
        file = stack.enter_context(options.keep.open("ab")) if options.keep else None
        tell(len(known), len(cases))
        for one in _outcomes(missing, options.processes or os.cpu_count() or 1):
            known[one.case] = one
            if file:
                file.write(msgspec.json.encode(Kept(code=code(), outcome=one)) + b"\n")
                file.flush()
            tell(len(known), len(cases))
    outcomes = [known[case] for case in cases]
    return Study.of(
        Results(outcomes), started=started.isoformat(timespec="seconds"), took_s=time.monotonic() - began_s,
        cpu_s=sum(one.wall_s for one in outcomes), version=quarterdeck.__version__, code=code(),
        machine=Machine.here(), seeds=max(case.seed for case in cases) if cases else 0, quick=options.quick,
    )  # fmt: skip


class Kept(msgspec.Struct, frozen=True):
    """A line of the file of outcomes: the digest of the code it was made with, and the outcome."""

    code: str
    outcome: Outcome


def kept(path: Path, wanted: set[Case]) -> dict[Case, Outcome]:
    """The outcomes in the file that are of these cases and of this code; a last line cut short is left out."""
    found: dict[Case, Outcome] = {}
    if not path.exists():
        return found
    *lines, last = path.read_bytes().split(b"\n")
    decoder = msgspec.json.Decoder(Kept)
    for number, line in enumerate(lines, 1):
        try:
            one = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise Invalid(f"{path}:{number}", f"is no line of outcomes: {error}; name another file") from None
        if one.code == code() and one.outcome.case in wanted:
            found[one.outcome.case] = one.outcome
    if last and not b'{"code":'.startswith(last[:8]):
        raise Invalid(str(path), "is no file of outcomes; name another file")
    if last:  # the run was ended in mid-line
        path.write_bytes(b"".join(line + b"\n" for line in lines))
    return found


@cache
def code() -> str:
    """Digest of the source files that decide about an outcome."""
    root = Path(quarterdeck.__file__).parent
    files = [*root.glob("core/**/*.py"), *root.glob("simulator/*.py"), *root.glob("simulator/data/*.toml")]
    digest = sha256()
    shown = {"panels.py", "plots.py", "table.py", "qstone_rows.py"}
    for file in sorted([*(file for file in files if file.name not in shown), root / "bench" / "scheduling_case.py"]):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _outcomes(cases: Iterable[Case], processes: int) -> Iterator[Outcome]:
    """Run each case in a process of its own kind, as many at once; in whatever order they end."""
    if processes == 1:
        yield from map(outcome, cases)
        return
    waiting = iter(cases)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running: set[Future[Outcome]] = set()
        try:
            while True:
                while len(running) < 2 * processes and (case := next(waiting, None)) is not None:
                    running.add(pool.submit(outcome, case))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
