"""Quarterdeck in a real Slurm: from --qpu= in the queue to the result, and everything that goes wrong on the way."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator

import httpx
import pytest

from quarterdeck.errors import NotFound
from quarterdeck.schedulers.contract import JobRequest
from quarterdeck.schedulers.slurm import remark
from tests.clusters.quantum import Quantum
from tests.clusters.slurm import missing

pytestmark = pytest.mark.timeout(180)
ALICE, BOB = "nobody", "games"


@pytest.fixture(scope="module")
def running() -> Iterator[Quantum]:
    if why := missing():
        pytest.skip(why)
    with Quantum() as quantum:
        yield quantum


@pytest.fixture
def site(running: Quantum) -> Iterator[Quantum]:
    """The cluster; after each test no node is drained, and no job has kept its QPU."""
    yield running
    drained = running.drained()
    running.slurm.clear()
    running.slurm.until(lambda: not running.open_jobs(), 15, "jobs keep their QPUs")
    running.slurm.until(running.slurm.idle, 20, "nodes are not idle")
    assert not drained


def usage(site: Quantum, job: int) -> dict[str, float]:
    """What its AdminComment says that it used."""
    told = remark.fields(remark.read(site.comment(job), "usage"))
    return {name: float(value) for name, value in told.items()}


def waits(site: Quantum, job: int, why: str) -> None:
    """It comes to wait in Slurm, held by us, and its user can read why."""
    site.slurm.until(lambda: held(site, job), 15, f"job {job} is not held")
    rows = site.qdeck("slurm", "status", str(job), user=site.slurm.job(job)["user_name"])["jobs"]
    assert rows[0]["state"] == "PENDING" and why in rows[0]["why"], rows
    seen = lambda: site.slurm.run("squeue", "-h", "-o", "%k", "-j", job).stdout  # noqa: E731
    site.slurm.until(lambda: seen().startswith("qdeck: ") and why in seen(), 15, f"squeue does not say why: {seen()}")


def held(site: Quantum, job: int) -> bool:
    """By an administrator, and off its nodes."""
    return site.slurm.job(job)["state_reason"] == "JobHeldAdmin" and site.slurm.state(job) == "PENDING"


def running_job(site: Quantum, job: int) -> None:
    site.slurm.until(lambda: "task" in site.slurm.output(job), 30, f"job {job} submits no task")


# -- what works -------------------------------------------------------------------------------------------------------


def test_a_batch_job_of_a_user(site: Quantum) -> None:
    """In the script itself and in a step; the token is worth nothing afterwards; what it used stands in the record."""
    job = site.slurm.sbatch(
        f"env\n{site.hybrid(2, 40)}\nsrun {site.hybrid(1, 20)}", "--qpu=fresnel-emulator", "-t", "5"
    )
    assert site.slurm.ended(job) == "COMPLETED"
    output = site.slurm.output(job)
    assert output.count("counts 40") == 2 and output.count("counts 20") == 1 and output.count("good") == 2
    told = site.contract.job(f"slurm:qtest:{job}")
    assert (told.user, told.state) == (ALICE, "released")
    assert told.usage is not None and told.usage.shots == 100
    assert usage(site, job)["shots"] == 100 and usage(site, job)["tasks"] == 3
    variables = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    assert variables["QDECK_JOB"] == f"slurm:qtest:{job}" and variables["QDECK_DEVICE"] == "fresnel-emulator"
    assert variables["QRMI_JOB_QPU_RESOURCES"] and variables["QRMI_JOB_ID"] == f"slurm:qtest:{job}"
    assert (site.dir / "qdeck" / "token").read_text().strip() not in output
    url = (site.dir / "qdeck" / "url").read_text().split()[1]
    refused = httpx.get(f"{url}/v1/tasks", headers={"Authorization": f"Bearer {variables['QDECK_TOKEN']}"})
    assert refused.status_code == 401
    with pytest.raises(NotFound):
        site.contract.access(f"slurm:qtest:{job}")


def test_srun_and_salloc_of_another_user(site: Quantum) -> None:
    done = site.slurm.run("srun", "--qpu=fresnel-emulator", "-t5", *site.hybrid(1, 30).split(), user=BOB)
    assert "counts 30" in done.stdout and "good" in done.stdout
    inner = f"srun {site.hybrid(1, 10)} && srun {site.hybrid(1, 10)}"
    first = max(each["job_id"] for each in site.slurm.jobs())
    assert usage(site, first)["shots"] == 30
    done = site.slurm.run("salloc", "--qpu=fresnel-emulator", "-t5", "sh", "-c", inner, user=BOB)
    assert done.stdout.count("good") == 2
    used = [usage(site, int(job))["shots"] for job in re.findall(r"allocation (\d+)", done.stderr)[:1]]
    assert used == [20.0]
    users = {site.contract.job(f"slurm:qtest:{job}").user for job in re.findall(r"allocation (\d+)", done.stderr)}
    assert users == {BOB}


def test_two_users_at_once_on_one_qpu(site: Quantum) -> None:
    jobs = [site.slurm.sbatch(site.hybrid(3, 20), "--qpu=fresnel-emulator", "-t", "5", user=user)
            for user in (ALICE, BOB, ALICE, BOB)]  # fmt: skip
    assert [site.slurm.ended(job) for job in jobs] == ["COMPLETED"] * 4
    assert all(site.slurm.output(job).count("counts 20") == 3 for job in jobs)
    assert [site.contract.job(f"slurm:qtest:{job}").user for job in jobs] == [ALICE, BOB, ALICE, BOB]


def test_several_qpus_in_one_job(site: Quantum) -> None:
    line = "echo devices $QDECK_DEVICES first $QDECK_DEVICE"
    job = site.slurm.sbatch(f"{line}\n{site.hybrid(1, 10)}", "--qpu=slow,fresnel-emulator", "-t", "5")
    assert site.slurm.ended(job) == "COMPLETED", site.slurm.output(job)
    assert "devices slow,fresnel-emulator first slow" in site.slurm.output(job)
    assert "counts 10" in site.slurm.output(job)


def test_an_array(site: Quantum) -> None:
    script = f"{site.hybrid(1, 10)}; [ $SLURM_ARRAY_TASK_ID != 3 ] || {site.hybrid(1, 10)}"
    first = site.slurm.sbatch(script, "--array=1-4%2", "-o", "a%a.out", "--qpu=fresnel-emulator", "-t", "5")
    site.slurm.until(lambda: not site.slurm.root("squeue", "-h").stdout, 90, "the array does not end")
    assert all("good" in site.slurm.output(f"a{task}") for task in range(1, 5))
    used = [usage(site, first + offset)["shots"] for offset in range(4)]
    assert sorted(used) == [10.0, 10.0, 10.0, 20.0]


def test_a_heterogeneous_job(site: Quantum) -> None:
    """A classical leader whose script uses the QPU that its second component has."""
    script = f"#!/bin/sh\n{site.hybrid(1, 10)}\nsrun -n1 : -n1 sh -c 'echo step $QDECK_JOB'\n"
    classical = ["-p", "classical", "-n1", "-t5"]
    done = site.slurm.run("sbatch", "--parsable", "-o", "het.out", *classical, ":", "-p", "quantum", "-n1", "-t5",
                          "--qpu=fresnel-emulator", stdin=script)  # fmt: skip
    job = int(done.stdout)
    assert site.slurm.ended(job) == "COMPLETED", site.slurm.output("het")
    output = site.slurm.output("het")
    assert "good" in output and output.count(f"step slurm:qtest:{job + 1}") == 2


def test_the_class_comes_from_the_partition(site: Quantum) -> None:
    jobs = {
        "production": site.slurm.sbatch("true", "--qpu=slow", "-p", "urgent"),
        "development": site.slurm.sbatch("true", "--qpu=slow"),
        "test": site.slurm.sbatch("true", "--qpu=slow", "-p", "urgent", "--qpu-class=test"),
    }
    for class_, job in jobs.items():
        assert site.slurm.ended(job) == "COMPLETED"
        assert site.contract.job(f"slurm:qtest:{job}").class_ == class_


def test_jobs_without_a_qpu_are_left_alone(site: Quantum) -> None:
    done = site.slurm.run("srun", "-p", "quantum", "sh", "-c", "env | grep -c QDECK_", check=False)
    assert done.stdout == "0\n"
    site.kill_daemon()
    try:
        assert site.slurm.run("srun", "-p", "quantum", "echo", "here").stdout == "here\n"
    finally:
        site.start_daemon()


def test_over_http_with_munge(site: Quantum) -> None:
    """As on a node that is not the daemon's machine."""
    before = site.settings.read_text()
    url = (site.dir / "qdeck" / "url").read_text().split()[1]
    site.settings.write_text(before.replace(site.url, url))
    try:
        done = site.slurm.run("srun", "--qpu=fresnel-emulator", "-t5", "sh", "-c", f"env; {site.hybrid(1, 10)}")
        assert f"QDECK_URL={url}" in done.stdout and "good" in done.stdout
    finally:
        site.settings.write_text(before)


# -- what waits -------------------------------------------------------------------------------------------------------


def test_contention_waits_in_slurm(site: Quantum) -> None:
    """Two jobs share the QPU, the third waits for its GRES, and one that wants it alone for all of it."""
    two = [site.slurm.sbatch("sleep 60", "--qpu=slow", user=user) for user in (ALICE, BOB)]
    site.slurm.until(lambda: len(site.open_jobs()) == 2, 20, "two jobs do not share it")
    alone = site.slurm.sbatch("true", "--qpu=slow", "--qpu-mode=exclusive")
    third = site.slurm.sbatch("true", "--qpu=slow", "-t", "1")  # short enough to go before the one that waits for all
    assert site.slurm.state(third) == "PENDING"
    site.slurm.run("scancel", str(two[0]))
    assert site.slurm.ended(third, 30) == "COMPLETED"
    assert site.slurm.state(alone) == "PENDING"
    site.slurm.run("scancel", str(two[1]), user=BOB)
    assert site.slurm.ended(alone, 30) == "COMPLETED"
    assert site.contract.job(f"slurm:qtest:{alone}").mode == "exclusive"


def test_a_calibration_holds_jobs_and_they_start_by_themselves(site: Quantum) -> None:
    window = site.qdeck("window", "add", "slow", "--kind", "calibration", "--for", "1h", "--reason", "drift")
    site.slurm.until(lambda: site.contract.devices()[1].status == "calibrating", 10, "it does not calibrate")
    site.slurm.until(lambda: "held" in (site.dir / "run" / "slurm.state").read_text(), 10, "the agent is not told")
    done = site.slurm.run(
        "sbatch", "--parsable", "-o", "%j.out", "--qpu=slow", "-t5", stdin=f"#!/bin/sh\n{site.hybrid(1, 5)}\n"
    )
    assert "the job waits: slow is calibrating" in done.stderr
    job = int(done.stdout)
    waits(site, job, "slow is calibrating")
    assert site.slurm.run("scontrol", "release", str(job), check=False).returncode != 0  # not its user's to release
    interactive = site.slurm.popen("srun", "--qpu=slow", "-t5", "echo", "begun", user=BOB)
    other = site.slurm.sbatch("true", "--qpu=fresnel-emulator")  # the other QPU of the node works on
    assert site.slurm.ended(other) == "COMPLETED" and site.slurm.state(job) == "PENDING"
    assert site.open_jobs() == []
    site.qdeck("window", "rm", window["id"])
    assert site.slurm.ended(job, 30) == "COMPLETED" and "good" in site.slurm.output(job)
    out, err = interactive.communicate(timeout=30)
    assert out == "begun\n" and "slow is calibrating" in err
    assert remark.read(site.comment(job), "held") is None


def test_jobs_that_wait_already_are_held_when_a_device_goes_away(site: Quantum) -> None:
    """Also an array, and a user's own hold stays the user's."""
    later = site.slurm.sbatch("true", "--qpu=slow", "--begin=now+3")
    mine = site.slurm.sbatch("true", "--qpu=slow", "-H")
    _set(site, "maintenance")
    array = site.slurm.sbatch("true", "--array=1-3", "--qpu=slow", "-o", "b%a.out")
    waits(site, later, "in maintenance: new laser")
    waits(site, array, "in maintenance: new laser")
    _set(site, "online")
    assert site.slurm.ended(later, 30) == "COMPLETED"
    site.slurm.until(lambda: not [line for line in site.slurm.root("squeue", "-h", "-o", "%A").stdout.split()
                                  if int(line) != mine], 30, "the array does not run")  # fmt: skip
    assert site.slurm.job(mine)["state_reason"] == "JobHeldUser"
    site.slurm.run("scontrol", "release", str(mine))
    assert site.slurm.ended(mine) == "COMPLETED"


def _set(site: Quantum, status: str) -> None:
    transport = httpx.HTTPTransport(uds=site.url.removeprefix("unix://"))
    with httpx.Client(transport=transport, base_url="http://qdeck") as client:
        answer = client.post("/v1/devices/slow/status", json={"status": status, "reason": "new laser"})
    assert answer.status_code == 200, answer.text


def test_a_qpu_that_goes_away_just_before_a_start(site: Quantum) -> None:
    """Nobody held the job in time: its start is turned away, it waits held, and runs later."""
    site.kill_agent()
    try:
        _set(site, "maintenance")
        job = site.slurm.sbatch(site.hybrid(1, 5), "--qpu=slow", "-t", "5")
        waits(site, job, "in maintenance: new laser")
        done = site.slurm.run("srun", "--qpu=slow", "-t5", "true", user=BOB, check=False)
        assert done.returncode != 0 and "slow is unavailable: in maintenance" in done.stderr
    finally:
        site.start_agent()
        _set(site, "online")
    assert site.slurm.ended(job, 30) == "COMPLETED" and "good" in site.slurm.output(job)


def test_a_qpu_that_somebody_outside_of_slurm_has_alone(site: Quantum) -> None:
    other = site.contract.acquire(JobRequest(id="lab:1", manager="lab", devices=("slow",), user=BOB, mode="exclusive"))
    job = site.slurm.sbatch("true", "--qpu=slow", "-t", "5")
    waits(site, job, "exclusive session of games")
    site.contract.release(other.id)
    assert site.slurm.ended(job, 30) == "COMPLETED"


def test_a_heterogeneous_job_waits_as_a_whole(site: Quantum) -> None:
    """Submitted while the QPU is away, and waiting already when it goes: the classical nodes are not taken, either."""
    early = het(site, "--begin=now+2")
    _set(site, "maintenance")
    late = het(site)
    for job in (early, late):
        site.slurm.until(lambda job=job: held(site, job), 15, f"{job} is not held")
    _set(site, "online")
    assert [site.slurm.ended(job, 30) for job in (early, late)] == ["COMPLETED"] * 2
    assert all("of slow" in site.slurm.output(job) for job in (early, late))


def test_a_heterogeneous_job_whose_qpu_goes_away_just_before_its_start(site: Quantum) -> None:
    """Its classical nodes are given back, and it is held as a whole."""
    site.kill_agent()
    try:
        _set(site, "maintenance")
        job = het(site)
        site.slurm.until(lambda: held(site, job), 15, f"{job} is not held")
    finally:
        site.start_agent()
        _set(site, "online")
    assert site.slurm.ended(job, 30) == "COMPLETED" and "of slow" in site.slurm.output(job)


def het(site: Quantum, *options: str) -> int:
    """A job of a classical component and one with a QPU."""
    parts = ["-p", "classical", "-t5", *options, ":", "-p", "quantum", "-t5", *options, "--qpu=slow"]
    done = site.slurm.run("sbatch", "--parsable", "-o", "%j.out", *parts, stdin="#!/bin/sh\necho of $QDECK_DEVICE\n")
    return int(done.stdout)


def test_a_job_that_is_queued_again_gets_a_new_session(site: Quantum) -> None:
    """As after a preemption. Its usage counts on."""
    job = site.slurm.sbatch(f"{site.hybrid(1, 10)}; [ $SLURM_RESTART_COUNT ] || sleep 60", "--qpu=slow", "-t", "5")
    site.slurm.until(lambda: "good" in site.slurm.output(job), 30, "it does not run")
    first = site.contract.job(f"slurm:qtest:{job}").session
    site.slurm.root("scontrol", "requeue", str(job))
    site.slurm.until(lambda: not site.open_jobs(), 20, "it keeps its QPU")
    queued = lambda: (site.slurm.state(job), site.slurm.job(job)["restart_cnt"]) == ("PENDING", 1)  # noqa: E731
    site.slurm.until(queued, 20, "it is not queued again")
    site.slurm.root("scontrol", "update", f"jobid={job}", "StartTime=now+2")  # Slurm: in two minutes
    assert site.slurm.ended(job) == "COMPLETED"
    told = site.contract.job(f"slurm:qtest:{job}")
    assert told.session != first and told.usage is not None and told.usage.shots == 20


def test_without_the_agent_jobs_wait_until_it_is_back(site: Quantum) -> None:
    site.kill_agent()
    state = site.dir / "run" / "slurm.state"
    state.write_text(re.sub(r"written\t\d+", f"written\t{int(time.time()) - 100}", state.read_text()))
    try:
        job = site.slurm.sbatch("true", "--qpu=slow")
        assert site.slurm.job(job)["priority"] == 0 and "agent" in site.comment(job)
    finally:
        site.start_agent()
    assert site.slurm.ended(job, 30) == "COMPLETED"


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--qpu=nosuch"], "there"),
        (["--qpu=slow,fresnel-emulator", "--qpu-mode=exclusive"], "itself alone"),
        (["--qpu=slow", "--qpu-class=best"], "production, test, development"),
        (["--qpu=slow", "--qpu-project=closed"], "no member of project closed"),
        (["--qpu=slow", "--qpu-project=strict", "--qpu-class=test"], "is for development work"),
        (["--gres=qpu:slow:1"], "--qpu=NAME"),
        (["--qpu=slow", "--gres=qpu:slow:1"], "leave the qpu out"),
        (["--qpu=a b"], "no value"),
        (["--qpu=slow", "-N2"], "sbatch -N2 ... : -N1 --qpu=slow"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, list) else "",
)
def test_a_submission_that_never_could_start_is_refused(site: Quantum, options: list[str], why: str) -> None:
    site.qdeck("project", "set", "closed", "--add", "root")
    site.qdeck("project", "set", "strict", "--class", "development")
    for command in (["sbatch", "--wrap", "true"], ["srun", "true"], ["salloc", "true"]):
        done = site.slurm.run(command[0], *options, *command[1:], check=False)
        assert done.returncode != 0 and why in done.stderr, done.stderr
    assert site.slurm.root("squeue", "-h").stdout == ""


def test_a_job_over_budget_is_held_with_the_reason_and_starts_when_there_is_more(site: Quantum) -> None:
    """The account is not known before the submission, so that the start refuses: no node is lost, nothing runs."""
    site.qdeck("project", "set", "atoms")
    site.qdeck("project", "budget", "atoms", "--shots", "0")
    job = site.slurm.sbatch(site.hybrid(1, 5), "--qpu=slow", "-A", "phys", "-t", "5")
    waits(site, job, "project atoms")
    assert remark.read(site.comment(job), "refused") and site.slurm.output(job) == "" and site.open_jobs() == []
    interactive = site.slurm.run("srun", "--qpu=slow", "-A", "phys", "-t5", "--immediate=5", "true", check=False)
    assert interactive.returncode != 0
    site.qdeck("project", "budget", "atoms", "--shots", "1000")
    assert site.slurm.ended(job, 40) == "COMPLETED" and "good" in site.slurm.output(job)
    assert site.contract.job(f"slurm:qtest:{job}").project == "atoms"


def test_a_step_cannot_have_a_qpu_that_its_job_has_not(site: Quantum) -> None:
    done = site.slurm.run("salloc", "-p", "quantum", "srun", "--qpu=slow", "true", check=False)
    assert done.returncode != 0 and "has no QPU; ask for it when the job is submitted" in done.stderr
    job = site.slurm.sbatch("sleep 30", "-p", "quantum")
    change = site.slurm.run("scontrol", "update", f"jobid={job}", "gres=qpu:slow:1", check=False)
    assert change.returncode != 0 and "permission denied" in change.stderr


# -- what breaks ------------------------------------------------------------------------------------------------------


def test_scancel_stops_the_task(site: Quantum) -> None:
    job = site.slurm.sbatch(site.hybrid(1, 10000), "--qpu=slow", "-t", "5")
    running_job(site, job)
    task = re.findall(r"task (\w+)", site.slurm.output(job))[0]
    site.slurm.run("scancel", str(job))
    assert site.slurm.ended(job) == "CANCELLED"
    site.slurm.until(lambda: site.task(task).state == "cancelled", 20, "its task goes on")
    assert site.task(task).shots_done < 10000
    assert site.contract.job(f"slurm:qtest:{job}").state == "released"


def test_kill_9_of_slurmstepd(site: Quantum) -> None:
    """Slurm 22.05 takes a job without its slurmstepd for running, until its time is over or it is cancelled.

    The script, which nobody can end any more, loses its QPU then.
    """
    job = site.slurm.sbatch(site.hybrid(1, 10000), "--qpu=slow", "-t", "5")
    running_job(site, job)
    task = re.findall(r"task (\w+)", site.slurm.output(job))[0]
    for pid in site.slurm.steps():
        os.kill(pid, signal.SIGKILL)
    site.slurm.run("scancel", str(job))
    site.slurm.until(lambda: not site.open_jobs(), 20, "the dead job keeps its QPU")
    site.slurm.until(lambda: site.task(task).state == "cancelled", 20, "the orphan's task goes on")


def test_kill_9_of_slurmctld(site: Quantum) -> None:
    """A running job goes on and its end, which nobody was told, is made good.

    Slurm saves its state within seconds. What started after that it knows as pending when it is back, starts again, and
    drains the node for the "Duplicate jobid": with or without a QPU, so that the test waits for the state.
    """
    turns = f"until [ -e stop ]; do {site.hybrid(1, 10)}; done; echo over"
    job = site.slurm.sbatch(turns, "--qpu=slow", "-t", "5")
    running_job(site, job)
    saved, begun = site.dir / "state" / "job_state", time.time()
    site.slurm.until(lambda: saved.exists() and saved.stat().st_mtime > begun, 40, "Slurm saves no state")
    site.slurm.kill("slurmctld")
    before = site.slurm.output(job).count("good")
    site.slurm.until(
        lambda: site.slurm.output(job).count("good") > before + 1, 30, "the job stopped with the controller"
    )
    (site.dir / "jobs" / "stop").touch()
    site.slurm.until(lambda: "over" in site.slurm.output(job), 30, "the job does not end")
    assert site.open_jobs() == [str(job)]  # without a controller nothing is taken back
    site.slurm.start("slurmctld")
    site.slurm.until(lambda: site.slurm.root("scontrol", "ping", check=False).returncode == 0, 20, "no controller")
    site.slurm.until(lambda: not site.open_jobs(), 60, "the job keeps its QPU")
    assert site.slurm.ended(job) == "COMPLETED"
    assert site.slurm.ended(site.slurm.sbatch("true", "--qpu=slow")) == "COMPLETED"


def test_kill_9_of_the_daemon(site: Quantum) -> None:
    """The running job waits for it and goes on; one that is submitted meanwhile waits in Slurm."""
    job = site.slurm.sbatch(site.hybrid(3, 40), "--qpu=slow", "-t", "5")
    running_job(site, job)
    site.kill_daemon()
    site.slurm.until(lambda: "does not answer" in (site.dir / "run" / "slurm.state").read_text(), 20, "nobody noticed")
    done = site.slurm.run(
        "sbatch", "--parsable", "-o", "%j.out", "--qpu=slow", "-t5", stdin=f"#!/bin/sh\n{site.hybrid(1, 5)}\n"
    )
    assert "does not answer" in done.stderr
    other = int(done.stdout)
    waits(site, other, "does not answer")
    site.start_daemon()
    assert site.slurm.ended(job) == "COMPLETED" and site.slurm.output(job).count("counts 40") == 3
    assert site.slurm.ended(other) == "COMPLETED" and "good" in site.slurm.output(other)


def test_a_daemon_that_restarts_while_a_job_starts(site: Quantum) -> None:
    site.kill_agent()
    site.kill_daemon()
    try:
        job = site.slurm.sbatch(site.hybrid(1, 5), "--qpu=slow", "-t", "5")
        site.slurm.until(lambda: site.slurm.state(job) in ("CONFIGURING", "RUNNING"), 20, "it does not start")
    finally:
        site.start_daemon()
        site.start_agent()
    assert site.slurm.ended(job, 30) == "COMPLETED" and "good" in site.slurm.output(job)


def test_the_installation_is_complete_and_can_be_taken_back(site: Quantum) -> None:
    assert site.install("--check").stdout == "Nothing to change.\n"
    assert site.qdeck("slurm", "agent", "--once", "--config", str(site.settings))["daemon"] is True
