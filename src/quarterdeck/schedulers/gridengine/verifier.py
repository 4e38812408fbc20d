"""The job submission verifier: the line protocol of jsv(1), on standard input and output.

The qmaster keeps a server-side verifier running and asks it about every submission, so what has no QPU is answered at
once, and the daemon is asked with a short timeout: it decides nothing here that the prolog would not decide again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from quarterdeck.errors import Invalid, QuarterdeckError
from quarterdeck.schedulers.contract import Contract, for_good
from quarterdeck.schedulers.gridengine import door
from quarterdeck.schedulers.gridengine.cluster import plain, seconds
from quarterdeck.schedulers.gridengine.request import (
    SEVERAL,
    Ask,
    allowed,
    asked,
    fitting,
    joined,
    matching,
    pairs,
    rewritten,
)
from quarterdeck.schedulers.gridengine.site import CLASS, MARK, MARKED, PROJECT, Class, Site, load

DAEMON_S = 2.0
WAITS = "qpu_waits"
"""The name in a job's context under which `qstat -j` tells why it waits."""


class Verdict(msgspec.Struct, frozen=True):
    """What to answer: new parameters, variables for the job, and ACCEPT, CORRECT, REJECT or REJECT_WAIT."""

    state: str
    message: str = ""
    params: dict[str, str] = {}
    environ: dict[str, str] = {}


def verdict(params: dict[str, str], site: Callable[[], Site], contract: Callable[[Site], Contract]) -> Verdict:
    """Judge a submission by the parameters that Grid Engine told."""
    hard, soft = pairs(params.get("l_hard", "")), pairs(params.get("l_soft", ""))
    if not any(name == MARK or name.startswith(MARK + "_") for name in (*hard, *soft)):
        return Verdict("ACCEPT")
    try:
        told = site()
        ask = asked(hard, told)
        if any(name == MARK or name.startswith(MARK + "_") for name in soft):
            raise Invalid(MARK, "a QPU cannot be a soft request; ask for it with -hard -l qpu=NAME")
        if not ask.devices:
            return Verdict("ACCEPT")  # a site's own complex that begins like ours
        context = pairs(params.get("ac", ""))
        # The client's verifier may have moved these into the context before the server's saw the job.
        ask = msgspec.structs.replace(
            ask, class_=ask.class_ or context.get(CLASS, ""), project=ask.project or context.get(PROJECT, "")
        )
        changed = {"l_hard": joined(rewritten(hard, ask))}
        wanted = [part for part in params.get("q_hard", "").split(",") if part]
        queues = fitting(ask, wanted, told)
        if wanted:
            class_ = allowed(ask, queues[0], told)
        else:  # by chance it may get into a better queue: it is none the better for it
            ask = msgspec.structs.replace(ask, class_=ask.class_ or told.class_)
            class_ = msgspec.convert(ask.class_, Class)
        if queues != matching(wanted, told) and "@" not in "".join(wanted):
            changed["q_hard"] = ",".join(queues)
        waits = _check(params, ask, class_, hard, told, contract)
    except QuarterdeckError as error:
        return Verdict("REJECT" if error.status < 500 else "REJECT_WAIT", " ".join(_sentence(error).split()))
    context |= {name: value for name, value in ((CLASS, ask.class_), (PROJECT, ask.project), (WAITS, waits)) if value}
    if context:
        changed["ac"] = joined(context)
    return Verdict("CORRECT", "", changed, {MARKED: SEVERAL.join(ask.devices)})


def _check(
    params: dict[str, str], ask: Ask, class_: Class, hard: dict[str, str], site: Site,
    contract: Callable[[Site], Contract],
) -> str:  # fmt: skip
    """Why the job will wait; empty if it need not. Raises what the daemon says against it for good."""
    try:
        request = door.request(
            site, params.get("JOB_ID", "new"), ask.devices, class_=class_, user=params.get("USER", ""),
            project=ask.project or site.projects.get(params.get("P", ""), params.get("P", "")),
            walltime_s=seconds(hard.get("h_rt", "")),
        )  # fmt: skip
        told = contract(site).check(request)
    except QuarterdeckError as error:
        if for_good(error):
            raise
        return plain(door.sentence(error))
    return "" if told.ready else plain(told.message)


def _sentence(error: QuarterdeckError) -> str:
    return error.why if isinstance(error, Invalid) and not error.where.startswith("/") else str(error)


def serve(lines: Iterable[str], say: Callable[[str], None], judge: Callable[[dict[str, str]], Verdict]) -> None:
    """The protocol: one job after the other, until QUIT or the end."""
    params: dict[str, str] = {}
    for line in lines:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "QUIT":
            return
        if word == "START":
            params = {}
            say("STARTED")
        elif word == "PARAM":
            name, _, value = rest.partition(" ")
            params[name] = value
        elif word == "BEGIN":
            try:
                answer = judge(params)
            except Exception as error:  # a verifier that dies takes every submission with it
                answer = Verdict("REJECT_WAIT", f"the verifier failed: {type(error).__name__}: {plain(str(error))}")
            for name, value in answer.params.items():
                say(f"PARAM {name} {value}")
            for name, value in answer.environ.items():
                say(f"ENV ADD {name} {value}")
            say(f"RESULT STATE {answer.state} {answer.message}".rstrip())


def main(file: Path) -> int:
    """The program that `jsv_url` names. The site's file is read again when it changed."""
    kept: dict[str, tuple[float, Site]] = {}

    def site() -> Site:
        try:
            changed_s = file.stat().st_mtime
        except OSError as error:
            raise Invalid(str(file), f"{error.strerror}; ask your administrator") from None
        if "site" not in kept or kept["site"][0] != changed_s:
            kept["site"] = (changed_s, load(file))
        return kept["site"][1]

    def say(line: str) -> None:
        print(line, flush=True)

    serve(sys.stdin, say, lambda params: verdict(params, site, lambda told: door.contract(told, DAEMON_S)))
    return 0
