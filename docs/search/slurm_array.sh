#!/bin/bash
# Four processes on one study: sbatch slurm_array.sh
# A task that is preempted is queued again, and what it trained is trained by whoever is free.
#SBATCH --job-name=search
#SBATCH --array=0-3
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --output=search-%A_%a.log

set -euo pipefail

# One database for all tasks, and one folder that all nodes see. The password is better kept in ~/.pgpass.
export STORAGE="postgresql+psycopg://search@database.example.org/search"
export OUTPUT_DIR="${SLURM_SUBMIT_DIR}/search"
export TF_NUM_INTRAOP_THREADS="${SLURM_CPUS_PER_TASK}"

cd "${SLURM_SUBMIT_DIR}"
source .venv/bin/activate # pip install "segopt-callbacks[search,int4]" "psycopg[binary]"
srun python search.py
