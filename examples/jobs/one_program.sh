#!/bin/sh
# One program on one QPU. The same script for Slurm and Grid Engine, for an emulator and for hardware:
#
#   sbatch examples/jobs/one_program.sh
#   sbatch --qpu=fresnel examples/jobs/one_program.sh
#   qsub -l qpu=fresnel examples/jobs/one_program.sh
#
#SBATCH --job-name=one-program
#SBATCH --qpu=fresnel-emulator
#SBATCH --time=10
#$ -N one-program
#$ -S /bin/sh
#$ -cwd
set -eu

# qdeck finds daemon, session and QPU in the job's environment.
qdeck submit "${PROGRAMS:-examples/programs}/afm_chain.json" --shots 200 --wait
