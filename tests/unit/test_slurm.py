"""Slurm's side without a Slurm: its files, the hooks and the agent, with a queue and a daemon that are made up."""

from __future__ import annotations

import pwd
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
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
from quarterdeck.schedulers.contract import Contract, JobRequest
from quarterdeck.schedulers.door import Door
from quarterdeck.schedulers.slurm import conf, files, remark
from quarterdeck.schedulers.slurm.agent import Agent
from quarterdeck.schedulers.slurm.hook import Hook
from quarterdeck.schedulers.slurm.install import Installer, Places, apply, places, settings_of
from quarterdeck.schedulers.slurm.queue import Facts, Queue, SlurmJob, duration_s, qpus
from quarterdeck.schedulers.slurm.request import NONE, OPTION, QPUS, Asked, of_queue, request
from quarterdeck.schedulers.slurm.settings import Classes, Projects, SlurmSettings, load

SITE_CONF = """\
# the site's own words
ClusterName=Atlas
GresTypes=gpu
JobSubmitPlugins=throttle
PrologSlurmctld=/site/prolog
NodeName=qn1 CPUs=8 Gres=gpu:2 # with lasers
NodeName=cn[1-4] CPUs=8
PartitionName=all Nodes=ALL"""
AWAY = DaemonUnreachable("http://d", "refused", 0.0)


# -- files ------------------------------------------------------------------------------------------------------------


def test_slurm_conf_is_changed_and_restored_to_the_byte() -> None:
    wanted = {"GresTypes": "qpu", "JobSubmitPlugins": "lua", "PrologSlurmctld": "/ours"}
    text = conf.slurm_conf(SITE_CONF + "\n", wanted, {"qn1": "qpu:a:1,qpu:b:4"})
    lines = text.splitlines()
    assert (
        "GresTypes=gpu,qpu" in lines and "JobSubmitPlugins=throttle,lua" in lines and "PrologSlurmctld=/ours" in lines
    )
    assert "NodeName=qn1 CPUs=8 Gres=gpu:2,qpu:a:1,qpu:b:4 # quarterdeck" in lines
    assert not any(line.startswith(("GresTypes=gpu\n", "PrologSlurmctld=/site")) for line in lines)
    assert conf.slurm_conf(text, wanted, {"qn1": "qpu:a:1,qpu:b:4"}) == text
    assert conf.strip(text) == SITE_CONF + "\n"
    assert conf.value(SITE_CONF, "prologslurmctld") == "/site/prolog"


@pytest.mark.parametrize("node", ["qn2", "cn1"])
def test_a_node_needs_a_line_of_its_own(node: str) -> None:
    with pytest.raises(Invalid, match="has no line of its own"):
        conf.slurm_conf(SITE_CONF, {}, {node: "qpu:a:1"})


@pytest.mark.parametrize("text", ["", "a\n", "a", "x = 1\nreturn slurm.SUCCESS", "return slurm.SUCCESS\n\n"])
def test_our_block_goes_in_and_out(text: str) -> None:
    for comment, put in (
        ("#", lambda old: conf.append(old, ["ours"])),
        ("--", lambda old: conf.job_submit(old, ["ours"])),
    ):
        once = put(text)
        assert "ours" in once and put(once) == once
        assert conf.strip(once, comment).rstrip("\n") == text.rstrip("\n")


def test_our_lua_stands_before_the_last_return() -> None:
    text = conf.job_submit("function slurm_job_submit()\n  return 1\nend\nreturn slurm.SUCCESS\n", ["ours"])
    assert text.endswith(f"ours\n-- {conf.END}\nreturn slurm.SUCCESS\n") and text.startswith("function")


def test_remarks_leave_the_sites_words_alone() -> None:
    text = remark.write("see ticket 5", "held", "a [b] is\nbusy")
    assert text == "see ticket 5 [qdeck held: a b is busy]"
    both = remark.write(text, "usage", "shots=5")
    assert remark.read(both, "held") == "a b is busy" and remark.read(both, "usage") == "shots=5"
    assert remark.write(both, "refused", "no") == "see ticket 5 [qdeck usage: shots=5] [qdeck refused: no]"
    assert remark.write(remark.write(both, "held", None), "usage", None) == "see ticket 5"
    assert remark.fields("class=test project=a mode") == {"class": "test", "project": "a"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1:00", 60.0), ("2:03:04", 7384.0), ("1-00:00:00", 86400.0), ("UNLIMITED", None), ("INVALID", None)],
)
def test_time_limits(text: str, seconds: float | None) -> None:
    assert duration_s(text) == seconds


def test_gres_of_a_job() -> None:
    assert qpus("gres:qpu:emu:1,gres:gpu:2,gres:qpu:b.c-d:4") == {"emu": 1, "b.c-d": 4}
    assert qpus("gres/qpu:emu=2") == {"emu": 2}
    assert qpus("gres:gpu:1") == {} == qpus("")


def test_settings_go_through_their_file(tmp_path: Path) -> None:
    settings = SlurmSettings(
        url="http://d:1", cluster="c", devices={"a-b": 4, "c.d": 1}, nodes=("n1", "n2"), accounting=True,
        classes=Classes(qos={"gold": "production"}, partition={"p": "test"}), projects=Projects(account={"a": "b"}),
    )  # fmt: skip
    file = tmp_path / "slurm.toml"
    file.write_text(files.slurm_toml(settings))
    assert load(file) == settings
    for text, why in (("x", "TOML"), ("[devices]\na = 0", "devices"), ("colour = 1", "colour")):
        file.write_text(text)
        with pytest.raises(Invalid, match=why):
            load(file)
    with pytest.raises(Invalid, match="qdeck slurm install"):
        load(tmp_path / "nowhere")


def test_class_and_project() -> None:
    settings = SlurmSettings(
        classes=Classes(qos={"gold": "production"}, partition={"fast": "test"}),
        projects=Projects(account={"phys": "atoms"}),
    )
    assert settings.class_of("fast", "gold") == "production" and settings.class_of("fast", "") == "test"
    assert settings.class_of("other", "") == "development" and settings.class_of("other", "", "test") == "test"
    assert settings.class_of("fast", "gold", "development") == "development"
    for partition, asked in (("fast", "production"), ("fast", "best")):
        with pytest.raises(Invalid, match="--qpu-class"):
            settings.class_of(partition, "", asked)
    assert [settings.project_of(*names) for names in (("phys",), ("bio",), ("bio", "mine"), ("",))] == [
        "atoms",
        "bio",
        "mine",
        "",
    ]
    assert SlurmSettings(projects=Projects(same_name=False)).project_of("bio") == ""


# -- the installer ----------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> Places:
    if shutil.which("cc") is None or not Path("/usr/include/slurm/spank.h").exists():
        pytest.skip("a C compiler and Slurm's headers are not installed: apt-get install gcc libslurm-dev")
    (tmp_path / "etc/slurm").mkdir(parents=True)
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/slurm/slurm.conf").write_text(SITE_CONF + "\n")
    (tmp_path / "etc/slurm/job_submit.lua").write_text(
        "function slurm_job_submit() return 0 end\nreturn slurm.SUCCESS\n"
    )
    return places(tmp_path, tmp_path / "etc/slurm/slurm.conf")


def test_install_and_remove(machine: Places) -> None:
    before = {path: path.read_bytes() for path in machine.slurm_conf.parent.iterdir()}
    with pytest.raises(Invalid, match="--device"):
        Installer(machine, settings_of(machine), "/py").plan()
    settings = settings_of(machine, devices={"a": 2}, nodes=("qn1",))
    assert (settings.cluster, settings.accounting, settings.url) == (
        "atlas",
        False,
        "unix:///var/lib/quarterdeck/run/qdeck.sock",
    )
    changes = Installer(machine, settings, "/py").plan()
    assert all(change.diff for change in changes)
    apply(changes)
    assert Installer(machine, settings_of(machine), "/py").plan() == []
    prolog = machine.library / "prolog_slurmctld"
    assert prolog.stat().st_mode & 0o777 == 0o755 and "/site/prolog || exit $?" in prolog.read_text()
    assert (machine.library / "qdeck_spank.so").stat().st_size > 5000
    assert "slurm agent" in (machine.units / "quarterdeck-slurm.service").read_text()
    lua = (machine.slurm_conf.parent / "job_submit.lua").read_text()
    old = int((Path("/usr/include/slurm/slurm_version.h").read_text().split("SLURM_VERSION_NUMBER")[1].split()[0]), 16)
    assert ('qdeck.gres = "gres:"' in lua) == (old < 0x170B00)
    more = settings_of(machine, devices={"a": 2, "b": 1})
    assert {change.path.name for change in Installer(machine, more, "/py").plan()} == {
        "slurm.conf",
        "gres.conf",
        "slurm.toml",
    }
    apply(Installer(machine, more, "/py").removal())
    assert {path: path.read_bytes() for path in machine.slurm_conf.parent.iterdir()} == before
    assert list(machine.library.iterdir()) == [] and machine.config.exists()
    assert Installer(machine, more, "/py").removal() == []


def test_headers_that_are_elsewhere(machine: Places) -> None:
    settings = settings_of(machine, devices={"a": 2}, nodes=("qn1",), include="/nowhere")
    with pytest.raises(Conflict, match="libslurm-dev"):
        Installer(machine, settings, "/py").plan()


def test_accounting_is_told_of_qpus_only_where_there_is_some(machine: Places) -> None:
    machine.slurm_conf.write_text(
        SITE_CONF + "\nAccountingStorageType=accounting_storage/slurmdbd\nAuthInfo=socket=/m,ttl=5\n"
    )
    settings = settings_of(machine, devices={"a": 2}, nodes=("qn1",))
    assert settings.accounting and settings.munge_socket == "/m"
    apply(Installer(machine, settings, "/py").plan())
    assert "AccountingStorageTRES=gres/qpu,gres/qpu:a\n" in machine.slurm_conf.read_text()


# -- hooks ------------------------------------------------------------------------------------------------------------

ME = pwd.getpwuid(0).pw_name


def job(id: str = "slurm:c:7", user: str = ME, **more: Any) -> wire.Job:
    fields: dict[str, Any] = {
        "manager": "slurm", "project": "", "class_": "development", "mode": "shared",
        "devices": [wire.JobDevice(name="emu", formats=["pulser"], emulated=True)], "state": "open", "session": "s1",
        "acquired_s": 0.0, "expires_s": 10000.0, "released_s": 0.0, "token": "qds_s1.secret", "url": "http://d:1",
        "usage": wire.JobUsage(qpu_s=1.5, shots=30, tasks=2),
    }  # fmt: skip
    return wire.Job(id=id, user=user, **{**fields, **more})


class Daemon(Contract):
    """Answers what it is told to; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(Door("http://d:1"))
        self.asked: list[tuple[str, Any]] = []
        self.known: dict[str, wire.Job] = {}
        self.fails: list[QuarterdeckError] = []
        self.refuses: QuarterdeckError | None = None
        self.answer = wire.JobCheck(ready=True)
        self.status = {"emu": "online"}
        self.away = False

    def _note(self, call: str, what: Any) -> None:
        self.asked.append((call, what))
        if self.fails:
            raise self.fails.pop(0)
        if self.away:
            raise AWAY

    def check(self, request: JobRequest) -> wire.JobCheck:
        self._note("check", request)
        if self.refuses is not None:
            raise self.refuses
        return self.answer

    def acquire(self, request: JobRequest) -> wire.Job:
        self._note("acquire", request)
        self.known[request.id] = job(request.id, request.user)
        return self.known[request.id]

    def access(self, id: str) -> wire.Job:
        return self.job(id)

    def job(self, id: str) -> wire.Job:
        self._note("job", id)
        if id not in self.known:
            raise NotFound("job", id)
        return self.known[id]

    def renew(self, id: str, ttl_s: float) -> wire.Job:
        self._note("renew", (id, ttl_s))
        return self.known[id]

    def release(self, id: str, session: str | None = None) -> wire.Job:
        self._note("release", id)
        if id not in self.known:
            raise NotFound("job", id)
        if session not in (None, self.known[id].session):
            return self.known[id]
        return msgspec.structs.replace(self.known.pop(id), state="released")

    def jobs(self, manager: str) -> list[wire.Job]:
        self._note("jobs", manager)
        return list(self.known.values())

    def devices(self) -> list[wire.Device]:
        self._note("devices", None)
        return [
            wire.Device(
                name=name, modality="", qubits=1, formats=[], emulated=True, max_shots=1, lanes=1, shot_rate_hz=1.0,
                setup_s=0.0, slice_shots=1, status=status, reason="", queued=0, running=0,  # type: ignore[arg-type]
            )
            for name, status in self.status.items()
        ]  # fmt: skip

    def calls(self, *names: str) -> list[Any]:
        return [what for call, what in self.asked if call in names]


class Controller(Queue):
    """Slurm, made up."""

    def __init__(self, settings: SlurmSettings) -> None:
        super().__init__(settings)
        self.list: dict[int, SlurmJob] = {}
        self.told: list[tuple[str, ...]] = []
        self.dead = False

    def jobs(self) -> list[SlurmJob]:
        self._alive()
        return list(self.list.values())

    def facts(self, job: int) -> Facts:
        self._alive()
        return Facts(partition="p", qos="gold", account="phys", walltime_s=60.0)

    def remarks(self, job: str) -> str:
        return next((each.comment for each in self.list.values() if each.handle == job), "")

    def said(self, job: str) -> str:
        return next((each.said for each in self.list.values() if each.handle == job), "")

    def _run(self, *command: str) -> bytes:
        self._alive()
        self.told.append(command)
        verb, handle = command[1], command[-1]
        if verb in ("hold", "release"):
            self._set(handle, priority=0 if verb == "hold" else 1000,
                      state_reason="JobHeldAdmin" if verb == "hold" else "None")  # fmt: skip
        for word in command:
            if word.startswith("AdminComment=") and command[0] == "scontrol":
                self._set(command[2].removeprefix("JobId="), admin_comment=word.removeprefix("AdminComment="))
            if word.startswith("Comment="):
                self._set(command[2].removeprefix("JobId="), said=word.removeprefix("Comment="))
        return b""

    def _set(self, handle: str, **fields: Any) -> None:
        for id, each in self.list.items():
            if handle in (each.handle, each.record):
                self.list[id] = msgspec.structs.replace(each, **fields)

    def _alive(self) -> None:
        if self.dead:
            raise Unavailable("Slurm", "squeue took more than 10 s", 0.0)


SETTINGS = SlurmSettings(
    cluster="c", devices={"emu": 4}, partition="q", patience_s=5.0, grace_s=30.0,
    classes=Classes(qos={"gold": "production"}), projects=Projects(account={"phys": "atoms"}),
)  # fmt: skip
STARTS = {"SLURM_JOB_ID": "7", "SLURM_JOB_USER": "ada", "SLURM_JOB_PARTITION": "p", QPUS: "emu"}


class Rig:
    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        self.settings = msgspec.structs.replace(SETTINGS, state=str(tmp_path / "run" / "state"), **settings)
        self.daemon = Daemon()
        self.queue = Controller(self.settings)
        self.now = 1000.0
        self.agent = Agent(self.settings, self.daemon, self.queue, lambda: self.now)
        self.hook = Hook(self.settings, self.daemon, self.queue, self.sleep, lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def add(self, id: int = 7, state: str = "PENDING", **fields: Any) -> None:
        fields = {"user_name": "ada", "tres_per_node": "gres:qpu:emu:1", "priority": 1000, "time_limit": 1, **fields}
        self.queue.list[id] = SlurmJob(job_id=id, job_state=state, **fields)

    def state(self) -> dict[str, str]:
        lines = [line.split("\t") for line in Path(self.settings.state).read_text().splitlines()]
        return {line[1]: "\t".join(line[2:]) for line in lines if line[0] == "device"}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_job_gets_its_qpus_when_it_starts(rig: Rig) -> None:
    assert rig.hook.prolog({**STARTS, f"{OPTION}qpu_class": "test"}) == 0
    (asked,) = rig.daemon.calls("acquire")
    assert asked == JobRequest(id="slurm:c:7", manager="slurm", devices=("emu",), user="ada", class_="test",
                               project="atoms", walltime_s=60.0)  # fmt: skip
    for without in ({}, {QPUS: NONE, f"{OPTION}qpu": "emu"}):  # the second is another component of a heterogeneous job
        assert rig.hook.prolog({"SLURM_JOB_ID": "8", "SLURM_JOB_USER": "ada", **without}) == 0
    assert len(rig.daemon.asked) == 1
    assert rig.hook.epilog(STARTS) == 0 and rig.daemon.calls("release") == ["slurm:c:7"]
    assert rig.hook.epilog(STARTS) == 0  # twice is once


def test_a_start_waits_for_a_daemon_that_restarts_and_then_lets_slurm_queue_the_job(rig: Rig) -> None:
    rig.daemon.fails = [AWAY, AWAY]
    assert rig.hook.prolog(STARTS) == 0 and rig.now == 1002.0
    rig.daemon.away = True
    assert rig.hook.prolog(STARTS) == 1 and rig.now <= 1002.0 + 5.0
    assert [command[1] for command in rig.queue.told] == ["notify", "update", "update"]  # told, and not held


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DeviceUnavailable("emu", "calibrating", 5.0), "held"),
        (Conflict("held by an exclusive session of bob"), "held"),
        (Forbidden("ada is no member of project atoms"), "refused"),
    ],
    ids=["unavailable", "exclusive", "forbidden"],
)
def test_a_start_that_is_turned_away_holds_the_job_with_the_reason(
    rig: Rig, error: QuarterdeckError, kind: Any
) -> None:
    rig.add(7, "CONFIGURING", admin_comment="mine")
    rig.daemon.fails = [error]
    assert rig.hook.prolog(STARTS) == 1
    assert rig.queue.list[7].priority == 0 and rig.queue.list[7].comment.startswith("mine ")
    assert remark.read(rig.queue.list[7].comment, kind) == str(error)
    assert rig.queue.list[7].said == f"qdeck: {error}"
    assert rig.hook.prolog({**STARTS, f"{OPTION}qpu_class": "best"}) == 1


def test_without_a_controller_a_start_goes_on_for_a_day(rig: Rig) -> None:
    rig.queue.dead = True
    assert rig.hook.prolog(STARTS) == 0
    assert rig.daemon.calls("acquire")[0].walltime_s is None


def test_a_step_sees_its_own_users_qpus_only(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.daemon.known = {"slurm:c:7": job(), "slurm:c:9": job("slurm:c:9", "somebody")}
    assert rig.hook.access("7", "0", "", "") == 0
    told = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    assert (
        told["QDECK_TOKEN"] == "qds_s1.secret" and told["QDECK_DEVICE"] == "emu" and told["QDECK_URL"] == "http://d:1"
    )
    assert rig.hook.access("6", "0", "6", "3") == 0  # another component has it
    assert "QDECK_JOB=slurm:c:7" in capsys.readouterr().out
    for arguments in (("9", "0", "", ""), ("8", "0", "8", "2"), ("5", "0", "", "x")):
        assert rig.hook.access(*arguments) == 1
        assert capsys.readouterr().out.startswith("error: job ")


def test_a_check_refuses_for_good_and_lets_pass_what_it_cannot_tell(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rig.hook.check("emu", "", "", "") == 0 and capsys.readouterr().out == ""
    rig.daemon.refuses = Forbidden("no")
    assert rig.hook.check("emu", "", "", "") == 1 and capsys.readouterr().out == "error: no\n"
    rig.daemon.refuses = AWAY
    assert rig.hook.check("emu", "", "", "") == 0 and capsys.readouterr().out.startswith("note: ")


def test_usage_goes_into_the_comment_of_that_task_alone(rig: Rig) -> None:
    rig.daemon.known = {"slurm:c:7": job()}
    rig.add(7, "RUNNING", array_job_id=5, array_task_id=2)
    assert rig.hook.usage("7", "0", "5", "2") == 0
    assert rig.queue.list[7].comment == "[qdeck usage: qpu_s=1.500 shots=30 tasks=2 waited_s=0.000]"
    assert rig.hook.usage("8", "0") == 0


def test_the_options_of_a_job_in_the_queue_come_from_its_comment() -> None:
    asks = "[qdeck asks: class=test project=mine mode=exclusive]"
    told = SlurmJob(job_id=7, job_state="PENDING", user_name="ada", partition="p", tres_per_node="gres:qpu:emu:4",
                    admin_comment=asks, time_limit=2, account="phys")  # fmt: skip
    wanted = Asked(qpus="emu", class_="test", project="mine", mode="exclusive")
    facts = Facts(partition="p", account="phys", walltime_s=120.0)
    assert of_queue(SETTINGS, told) == request(SETTINGS, 7, "ada", wanted, facts)


# -- the agent --------------------------------------------------------------------------------------------------------


def test_jobs_wait_while_a_device_does_not_work_and_start_by_themselves(rig: Rig) -> None:
    rig.add(7)
    rig.add(8, tres_per_node="gres:gpu:1")
    rig.daemon.status["emu"] = "calibrating"
    assert rig.agent.look().held == ["7"] and rig.state() == {"emu": "4\theld\temu is calibrating"}
    assert rig.queue.list[7].held and remark.read(rig.queue.list[7].comment, "held") == "emu is calibrating"
    commands = len(rig.queue.told)
    assert not rig.agent.look().eventful and len(rig.queue.told) == commands
    rig.daemon.status["emu"] = "online"
    assert rig.agent.look().let_go == ["7"] and rig.state() == {"emu": "4\tready\t"}
    assert rig.queue.list[7].priority == 1000 and rig.queue.list[7].comment == ""
    assert rig.queue.list[8].priority == 1000


def test_a_hold_of_job_submit_becomes_the_administrators(rig: Rig) -> None:
    rig.add(7, priority=0, state_reason="JobHeldUser", admin_comment="[qdeck held: emu is calibrating]")
    rig.daemon.status["emu"] = "calibrating"
    assert rig.agent.look().held == ["7"] and rig.queue.list[7].state_reason == "JobHeldAdmin"


def test_the_holds_of_others_are_theirs(rig: Rig) -> None:
    rig.add(7, priority=0, state_reason="JobHeldUser", admin_comment="[qdeck asks: class=test]")
    for status in ("calibrating", "online"):
        rig.daemon.status["emu"] = status
        assert not rig.agent.look().eventful
    assert rig.queue.told == []


def test_without_a_daemon_nothing_new_starts(rig: Rig) -> None:
    rig.add(7)
    rig.daemon.away = True
    look = rig.agent.look()
    assert not look.daemon and look.held == ["7"] and "does not answer" in rig.state()["emu"]
    rig.daemon.away = False
    assert rig.agent.look().let_go == ["7"]


def test_without_a_controller_nothing_is_taken_back(rig: Rig) -> None:
    rig.daemon.known = {"slurm:c:7": job()}
    rig.queue.dead = True
    look = rig.agent.look()
    assert not look.controller and look.trouble and rig.daemon.known and "emu" in rig.state()
    rig.queue.dead = False
    assert rig.agent.look().released == ["7"] and not rig.daemon.known


def test_a_job_that_never_could_start_is_held_with_the_reason_until_it_could(rig: Rig) -> None:
    rig.add(7)
    rig.daemon.refuses = Forbidden("project atoms is for test work")
    assert rig.agent.look().refused == ["7"]
    assert remark.read(rig.queue.list[7].comment, "refused") == "project atoms is for test work"
    rig.daemon.refuses = None
    assert rig.agent.look().let_go == ["7"] and rig.queue.list[7].comment == ""
    checks = len(rig.daemon.calls("check"))
    rig.agent.look()
    assert len(rig.daemon.calls("check")) == checks  # found fit just now
    rig.now += 61
    rig.agent.look()
    assert len(rig.daemon.calls("check")) == checks + 1


def test_a_job_that_slurm_queued_again_need_not_wait_for_two_minutes(rig: Rig) -> None:
    away = "[qdeck held: the daemon is unavailable]"  # as the start left it
    rig.add(7, restart_cnt=1, start_time=1120, state_reason="BeginTime", admin_comment=away)
    rig.add(8, restart_cnt=1, start_time=1120, state_reason="BeginTime")  # preempted
    rig.add(9, restart_cnt=0, start_time=1120, state_reason="BeginTime")  # its user's --begin
    rig.agent.look()
    assert [command for command in rig.queue.told if "StartTime=now+2" in command] == [
        ("scontrol", "update", "JobId=7", "StartTime=now+2")
    ]


@pytest.mark.parametrize("state", ["PENDING", "COMPLETING"])
def test_qpus_of_a_job_between_two_states_are_taken_at_the_second_look(rig: Rig, state: str) -> None:
    rig.daemon.known = {"slurm:c:7": job()}
    rig.add(7, state, priority=0, state_reason="JobHeldUser")
    assert rig.agent.look().released == [] and rig.agent.look().released == ["7"]


@pytest.mark.parametrize("state", ["RUNNING", "SUSPENDED", "CONFIGURING"])
def test_a_running_job_keeps_its_qpus_and_its_lease(rig: Rig, state: str) -> None:
    rig.daemon.known = {"slurm:c:7": job(expires_s=1200.0), "gridengine:c:7": job("gridengine:c:7")}
    rig.add(7, state)
    for _ in range(3):
        assert rig.agent.look().released == []
    assert rig.daemon.calls("renew")[0] == ("slurm:c:7", 330.0)
    comments = [command for command in rig.queue.told if command[1] == "update"]
    assert len(comments) == (state == "RUNNING")  # once in a while


def test_a_job_that_starts_again_during_a_look_keeps_its_new_session(rig: Rig) -> None:
    rig.daemon.known = {"slurm:c:7": job()}
    rig.add(7, "COMPLETING")
    rig.agent.look()
    opened = rig.daemon.jobs("slurm")
    rig.daemon.jobs = lambda manager: opened  # type: ignore[method-assign]
    rig.daemon.known = {"slurm:c:7": job(session="s2")}
    assert rig.agent.look().released == [] and "slurm:c:7" in rig.daemon.known


def test_a_step_waits_for_a_daemon_that_restarts(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.daemon.known = {"slurm:c:7": job()}
    rig.daemon.fails = [AWAY, AWAY]
    assert rig.hook.access("7", "0", "", "") == 0 and "QDECK_SESSION" in capsys.readouterr().out


def test_usage_of_ended_jobs_goes_to_slurmdbd(tmp_path: Path) -> None:
    rig = Rig(tmp_path, accounting=True)
    rig.daemon.known = {"slurm:c:7": job()}
    assert rig.hook.epilog(STARTS) == 0
    rig.daemon.known = {"slurm:c:8": job("slurm:c:8")}
    assert rig.agent.look().released == ["8"]
    assert [command[:5] for command in rig.queue.told] == [
        ("sacctmgr", "-i", "modify", "job", f"JobId={id}") for id in (7, 8)
    ]
    assert all(command[-1].startswith("AdminComment=[qdeck usage: qpu_s=1.5") for command in rig.queue.told)


def test_slices_that_outlast_a_job_count_too(tmp_path: Path) -> None:
    rig = Rig(tmp_path, accounting=True)
    rig.add(7, "RUNNING")
    rig.daemon.known = {"slurm:c:7": job(state="released")}
    rig.agent.look()
    rig.add(7, "COMPLETED")
    known, rig.daemon.jobs = rig.daemon.jobs, lambda manager: []  # type: ignore[method-assign]
    rig.agent.look()
    assert not [command for command in rig.queue.told if command[0] == "sacctmgr"]
    rig.now += 3
    rig.agent.look()
    rig.agent.look()
    assert len([command for command in rig.queue.told if command[0] == "sacctmgr"]) == 1
    rig.daemon.jobs = known  # type: ignore[method-assign]


def test_a_state_file_that_cannot_be_written_is_told(rig: Rig) -> None:
    Path(rig.settings.state).parent.parent.joinpath("run").write_text("in the way")
    look = rig.agent.look()
    assert "cannot be written" in look.trouble[0] and look.controller


def test_trouble_with_one_job_is_not_trouble_with_the_others(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.add(7)
    rig.add(8)
    rig.daemon.status["emu"] = "offline"
    hold: Callable[[str], None] = rig.queue.hold
    monkeypatch.setattr(rig.queue, "hold", lambda name: rig.queue._alive() if name != "7" else _fail())
    look = rig.agent.look()
    assert look.held == ["8"] and look.trouble
    monkeypatch.setattr(rig.queue, "hold", hold)
    assert "7" in rig.agent.look().held


def _fail() -> None:
    raise Unavailable("Slurm", "hold failed", 0.0)


def test_what_slurms_commands_call_a_job() -> None:
    def name(**fields: Any) -> str:
        return SlurmJob(job_id=9, job_state="PENDING", **fields).handle

    assert name() == "9" and name(array_job_id=5, array_task_id=0) == "5_0" and name(het_job_id=8) == "8"
    assert name(array_job_id=9, array_task_id=None) == "9"
    assert SlurmJob(job_id=9, job_state="PENDING", het_job_id=8).record == "9"


def test_a_heterogeneous_job_waits_for_all_its_qpus(rig: Rig) -> None:
    rig.daemon.status["other"] = "calibrating"
    rig.add(7, het_job_id=6)
    rig.add(8, het_job_id=6, tres_per_node="gres:qpu:other:1")
    assert rig.agent.look().held == ["6"]
    assert [command[-1] for command in rig.queue.told if command[1] == "hold"] == ["6"]
    assert remark.read(rig.queue.list[7].comment, "held") == "other is calibrating"
    assert not rig.agent.look().eventful
    rig.daemon.status["other"] = "online"
    assert rig.agent.look().let_go == ["6"] and rig.queue.list[7].comment == ""


def test_a_waiting_job_says_why_where_squeue_shows_it(rig: Rig) -> None:
    rig.daemon.status["emu"] = "calibrating"
    rig.add(7)
    rig.add(8, said="for my thesis")
    rig.agent.look()
    assert rig.queue.list[7].said == "qdeck: emu is calibrating" and rig.queue.list[8].said == "for my thesis"
    assert not rig.agent.look().eventful
    rig.daemon.status["emu"] = "online"
    rig.agent.look()
    assert rig.queue.list[7].said == "" and rig.queue.list[8].said == "for my thesis"


def test_a_component_that_is_turned_away_holds_its_heterogeneous_job(rig: Rig) -> None:
    rig.daemon.fails = [DeviceUnavailable("emu", "in maintenance", 30.0)]
    assert rig.hook.prolog({**STARTS, "SLURM_HET_JOB_ID": "6"}) == 1
    assert [command[-1] for command in rig.queue.told if command[1] == "hold"] == ["6"]


def test_queues_of_old_and_new_versions(tmp_path: Path) -> None:
    """As 22.05 writes it, and as the sources of 23.02 and later have it."""

    def number(value: int | None, infinite: bool = False) -> dict[str, Any]:
        return {"set": value is not None, "infinite": infinite, "number": value or 0}

    old: dict[str, Any] = {
        "job_id": 7, "job_state": "RUNNING", "time_limit": 5, "priority": 10, "array_task_id": None, "array_job_id": 0,
        "tres_per_node": "gres:qpu:a:1", "het_job_id": 0, "start_time": 50, "admin_comment": "", "other": [],
    }  # fmt: skip
    wrapped = ("time_limit", "priority", "array_task_id", "array_job_id", "het_job_id", "start_time")
    new = (
        old
        | {name: number(old[name]) for name in wrapped}
        | {"job_state": ["RUNNING"], "tres_per_node": "gres/qpu:a:1"}
    )
    ending = new | {"job_state": ["CANCELLED", "COMPLETING"], "time_limit": number(None, True)}
    ending |= {"array_task_id": number(0), "array_job_id": number(5)}
    command = tmp_path / "squeue"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{msgspec.json.encode({'jobs': [old, new, ending]}).decode()}\nEND\n")
    command.chmod(0o755)
    first, second, third = Queue(SlurmSettings(bin=str(tmp_path))).jobs()
    assert first.qpus == second.qpus == {"a": 1} and first.walltime_s == second.walltime_s == 300.0
    assert msgspec.structs.replace(first, tres_per_node="") == msgspec.structs.replace(second, tres_per_node="")
    assert (third.job_state, third.walltime_s, third.record) == ("COMPLETING", None, "5_0")


def test_commands_that_hang_or_are_missing_end(tmp_path: Path) -> None:
    for script, why in (
        ("sleep 5", "more than 0.2 s"),
        ("echo no >&2; exit 1", "failed: no"),
        ("echo x", "not understood"),
    ):
        command = tmp_path / "squeue"
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        with pytest.raises(Unavailable, match=why):
            Queue(SlurmSettings(bin=str(tmp_path), command_s=0.2)).jobs()
