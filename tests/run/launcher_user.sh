#!/usr/bin/env bash
# `varve run` as an ordinary user: root inside, the user outside. Run by root it becomes nobody for this.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
user=$(id -u)
as_user=()
if [ "$user" -eq 0 ]; then
  user=65534
  as_user=(setpriv --reuid "$user" --regid "$user" --clear-groups)
  # A copy that the user can reach: the build may lie where only root can.
  mkdir "$scratch/bin"
  cp "$bin/varve" "$bin/varvefs" "$scratch/bin/"
  varve=$scratch/bin/varve
  mkdir "$VARVE_STORE"
  chown -R "$user:$user" "$root" "$VARVE_STORE"
fi
"${as_user[@]}" unshare --user true 2>/dev/null || skip "ordinary users may make no user namespaces here"
# One id, whatever ranges this user has; launcher_ids.sh is for those.
run() { "${as_user[@]}" "$varve" run --rm --userns single "$@"; }

expect "it is root inside" "uid=0(root) gid=0(root)" "$(run "$root" id | sed 's/ groups=.*//')"
expect "and the user outside" "$user" "$(run "$root" touch /etc/made; stat -c %u "$root/etc/made")"
expect "its own processes are seen alone" "1 varve-init 2 ps" "$(run "$root" ps -o pid,comm | tail -n +2 | xargs)"
expect "the host name is its own" "box" "$(run --hostname box "$root" hostname)"
expect "the loopback is up" 1 "$(run "$root" ip -o link | grep -c '[<,]UP[,>]')"
expect "the device nodes work" "4" "$(run "$root" sh -c 'head -c 4 /dev/zero | tee /dev/null | wc -c')"
expect "capabilities are limited" "00000000800405fb" "$(run "$root" sed -n 's/CapEff:\t//p' /proc/self/status)"
expect "exit statuses are passed on" 7 "$(status run "$root" sh -c 'exit 7')"
expect "another user is not mapped, and it says so" 125 "$(status run -u 1000 "$root" true)"
expect_in "by name" "varve: setting the group*" "$(run -u 1000:1000 "$root" true 2>&1 || true)"
expect "--share user is refused" 125 "$(status run --share user "$root" true)"
expect_in "with the way out" "*leave user out of --share*" "$(cat "$scratch/output")"
expect "a kept container is recorded" "kept" "$("${as_user[@]}" "$varve" run --name kept "$root" true; "${as_user[@]}" "$varve" ps -a | awk '/kept/ {print $1}')"
expect "nothing is mounted on the host" 0 "$(mounts_on_host)"

if [ "$(id -u)" -ne 0 ] && [ ! -w /dev/fuse ]; then
  echo "not tried: a stack, since /dev/fuse is closed to this user"
elif [ "$(id -u)" -eq 0 ]; then
  # A /dev/fuse that everybody may open, as most distributions have it, in a mount namespace of this test's own.
  cat >"$scratch/stack.sh" <<'INNER'
set -e
mkdir "$1/node"
mount -t tmpfs none "$1/node"
mknod -m 666 "$1/node/fuse" c 10 229
mount --bind "$1/node/fuse" /dev/fuse
shift
exec "$@"
INNER
  in_stack() { unshare --mount bash "$scratch/stack.sh" "$scratch" "${as_user[@]}" "$varve" run --rm --layers "$root" "$@"; }
  expect "a stack is mounted and written" "1 0" "$(in_stack sh -c 'echo 1 >/etc/one; cat /etc/one; stat -c %u /etc/one' | xargs)"
  rmdir "$scratch/node"
  expect "the layer is as it was" 1 "$([ ! -e "$root/etc/one" ] && echo 1)"
  expect "no daemon is left" 0 "$(wait_for 30 no_process "varvefs.*$scratch" && echo 0)"
fi
finish
