#!/usr/bin/env bash
# A layer or an archive has its name when it is whole, and leaves nothing when it is not: on a full disk, killed, interrupted.
# Environment: VARVE_BIN, the directory of imagetool. Exit status 77: cannot run here, and says why.
set -euo pipefail
bin=${VARVE_BIN:?the directory with imagetool}

# shellcheck source=tests/run/private_mounts.sh
. "$(dirname "$0")/private_mounts.sh"

scratch=$(mktemp -d /tmp/varve-full.XXXXXX)
trap 'umount --lazy "$scratch/small" 2>/dev/null || true; rm -rf --one-file-system "$scratch"' EXIT
cd "$scratch"

fail() { echo "FAILED: $*" >&2; exit 1; }
step() { echo "== $*"; }

mkdir tree small
for i in $(seq 40); do head --bytes 300000 /dev/urandom >"tree/$i"; done
tar --create --file tree.tar tree
"$bin/imagetool" layer build tree -o good.layer >/dev/null

# fills COMMAND...: it fails as the small file system fills up, and leaves no file there.
fills() {
  local got=0
  "$@" >/dev/null 2>err || got=$?
  [ "$got" -eq 1 ] || fail "$*: exit status $got"
  grep --quiet 'No space left on device' err || fail "$*: $(cat err)"
  [ "$(wc -l <err)" -eq 1 ] || fail "$*: not one line: $(cat err)"
  [ -z "$(ls -A small)" ] || fail "$*: left behind: $(ls -A small)"
}

# From no room at all to all but the last blocks: the fault falls into data, metadata and the end.
need=$(($(stat --format %s good.layer) / 4096 + 1))
for blocks in 1 2 50 500 $((need - 2)) $((need - 1)); do
  step "a full disk of $blocks blocks"
  mount -t tmpfs -o "size=$((blocks * 4096))" none small
  fills "$bin/imagetool" layer build tree -o small/x.layer
  fills "$bin/imagetool" layer build tree -o small/x.layer --verify
  fills "$bin/imagetool" layer extract good.layer --tar small/x.tar
  # shellcheck disable=SC2016  # $1 is for the inner shell
  fills bash -c '"$1" layer build - -o small/x.layer <tree.tar' - "$bin/imagetool"
  umount small
done

step "a full disk leaves the file that was there"
mount -t tmpfs -o "size=400k" none small
echo old >small/x.layer
"$bin/imagetool" layer build tree -o small/x.layer 2>err && fail "it fitted"
[ "$(cat small/x.layer)" = old ] || fail "the old file is gone"
[ "$(ls -A small)" = x.layer ] || fail "left behind: $(ls -A small)"
umount small

mount -t tmpfs none small
# stops SIGNAL: many times, at other moments each time; what is there afterwards is whole or nothing.
stops() {
  local whole=0 nothing=0 at signal=$1 pid
  shift
  for at in $(seq 1 30); do
    "$@" >/dev/null 2>&1 &
    pid=$!
    sleep "0.0$(printf '%02d' $((at * 3)))"
    kill -s "$signal" "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    if [ -e small/x ]; then
      cmp small/x whole || fail "half of a file has a name"
      rm small/x
      whole=$((whole + 1))
    else
      nothing=$((nothing + 1))
    fi
    [ -z "$(ls -A small)" ] || fail "left behind: $(ls -A small)"
  done
  echo "$signal: $whole whole, $nothing without a file"
  [ "$nothing" -gt 0 ] || fail "not one was stopped in time"
}
for signal in KILL INT TERM; do
  step "stopped by SIG$signal"
  cp good.layer whole
  stops "$signal" "$bin/imagetool" layer build tree -o small/x --jobs 1
  "$bin/imagetool" layer extract good.layer --tar whole
  stops "$signal" "$bin/imagetool" layer extract good.layer --tar small/x
done

echo "all passed"
