"""The shape of QRMI's own Pulser example: devices from the connection, QPUBackend, a parametrised batch, results.

Argument: how many more jobs to time. Everything else comes from the job's environment, as in a batch job.
"""

import json
import sys
import time

import numpy as np
from pulser import BlackmanWaveform, InterpolatedWaveform, Pulse, QPUBackend, Register, Sequence
from qrmi.pulser import PulserQRMIConnection

connection = PulserQRMIConnection()
(device,) = connection.fetch_available_devices().values()
register = Register.rectangle(1, 3, spacing=6.0, prefix="q").with_automatic_layout(device)
sequence = Sequence(register, device)
sequence.declare_channel("rydberg", "rydberg_global")
top = sequence.declare_variable("top", dtype=float)
amplitude = BlackmanWaveform(1000, top)
detuning = InterpolatedWaveform(1000, [-6.0, 0.0, 6.0])
sequence.add(Pulse(amplitude, detuning, 0), "rydberg")
sequence.measure("ground-rydberg")

backend = QPUBackend(sequence, connection=connection)
params = [{"runs": 200, "variables": {"top": 3.0}}, {"runs": 200, "variables": {"top": 0.1}}]
remote = backend.run(job_params=params, wait=True)
told = {
    "device": device.name,
    "status": str(remote.get_batch_status()),
    "counts": [dict(result.final_bitstrings) for result in remote.results],
    "logs": [bool(log) for log in connection.get_batch_logs()],
}

seconds = []
for step in range(int(sys.argv[1])):
    built = sequence.build(top=3.0 + 0.01 * step)  # another program each time, as in a variational loop
    began_s = time.perf_counter()
    remote = connection.submit(built, wait=True, job_params=[{"runs": 300}])
    (result,) = remote.results
    seconds.append(time.perf_counter() - began_s)
    assert sum(result.final_bitstrings.values()) == 300
print(json.dumps(told | {"median_s": float(np.median(seconds)) if seconds else 0.0, "seconds": seconds}))
