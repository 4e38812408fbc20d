"""A real Grid Engine, a real daemon on the embedded emulated device, and jobs of two users who are not root.

After each test no queue is in error, no job is left, and the daemon has no QPU given away.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from quarterdeck import wire
from quarterdeck.schedulers.contract import Contract
from quarterdeck.schedulers.door import Door
from tests.clusters.gridengine import GridEngine, missing, until
from tests.integration.running import Daemon

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
ROOT = Path(__file__).resolve().parents[2]
EMULATOR = {"driver": "neutral-atom-emulator"}
DEVICES = {"fresnel": {**EMULATOR, "time_scale": 1000.0}, "slow": {**EMULATOR, "time_scale": 1.0, "slice_shots": 200}}
ADA, BOB = "daemon", "nobody"
"""Accounts that every Debian has; neither has a home or a shell, so that jobs say where they run."""
JOB = """\
import http.client, json, os, socket, sys, time

class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["QDECK_URL"].removeprefix("unix://"))

def ask(method, path, body=None):
    headers = {"Authorization": "Bearer " + os.environ["QDECK_TOKEN"], "Content-Type": "application/json"}
    connection = Unix("qdeck")
    connection.request(method, path, body and json.dumps(body), headers)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    assert answer.status < 300, told
    return told

program = {"format": "pulser", "payload": open(sys.argv[1]).read()}
began = time.time()
task = ask("POST", "/v1/tasks", {"program": program, "shots": int(sys.argv[2]), "device": os.environ["QDECK_DEVICE"]})
print("task", task["id"], flush=True)
while task["state"] not in ("done", "failed", "cancelled"):
    task = ask("GET", "/v1/tasks/" + task["id"] + "?wait=20&after=" + str(task["version"]))
counts = ask("GET", "/v1/tasks/" + task["id"] + "/result")["counts"] if task["state"] == "done" else {}
print(json.dumps({
    "shots": sum(counts.values()), "width": len(next(iter(counts), "")), "class": task["class"], "user": task["user"],
    "project": task["project"], "device": task["device"], "devices": os.environ["QDECK_DEVICES"], "began": began,
    "ended": time.time(), "uid": os.getuid(), "token": os.environ["QDECK_TOKEN"], "job": os.environ["QDECK_JOB"],
}), flush=True)
"""


class Site:
    """The cluster, the daemon and the agent, as an administrator has set them up."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cluster = GridEngine(directory / "ge")
        self.daemon = Daemon(directory / "qd", devices=DEVICES)
        self.file = directory / "etc" / "gridengine.toml"
        self.work = directory / "work"
        self.contract = Contract(Door(f"unix://{self.daemon.state}/run/qdeck.sock"))
        self.agent: subprocess.Popen[bytes] | None = None

    def qdeck(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`qdeck`, as root with the cluster's settings."""
        done = subprocess.run(
            [sys.executable, "-m", "quarterdeck", *words], capture_output=True, text=True, timeout=60, check=False,
            env={**self.cluster.environ, "QDECK_STATE": str(self.daemon.state)}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def install(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.qdeck("gridengine", "install", *words, "--file", str(self.file), check=check)

    def start_agent(self) -> None:
        command = [sys.executable, "-m", "quarterdeck", "gridengine", "agent", "--interval", "0.5"]
        with (self.directory / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen([*command, "--file", str(self.file)], stdout=log, stderr=log, env={
                **self.cluster.environ, "QDECK_STATE": str(self.daemon.state)})  # fmt: skip

    def log(self) -> str:
        return (self.directory / "agent.log").read_text()

    def stop(self) -> None:
        try:
            if self.agent is not None:
                self.agent.terminate()
                assert self.agent.wait(20) == 0, self.log()
        finally:
            self.cluster.stop()
            self.daemon.__exit__()

    # -- jobs -------------------------------------------------------------------------------------------------------

    def submit(self, *words: str, user: str = ADA, script: str = "", name: str = "out") -> str:
        """qsub of a job that runs a program on its QPU, or of another script; its number."""
        file = self.work / f"{name}.sh"
        file.write_text(script or self.program(20))
        done = self.cluster.run(
            "qsub", "-terse", "-cwd", "-j", "y", "-o", str(self.work), "-N", name, *words, str(file), user=user,
            cwd=self.work,
        )  # fmt: skip
        return done.stdout.split(".")[0].strip()

    def refused(self, *words: str, user: str = ADA) -> str:
        """What qsub says when it does not take a job."""
        done = self.cluster.run("qsub", "-cwd", "-b", "y", *words, "true", user=user, cwd=self.work, check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr + done.stdout

    def program(self, shots: int) -> str:
        return f"exec python3 {self.work}/job.py {self.work}/program.json {shots}\n"

    def gate(self, name: str) -> str:
        """A line of a script that waits until the test opens the gate."""
        (self.work / name).unlink(missing_ok=True)
        return f"until [ -e {self.work}/{name} ]; do sleep 0.1; done\n"

    def open(self, name: str) -> None:
        (self.work / name).touch()

    def output(self, job: str, name: str = "out", task: str = "") -> str:
        file = self.work / f"{name}.o{job}{task and f'.{task}'}"
        return file.read_text() if file.exists() else ""

    def told(self, job: str, name: str = "out", task: str = "") -> dict[str, Any]:
        """What the job printed at its end."""
        self.cluster.wait(job, "")
        text = self.output(job, name, task)
        assert text.strip().endswith("}"), text
        found: dict[str, Any] = json.loads(text.splitlines()[-1])
        return found

    def started(self, job: str, name: str = "out") -> str:
        """The id of the task that the job waits for, once it runs on the device."""
        until(lambda: "task " in self.output(job, name), lambda: f"job {job} has a task: {self.cluster.details(job)}")
        match = re.search(r"task (\S+)", self.output(job, name))
        assert match is not None
        until(lambda: self.task(match[1])["state"] == "running", f"task {match[1]} runs")
        return match[1]

    def task(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.http.get(f"/v1/tasks/{id}").json()
        return found

    def job(self, number: str) -> wire.Job:
        return self.contract.job(f"gridengine:default:{number}")

    def ready(self, device: str) -> bool:
        """Whether Grid Engine starts jobs for it."""
        rows = json.loads(self.qdeck("gridengine", "status", "--json", "--file", str(self.file)).stdout)["items"]
        return bool(next(row["ready"] for row in rows if row["device"] == device))


@contextmanager
def short_directory() -> Iterator[Path]:
    """Unix sockets need a short path, and other users one that they may pass."""
    directory = Path(tempfile.mkdtemp(prefix="qge", dir="/tmp"))
    try:
        directory.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with short_directory() as directory:
        (directory / "ge").mkdir()
        site = Site(directory)
        site.work.mkdir()
        site.work.chmod(0o777)
        shutil.copy(ROOT / "examples" / "programs" / "afm_chain.json", site.work / "program.json")
        (site.work / "job.py").write_text(JOB)
        try:
            site.cluster.start()
            site.daemon.start()
            for path in (site.daemon.state, site.daemon.state / "run"):
                path.chmod(0o755)
            site.install("--apply", "--device", "fresnel", "--device", "slow=4", "--queue", "all.q",
                         "--queue", "qprod=production", "--queue", "qlow", "--queue", "qhigh=test")  # fmt: skip
            site.start_agent()
            until(lambda: site.ready("fresnel") and site.ready("slow"), site.log)
            yield site
        finally:
            site.stop()


@pytest.fixture(autouse=True)
def nothing_is_left(site: Site) -> Iterator[None]:
    yield
    try:
        assert "E" not in "".join(site.cluster.queue_states().values()), site.cluster.log()
        until(lambda: not site.cluster.run("qstat", "-u", "*").stdout.strip(), "every job of the test ends")
    finally:
        site.cluster.run("qdel", "-u", "*", check=False)  # what a failed test leaves is not the next one's
    until(lambda: not site.contract.jobs("gridengine"), lambda: f"all is released: {site.contract.jobs('gridengine')}")


def test_a_job_of_each_user_from_the_queue_to_its_usage(site: Site) -> None:
    ada, bob = site.submit("-l", "qpu=fresnel"), site.submit("-l", "qpu=fresnel", user=BOB)
    for user, job in ((ADA, ada), (BOB, bob)):
        told = site.told(job)
        assert (told["shots"], told["user"], told["device"], told["class"]) == (20, user, "fresnel", "development")
        assert told["uid"] != 0 and told["job"] == f"gridengine:default:{job}" and told["width"] > 1
        over = site.job(job)
        assert over.state == "released" and over.usage is not None
        assert (over.usage.shots, over.usage.tasks) == (20, 1) and over.usage.qpu_s > 0
        assert "20 shots in 1 tasks" in site.qdeck("jobs", over.id).stdout
        url = f"{site.daemon.url()}/v1/tasks"
        stale = httpx.get(url, headers={"Authorization": f"Bearer {told['token']}"}, trust_env=False)
        assert stale.status_code == 401, "the token of a job that is over is refused"


def test_qrsh(site: Site) -> None:
    words = ("qrsh", "-cwd", "-now", "n", "-l", "qpu=fresnel")
    command = f"python3 {site.work}/job.py {site.work}/program.json 7"
    done = site.cluster.run(*words, "-b", "y", command, user=BOB, cwd=site.work, within_s=60)
    assert json.loads(done.stdout.splitlines()[-1])["shots"] == 7
    done = site.cluster.run(*words[:-1], "qpu=nosuch", "-b", "y", "true", user=BOB, cwd=site.work, check=False)
    assert done.returncode and "no QPU 'nosuch'; there are fresnel, slow" in done.stderr


def test_an_array_shares_one_qpu_one_task_after_the_other(site: Site) -> None:
    held = site.submit("-l", "qpu=fresnel", user=BOB, script=site.gate("held"), name="held")
    site.cluster.wait(held, "r")
    (secret,) = site.cluster.spool.glob(f"execd/*/active_jobs/{held}.1/environment")
    until(lambda: "QDECK_TOKEN=" in secret.read_text(), "the prolog is through: its job is in state r before that")
    assert site.cluster.run("cat", str(secret), user=ADA, check=False).returncode, "others' tokens are not to be read"
    job = site.submit("-l", "qpu=fresnel", "-t", "1-3")
    until(lambda: "offers only gc:qpu_fresnel=0" in site.cluster.details(job), lambda: site.cluster.details(job))
    site.open("held")
    told = [site.told(job, task=task) for task in "123"]
    assert [one["job"] for one in told] == [f"gridengine:default:{job}.{task}" for task in "123"]
    spans = sorted((one["began"], one["ended"]) for one in told)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert len({one["token"] for one in told}) == 3


def test_several_qpus(site: Site) -> None:
    both = site.told(site.submit("-l", "qpu=fresnel+slow"))
    assert both["devices"] == "fresnel,slow" and both["device"] == "fresnel"
    by_hand = site.told(site.submit("-l", "qpu_fresnel=1,qpu_slow=1"))
    assert by_hand["devices"] == "fresnel,slow"


def test_classes_come_from_queues(site: Site) -> None:
    production = site.told(site.submit("-q", "qprod", "-l", "qpu=fresnel"))
    assert production["class"] == "production"
    assert site.told(site.submit("-q", "qprod", "-l", "qpu=fresnel,qpu_class=test"))["class"] == "test"
    anywhere = site.told(site.submit("-l", "qpu=fresnel,qpu_class=production"))
    assert anywhere["class"] == "production", "the verifier sent it where that is given"
    assert site.told(site.submit("-l", "qpu=fresnel"))["class"] == "development", "whatever queue it gets into"
    said = site.refused("-q", "qlow", "-l", "qpu=fresnel,qpu_class=test")
    assert "queue qlow gives development at most, not test; test is in qprod, qhigh" in said


def test_what_never_could_run_is_refused_at_once(site: Site) -> None:
    assert "no QPU 'nosuch'; there are fresnel, slow" in site.refused("-l", "qpu=nosuch")
    assert "ask for one with -l qpu=NAME" in site.refused("-l", "qpu_class=test")
    assert "takes no jobs with QPUs; these do" in site.refused("-q", "qplain", "-l", "qpu=fresnel")
    assert "cannot be a soft request" in site.refused("-soft", "-l", "qpu=fresnel")
    site.qdeck("project", "set", "closed", "--add", BOB)
    assert f"{ADA} is no member of project closed" in site.refused("-l", "qpu=fresnel,qpu_project=closed")
    assert site.told(site.submit("-l", "qpu=fresnel,qpu_project=closed", user=BOB))["project"] == "closed"


def test_what_is_refused_when_it_starts_is_in_error_alone_and_says_why(site: Site) -> None:
    site.qdeck("project", "set", "late", "--add", ADA)
    job = site.submit("-h", "-l", "qpu=fresnel,qpu_project=late", "-r", "n")
    site.qdeck("project", "set", "late", "--add", BOB, "--drop", ADA)
    site.cluster.run("qrls", job)
    site.cluster.wait(job, "Eqw")
    assert f"error reason          1:      Quarterdeck: {ADA} is no member of project late" in site.cluster.details(job)
    assert site.told(site.submit("-l", "qpu=fresnel", user=BOB))["shots"] == 20, "others are not touched"
    site.qdeck("project", "set", "late", "--add", ADA)
    site.cluster.run("qmod", "-cj", job, user=ADA, check=False)  # exits with 1 when it did it
    assert site.told(job)["project"] == "late"


def test_a_calibrating_device_keeps_its_jobs_waiting_and_no_others(site: Site) -> None:
    now_s = time.time()
    window = {"kind": "calibration", "start_s": now_s, "end_s": now_s + 3600, "reason": "weekly"}
    answer = site.daemon.http.post("/v1/devices/fresnel/windows", json=window)
    assert answer.status_code == 201, answer.text
    until(lambda: not site.ready("fresnel"), site.log)
    assert site.ready("slow")
    waits = site.submit("-l", "qpu=fresnel")
    other = site.submit("-l", "qpu=slow", script=site.program(1), user=BOB)
    assert site.told(other)["device"] == "slow"
    assert site.cluster.state(waits) == "qw"
    until(lambda: "qpu_waits=fresnel is calibrating" in site.cluster.details(waits),
          lambda: site.cluster.details(waits))  # fmt: skip
    assert "offers only gf:qpu_fresnel_ready=0" in site.cluster.details(waits)
    over_s = time.time()
    site.qdeck("window", "rm", answer.json()["id"])
    told = site.told(waits)
    assert told["shots"] == 20 and told["began"] > over_s, "it started by itself"


def test_maintenance_while_the_agent_is_away_sends_jobs_back(site: Site) -> None:
    """The prolog is the last to look."""
    assert site.agent is not None
    os.kill(site.agent.pid, signal.SIGSTOP)
    try:
        site.daemon.http.post("/v1/devices/fresnel/status", json={"status": "maintenance", "reason": "laser, new"})
        job = site.submit("-l", "qpu=fresnel")
        until(lambda: "Rq" in site.cluster.state(job), lambda: site.cluster.details(job))
        assert "qpu_waits=fresnel is unavailable: in maintenance: laser; new" in site.cluster.details(job)
    finally:
        os.kill(site.agent.pid, signal.SIGCONT)
        site.daemon.http.post("/v1/devices/fresnel/status", json={"status": "online"})
    assert site.told(job)["shots"] == 20


def test_qdel_stops_the_task(site: Site) -> None:
    job = site.submit("-l", "qpu=slow", script=site.program(5000))
    task = site.started(job)
    site.cluster.run("qdel", job, user=ADA)
    site.cluster.wait(job, "")
    until(lambda: site.task(task)["state"] == "cancelled", lambda: str(site.task(task)))


def test_a_killed_shepherd_leaks_nothing(site: Site) -> None:
    job = site.submit("-l", "qpu=slow", script=site.program(5000))
    task = site.started(job)
    shepherds = [pid for pid, where in site.cluster.processes("sge_shepherd") if where.endswith(f"/{job}.1")]
    assert len(shepherds) == 1
    os.kill(shepherds[0], signal.SIGKILL)
    until(lambda: site.cluster.state(job) != "r", "Grid Engine sees that it is gone", 60)
    until(lambda: site.task(task)["state"] == "cancelled", lambda: site.log() + str(site.task(task)))
    site.cluster.run("qdel", job, check=False)
    site.cluster.wait(job, "")


def test_a_killed_daemon_is_waited_for(site: Site) -> None:
    running = site.submit("-l", "qpu=slow", name="running", script=site.gate("running") + site.program(3))
    site.cluster.wait(running, "r")
    site.daemon.kill()
    waits = site.submit("-l", "qpu=fresnel")
    until(lambda: "qpu_waits=the quantum daemon does not answer" in site.cluster.details(waits),
          lambda: site.cluster.details(waits))  # fmt: skip
    site.daemon.start()
    site.open("running")
    assert site.told(running, "running")["shots"] == 3, "its token outlasts the restart"
    assert site.told(waits)["shots"] == 20


def test_a_killed_qmaster_takes_no_lease_away(site: Site) -> None:
    job = site.submit("-l", "qpu=slow", script=site.program(400))
    task = site.started(job)
    pid = int((site.cluster.spool / "qmaster" / "qmaster.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    until(lambda: "Grid Engine is unavailable" in site.log(), site.log)
    assert site.task(task)["state"] == "running"
    site.cluster.start_qmaster()
    site.cluster.wait(job, "", 90)  # the execution daemon takes its time to find it again
    assert site.told(job)["shots"] == 400


def test_a_suspended_job_keeps_its_qpu(site: Site) -> None:
    low = site.submit("-q", "qlow", "-l", "qpu=slow", name="low", script=site.gate("low") + site.program(2))
    site.cluster.wait(low, "r")
    script = site.gate("high") + site.program(2)
    high = site.submit("-q", "qhigh", "-l", "qpu=slow", name="high", script=script, user=BOB)
    until(lambda: "S" in site.cluster.state(low), lambda: site.cluster.details(low))
    until(lambda: len(site.contract.jobs("gridengine")) == 2, site.log)
    site.open("low")  # it does not see that it is open
    site.open("high")
    assert site.told(high, "high")["class"] == "test"
    assert site.told(low, "low")["shots"] == 2


def test_installing_twice_changes_nothing_and_removing_takes_all_out(site: Site) -> None:
    def settings() -> str:
        shown = (("-sc",), ("-sconf",), ("-se", "global"), ("-sq", "all.q"), ("-sq", "qprod"))
        return "\n".join(site.cluster.run("qconf", *words).stdout for words in shown)

    assert site.install("--check").stdout == "everything is as it should be\n"
    assert "qpu_fresnel" in settings() and str(site.file.with_suffix("")) in settings()
    site.install("--remove")
    assert "qpu" not in settings().replace(str(site.file.with_suffix("")), "REST") and "REST" not in settings()
    assert not site.file.exists()
    words = ("--device", "fresnel", "--device", "slow=4", "--queue", "all.q")
    done = site.install("--check", *words, check=False)
    assert done.returncode == 1 and "+qpu_fresnel 1" in done.stdout and not site.file.exists()
    site.cluster.run("qconf", "-mattr", "queue", "prolog", "/site/own", "all.q")
    done = site.install("--apply", *words, check=False)
    assert done.returncode == 1 and "queue all.q has a prolog already (/site/own)" in done.stderr
    assert not site.file.exists(), "refused before anything changed"
    site.cluster.run("qconf", "-mattr", "queue", "prolog", "NONE", "all.q")
