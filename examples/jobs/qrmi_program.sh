#!/bin/sh
# A program written for QRMI, as it is: it finds the job's QPU as the resource that QRMI's variables name.
# PYTHON is one with the packages `qrmi` and `pulser`.
#
#   sbatch examples/jobs/qrmi_program.sh
#   qsub -l qpu=fresnel-emulator examples/jobs/qrmi_program.sh
#
#SBATCH --job-name=qrmi-program
#SBATCH --qpu=fresnel-emulator
#SBATCH --time=10
#$ -N qrmi-program
#$ -S /bin/sh
#$ -cwd
set -eu

"${PYTHON:-python3}" "${JOBS:-examples/jobs}/qrmi_program.py"
