#!/usr/bin/env bash
# Resource limits felt in the container, told outside, and gone afterwards: `varve run` with control groups, as root.
# What is tested adapts to where the host's controllers are (version 1, 2 or both); launcher_limits_v2.sh runs this file
# on a kernel with version 2. Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
# shellcheck disable=SC2016  # what stands in single quotes is for the shell inside
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "skipped: control groups of others than root need a delegated one"; exit 77; }
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
plan=$("$varve" run --dry-run --memory 50m "$root" true 2>&1) || skip "no memory controller can be had: $plan"
run() { "$varve" run "$@"; }
# look_at NAME: sets about to what `varve inspect` says, and groups to the directories of its control groups. Without other
# processes, because each costs much in user-mode-linux.
look_at() {
  local line
  about=$("$varve" inspect "$1")
  groups=()
  while read -r line; do
    if [[ $line =~ ^\"(/.*/varve/[0-9a-f]+)\" ]]; then groups+=("${BASH_REMATCH[1]}"); fi
  done <<<"$about"
}
# existing GROUP...: how many are there.
existing() { local one count=0; for one in "$@"; do [ ! -d "$one" ] || count=$((count + 1)); done; echo "$count"; }

echo "-- memory"
expect "100 MB do not fit into 50" 137 "$(status run --name eater --memory 50m --memory-swap 50m "$root" sh -c "exec tail -c 100m /dev/zero")"
expect_in "which is told" "*memory limit of 50 MiB was reached; the kernel killed 1 of its processes*" "$(<"$scratch/output")"
look_at eater
expect_in "and remembered" '*"OomKilled": true*' "$about"
expect_in "with the limit" '*"memory": "52428800"*' "$about"
expect_in "the status is a shell's for SIGKILL" '*"ExitStatus": 137*' "$about"
expect_in "it had groups" "[1-9]*" "${#groups[@]}"
expect "they are gone" 0 "$(existing "${groups[@]}")"
expect "the same fits into 500" 0 "$(status run --name fits --memory 500m "$root" sh -c "head -c 1 /dev/zero | tail -c 100 >/dev/null")"
look_at fits
expect_in "then nothing is remembered" '*"OomKilled": false*' "$about"

echo "-- without groups"
expect "the container stays in the launcher's" "$(sort /proc/self/cgroup)" \
  "$(run --rm --cgroups disabled --share cgroup "$root" cat /proc/self/cgroup | sort)"
expect "nothing is recorded of it" "0 no" "$(VARVE_STORE=$scratch/unused status run --rm --cgroups disabled "$root" true) $([ -e "$scratch/unused" ] || echo no)"
expect "a limit is refused" 125 "$(status run --rm --cgroups disabled --memory 50m "$root" true)"
expect_in "  (the reason)" "*nothing is limited with --cgroups disabled*" "$(<"$scratch/output")"

echo "-- class of traffic"
# In a mount namespace of its own, where the tree is mounted. It ends with its last mount, once its groups have ended.
tree_is_mounted() { ! grep -q '^net_cls[[:space:]]0[[:space:]]' /proc/cgroups; }
tree_is_empty() { grep -q '^net_cls[[:space:]][0-9]*[[:space:]]1[[:space:]]' /proc/cgroups; }
class_of_container() {
  unshare --mount bash -c '
    mount -t cgroup -o net_cls net_cls "$1"
    "$2" run -d --name classed --net-classid 10:1 "$3" sleep 1000 >/dev/null
    cat "$1"/varve/*/net_cls.classid
    "$2" rm -f classed >/dev/null
    rmdir "$1/varve"' - "$scratch/net_cls" "$varve" "$root"
}
mkdir "$scratch/net_cls"
if ! grep -q '^net_cls.*1$' /proc/cgroups || tree_is_mounted; then
  echo "not tested here: --net-classid (the kernel has no net_cls, or it is in use)"
else
  expect "is that of its group" "1048577" "$(class_of_container)"
  wait_for 3 tree_is_empty && unshare --mount mount -t cgroup -o net_cls net_cls "$scratch/net_cls"
fi
expect "cannot be had here, which is told" 125 "$(status run --rm --net-classid 10:1 "$root" true)"
expect_in "  (the reason)" "*no net_cls controller*" "$(<"$scratch/output")"

echo "-- pause"
run -d --name clock "$root" sh -c 'while :; do echo tick; sleep 0.05; done' >/dev/null
ticks() { "$varve" logs clock | wc -l; }
before=0
has_ticked() { [ "$(ticks)" -gt "$before" ]; }
wait_for 20 has_ticked
expect "a container stands still" 0 "$(status "$varve" pause clock)"
sleep 0.1
before=$(ticks)
sleep 0.3
expect "  (it says nothing)" "$before" "$(ticks)"
expect_in "ps tells" "*clock*paused*" "$("$varve" ps)"
expect "pausing twice is no failure" 0 "$(status "$varve" pause clock)"
expect "it goes on" 0 "$(status "$varve" unpause clock)"
expect "  (it says more)" 0 "$(wait_for 20 has_ticked && echo 0)"
"$varve" pause clock
expect "a paused one can be removed" 0 "$(status "$varve" rm -f clock)"
expect "what does not run cannot be paused" 1 "$(status "$varve" pause clock)"

echo "-- processes"
# A fork bomb of 40, which wait for a second each.
bomb='for i in $(seq 40); do sleep 1 & done; wait; echo survived'
expect_in "20 are not passed" "*can't fork*" "$(run --rm --pids-limit 20 "$root" sh -c "$bomb" 2>&1 || true)"
# Not where a process costs a second.
[ -n "${VARVE_TEST_ROOT:-}" ] || expect "40 fit into the default" survived "$(run --rm "$root" sh -c "$bomb" 2>&1)"

echo "-- time"
"$varve" run --name loop --cpus 0.2 "$root" timeout 120 sh -c "while :; do :; done" &
looping=$!
time_ns=0
looper_runs() {
  local stats
  stats=$("$varve" stats --no-stream --json loop 2>/dev/null) || return 1
  [[ $stats =~ \"CpuNanoseconds\":\ ([1-9][0-9]*) ]] && time_ns=${BASH_REMATCH[1]}
}
seen=0
wait_for 30 looper_runs || seen=$?
expect "the loop is seen" 0 "$seen"
before=$time_ns
before_s=$(cut -d' ' -f1 /proc/uptime)
sleep 3
looper_runs
after=$time_ns
share=$(awk -v b="$before" -v a="$after" -v s="$before_s" -v e="$(cut -d' ' -f1 /proc/uptime)" 'BEGIN { printf "%d", (a - b) / (e - s) / 1e7 }')
echo "it had $share % of a processor"
expect "not more than a fifth and a little" yes "$([ "$share" -le 26 ] && echo yes)"
throttled=0
look_at loop
for group in "${groups[@]}"; do
  [ -e "$group/cpu.stat" ] || continue
  throttled=$((throttled + $(sed -n 's/^nr_throttled //p' "$group/cpu.stat") + 0))
done
expect "because it was throttled" yes "$([ "$throttled" -gt 0 ] && echo yes)"
kill -TERM "$looping"; end_of "$looping"
expect_in "the table tells of running ones alone" "*NAME*" "$("$varve" stats --no-stream)"
expect "one that has ended has no statistics" 1 "$(status "$varve" stats --no-stream loop)"

echo "-- disks"
# A file system of its own on a loop device, in this test's own mount namespace.
disk=
make_disk() {
  truncate -s 64M "$scratch/disk.img" && mke2fs -q -F "$scratch/disk.img" || return 1
  disk=$(losetup --find --show "$scratch/disk.img") || return 1
  mkdir -p "$root/disk" && mount -t ext4 "$disk" "$root/disk"
}
remove_disk() {
  ! mountpoint -q "$root/disk" || umount "$root/disk"
  [ -z "$disk" ] || losetup --detach "$disk"
  remove_scratch
}
trap remove_disk EXIT
if make_disk 2>"$scratch/disk.log"; then
  started=$(cut -d. -f1 /proc/uptime)
  run --rm --device-write-bps "$disk:1m" "$root" dd if=/dev/zero of=/disk/file bs=256k count=16 oflag=direct 2>/dev/null
  # At least: a busy machine can only make it more.
  expect "4 MiB at 1 MiB/s take 3 s or more" yes "$([ $(($(cut -d. -f1 /proc/uptime) - started)) -ge 2 ] && echo yes)"
else
  echo "not tested here: --device-write-bps (no loop device with ext4: $(tail -n1 "$scratch/disk.log"))"
fi

echo "-- devices"
mkdir -p "$root/nodes"
mknod "$root/nodes/null" c 1 3
expect "a device node of the image is none" 1 "$(status run --rm "$root" sh -c 'exec 3</nodes/null')"
# Anybody may open kmsg for writing whom its mode lets; nothing is written here.
mknod "$scratch/kmsg" c 1 11
open_for_writing() { run --rm --device "$scratch/kmsg:/dev/given:$1" "$root" sh -c 'exec 3>/dev/given'; }
expect "a device that is given can be opened" 0 "$(status open_for_writing rw)"
expect "one that is given for reading cannot be written" 1 "$(status open_for_writing r)"
expect_in "it is not permitted" "*Operation not permitted*" "$(cat "$scratch/output")"
expect "all of /dev can be opened" 0 "$(status run --rm "$root" sh -c 'for d in null zero full random urandom; do dd if=/dev/$d of=/dev/null bs=1 count=1 2>/dev/null || exit 1; done')"

echo "-- what the container sees"
expect "its own group is the root" 0 "$(run --rm "$root" cat /proc/self/cgroup | grep -c varve || true)"
expect "it can neither raise its limits nor make groups" "end" "$(run --rm "$root" sh -c '
  for f in $(find /sys/fs/cgroup -name pids.max -o -name memory.max -o -name memory.limit_in_bytes); do (echo 1000000 >$f) 2>/dev/null && echo "wrote $f"; done
  for d in $(find /sys/fs/cgroup -type d); do mkdir $d/new 2>/dev/null && echo "made $d/new"; done; echo end')"
"$varve" run -d --name first --pids-limit 66 "$root" sleep "${number}22" >/dev/null
expect "a container that joins another one sees its own group, not that one's" 77 \
  "$(run --rm --pid container:first --pids-limit 77 "$root" sh -c 'cat $(find /sys/fs/cgroup -name pids.max)')"
expect "and cannot write there" "end" "$(run --rm --network container:first "$root" sh -c '
  for f in $(find /sys/fs/cgroup -name pids.max); do (echo 1000000 >$f) 2>/dev/null && echo "wrote $f"; done; echo end')"
expect "nor is the host's path told" 0 "$(run --rm --ipc container:first "$root" cat /proc/self/cgroup | grep -c varve || true)"
"$varve" rm -f first

wrong_values() {
  echo "-- wrong values"
  expect "a size that is none" 125 "$(status run --rm --memory lots "$root" true)"
  expect_in "is named" "*--memory: lots: this is no size*" "$(cat "$scratch/output")"
  expect "swap below memory" 125 "$(status run --rm --memory 50m --memory-swap 10m "$root" true)"
  expect "processors that are not there" 125 "$(status run --rm --cpuset-cpus 1000 "$root" true)"
  expect_in "are named" "*--cpuset-cpus*" "$(cat "$scratch/output")"
  expect "a limit of no disk" 125 "$(status run --rm --device-write-bps /dev/null:1m "$root" true)"
}
# They do not depend on the kernel.
[ -n "${VARVE_TEST_ROOT:-}" ] || wrong_values

echo "-- a killed launcher"
# By its own name, as a function in the background would be a shell around it.
"$varve" run --name orphan --memory 100m "$root" sleep "${number}21" &
launcher=$!
wait_for 30 pgrep --full "^sleep ${number}21" >/dev/null
look_at orphan
expect "its groups are there" "${#groups[@]}" "$(existing "${groups[@]}")"
kill -KILL "$launcher"; end_of "$launcher"
expect "it takes the container with it" 0 "$(wait_for 10 no_process "^sleep ${number}21" && echo 0)"
expect "varve rm" 0 "$(status "$varve" rm orphan)"
expect "leaves no group" 0 "$(existing "${groups[@]}")"

echo "-- an ordinary user"
user_run() {  # GROUP ARG...: from that group, which no other process is in
  local group=$1
  shift
  # shellcheck disable=SC2016
  sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec setpriv --reuid 1000 --regid 1000 --clear-groups "$@"' _ "$group" \
    env VARVE_STORE="$scratch/user-store" "$varve" run "$@"
}
delegate() {  # GROUP: to user 1000
  mkdir "$1" && chown 1000 "$1" "$1/cgroup.procs" "$1/cgroup.subtree_control"
}
delegated() {
  local top=/sys/fs/cgroup/varve-test-$$
  mkdir "$scratch/user-store" && chown 1000 "$scratch/user-store"
  echo "+memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
  delegate "$top"
  expect "alone in a group of his own he may limit" 137 "$(status user_run "$top" --name alone --memory 20m --memory-swap 20m "$root" tail -c 50m /dev/zero)"
  expect_in "which is told" "*memory limit of 20 MiB was reached*" "$(cat "$scratch/output")"
  expect "his container has left no group" "$top/varve/launcher" "$(find "$top/varve" -mindepth 1 -type d)"
  rmdir "$top/varve/launcher" "$top/varve"
  echo "-memory -pids" >"$top/cgroup.subtree_control"
  delegate "$top/session"
  expect "below one without processes, too" 20 "$(user_run "$top/session" --rm --pids-limit 20 "$root" cat /sys/fs/cgroup/pids.max)"
  expect "the group of the container is there" "varve" "$(find "$top" -mindepth 1 -maxdepth 1 -type d -name varve -printf '%f\n')"
  rmdir "$top/varve" "$top/session" "$top"
  expect "without delegation he is told" 125 "$(status user_run /sys/fs/cgroup --rm --memory 20m "$root" true)"
  expect_in "what to do" "*--memory: *Delegate=yes*" "$(cat "$scratch/output")"
  expect "and without limits nothing is asked" 0 "$(status user_run /sys/fs/cgroup --rm "$root" true)"
}
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  delegated
else
  echo "not tested here: delegation (the tree of version 2 is not at /sys/fs/cgroup); launcher_limits_v2 does"
  expect "he is told where the controller is" 125 "$(status setpriv --reuid 1000 --regid 1000 --clear-groups "$varve" run --rm --memory 20m "$root" true)"
  expect_in "and what to do" "*--memory: *version 1*as root*" "$(cat "$scratch/output")"
fi

finish
