#!/bin/sh
# A job script that knows nothing of where it runs: it takes device and session from its environment.
#
#   qdeck run --device fresnel-emulator -- sh examples/job.sh
#
# PYTHON names the interpreter, if it is not the first one on PATH.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
echo "job on $(uname -n): device $QDECK_DEVICE, session ${QDECK_SESSION:-none}"

"${PYTHON:-python3}" "$here/parameter_scan.py"
