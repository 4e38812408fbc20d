#!/bin/sh
# A hybrid loop: a classical optimiser that asks the QPU for each point. Others use the QPU while it thinks.
#
#   sbatch examples/jobs/hybrid_loop.sh
#   sbatch --qpu=fresnel --qpu-class=test examples/jobs/hybrid_loop.sh
#   qsub -l qpu=fresnel-emulator examples/jobs/hybrid_loop.sh
#
#SBATCH --job-name=hybrid-loop
#SBATCH --qpu=fresnel-emulator
#SBATCH --time=30
#$ -N hybrid-loop
#$ -S /bin/sh
#$ -cwd
set -eu

"${PYTHON:-python3}" "${JOBS:-examples/jobs}/pulse_area.py"
