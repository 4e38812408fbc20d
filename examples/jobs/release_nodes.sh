#!/bin/sh
# Classical nodes for the classical part only. Slurm: a heterogeneous job; its second component is given back as soon as
# it has nothing more to do, and the first goes on waiting for the QPU with one core.
#
#   sbatch examples/jobs/release_nodes.sh
#
#SBATCH --job-name=release-nodes
#SBATCH --ntasks=1
#SBATCH --qpu=fresnel-emulator
#SBATCH --time=30
#SBATCH hetjob
#SBATCH --partition=classical
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --time=30
set -eu

# A heterogeneous job's steps inherit the first component's task count; they have their own.
unset SLURM_NTASKS SLURM_NPROCS
srun --het-group=1 -n 2 sh -c 'echo "classical part on $(hostname), task $SLURM_PROCID"'

scancel "${SLURM_JOB_ID}+1"
echo "classical nodes given back"

qdeck submit "${PROGRAMS:-examples/programs}/afm_chain.json" --shots 200 --wait
