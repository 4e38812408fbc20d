#!/bin/sh
# A scan as an array: each task of the array is a job of its own and runs one point.
#
#   sbatch examples/jobs/scan_array.sh
#   qsub -l qpu=fresnel-emulator -t 1-4 examples/jobs/scan_array.sh
#
#SBATCH --job-name=scan
#SBATCH --qpu=fresnel-emulator
#SBATCH --array=1-4
#SBATCH --time=10
#$ -N scan
#$ -S /bin/sh
#$ -cwd
set -eu

point=${SLURM_ARRAY_TASK_ID:-${SGE_TASK_ID:-1}}
echo "point $point: detuning to $((5 * point)) rad/us"
qdeck submit "${PROGRAMS:-examples/programs}/mis.json" --shots 100 --wait \
    -p amplitude=0,6,6,0 -p "detuning=-10,-10,$((5 * point)),$((5 * point))"
