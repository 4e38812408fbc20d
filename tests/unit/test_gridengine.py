"""The Grid Engine side without a Grid Engine: what the verifier, the hooks and the agent decide, with a fake door."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from quarterdeck import wire
from quarterdeck.errors import (
    Conflict,
    DaemonUnreachable,
    DeviceUnavailable,
    Forbidden,
    Invalid,
    NotFound,
    QuarterdeckError,
    Unavailable,
)
from quarterdeck.schedulers.gridengine import hooks, install, scripts, verifier
from quarterdeck.schedulers.gridengine.agent import Agent
from quarterdeck.schedulers.gridengine.cluster import Cluster, Job, Row, fields, plain, seconds
from quarterdeck.schedulers.gridengine.request import Ask, asked, joined, pairs, rewritten
from quarterdeck.schedulers.gridengine.site import Site, check, dump, load, ready_of, slots_of

SITE = Site(
    url="unix:///run/qdeck.sock", root="/ge", devices={"fresnel": 1, "emu": 4}, hooks="/etc/quarterdeck/gridengine",
    queues=["all.q", "qprod", "qtest"], classes={"qprod": "production", "qtest": "test"},
    projects={"ge-atoms": "atoms"},
)  # fmt: skip


def job(id: str, expires_s: float = 0.0, **more: Any) -> wire.Job:
    device = wire.JobDevice(name="fresnel", formats=["pulser"], emulated=True)
    return wire.Job(
        id=id, user="ada", manager="gridengine", project="", class_="development", mode="shared", devices=[device],
        state="open", session="s1", acquired_s=1.0, expires_s=expires_s or time.time() + 7200, released_s=0.0, **more,
    )  # fmt: skip


class Door:
    """A contract that answers as it is told, and remembers what it was asked."""

    def __init__(self, error: QuarterdeckError | None = None, ready: str = "", held: list[wire.Job] | None = None):
        self.error, self.waits, self.held = error, ready, held or []
        self.status: dict[str, tuple[str, str]] = {"fresnel": ("online", ""), "emu": ("online", "")}
        self.requests: list[Any] = []
        self.released: list[str] = []
        self.renewed: list[tuple[str, float]] = []

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error

    def check(self, request: Any) -> wire.JobCheck:
        self.requests.append(request)
        self._fail()
        return wire.JobCheck(ready=not self.waits, message=self.waits)

    def acquire(self, request: Any) -> wire.Job:
        self.requests.append(request)
        self._fail()
        return job(request.id, token="qds_s1.secret", url="http://127.0.0.1:8765")

    def renew(self, id: str, ttl_s: float) -> wire.Job:
        self.renewed.append((id, ttl_s))
        return job(id)

    def release(self, id: str, session: str | None = None) -> wire.Job:
        if id.endswith("gone"):
            raise NotFound("job", id)
        self.released.append(id)
        return job(id, usage=wire.JobUsage(qpu_s=1.5, shots=20, tasks=2))

    def jobs(self, manager: str) -> list[wire.Job]:
        assert manager == "gridengine"
        return self.held

    def devices(self) -> list[wire.Device]:
        self._fail()
        return [
            wire.Device(
                name=name, modality="", qubits=1, formats=[], emulated=True, max_shots=1, lanes=1, shot_rate_hz=1.0,
                setup_s=0.0, slice_shots=1, status=status, reason=reason, queued=0, running=0,  # type: ignore[arg-type]
            )
            for name, (status, reason) in self.status.items()
        ]  # fmt: skip


class Engine(Cluster):
    """A Grid Engine that holds these rows, and remembers what it was told."""

    def __init__(self, rows: list[Row] | None = None, **jobs: Job) -> None:
        super().__init__(SITE)
        self.there, self.known = rows or [], jobs
        self.complexes = {ready_of("fresnel"): "0.000000", ready_of("emu"): "1"}
        self.pushed: list[dict[str, str]] = []
        self.sentences: dict[str, str] = {}
        self.down = False

    def run(self, *words: str) -> str:
        if self.down:
            raise Unavailable("Grid Engine", "no answer", 1.0)
        if words[:2] == ("qalter", "-ac"):
            self.sentences[words[3]] = words[2].partition("=")[2]
        elif words[:2] == ("qalter", "-dc"):
            self.sentences.pop(words[3], None)
        else:
            raise AssertionError(words)
        return ""

    def rows(self) -> list[Row]:
        return self.there

    def job(self, number: str) -> Job:
        if number not in self.known:
            raise Unavailable("Grid Engine", f"there is no job {number} now", 0.0)
        return self.known[number]

    def contexts(self, numbers: list[str]) -> dict[str, dict[str, str]]:
        return {number: {"qpu_waits": self.sentences.get(number, "")} for number in numbers}

    def values(self, kind: str, name: str) -> dict[str, str]:
        self.run("qalter", "-dc", "nothing", "0")
        return self.complexes

    def set_values(self, kind: str, name: str, values: dict[str, str]) -> None:
        assert (kind, name) == ("exechost", "global")
        self.pushed.append(values)
        self.complexes |= values


def row(number: str, state: str, task: str = "", device: str = "fresnel") -> Row:
    queue = "all.q" if state in ("t", "r", "s", "S", "dr", "Rr") else ""
    return Row(number=number, task=task, owner="ada", state=state, queue=queue, resources={slots_of(device): "1"})


# -- the site's file --------------------------------------------------------------------------------------------------


def test_the_file_says_the_same_when_read_again(tmp_path: Path) -> None:
    file = tmp_path / "gridengine.toml"
    file.write_text(dump(SITE))
    assert load(file) == SITE
    file.write_text("[gridengine]\nurl = 1\n")
    with pytest.raises(Invalid, match="Expected `str`"):
        load(file)
    with pytest.raises(Invalid, match="`qdeck gridengine install` writes it"):
        load(tmp_path / "none")


def test_device_names_make_complex_names_that_are_not_taken() -> None:
    assert (slots_of("site/a:1"), ready_of("fresnel-emulator")) == ("qpu_site_a_1", "qpu_fresnel-emulator_ready")
    for devices in ({"a:b": 1, "a/b": 1}, {"class": 1}, {"x": 1, "x_ready": 1}, {"x": 0}):
        with pytest.raises(Invalid):
            check(Site(url="u", root="r", devices=devices, hooks="h"), "here")


def test_job_ids() -> None:
    assert SITE.job("7") == SITE.job("7", "undefined") == "gridengine:default:7"
    assert SITE.job("7", "3") == "gridengine:default:7.3"


# -- requests ---------------------------------------------------------------------------------------------------------


def test_a_name_becomes_a_slot_readiness_and_a_queue_with_hooks() -> None:
    ask = asked(pairs("qpu=emu+fresnel,h_rt=100,qpu_class=test"), SITE)
    assert ask == Ask(devices=("emu", "fresnel"), class_="test")
    told = rewritten(pairs("qpu=emu+fresnel,h_rt=100,qpu_class=test"), ask)
    assert joined(told) == "h_rt=100,qpu_emu=1,qpu_emu_ready=1,qpu_fresnel=1,qpu_fresnel_ready=1,qpu_hooks=TRUE"
    assert set(asked(told, SITE).devices) == {"emu", "fresnel"}
    assert rewritten(told, asked(told, SITE)) == told, "a client's and the server's verifier may both see a job"


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ("qpu=nosuch", "no QPU 'nosuch'; there are emu, fresnel"),
        ("qpu=emu+x", "no QPU 'x'"),
        ("qpu_class=test", "which QPU?"),
        ("qpu_emu=2", "2 of it were asked for"),
    ],
)
def test_what_cannot_be_asked_for(resources: str, said: str) -> None:
    with pytest.raises(Invalid, match=said.replace("?", r"\?")):
        asked(pairs(resources), SITE)


# -- the verifier -----------------------------------------------------------------------------------------------------


def judge(door: Door, **params: str) -> verifier.Verdict:
    return verifier.verdict({"USER": "ada", "JOB_ID": "7", **params}, lambda: SITE, lambda site: door)  # type: ignore[arg-type,return-value]


def test_the_protocol() -> None:
    said: list[str] = []
    lines = "START\nPARAM USER ada\nPARAM l_hard qpu=emu\nBEGIN\nSTART\nPARAM N a b\nBEGIN\nQUIT\nSTART\n".splitlines()
    door = Door(ready="emu is calibrating, until noon")
    verifier.serve(lines, said.append, lambda params: judge(door, **params))
    assert said == [
        "STARTED", "PARAM l_hard qpu_emu=1,qpu_emu_ready=1,qpu_hooks=TRUE",
        "PARAM ac qpu_class=development,qpu_waits=emu is calibrating; until noon", "ENV ADD QDECK_QPU emu",
        "RESULT STATE CORRECT", "STARTED", "RESULT STATE ACCEPT",
    ]  # fmt: skip
    assert len(door.requests) == 1, "the daemon is not asked about jobs without a QPU"


def test_a_verifier_never_dies_of_a_job() -> None:
    said: list[str] = []

    def broken(params: dict[str, str]) -> verifier.Verdict:
        raise ValueError("oh\nno")

    verifier.serve(["START", "BEGIN", "START"], said.append, broken)
    assert said[1:] == ["RESULT STATE REJECT_WAIT the verifier failed: ValueError: oh no", "STARTED"]


def test_an_unreadable_file_stops_jobs_with_qpus_only() -> None:
    def gone() -> Site:
        raise Invalid("/etc/x.toml", "No such file")

    def ask(**params: str) -> verifier.Verdict:
        return verifier.verdict(params, gone, lambda site: Door())  # type: ignore[arg-type,return-value]

    assert ask(l_hard="h_rt=1").state == "ACCEPT"
    assert ask(l_hard="qpu=emu") == verifier.Verdict("REJECT", "/etc/x.toml: No such file")


def test_who_asks_for_what_reaches_the_daemon() -> None:
    door = Door()
    verdict = judge(door, l_hard="qpu=fresnel,h_rt=1:30:00", q_hard="qprod", P="ge-atoms")
    (request,) = door.requests
    assert (request.id, request.user, request.class_, request.project, request.walltime_s, request.devices) == (
        "gridengine:default:7", "ada", "production", "atoms", 5400.0, ("fresnel",),
    )  # fmt: skip
    assert verdict.environ == {"QDECK_QPU": "fresnel"} and "ac" not in verdict.params
    judge(door, l_hard="qpu=fresnel,qpu_project=own", P="ge-atoms")
    assert (door.requests[1].project, door.requests[1].class_) == ("own", "development")


def test_the_daemons_refusals_are_the_submissions() -> None:
    verdict = judge(Door(Forbidden("ada is no member of project atoms")), l_hard="qpu=emu")
    assert verdict == verifier.Verdict("REJECT", "ada is no member of project atoms")
    away = judge(Door(DaemonUnreachable("unix:///x", "gone", 1.0)), l_hard="qpu=emu")
    assert away.state == "CORRECT" and "qpu_waits=the quantum daemon does not answer" in away.params["ac"]


def test_classes_and_queues() -> None:
    assert judge(Door(), l_hard="qpu=emu,qpu_class=test").params["q_hard"] == "qprod,qtest"
    assert judge(Door(), l_hard="qpu=emu,qpu_class=test", q_hard="q*").params["l_hard"].startswith("qpu_emu")
    assert judge(Door(), l_hard="qpu=emu,qpu_class=production", q_hard="q*").params["q_hard"] == "qprod"
    assert "q_hard" not in judge(Door(), l_hard="qpu=emu").params
    for params, said in (
        ({"q_hard": "all.q", "l_hard": "qpu=emu,qpu_class=test"}, "queue all.q gives development at most, not test"),
        ({"q_hard": "other", "l_hard": "qpu=emu"}, "queue other takes no jobs with QPUs"),
        ({"l_hard": "qpu=emu,qpu_class=best"}, "no class 'best'"),
        ({"l_hard": "qpu=emu", "ac": "qpu_class=best"}, "no class 'best'"),
        ({"l_soft": "qpu=emu"}, "cannot be a soft request"),
    ):
        verdict = judge(Door(), **params)
        assert verdict.state == "REJECT" and said in verdict.message


# -- prolog and epilog ------------------------------------------------------------------------------------------------


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "environment").write_text("HOME=/home/ada\n")
    (tmp_path / "config").write_text(f"job_id=7\nadd_grp_id={os.getgid()}\n")
    (tmp_path / "error").write_text("")
    return tmp_path


def asks(**context: str) -> Job:
    return Job(
        owner="ada", project="ge-atoms", walltime_s=60.0, context=context, resources={"qpu_fresnel": "1", "h_rt": "60"}
    )


def start(spool: Path, door: Door, engine: Engine, queue: str = "qprod", task: str = "undefined") -> int:
    return hooks.prolog(spool, ["7", task, "ada", queue], SITE, engine, door)  # type: ignore[arg-type]


def test_the_prolog_gives_the_job_its_environment_and_nobody_else(spool: Path) -> None:
    door, engine = Door(), Engine(**{"7": asks(qpu_waits="it calibrates")})
    engine.sentences["7"] = "it calibrates"
    assert start(spool, door, engine, task="2") == hooks.RUN
    (request,) = door.requests
    assert (request.id, request.user, request.class_, request.project, request.walltime_s) == (
        "gridengine:default:7.2", "ada", "production", "atoms", 60.0,
    )  # fmt: skip
    lines = (spool / "environment").read_text().splitlines()
    assert lines[0] == "HOME=/home/ada" and "QDECK_TOKEN=qds_s1.secret" in lines
    assert "QDECK_URL=unix:///run/qdeck.sock" in lines and "QRMI_JOB_QPU_RESOURCES=FRESNEL" in lines
    assert stat.S_IMODE((spool / "environment").stat().st_mode) == 0o640
    assert engine.sentences == {}, "it waits no more"


def test_a_job_without_a_qpu_costs_the_daemon_nothing(spool: Path) -> None:
    door, plain_job = Door(), Job(owner="ada", project="", walltime_s=None, context={}, resources={})
    assert start(spool, door, Engine(**{"7": plain_job})) == hooks.RUN and door.requests == []


def test_refused_for_good_is_an_error_of_this_job_with_the_sentence(spool: Path) -> None:
    assert start(spool, Door(Forbidden("ada is no\nmember, of it")), Engine(**{"7": asks()})) == hooks.REFUSE
    assert (spool / "error").read_text() == "Quarterdeck: ada is no member; of it\n"
    assert start(spool, Door(), Engine(**{"7": asks(qpu_class="production")}), queue="all.q") == hooks.REFUSE
    assert start(spool, Door(), Engine(**{"7": asks(qpu_class="nonsense")})) == hooks.REFUSE


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DaemonUnreachable("u", "refused", 1.0), "the quantum daemon does not answer"),
        (DeviceUnavailable("fresnel", "calibrating", 1.0), "fresnel is unavailable: calibrating"),
        (Conflict("somebody holds it"), "somebody holds it"),
        (QuarterdeckError(), "something failed inside Quarterdeck; the daemon's log has the details"),
    ],
)
def test_what_may_change_sends_the_job_back(spool: Path, error: QuarterdeckError, said: str) -> None:
    engine = Engine(**{"7": asks()})
    assert start(spool, Door(error), engine) == hooks.REQUEUE
    assert engine.sentences == {"7": said} and (spool / "environment").read_text() == "HOME=/home/ada\n"


def test_a_job_that_cannot_be_looked_up_goes_back(spool: Path) -> None:
    assert start(spool, Door(), Engine()) == hooks.REQUEUE


def test_nothing_stays_acquired_by_a_job_that_does_not_start(spool: Path) -> None:
    (spool / "config").unlink()
    door = Door()
    assert start(spool, door, Engine(**{"7": asks()})) == hooks.REQUEUE
    assert door.released == ["gridengine:default:7"]


@pytest.mark.parametrize(("which", "code"), [("prolog", 99), ("epilog", 0)])
def test_no_hook_ever_takes_the_queue_away(
    which: str, code: int, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("SGE_JOB_SPOOL_DIR", str(spool))
    (spool / hooks.MARKER).write_text("gridengine:default:7")
    assert hooks.main(which, spool / "no such file") == code
    (spool / "bad.toml").write_text("[gridengine]")
    assert hooks.main(which, spool / "bad.toml") == code


def test_the_epilog_releases_and_reports(spool: Path) -> None:
    door = Door()
    assert hooks.epilog(spool, SITE, door) == 0 and door.released == []  # type: ignore[arg-type]
    (spool / hooks.MARKER).write_text("gridengine:default:7")
    assert hooks.epilog(spool, SITE, door) == 0 and not (spool / "usage").exists()  # type: ignore[arg-type]
    site = Site(url="u", root="r", devices={}, hooks="h", usage_file=True)
    assert hooks.epilog(spool, site, door) == 0  # type: ignore[arg-type]
    assert (spool / "usage").read_text() == "qdeck_qpu_s=1.5\nqdeck_shots=20\nqdeck_tasks=2\n"
    assert door.released == ["gridengine:default:7"] * 2


# -- the agent --------------------------------------------------------------------------------------------------------


def agent(door: Door, engine: Engine) -> Agent:
    return Agent(SITE, engine, door)  # type: ignore[arg-type]


def test_devices_are_ready_or_not_each_for_itself() -> None:
    door, engine = Door(), Engine()
    looks = agent(door, engine)
    assert looks.look().pushed == ["fresnel"] and engine.pushed == [{"qpu_fresnel_ready": "1"}]
    assert looks.look().pushed == [] and len(engine.pushed) == 1, "nothing is said twice"
    door.status["emu"] = ("calibrating", "weekly")
    look = looks.look()
    assert engine.pushed[-1] == {"qpu_emu_ready": "0"} and look.lines() == [
        "emu is not ready: emu is calibrating: weekly"
    ]
    del door.status["fresnel"]
    assert "fresnel is no device of the daemon" in looks.look().lines()[0]


def test_leases_follow_the_jobs() -> None:
    prefix = "gridengine:default:"
    names = ["1", "2.1", "2.2", "3", "4", "5", "6"]
    held = [job(prefix + name) for name in names] + [job("gridengine:other:1"), job(prefix + "gone")]
    held[3] = job(prefix + "3", expires_s=time.time() + 60)
    rows = [row("1", "r"), row("2", "t", "1"), row("2", "qw", "2-4:1"), row("3", "S"), row("4", "Rq"), row("5", "dr")]
    door, engine = Door(held=held), Engine(rows)
    look = agent(door, engine).look()
    assert door.released == [prefix + "2.2", prefix + "4", prefix + "6"] == look.released and not look.failed
    assert door.renewed == [(prefix + "3", 3600.0)], "a suspended job keeps its QPU"


def test_waiting_jobs_are_told_why_and_told_no_longer() -> None:
    door = Door()
    door.status["fresnel"] = ("maintenance", "laser, new")
    engine = Engine([row("1", "qw"), row("2", "qw", device="emu"), row("3", "r"), row("4", "Eqw"), row("5", "hqw")])
    looks = agent(door, engine)
    looks.look()
    assert engine.sentences == {
        "1": "fresnel is in maintenance: laser; new",
        "5": "fresnel is in maintenance: laser; new",
    }
    assert looks.look().told == []
    door.status["fresnel"] = ("online", "")
    looks.look()
    assert engine.sentences == {}
    engine.there, engine.sentences = [row("1", "Rq")], {"1": "held by an exclusive session of bob"}
    looks.look()
    assert engine.sentences == {"1": "held by an exclusive session of bob"}, "the prolog's word stays until it starts"


def test_without_the_daemon_nothing_starts_and_nothing_is_released() -> None:
    door, engine = Door(DaemonUnreachable("u", "gone", 1.0), held=[job("gridengine:default:9")]), Engine()
    look = agent(door, engine).look()
    assert engine.complexes == {"qpu_fresnel_ready": "0.000000", "qpu_emu_ready": "0"} and door.released == []
    assert look.failed and not any(look.ready.values())


def test_without_the_qmaster_nothing_is_released() -> None:
    door, engine = Door(held=[job("gridengine:default:9")]), Engine()
    engine.down = True
    look = agent(door, engine).look()
    assert door.released == [] and look.failed == ["Grid Engine is unavailable: no answer"]


# -- Grid Engine's words ----------------------------------------------------------------------------------------------

LIST = """<?xml version='1.0'?><job_info><queue_info><job_list state="running"><JB_job_number>18</JB_job_number>
<JB_name>a%lt;b&amp;\x01</JB_name><JB_owner>ada</JB_owner><state>r</state><queue_name>all.q@vm</queue_name>
<tasks>1</tasks><hard_request name="qpu_fresnel" resource_contribution="0.0">1</hard_request></job_list></queue_info>
<job_info><job_list state="pending"><JB_job_number>19</JB_job_number><JB_owner>bob</JB_owner><state>hqw</state>
<queue_name></queue_name></job_list></job_info></job_info>"""
DETAILS = """<?xml version='1.0'?><detailed_job_info><djob_info><element><JB_job_number>18</JB_job_number>
<JB_owner>ada</JB_owner><JB_project>atoms</JB_project><JB_hard_resource_list><qstat_l_requests><CE_name>h_rt</CE_name>
<CE_stringval>0:2:0</CE_stringval><CE_doubleval>120.000000</CE_doubleval></qstat_l_requests></JB_hard_resource_list>
<JB_context><context_list><VA_variable>qpu_class</VA_variable><VA_value>test</VA_value></context_list></JB_context>
</element></djob_info></detailed_job_info>"""
UNKNOWN = "<unknown_jobs><>\n<ST_name>9</ST_name>\n</>\n</unknown_jobs>"


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    (tmp_path / "list").write_text(LIST)
    (tmp_path / "details").write_text(DETAILS)
    (tmp_path / "unknown").write_text(UNKNOWN)
    (tmp_path / "qstat").write_text(
        f'#!/bin/sh\n[ "$1" = -u ] && exec cat {tmp_path}/list\n[ "$2" = 18 ] && exec cat {tmp_path}/details\n'
        f'[ "$2" = 9 ] && exec cat {tmp_path}/unknown\nenv\necho no such thing >&2\nexit 1\n'
    )
    (tmp_path / "qstat").chmod(0o755)
    return tmp_path


def test_what_qstat_says(commands: Path) -> None:
    cluster = Cluster(Site(url="u", root="/ge", devices={}, hooks="h", binaries=str(commands)))
    running, waiting = cluster.rows()
    assert (running.number, running.task, running.queue, running.resources) == (
        "18",
        "1",
        "all.q",
        {"qpu_fresnel": "1"},
    )
    assert running.live and not running.waits and waiting.waits and not waiting.live
    told = cluster.job("18")
    assert (told.owner, told.project, told.walltime_s, told.context) == ("ada", "atoms", 120.0, {"qpu_class": "test"})
    with pytest.raises(Unavailable):
        cluster.job("9")


def test_a_command_is_bounded_and_sees_no_environment_of_a_job(commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGE_ROOT", "/evil")
    monkeypatch.setenv("LD_PRELOAD", "")
    site = Site(url="u", root="/ge", devices={}, hooks="h", binaries=str(commands), client_s=0.2)
    with pytest.raises(Unavailable, match="no such thing") as caught:
        Cluster(site).run("qstat", "else")
    assert "SGE_ROOT=/ge" in str(caught.value) and "/evil" not in str(caught.value)
    with pytest.raises(Unavailable, match=r"did not answer within 0.2 s"):
        Cluster(site).run("sleep", "20")
    with pytest.raises(Unavailable, match="set binaries"):
        Cluster(site).run("no-such-command")


def test_small_words() -> None:
    assert fields("a  1\nb 2, \\\n   3\n") == {"a": "1", "b": "2, 3"}
    assert [seconds(text) for text in ("90", "1:30:00", ":5:", "INFINITY", "", "x")] == [
        90,
        5400,
        300,
        None,
        None,
        None,
    ]
    assert plain("a, b\nc") == "a; b c"


# -- installing -------------------------------------------------------------------------------------------------------


def test_hooks_run_where_nobody_can_lead_them_astray(tmp_path: Path) -> None:
    texts = scripts.files(SITE, tmp_path / "x.toml")
    programs = {path.name: text for path, text in texts.items() if path.suffix != ".toml"}
    assert programs.keys() == {"jsv", "prolog", "epilog"}
    for text in programs.values():
        assert text.splitlines()[0].endswith(" -I"), "the prolog runs as root with variables of the user's choice"
        compile(text, "hook", "exec")


def test_a_verifier_that_does_not_start_is_not_set(tmp_path: Path) -> None:
    """Grid Engine would refuse every submission of everybody."""
    site = Site(url="u", root=str(tmp_path), devices={"emu": 2}, hooks=str(tmp_path / "h"), queues=[])
    cluster = Words(sc="", sconf="jsv_url none", sel="n1", sh="n1", ss="n1")
    verifying = install.plan(site, tmp_path / "x.toml", cluster, None)[-1]
    with pytest.raises(Conflict, match=r"does not run as this user.*jsv_url was not set"):
        verifying.apply()
    if os.geteuid() == 0:
        (tmp_path / "default" / "common").mkdir(parents=True)
        (tmp_path / "default" / "common" / "bootstrap").write_text("admin_user nobody\n")
        (tmp_path / "h").mkdir()
        (tmp_path / "h" / "jsv").write_text("#!/bin/sh\necho STARTED\n")
        (tmp_path / "h" / "jsv").chmod(0o700)
        with pytest.raises(Conflict, match="does not run as nobody"):
            verifying.apply()


class Words(Cluster):
    """Answers from a table."""

    def __init__(self, **told: str) -> None:
        super().__init__(SITE)
        self.told = told

    def run(self, *words: str) -> str:
        if words[:2] == ("qconf", "-se"):
            raise Unavailable("Grid Engine", 'qconf -se global: "global" is not an execution host', 0.0)
        return self.told["".join(words[1:]).strip("-").replace("-", "_").replace(".", "")]


def test_nothing_of_others_is_overwritten(tmp_path: Path) -> None:
    base = {"sc": "qname q STRING == YES NO NONE 0", "sconf": "jsv_url none", "sel": "n1\nn2", "sh": "n1", "ss": "n2"}
    queues = {"sqallq": "prolog NONE\nepilog NONE\ncomplex_values NONE"}
    site = Site(url="u", root="r", devices={"emu": 2}, hooks=str(tmp_path / "h"), queues=["all.q"])

    def plan(**told: str) -> list[str]:
        changes = install.plan(site, tmp_path / "x.toml", Words(**{**base, **queues, **told}), None)
        return [change.what.split(" (")[0] for change in changes]

    common = [
        *(str(path) for path in scripts.files(site, tmp_path / "x.toml")),
        "complexes",
        "capacity of the whole cluster",
    ]
    assert plan() == [*common, "queue all.q", "global configuration"]
    assert plan(ss="") == [*common, "submit hosts", "queue all.q", "global configuration"]
    for told, said in (
        ({"sconf": "jsv_url /site/jsv"}, "verifier already"),
        ({"sqallq": "prolog /site/own\nepilog NONE"}, "has a prolog already"),
        ({"sc": "qpu qpu INT <= YES JOB 0 0"}, "another meaning"),
    ):
        with pytest.raises(Conflict, match=said):
            plan(**told)
