#!/bin/bash
# A sweep on many machines as a Slurm array. Each task plays its share of the runs; a job that waits for all of them makes one report:
#
#   array=$(sbatch --parsable deploy/sweep-array.sh)
#   sbatch --dependency="afterok:$array" --wrap 'maestro sim merge part-* --out report'
#
# Submit both in a folder that all nodes share, with `maestro` on the path. Parts that failed are submitted again with `sbatch --array=3,5 --export=ALL,PARTS=8 deploy/sweep-array.sh`: each goes on
# where it stopped. `--capacity` is stated, so that the tasks need not each find it: take it from a first run on one machine, which prints it.
#SBATCH --job-name=maestro-sweep
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=12:00:00
#SBATCH --output=sweep-%a.log
set -euo pipefail

part=$SLURM_ARRAY_TASK_ID
# The number of parts is that of the array, unless only some of them are submitted again.
parts=${PARTS:-$SLURM_ARRAY_TASK_COUNT}
exec maestro sim --policy all --load 0.9,1.2,1.5 --seeds 5 --capacity 1 \
  --jobs "${SLURM_CPUS_PER_TASK:-4}" --shard "$part/$parts" --out "part-$part"
