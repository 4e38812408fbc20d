"""One history: users, machines, crashes, full disks, jumping clocks, all from one seed; then the books are checked."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Any

import msgspec

from quarterdeck import wire
from quarterdeck.core import events as ev
from quarterdeck.core.invariants import validate
from quarterdeck.core.replay import replay
from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.clock import Clock
from quarterdeck.daemon.desk import Desk
from quarterdeck.daemon.engine import DeviceSettings, Pace
from quarterdeck.daemon.house import House
from quarterdeck.daemon.http.identity import Identity
from quarterdeck.daemon.memory import MemoryStore
from quarterdeck.errors import NotFound, QuarterdeckError, StoreUnavailable
from quarterdeck.programs.program import Summary

from .machine import Machine
from .virtual import VirtualLoop

ENDED = ("done", "failed", "cancelled")
WINDOWS: tuple[dict[str, Any], ...] = (
    {"kind": "calibration"}, {"kind": "maintenance", "hard": False}, {"kind": "calibration", "slack_s": 20.0},
    {"kind": "reservation", "user": "user0"}, {"kind": "reservation", "user": "user1", "project": "x"},
)  # fmt: skip


class History:
    """Everything of one seed. `play` runs it and raises at the first thing that is not as it must be."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.made = 0
        self.acknowledged: dict[str, int] = {}
        self.cancelled: set[str] = set()
        self.submissions: dict[str, str] = {}
        self.crashes = self.failures = 0
        self.log: list[bytes] = []

    def play(self) -> None:
        """Run the history in virtual time."""
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(self._play())

    async def _play(self) -> None:
        random = self.random
        self.store = MemoryStore(Random(random.random()), latency_s=random.choice([0.002, 0.002, 3.0]))
        self.machines = {
            name: Machine(
                name, Random(random.random()), can_lookup=random.random() < 0.5, lanes=random.choice([1, 1, 3])
            )
            for name in ("one", "two")
        }
        self.targets = {name: await machine.target() for name, machine in self.machines.items()}
        self.wall_s = 1e9
        await self._start()
        for machine in self.machines.values():
            machine.chaos = random.choice([0.0, 0.02, 0.1, 0.3])
        users = [asyncio.ensure_future(self._user(f"user{n}")) for n in range(3)]
        others = [self._chaos(), self._operator(), self._treasurer()]
        everybody = [*users, *(asyncio.ensure_future(other) for other in others)]
        done, _ = await asyncio.wait(everybody, timeout=200_000)
        assert len(done) == len(everybody), f"somebody is stuck: {everybody}"
        for task in done:
            task.result()
        for machine in self.machines.values():
            machine.chaos = machine.away_until_s = 0.0
        self.store.heal()
        await self._quiet()
        await self._check()
        await self._stop(crash=False)

    # -- the daemon -----------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        self.wall_s += self.random.choice([0.0, 0.0, 5.0, -5.0, 86400.0, -86400.0])  # somebody set the clock

        def clock(not_before_s: float) -> Clock:
            loop = asyncio.get_running_loop()
            offset_s = max(self.wall_s + loop.time(), not_before_s) - loop.time()
            return lambda: offset_s + loop.time()

        async def summarise(format: str, payload: str) -> Summary:
            return Summary(qubits=2)

        async def convert(payload: str, spec: str) -> str:
            return payload

        devices = {name: DeviceSettings(slice_shots=20) for name in self.machines}
        self.house = House(
            self.store, self.machines, self.targets, devices, summarise, convert, Identity("root", 0, ""), 10_000,
            Pace(probe_s=5.0, answer_s=10.0, grace_s=30.0), clock=clock, new_id=self._new_id,
            new_token=lambda session: f"qds_{session}.x",
        )  # fmt: skip
        self.running = asyncio.ensure_future(self.house.run())

    async def _stop(self, crash: bool) -> None:
        if crash:
            self.store.crash()
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running

    def _new_id(self, kind: str) -> str:
        self.made += 1
        return f"{kind}{self.made}"

    async def _chaos(self) -> None:
        for _ in range(self.random.randint(0, 6)):
            await asyncio.sleep(self.random.random() * 60)
            what = self.random.choice(["crash", "crash", "stop", "disk", "away"])
            if what == "disk":
                self.failures += 1
                self.store.fail_next()
            elif what == "away":
                machine = self.random.choice(list(self.machines.values()))
                machine.away_until_s = asyncio.get_running_loop().time() + self.random.random() * 300
            else:
                self.crashes += 1
                await self._stop(crash=what == "crash")
                await asyncio.sleep(self.random.random() * 20)
                await self._start()

    async def _operator(self) -> None:
        """Set windows and calendars on the devices, whatever goes wrong meanwhile."""
        root = Actor("root", administrator=True)
        random = Random(self.random.random())
        for _ in range(random.randint(0, 4)):
            await asyncio.sleep(random.random() * 60)
            device, more = random.choice(list(self.machines)), random.choice(WINDOWS)
            rule = random.choice(["", "FREQ=SECONDLY;INTERVAL=40;COUNT=5", "FREQ=MINUTELY;COUNT=3"])
            ahead_s, length_s = random.random() * 60 - 5, random.random() * 30

            async def set_it(desk: Desk, d: str = device, m: Any = more, r: str = rule, a: float = ahead_s,
                             n: float = length_s) -> Any:  # fmt: skip
                start_s = desk.engine.now() + a
                if r:
                    asked = wire.CalendarSet(rule=r, start_s=start_s, duration_s=n, **m)
                    return await desk.windows.set_calendar(root, d, asked)
                return await desk.windows.set(root, d, wire.WindowSet(start_s=start_s, end_s=start_s + n, **m))

            with suppress(QuarterdeckError):
                window = await self._ask(set_it)
                if random.random() < 0.2:
                    clear = "clear_calendar" if rule else "clear"
                    await self._ask(lambda desk, c=clear, id=window.id: getattr(desk.windows, c)(root, id))

    async def _treasurer(self) -> None:
        """Sets budgets, low ones too; in the end there are none."""
        random, actor = Random(self.random.random()), Actor("root", administrator=True)
        for left in reversed(range(random.choice([0, 0, 3, 6]))):
            await asyncio.sleep(random.random() * 40)
            budget = wire.BudgetSet(
                user=random.choice(["", "user1"]), qpu_s=random.choice([None, 0.0, 3.0, 30.0]),
                shots=random.choice([None, 20, 200]), period=random.choice(["", "month"]), reset=random.random() < 0.2,
            )  # fmt: skip
            for one in [budget] if left else [wire.BudgetSet(), wire.BudgetSet(user="user1")]:
                project = random.choice(["default", "atoms"]) if left else "atoms"
                with suppress(NotFound):  # nobody set it up yet
                    await self._ask(lambda desk, p=project, b=one: desk.projects.set_budget(actor, p, b))
                if not left:
                    await self._ask(lambda desk, b=one: desk.projects.set_budget(actor, "default", b))
                elif random.random() < 0.5:
                    await self._ask(lambda desk: desk.projects.set(actor, "atoms", wire.ProjectSet(share=2.0)))

    # -- users ----------------------------------------------------------------------------------------------------

    async def _ask(self, call: Any) -> Any:
        """Ask until there is an answer, as a client does; only what may be repeated is asked this way."""
        while True:
            desk = self.house.desk
            if desk is not None:
                try:
                    async with asyncio.timeout(400):
                        return await call(desk)
                except (StoreUnavailable, TimeoutError):
                    pass
            await asyncio.sleep(0.5)

    async def _user(self, name: str) -> None:
        random = Random(self.random.random())
        actor = Actor(name)
        session = ""
        for number in range(random.randint(1, 8)):
            await asyncio.sleep(random.random() * 30)
            device = random.choice(list(self.machines))
            if random.random() < 0.2:
                mode = random.choice(["shared", "exclusive", "batch"])
                request = wire.SessionOpen(
                    device=device,
                    mode=mode,
                    ttl_s=random.random() * 100 + 1,
                    idle_s=random.choice([None, 5.0]),
                    lend=mode == "exclusive" and random.random() < 0.5,
                )
                with suppress(QuarterdeckError):
                    session = (await self._ask(lambda desk, r=request: desk.sessions.open(actor, r))).id
            key = f"{name}-{number}"
            request = wire.TaskSubmit(
                device=device, program=wire.ProgramUpload(format="opaque", payload=random.choice("abc")),
                shots=random.randint(1, 60), session=session if random.random() < 0.5 else "",
                project=random.choice(["", "", "atoms"]),
            )  # fmt: skip
            body = msgspec.json.encode(request)

            async def submit(desk: Desk, r: Any = request, k: str = key, b: bytes = body) -> Any:
                return await desk.submit(actor, r, k, b)

            try:
                task, _ = await self._ask(submit)
            except QuarterdeckError as error:
                # its session is over, or is another device's or project's; or there is no budget
                assert error.status in (402, 404, 409), error
                session = ""
                continue
            assert task.id not in self.acknowledged
            self.acknowledged[task.id], self.submissions[key] = request.shots, task.id
            if random.random() < 0.3:  # the answer was lost on its way: the client asks again
                again, new = await self._ask(submit)
                assert (again.id, new) == (task.id, False)
            if random.random() < 0.2:
                await asyncio.sleep(random.random() * 10)
                await self._ask(lambda desk, id=task.id: desk.tasks.cancel(actor, id))
                self.cancelled.add(task.id)
            elif random.random() < 0.5:
                seen = await self._ask(lambda desk, id=task.id: desk.tasks.get(actor, id, wait_s=60))
                assert seen.shots_done <= seen.shots

    # -- the end --------------------------------------------------------------------------------------------------

    async def _quiet(self) -> None:
        for _ in range(100_000):
            desk = self.house.desk
            if desk is not None and not desk.engine.deck.tasks and not desk.engine.deck.sessions:
                return
            assert not self.running.done(), self.running
            await asyncio.sleep(10)
        raise AssertionError("the queue does not drain")

    async def _check(self) -> None:
        desk = self.house.desk
        assert desk is not None
        await desk.engine.settled()
        root = Actor("root", administrator=True)
        validate(desk.engine.deck)
        self.log = [body for _, body in await self.store.events(0, 10**9)]
        told = replay(ev.decode(body) for body in self.log)
        told.deck.now_s = desk.engine.deck.now_s
        assert told.deck.state() == desk.engine.deck.state()
        for id, shots in self.acknowledged.items():
            task = await desk.tasks.get(root, id)
            result = await desk.tasks.result(root, id, partial=False)
            assert task.state in ENDED, task
            assert task.shots == shots
            assert sum(result.counts.values()) == result.shots_done == task.shots_done <= shots
            if task.state == "done":
                assert task.shots_done == shots
            if task.state == "failed":
                assert task.error is not None and "runs went wrong" in task.error.message
            replayed = told.ended[id]
            assert (replayed.state, replayed.shots_done, replayed.version) == (
                task.state,
                task.shots_done,
                task.version,
            )
        submitted = {event["task"] for event in map(msgspec.json.decode, self.log) if event["event"] == "Submitted"}
        assert submitted == set(self.acknowledged), "a task that nobody knows of, or one that is not in the log"
        for key, id in self.submissions.items():
            owner = key.partition("-")[0]
            assert (await desk.tasks.get(Actor(owner), id)).id == id
        for machine in self.machines.values():
            again = {key: n for key, n in machine.accepted.items() if n > 1}
            assert not again, f"{machine.name} was given a slice twice: {again}"
