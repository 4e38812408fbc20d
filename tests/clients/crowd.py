"""Many users at once, each with many sessions, through the unmodified `qrmi` package.

Arguments: URL, users, sessions of each. The program comes on standard input. Root opens and releases the sessions, as a
workload manager's plugin would; each user is a process of its own. Prints what went wrong, and counts, as JSON.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from qrmi import Payload, QuantumResource, ResourceType, TaskStatus

url, users, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
program = sys.stdin.read()
FIRST = 5000


def resource(uid, job, token=""):
    settings = {"QRMI_WARDEN_URL": url, "QRMI_JOB_UID": str(uid), "QRMI_JOB_ID": job}
    if token:
        settings["QRMI_JOB_ACQUISITION_TOKEN"] = token
    return QuantumResource.from_config("QPU1", ResourceType.PasqalLocal, settings)


def one(uid, job, token, number):
    """One session's work: every third task is called off, every third waited for, every third left to the release."""
    mine = resource(uid, job, token)
    task = mine.task_start(Payload.PasqalCloud(sequence=program, job_runs=10))
    if number % 3 == 0:
        mine.task_stop(task)
    elif number % 3 == 1:
        while mine.task_status(task) not in (TaskStatus.Completed, TaskStatus.Cancelled, TaskStatus.Failed):
            pass
        counts = json.loads(mine.task_result(task).value)["counter"]
        assert sum(counts.values()) == 10, counts
    return int(task)


def user(uid, jobs, told):
    os.setegid(uid)
    os.seteuid(uid)
    wrong, tasks = [], []
    with ThreadPoolExecutor(5) as pool:
        for future in [pool.submit(one, uid, job, token, n) for n, (job, token) in enumerate(jobs)]:
            try:
                tasks.append(future.result())
            except Exception as error:
                wrong.append(f"uid {uid}: {error}")
    mine, foreign = resource(uid, "x"), 0
    for number in range(1, max(tasks, default=0) + 1, 7):
        if number not in tasks:
            try:
                mine.task_status(str(number))
                foreign += 1
            except Exception as error:
                if "Job not found" not in str(error):
                    wrong.append(f"uid {uid}, job {number}: {error}")
    os.write(told, json.dumps({"wrong": wrong, "tasks": len(tasks), "foreign": foreign}).encode() + b"\n")


with ThreadPoolExecutor(8) as pool:
    wanted = [(FIRST + n, f"job-{n}-{m}") for n in range(users) for m in range(each)]
    tokens = list(pool.map(lambda w: (w, resource(*w).acquire()), wanted))
by_uid = {}
for (uid, job), token in tokens:
    by_uid.setdefault(uid, []).append((job, token))
reading, told = os.pipe()
for uid, jobs in by_uid.items():
    if os.fork() == 0:
        try:
            user(uid, jobs, told)
        finally:
            os._exit(0)
os.close(told)
with os.fdopen(reading) as lines:
    reports = [json.loads(line) for line in lines]
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda one: resource(*one[0]).release(one[1]), tokens))
print(json.dumps({
    "reports": len(reports), "wrong": [line for report in reports for line in report["wrong"]][:20],
    "tasks": sum(report["tasks"] for report in reports), "foreign": sum(report["foreign"] for report in reports),
    "tokens": len({token for _, token in tokens}),
}))  # fmt: skip
