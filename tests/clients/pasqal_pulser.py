"""Pulser's QPUBackend and RemoteEmuFreeBackend through the unmodified PasqalCloudConnection. Arguments: URL, TOKEN."""

import json

from pasqal_cloud import PasqalCloudConnection
from pasqal_cloud.backends import RemoteEmuFreeBackend, RemoteMPSBackend
from pasqal_connection import ENDPOINTS, connection, timed, triangle
from pulser.backend import BitStrings, EmulationConfig, Occupation, QPUBackend

seen = {}
cloud = connection()
devices = cloud.fetch_available_devices()
seen["devices"] = {key: device.name for key, device in devices.items()}
seen["public"] = sorted(PasqalCloudConnection(endpoints=ENDPOINTS).fetch_available_devices())
fresnel = devices["FRESNEL"]

backend = QPUBackend(triangle(fresnel, parametrized=True), cloud)
jobs = [{"runs": 100, "variables": {"omega": 0.0}}, {"runs": 50, "variables": {"omega": 4.0}}]
results, seen["two_jobs_s"] = timed(lambda: backend.run(jobs, wait=True))
seen["two_jobs"] = [dict(one.final_bitstrings) for one in results.results]
seen["batch_status"] = results.get_batch_status().name
seen["atom_order"] = list(results.results[0].atom_order)
again = cloud.get_results(results.batch_id)
seen["job_ids"] = list(again.get_available_results())

with backend.open_batch() as batch:
    first = backend.run([{"runs": 20, "variables": {"omega": 4.0}}], wait=True)
    seen["while_open"] = first.get_batch_status().name
    second = backend.run([{"runs": 30, "variables": {"omega": 0.0}}], wait=True)
seen["open_batch"] = [sum(one.results[0].final_bitstrings.values()) for one in (first, second)]
seen["after_close"] = second.get_batch_status().name

short = QPUBackend(triangle(fresnel), cloud)
times = []
for _ in range(5):
    results, took_s = timed(lambda: short.run([{"runs": 10}], wait=True).results)
    times.append(took_s)
seen["short_job_s"] = times
seen["duration_ns"] = results[0].total_duration

emulator = RemoteEmuFreeBackend(triangle(), cloud)
seen["emulator"] = sum(emulator.run(wait=True).results[0].final_bitstrings.values())
asked = BitStrings(num_shots=77, tag_suffix="end")
results = RemoteMPSBackend(triangle(), cloud, config=RemoteMPSBackend.default_config.with_changes(observables=[asked]))
seen["observable"] = sum(results.run(wait=True).results[0].get_result(asked, 1.0).values())
try:
    refused = EmulationConfig(observables=[BitStrings(), Occupation()])
    RemoteEmuFreeBackend(triangle(), cloud, config=refused).run()
except BaseException as error:  # the SDK's errors are no Exceptions
    seen["refused"] = str(error)
print(json.dumps(seen))
