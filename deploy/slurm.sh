#!/bin/sh
# Every task does its part of the list, from 1 on: sbatch --array=1-8 deploy/slurm.sh archive.csv
#SBATCH --job-name=p2sam
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --requeue
exec p2sam batch "$1" --weights polyp --profile accurate \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
    --report "report-$SLURM_ARRAY_TASK_ID.jsonl"
