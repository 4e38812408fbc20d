"""What wheels of `qrmi` before 0.26.1 can do with pasqal-local: they were built without MUNGE. Argument: URL."""

import json
import os
import sys

from qrmi import QuantumResource, ResourceType

url = sys.argv[1]
os.environ |= {"QPU1_QRMI_WARDEN_URL": url, "QPU1_QRMI_URL": url, "QRMI_JOB_UID": "4001", "QRMI_JOB_ID": "4711"}
resource = QuantumResource("QPU1", ResourceType.PasqalLocal)
try:
    resource.acquire()
    said = ""
except RuntimeError as error:
    said = str(error)
print(json.dumps({"accessible": resource.is_accessible(), "acquire": said}))
