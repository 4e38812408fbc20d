"""What a workload manager's plugin and a user's program do with the unmodified `qrmi` package, in one process.

Arguments: URL, UID. The program (a Pulser sequence) comes on standard input. Prints what was seen, as JSON.
"""

import json
import os
import sys
import time

from qrmi import Payload, QuantumResource, ResourceType, TaskStatus

NAME = "QPU1"
url, uid = sys.argv[1], int(sys.argv[2])
program = sys.stdin.read()
os.environ |= {f"{NAME}_QRMI_WARDEN_URL": url, f"{NAME}_QRMI_URL": url, "QRMI_JOB_UID": str(uid), "QRMI_JOB_ID": "4711"}
seen = {}


def until(wanted, resource, task):
    deadline = time.monotonic() + 30
    while (status := resource.task_status(task)) not in wanted:
        if time.monotonic() > deadline:
            raise SystemExit(f"still {status}")
    return str(status)


def refused(call, *args):
    try:
        call(*args)
    except Exception as error:  # what class it is depends on the version
        return str(error)
    return ""


plugin = QuantumResource(NAME, ResourceType.PasqalLocal)
seen["accessible"] = plugin.is_accessible()
token = plugin.acquire()
seen["acquired_again"] = plugin.acquire() == token

os.setegid(uid)
os.seteuid(uid)
os.environ[f"{NAME}_QRMI_JOB_ACQUISITION_TOKEN"] = token
user = QuantumResource(NAME, ResourceType.PasqalLocal)
if hasattr(user, "status"):
    seen["status"] = str(user.status().status)
(device,) = json.loads(user.target().value)
seen["device"] = device["device_type"]
seen["spec"] = json.loads(device["specs"])["name"]
task = user.task_start(Payload.PasqalCloud(sequence=program, job_runs=100))
int(task)
seen["ended"] = until({TaskStatus.Completed}, user, task)
seen["counts"] = json.loads(user.task_result(task).value)["counter"]
seen["logs"] = user.task_logs(task)
user.task_stop(task)
seen["after_stop"] = str(user.task_status(task))
long = user.task_start(Payload.PasqalCloud(sequence=program, job_runs=2000))
seen["early_result"] = refused(user.task_result, long) if user.task_status(long) != TaskStatus.Completed else "done"
second = user.task_start(Payload.PasqalCloud(sequence=program, job_runs=2000))
user.task_stop(second)
seen["stopped"] = until({TaskStatus.Cancelled, TaskStatus.Completed}, user, second)
seen["bogus"] = refused(user.task_status, "999999")
seen["bad"] = refused(user.task_start, Payload.PasqalCloud(sequence="{}", job_runs=1))

os.seteuid(0)
os.setegid(0)
plugin.release(token)
os.setegid(uid)
os.seteuid(uid)
seen["after_release"] = refused(user.task_start, Payload.PasqalCloud(sequence=program, job_runs=1))
print(json.dumps(seen))
