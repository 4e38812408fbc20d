"""`qdeck bench dropin`: faults that sites have met, replayed against Quarterdeck and against Warden beside it.

Each scenario submits jobs through Warden's interface, lets something go wrong, and counts what became of the jobs once
it is over. The QPU is a double: emulated hardware that writes down every program it was given.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from quarterdeck.bench.dropin_sites import ENDED, Own, Site, Warden
from quarterdeck.bench.qpu_process import QpuProcess
from quarterdeck.errors import Invalid, QuarterdeckError

PATIENCE_S = 45.0
"""How long after a fault jobs may take to end before they count as blocked. Warden looks at a job every 5 s."""
SHOTS = 20


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the jobs of one scenario.

    Attributes:
        jobs: Jobs that were acknowledged.
        lost: Of these, unknown afterwards, or done without all their shots.
        duplicated: Programs that the QPU was given beyond one for each job (and one for each that it forgot).
        burnt: Jobs that ended as failed, though nothing was wrong with them.
        blocked: Jobs that had not ended long after the fault was over.
        accepted: What should have been refused, and was not.
        settled_s: Seconds from the end of the fault until the last job had ended.
        note: A remark.
    """

    jobs: int = 0
    lost: int = 0
    duplicated: int = 0
    burnt: int = 0
    blocked: int = 0
    accepted: int = 0
    settled_s: float = 0.0
    note: str = ""

    @property
    def harm(self) -> int:
        return self.lost + self.duplicated + self.burnt + self.blocked + self.accepted


def judge(jobs: Iterable[dict[str, Any]], programs: int, excused: int = 0, shots: int = SHOTS) -> Tally:
    """Count what became of jobs, as Warden's interface tells them; an empty one was not told at all."""
    lost = burnt = blocked = number = 0
    for job in jobs:
        number += 1
        match job.get("status"):
            case "DONE":
                lost += not _whole(job.get("results"), shots)
            case "ERROR":
                burnt += 1
            case "CANCELED" | "LOST":
                lost += 1
            case _:
                blocked += 1
    duplicated = max(0, programs - number - excused)
    return Tally(jobs=number, lost=lost, duplicated=duplicated, burnt=burnt, blocked=blocked)


def _whole(results: Any, shots: int) -> bool:
    try:
        return bool(sum(json.loads(results)["counter"].values()) == shots)
    except (TypeError, ValueError, KeyError, AttributeError):
        return False


def settle(site: Site, ids: list[int], excused: int = 0) -> Tally:
    """Wait until the jobs have ended, or patience has, and judge."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < PATIENCE_S:
        jobs = [site.look(id) for id in ids]
        if all(job.get("status") in ENDED | {"LOST"} for job in jobs):
            break
        time.sleep(0.1)
    settled_s = time.monotonic() - began_s
    return msgspec.structs.replace(judge(jobs, site.created(), excused), settled_s=settled_s)


# -- scenarios --------------------------------------------------------------------------------------------------------


def nothing(site: Site) -> Tally:
    return settle(site, site.jobs(2))


def killed(site: Site) -> Tally:
    return _restarted(site, signal.SIGKILL)


def stopped(site: Site) -> Tally:
    return _restarted(site, signal.SIGTERM)


def _restarted(site: Site, number: int) -> Tally:
    site.qpu.script(run_s=3.0)
    ids = site.jobs(2)
    site.reach(1)
    site.kill(number)
    return settle(site, ids)


def forgotten(site: Site) -> Tally:
    site.qpu.script(run_s=8.0)
    ids = site.jobs(2)
    site.reach(1)
    site.qpu.script(forget=True, run_s=0.5)
    return settle(site, ids, excused=1)


def unreachable(site: Site) -> Tally:
    site.qpu.script(refuse_s=25.0)
    ids = site.jobs(4)
    time.sleep(25.0)
    return settle(site, ids)


def down(site: Site) -> Tally:
    site.qpu.script(operational="DOWN")
    time.sleep(1.0)
    ids = site.jobs(2)
    time.sleep(6.0)
    site.qpu.script(operational="UP")
    return settle(site, ids)


def page(site: Site) -> Tally:
    site.qpu.script(post_html_next=1)
    return settle(site, site.jobs(2))


def slow(site: Site) -> Tally:
    site.qpu.script(post_slow_next=3, post_slow_s=7.0, run_s=1.0)
    ids = site.jobs(1)
    site.reach(1)
    time.sleep(25.0)
    return settle(site, ids)


def locked(site: Site) -> Tally:
    site.qpu.script(run_s=1.0)
    ids = site.jobs(2)
    site.lock(12.0)
    return settle(site, ids)


def closed(site: Site) -> Tally:
    """The session ends while one job of it waits: that one should not run."""
    site.qpu.script(run_s=4.0)
    session = site.session("2").json()["id"]
    running, waiting = (site.submit(session).json()["id"] for _ in range(2))
    site.reach(1)
    site.ask("DELETE", f"/sessions/{session}").raise_for_status()
    settle(site, [running, waiting])
    ended = site.look(running).get("status", "unknown")
    return Tally(jobs=2, accepted=site.created() - 1, note=f"the job that ran already: {ended}")


def inaccessible(site: Site) -> Tally:
    session = site.session("3").json()["id"]
    site.ask("POST", "/accessible", json={"is_accessible": False, "message": "alignment"}).raise_for_status()
    try:
        answers = [site.session("4"), site.submit(session)]
    finally:
        site.ask("POST", "/accessible", json={"is_accessible": True, "message": "ok"}).raise_for_status()
    ids = [answer.json()["id"] for answer in answers[1:] if answer.status_code == 200]
    settle(site, ids)
    return _refusals(answers)


def nonsense(site: Site) -> Tally:
    session = site.session("5").json()["id"]
    answers = [site.submit(session, shots) for shots in (-5, 0, 2**63 - 1, True)]
    answers += [site.submit(session, sequence=text) for text in ("", "hello", "{}", "a\0b")]
    ids = [answer.json()["id"] for answer in answers if answer.status_code == 200]
    tally = _refusals(answers)
    settle(site, ids)
    return tally


def replayed(site: Site) -> Tally:
    """A credential that was used before."""
    credential = site.munge.encode()
    site.ask("GET", "/jobs", credential)
    answers = [site.ask("GET", "/jobs", credential) for _ in range(3)]
    return _refusals(answers)


def forged(site: Site) -> Tally:
    credential = site.munge.encode()
    at = len(credential) // 2
    wrong = credential[:at] + ("A" if credential[at] != "A" else "B") + credential[at + 1 :]
    return _refusals([site.ask("GET", "/jobs", one) for one in (wrong, "MUNGE:garbage:", "x")])


def _refusals(answers: list[Any]) -> Tally:
    """How many were not refused, and whether refusing them looked like a defect."""
    defects = sorted({answer.status_code for answer in answers if answer.status_code == 500})
    return Tally(
        accepted=sum(answer.status_code < 300 for answer in answers), note="refused with 500" if defects else ""
    )


SCENARIOS: dict[str, tuple[str, Callable[[Site], Tally]]] = {
    "control": ("nothing goes wrong", nothing),
    "kill": ("kill -9 of what drives the QPU, in mid-job", killed),
    "restart": ("it is restarted in mid-job (SIGTERM)", stopped),
    "forget": ("the QPU forgets a running job", forgotten),
    "unreachable": ("the QPU is unreachable for 25 s", unreachable),
    "down": ("the QPU says DOWN for 7 s", down),
    "html": ("a gateway's page instead of an answer to a job", page),
    "slow": ("the QPU answers a job after 7 s, three times", slow),
    "locked": ("the database is locked for 12 s", locked),
    "closed": ("a session is closed while a job of it waits", closed),
    "inaccessible": ("a session and a job while accessible=false", inaccessible),
    "nonsense": ("shots and sequences that cannot run", nonsense),
    "replayed": ("a MUNGE credential is used again", replayed),
    "forged": ("forged MUNGE credentials", forged),
}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario on one system; without a tally, `why` says why."""

    scenario: str
    what: str
    system: str
    tally: Tally | None = None
    why: str = ""


def run(warden: str, qpu_port: int, only: tuple[str, ...], directory: Path, say: Callable[[str], None]) -> list[Row]:
    """Replay the scenarios. Raises `Invalid` for an unknown one, `Unavailable` if that Warden is not there."""
    if unknown := set(only) - SCENARIOS.keys():
        raise Invalid("--only", f"{', '.join(sorted(unknown))}: not one of {', '.join(SCENARIOS)}")
    chosen = [name for name in SCENARIOS if not only or name in only]
    rows: dict[str, list[Row]] = {}
    with ExitStack() as stack:
        # The peer comes first, for it may not be there.
        peer = stack.enter_context(Warden(stack.enter_context(QpuProcess(qpu_port)), warden)) if warden else None
        with QpuProcess() as qpu, Own(qpu, directory) as own:
            for name in chosen:
                rows[name] = [_play(name, own, say)]
        if peer:
            for name in chosen:
                rows[name].append(_play(name, peer, say))
    return [row for name in chosen for row in rows[name]]


def _play(name: str, site: Site, say: Callable[[str], None]) -> Row:
    what, scenario = SCENARIOS[name]
    say(f"{site.name}: {what}")
    try:
        site.begin()
        tally = scenario(site)
    except (QuarterdeckError, OSError) as error:
        return Row(scenario=name, what=what, system=site.name, why=str(error))
    except Exception as error:  # an answer that no scenario expects is a finding, too
        return Row(scenario=name, what=what, system=site.name, why=f"{type(error).__name__}: {error}"[:300])
    return Row(scenario=name, what=what, system=site.name, tally=tally)
