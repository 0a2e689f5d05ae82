#!/bin/sh
# Slurm for the tests beside this file, from Debian's packages, where they are not there and can be.
set -eu
for tool in slurmctld slurmd sbatch munged; do
    command -v "$tool" >/dev/null && continue
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "Slurm is not installed, and only root can install it, with apt-get: its tests are skipped."
        exit
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    exec apt-get install -qq -y --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
done
