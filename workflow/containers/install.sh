#!/bin/sh
# workflow/containers/install.sh KIND: what Debian lacks and the environment of workflow/lock/KIND.txt, into
# an image. Dockerfile and kpo-suite.def call it, as root.
set -eu
cd "$(dirname "$0")/../.."
apt-get update -qq
apt-get install -qq --yes --no-install-recommends ca-certificates git libnuma1 make python3-venv >/dev/null
if [ "$1" = gpu ]; then # Triton compiles the kernels' launchers
    apt-get install -qq --yes --no-install-recommends gcc libc6-dev python3-dev >/dev/null
fi
rm -rf /var/lib/apt/lists/*
PIP_NO_CACHE_DIR=1 make env LOCK="$1" PYTHON=python3
