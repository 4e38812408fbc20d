"""The hybrid job itself: the classical loop here, its tasks on a daemon's device. Any daemon will do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from quarterdeck import wire
from quarterdeck.client import Client, SessionHandle, TaskHandle
from quarterdeck.demo.ansatz import Ansatz, build
from quarterdeck.demo.solver import Counts, Search, best_set, cost, share_of_optima, solve
from quarterdeck.errors import Conflict

LABEL = "mis-demo"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the job is to do; the fields are the command's options."""

    device: str
    rounds: int = 12
    pulses: int = 6
    shots: int = 200
    atoms: int = 11
    seed: int = 1
    out: Path = Path("quarterdeck-demo.png")


class Watcher(Protocol):
    """Who is told how it goes."""

    def begin(self, ansatz: Ansatz, device: wire.Device, options: Options) -> None: ...

    def tasks(self, what: str, tasks: Sequence[TaskHandle]) -> None:
        """Something changed among the tasks at hand; `what` names the round."""

    def round_over(self, search: Search) -> None: ...


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came out; the JSON document of `qdeck demo --json`.

    Attributes:
        valid: The set found is not empty and independent.
        optimal: It has as many vertices as the exact optimum.
        cost_first, cost_best: Mean cost of the untuned pulse and of the best round, as measured while tuning.
        before, after: The untuned and the tuned pulse, each measured once more with more shots: `cost`,
            `share_of_optima`, `parameters`, `counts` of the ten most frequent bitstrings.
        qpu_s: Seconds for which the device was occupied by this job's tasks.
    """

    device: str
    emulated: bool
    seed: int
    graph: dict[str, Any]
    exact: dict[str, Any]
    found: str
    size: int
    valid: bool
    optimal: bool
    found_in_round: int
    cost_first: float
    cost_best: float
    rounds: list[dict[str, Any]]
    before: dict[str, Any]
    after: dict[str, Any]
    tasks: int
    shots: int
    qpu_s: float
    picture: str


class Job:
    """One run of the demo against the daemon behind `client`."""

    def __init__(self, client: Client, options: Options, watcher: Watcher) -> None:
        self._client = client
        self._options = options
        self._watcher = watcher
        self._ended: list[wire.Task] = []

    def run(self) -> Outcome:
        """Open a session, tune, measure once more, write the picture. Raises `QuarterdeckError`."""
        options = self._options
        device = self._client.device(options.device)
        ansatz = build(device.spec, options.atoms, options.seed)
        program = self._client.upload(ansatz.payload, device=device.name)
        self._watcher.begin(ansatz, device, options)
        with self._client.session(device.name) as session:

            def measure(number: int, settings: Sequence[tuple[float, ...]]) -> list[Counts]:
                parameters = [ansatz.parameters(values) for values in settings]
                return self._measure(session, program, f"round {number}", parameters, options.shots)

            search = solve(
                ansatz.graph, ansatz.knobs, measure, rounds=options.rounds, pulses=options.pulses, seed=options.seed,
                after_round=self._watcher.round_over,
            )  # fmt: skip
            ends = [ansatz.parameters(trial.values) for trial in (search.trials[0], search.best)]
            shots = min(max(1000, options.shots), device.max_shots)
            before, after = self._measure(session, program, "before and after", ends, shots)
        search.best_set = max(
            search.best_set, best_set(ansatz.graph, before), best_set(ansatz.graph, after), key=lambda s: s.count("1")
        )
        from quarterdeck.demo.picture import draw

        draw(options.out, ansatz, search, before, after, device=device.name, emulated=device.emulated)
        return self._outcome(device, ansatz, search, before, after)

    def _measure(
        self, session: SessionHandle, program: wire.ProgramInfo, what: str, parameters: Sequence[Any], shots: int
    ) -> list[Counts]:
        """Submit all at once, wait for them in turn; only the program's id and the parameters travel."""
        tasks = [
            session.submit(program, shots=shots, parameters=given, name=f"{LABEL}, {what}") for given in parameters
        ]
        counts: list[Counts] = []
        for task in tasks:
            task.wait(progress=lambda _: self._watcher.tasks(what, tasks))
            result = task.result()
            if result.shots_done < 1:
                raise Conflict(f"task {task.id} was {result.state} before anything was measured")
            counts.append(result.counts)
            self._ended.append(task.info)
        return counts

    def _outcome(self, device: wire.Device, ansatz: Ansatz, search: Search, before: Counts, after: Counts) -> Outcome:
        graph, found = ansatz.graph, search.best_set
        size = found.count("1")

        def told(counts: Counts, values: Sequence[float]) -> dict[str, Any]:
            return {
                "cost": cost(graph, counts),
                "share_of_optima": share_of_optima(graph, counts),
                "shots": sum(counts.values()),
                "parameters": ansatz.parameters(values),
                "counts": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]),
            }

        return Outcome(
            device=device.name,
            emulated=device.emulated,
            seed=self._options.seed,
            graph={"points_um": graph.points_um, "radius_um": graph.radius_um, "edges": graph.edges},
            exact={"size": graph.optimum, "sets": graph.optima},
            found=found,
            size=size,
            valid=size > 0 and graph.independent(found),
            optimal=size == graph.optimum,
            found_in_round=next((t.round for t in search.trials if t.best_set.count("1") == size), 0),
            cost_first=search.trials[0].cost,
            cost_best=search.best.cost,
            rounds=[
                {"round": trial.round, "cost": trial.cost, "parameters": ansatz.parameters(trial.values)}
                for trial in map(search.best_of_round, range(1, search.rounds + 1))
            ],
            before=told(before, search.trials[0].values),
            after=told(after, search.best.values),
            tasks=len(self._ended),
            shots=sum(task.shots_done for task in self._ended),
            qpu_s=sum(task.qpu_s for task in self._ended),
            picture=str(self._options.out),
        )
