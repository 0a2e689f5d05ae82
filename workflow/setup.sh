#!/bin/sh
# workflow/setup.sh KIND PYTHON: make an environment from workflow/lock/KIND.txt: .venv where KIND is
# cpu or gpu, .venv-KIND where it is trl, the trainer that `make bench` compares with, or verl.
#
# The last step copies the lock to .installed-KIND in it. An environment whose copy is missing or
# differs is unfinished or stale, and is made again from nothing: pip takes a package for installed
# whose files an interrupted run wrote only in part.
set -eu
cd "$(dirname "$0")/.."
case $1 in cpu | gpu) venv=.venv ;; *) venv=.venv-$1 ;; esac
lock=workflow/lock/$1.txt stamp=$venv/.installed-$1 python=$2

exec 9<. && flock 9 || true # two makes at once: the second waits, then finds the work done
if cmp -s "$lock" "$stamp"; then
    touch "$stamp"
    exit
fi

"$python" -c '
import platform, sys
here = (platform.python_implementation(), *sys.version_info[:2], sys.platform, platform.machine())
sys.exit(here != ("CPython", 3, 11, "linux", "x86_64"))' 2>/dev/null || {
    echo "The locks are for CPython 3.11 on Linux x86-64, and '$python' is not that here." \
        "Install it, or name it: make TARGET PYTHON=/path/to/python3.11" >&2
    exit 1
}
[ "$1" != cpu ] || "$python" -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null || {
    echo "vLLM's CPU build needs the system library libnuma.so.1: package libnuma1 of Debian and" \
        "Ubuntu, numactl-libs of Fedora." >&2
    exit 1
}

install() {
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps "$@"
}

echo "Setting up $venv from $lock: a few minutes, once."
rm -rf "$venv"
"$python" -m venv "$venv"
cp "$lock" "$venv/lock.txt" # what is installed, and said to be, is the lock as it is now
lock=$venv/lock.txt
install "$(grep '^setuptools==' "$lock")" # builds the one package that has no wheel
torch=$(grep '^torch==' "$lock")
install "$torch" 2>"$venv/torch.log" || {
    # Only where the configured index lacks the CPU build: without a network this would wait long.
    grep -q "No matching distribution found for torch==" "$venv/torch.log" || {
        cat "$venv/torch.log" >&2
        exit 1
    }
    echo "$torch is not in the configured index: trying the PyTorch project's index of CPU wheels."
    install --extra-index-url https://download.pytorch.org/whl/cpu "$torch"
}
install --no-build-isolation --use-pep517 -r "$lock"
mv "$lock" "$stamp"
