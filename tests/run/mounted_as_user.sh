#!/usr/bin/env bash
# The mounted tests (not those of tests/mounted/faults) as an ordinary user: root of a user namespace of its own.
# Usage: mounted_as_user.sh range|one_id|xattrs
#   range    with a range of ids, as newuidmap gives it
#   one_id   with one id only
#   xattrs   as root, with owners kept in xattrs, which is what such a user's upper does
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
set -euo pipefail
# shellcheck source=tests/run/private_mounts.sh
. "$(dirname "$0")/private_mounts.sh"
way=${1:?range, one_id or xattrs}

skip() { echo "skipped: $*"; exit 77; }
bin=${VARVE_BIN:?the directory with varvefs and imagetool}
user=64321
first_sub_id=2000000
[ -c /dev/fuse ] || skip "there is no /dev/fuse"
setpriv --reuid "$user" --regid "$user" --clear-groups unshare --user --mount true 2>/dev/null ||
  skip "ordinary users may make no user namespaces here"

scratch=$(mktemp -d /tmp/varve-as-user.XXXXXX)
chmod 755 "$scratch"
remove_scratch() { umount "$scratch/node" 2>/dev/null || true; rm -rf --one-file-system "$scratch"; }
trap remove_scratch EXIT
# Where the user can reach it: the build may lie where only root can.
mkdir "$scratch/bin" "$scratch/tests" "$scratch/node"
cp "$bin/varvefs" "$bin/imagetool" "$scratch/bin/"
cp "$bin"/../tests/mounted/mounted_* "$scratch/tests/"
# A /dev/fuse that everybody may open, as most distributions have it.
mount -t tmpfs none "$scratch/node"
mknod -m 666 "$scratch/node/fuse" c 10 229
mount --bind "$scratch/node/fuse" /dev/fuse
export VARVE_BIN=$scratch/bin

# with_scratch_of PROGRAM COMMAND...: in memory those that make names by the hundred thousand, which takes long on a disk, where
# mounted.* makes them; the others need what only a file system on a disk has.
with_scratch_of() {
  local name=$1
  shift
  case $name in
    mounted_listing | mounted_directories | mounted_read_only) VARVE_TEST_IN_MEMORY=1 "$@" ;;
    *) "$@" ;;
  esac
}

failures=0
# run_all HOW COMMAND...: every test program by that command; what fails is shown in full.
run_all() {
  local how=$1 program name status
  shift
  for program in "$scratch"/tests/mounted_*; do
    name=$(basename "$program")
    status=0
    with_scratch_of "$name" "$@" "$program" >"$scratch/log" 2>&1 || status=$?
    echo "$how: $name: $(grep -c '^\[       OK' "$scratch/log" || true) passed," \
      "$(grep -c '^\[  SKIPPED \] .*ms)$' "$scratch/log" || true) skipped, status $status"
    grep '^skipped: \|^needs ' "$scratch/log" | sort | uniq -c || true
    if [ "$status" -ne 0 ]; then
      failures=$((failures + 1))
      grep -v '^\[ RUN\|^\[       OK' "$scratch/log" || true
    fi
  done
}

as_user=(setpriv --reuid "$user" --regid "$user" --clear-groups)
# with_one_id COMMAND...
with_one_id() { "${as_user[@]}" unshare --user --map-root-user --mount "$@"; }
# with_a_range COMMAND...: 0 is the user, 1 to 65536 are ids that root lends it, since only root may.
with_a_range() {
  local pid status=0
  rm -f "$scratch/go"
  mkfifo -m 666 "$scratch/go"
  # shellcheck disable=SC2016  # the inner shell expands it
  "${as_user[@]}" unshare --user --mount bash -c 'read -r _ <"$1"; shift; exec setpriv --reuid 0 --regid 0 --clear-groups "$@"' \
    - "$scratch/go" "$@" &
  pid=$!
  while [ "$(readlink "/proc/$pid/ns/user")" = "$(readlink /proc/self/ns/user)" ]; do sleep 0.02; done
  printf '0 %s 1\n1 %s 65536\n' "$user" "$first_sub_id" | tee "/proc/$pid/uid_map" >"/proc/$pid/gid_map"
  # Nobody would take it from a dead one.
  if kill -0 "$pid"; then echo go >"$scratch/go"; fi
  wait "$pid" || status=$?
  return "$status"
}

case $way in
  range) run_all "a range of ids" with_a_range ;;
  one_id) run_all "one id" with_one_id ;;
  xattrs) VARVE_TEST_MOUNT_OPTIONS=xattr_permissions=2 run_all "owners in xattrs" env ;;
  *) echo "no such way: $way" >&2; exit 2 ;;
esac
[ "$failures" -eq 0 ] || { echo "$failures programs failed"; exit 1; }
