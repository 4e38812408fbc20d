"""The whole life of tasks with the unmodified `qrmi` package, type pasqal-cloud. Arguments: URL, TOKEN.

The program (a Pulser sequence) and an AHS document come on standard input, as a JSON list of two strings.
"""

import json
import os
import sys

from pasqal_connection import timed
from qrmi import Payload, QuantumResource, ResourceType, TaskStatus

url, token = sys.argv[1:3]
program, document = json.load(sys.stdin)
ENDED = (TaskStatus.Completed, TaskStatus.Failed, TaskStatus.Cancelled)


def resource(name, token=token):
    settings = {"BASE_URL": url, "AUTH_TOKEN": token, "PROJECT_ID": "p1"}
    os.environ.update({f"{name}_QRMI_PASQAL_CLOUD_{key}": value for key, value in settings.items()})
    return QuantumResource(name, ResourceType.PasqalCloud)


def wait(task):
    looks = 1
    while (status := fresnel.task_status(task)) not in ENDED:
        looks += 1
    return str(status), looks


def refused(call, *args):
    try:
        call(*args)
    except Exception as error:
        return str(error)
    return ""


fresnel, emulator = resource("FRESNEL"), resource("EMU_MPS")
seen = {"accessible": fresnel.is_accessible(), "status": str(fresnel.status().status)}
seen["targets"] = [
    [(one["device_type"], json.loads(one["specs"])["name"]) for one in json.loads(qpu.target().value)]
    for qpu in (fresnel, emulator)
]
fresnel.release(fresnel.acquire())


def job():
    task = fresnel.task_start(Payload.PasqalCloud(sequence=program, job_runs=100))
    ended, looks = wait(task)
    return task, ended, looks, json.loads(fresnel.task_result(task).value)["counter"]


(task, seen["ended"], seen["looks"], seen["counts"]), _ = timed(job)
_, seen["short_job_s"] = timed(job)
seen["logs"] = fresnel.task_logs(task)
seen["after"] = json.loads(resource("FRESNEL").task_result(task).value)["counter"] == seen["counts"]

ahs = emulator.task_start(Payload.PasqalCloud(sequence=document, job_runs=50))
seen["ahs"] = [wait(ahs)[0], json.loads(emulator.task_result(ahs).value)["counter"]]
seen["ahs_elsewhere"] = json.loads(resource("EMU_MPS").task_result(ahs).value)["counter"] == seen["ahs"][1]

slow = fresnel.task_start(Payload.PasqalCloud(sequence=program, job_runs=10000))
seen["early_result"] = refused(fresnel.task_result, slow)
fresnel.task_stop(slow)
seen["stopped"] = wait(slow)[0]
seen["bogus"] = refused(fresnel.task_status, "5557ef21-0000-4000-8000-000000000000")
seen["bad"] = refused(fresnel.task_start, Payload.PasqalCloud(sequence="{}", job_runs=1))
seen["stranger"] = refused(resource("FRESNEL", "qds_nobody.x").task_status, task)
print(json.dumps(seen))
