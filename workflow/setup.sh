#!/bin/sh
# workflow/setup.sh KIND [PYTHON]: make an environment from workflow/lock/KIND.txt: .venv where KIND is
# cpu, no-vllm or gpu, .venv-KIND where it is trl, the trainer that `make bench` compares with, or verl.
# Without PYTHON the newest is taken that the locks are for; where there is none, uv provides one.
#
# The last step copies the lock to .installed-KIND in it. An environment whose copy is missing or
# differs is unfinished or stale, and is made again from nothing: pip takes a package for installed
# whose files an interrupted run wrote only in part.
set -eu
cd "$(dirname "$0")/.."
lock=workflow/lock/$1.txt kind=$1 named=${2:-}
case $1 in trl | verl) venv=.venv-$1 guard=$lock ;; *) venv=.venv guard=. ;; esac
stamp=$venv/.installed-$1

version() { "$1" -c 'import sys; print(*sys.version_info[:2])'; }

exec 9<"$guard" && flock 9 2>/dev/null || true # of two makes the second waits, and finds it done
if cmp -s "$lock" "$stamp" &&
    { [ -z "$named" ] || [ "$(version "$named")" = "$(version "$venv/bin/python")" ]; }; then
    touch "$stamp"
    exit
fi

# Run, as a name may be there without its Python (pyenv's), and a Python without what `venv` needs
# (Debian's).
fits() { # PYTHON
    "$1" -c '
import ensurepip, platform, sys
places = {("linux", "x86_64")}
if sys.argv[1] == "no-vllm":
    places |= {("linux", "aarch64"), ("darwin", "arm64")}
fits = platform.python_implementation() == "CPython" and (3, 11) <= sys.version_info[:2] <= (3, 13)
sys.exit(not fits or (sys.platform, platform.machine()) not in places)' "$kind" 2>/dev/null
}

find_python() {
    for name in ${named:-python3.13 python3.12 python3.11 python3}; do
        if fits "$name"; then
            echo "$name"
            return
        fi
    done
    [ -z "$named" ] && command -v uv >/dev/null || return
    uv python install 3.13 >&2 && uv python find --system --managed-python 3.13
}

python=$(find_python) && fits "$python" || {
    [ "$kind" = no-vllm ] && where="Linux or macOS on Apple silicon" || where="Linux on x86-64"
    [ "$named" ] && found="'$named' is not that here" || found="none is found here"
    echo "$lock is for CPython 3.11, 3.12 or 3.13 with its venv module on $where, and $found." \
        "Install one (python3.13 and python3.13-venv, say) or uv, or name it:" \
        "make TARGET PYTHON=/path/to/python3.11" >&2
    exit 1
}
[ "$kind" != cpu ] || "$python" -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null || {
    echo "vLLM's CPU build needs the system library libnuma.so.1: package libnuma1 of Debian and" \
        "Ubuntu, numactl-libs of Fedora. Without it: make TARGET LOCK=no-vllm" >&2
    exit 1
}

install() {
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps "$@"
}

echo "Setting up $venv from $lock with $python: a few minutes, once."
rm -rf "$venv"
"$python" -m venv "$venv"
cp "$lock" "$venv/lock.txt" # what is installed, and said to be, is the lock as it is now
lock=$venv/lock.txt
install "$(grep '^setuptools==' "$lock")" # builds the one package that has no wheel
grep '^torch==' "$lock" >"$venv/torch.txt"
install -r "$venv/torch.txt" 2>"$venv/torch.log" || {
    # Only where the configured index lacks the CPU build: without a network this would wait long.
    grep -q "No matching distribution found for torch==" "$venv/torch.log" || {
        cat "$venv/torch.log" >&2
        exit 1
    }
    echo "torch's CPU build is not in the configured index: trying the PyTorch project's index."
    install --extra-index-url https://download.pytorch.org/whl/cpu -r "$venv/torch.txt"
}
install --no-build-isolation --use-pep517 -r "$lock"
mv "$lock" "$stamp"
