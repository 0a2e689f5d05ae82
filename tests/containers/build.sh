#!/bin/sh
# tests/containers/build.sh [FILE...]: build the Dockerfile and run the README's two commands in it, small.
#
# Not a part of `make test`, as it takes long. It needs root, debootstrap and buildah, but neither a
# Docker engine nor its registry: the Debian that the Dockerfile starts from is made here. FILEs are
# copied into that, for a machine that has a way of its own to its package indexes (/etc/pip.conf).
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
in_store() { buildah --root "$work/store" --runroot "$work/run" "$@"; }
trap 'in_store rm --all >/dev/null; in_store rmi --all --force >/dev/null; rm -rf "$work"' EXIT

base=$(sed -n 's/^FROM //p' Dockerfile)
suite=${base#*:}
debootstrap --variant=minbase "${suite%-slim}" "$work/debian" >"$work/debootstrap.log"
for file in "$@"; do cp -r --parents "$file" "$work/debian"; done
box=$(in_store from scratch)
in_store add --quiet "$box" "$work/debian" /
in_store commit --quiet --rm "$box" "docker.io/library/$base"
rm -rf "$work/debian"

in_store build --pull-never --tag kpo-suite .
box=$(in_store from --pull-never kpo-suite)
in_store run "$box" -- make table1 CONFIG=workflow/config/mini.yaml
in_store run "$box" -- make test ARGS="tests/kpo/test_kalman.py tests/baselines tests/test_locks.py"
echo "The image was built, and both commands ran in it."
