#!/usr/bin/env bash
# The lesson that people learn containers by, typed into `varve run`, in a real image: as root, and as an ordinary user.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
# shellcheck disable=SC2016  # what stands in single quotes is for the shell inside
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "skipped: making the image needs root"; exit 77; }
[ -w /dev/fuse ] || { echo "skipped: there is no usable /dev/fuse"; exit 77; }
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
# shellcheck source=scripts/lib/console.sh
. "$here/../../scripts/lib/console.sh"
# shellcheck source=scripts/lib/debian_tree.sh
. "$here/../../scripts/lib/debian_tree.sh"
tar=$(debian_tree_tar procps,iproute2) || skip "no Debian tree could be had, see above"
mkdir "$scratch/bin"
cp "$bin/varve" "$bin/varvefs" "$scratch/bin/"
varve=$scratch/bin/varve
"$bin/imagetool" import --store "$VARVE_STORE" "$tar" lesson >/dev/null
as_user=()
run() { "${as_user[@]}" "$varve" run --rm lesson "$@"; }

check_lesson() {
  local outside_name
  outside_name=$(hostname)
  expect "ps aux shows the container's processes alone" "varve-init ps" "$(run ps aux | awk 'NR > 1 {print $11}' | xargs)"
  expect "process 1 is the container's own" "1" "$(run sh -c 'ps -o pid= 1' | xargs)"
  expect "without an init it is the command" "ps" "$("${as_user[@]}" "$varve" run --rm --no-init lesson ps -o comm= 1)"
  expect "hostname new-hostname works inside" "new-hostname" "$("${as_user[@]}" "$varve" run --rm --cap-add sys_admin lesson sh -c 'hostname new-hostname; hostname')"
  expect "and changes nothing outside" "$outside_name" "$(hostname)"
  expect_in "without the right to, it is refused" "*must be root*" "$(run hostname new-hostname 2>&1 || true)"
  expect "ip addr shows its own loopback" "lo: 127.0.0.1/8" "$(run ip -4 -o addr | awk '{print $2 ": " $4}' | xargs)"
  ipcmk --shmem 4096 >"$scratch/shmem"
  expect "ipcs is empty" "0" "$(run ipcs | grep -c '^0x' || true)"
  ipcrm --shmem-id "$(awk '{print $NF}' "$scratch/shmem")"
  expect "id is root inside" "uid=0(root) gid=0(root)" "$(run id | cut -d' ' -f1,2)"
  expect "and the user outside" "$user" "$("${as_user[@]}" "$varve" run --rm lesson sh -c "exec sleep ${number}61" & \
    wait_for 60 pgrep --full "^sleep ${number}61" >/dev/null; stat -c %u "/proc/$(pgrep --full "^sleep ${number}61")"; pkill --full "^sleep ${number}61")"
  expect "the root is the image's, written on its own" "here" "$(run sh -c 'echo here >/root/note; cat /root/note')"
  expect "and the next one begins anew" "" "$(run sh -c 'cat /root/note 2>/dev/null' || true)"
  expect "a mount inside is not seen outside" "0" "$(run sh -c 'true'; mounts_on_host)"
}

user=0
check_lesson
if setpriv --reuid 65534 --regid 65534 --clear-groups unshare --user true 2>/dev/null; then
  echo "-- as nobody"
  user=65534
  number=2$$
  # A /dev/fuse that everybody may open, as most distributions have it; this script has mounts of its own.
  mkdir "$scratch/node"
  mount -t tmpfs none "$scratch/node"
  mknod -m 666 "$scratch/node/fuse" c 10 229
  mount --bind "$scratch/node/fuse" /dev/fuse
  umount --lazy "$scratch/node"
  chown -R "$user:$user" "$VARVE_STORE"
  as_user=(setpriv --reuid "$user" --regid "$user" --clear-groups)
  check_lesson
  umount /dev/fuse
  rmdir "$scratch/node"
else
  echo "not tried as nobody: ordinary users may make no user namespaces here"
fi
finish
