#!/usr/bin/env bash
# Attempts to get from a container to the host: as root in it, as a user in it, and as root in the container of an
# ordinary user. Each attempt is made outside, too, where it succeeds or fails for another reason: it is a real one.
# Environment: VARVE_BIN, VARVE_ESCAPE_HELPER. Exit status 77: cannot run here, and says why.
# shellcheck disable=SC2016  # what stands in single quotes is for the shell inside
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "skipped: what is tried outside needs root"; exit 77; }
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
helper=${VARVE_ESCAPE_HELPER:?the program of escape_helper.cc}
cp "$helper" "$scratch/helper"
cp "$helper" "$root/bin/try"
mkdir "$root/mnt" "$scratch/bin" "$scratch/mnt"
chmod 1777 "$root/mnt"
cp "$bin/varve" "$scratch/bin/"
chmod 755 "$scratch/helper"

user_root=$scratch/user-root
make_root "$user_root"
cp "$helper" "$user_root/bin/try"
mkdir "$user_root/mnt"
chown -R --no-dereference 65534:65534 "$user_root"
as_nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups env "VARVE_STORE=$scratch/nobody")
mkdir "$scratch/nobody"; chown 65534 "$scratch/nobody"
modes=(root bob)
if "${as_nobody[@]}" unshare --user true 2>/dev/null; then modes+=(nobody); else echo "not tried: ordinary users may make no user namespaces here"; fi

run() { "$varve" run --rm "$@"; }
# inside MODE OPTION... -- WORD...: what the helper says in a container.
inside() {
  local mode=$1 options=()
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  case $mode in
    root) run "${options[@]}" "$root" try "$@" ;;
    bob) run -u bob "${options[@]}" "$root" try "$@" ;;
    nobody) "${as_nobody[@]}" "$scratch/bin/varve" run --rm "${options[@]}" "$user_root" try "$@" ;;
  esac 2>&1 || true
}
# outside WORD...: the same on the host, where its mounts are nobody else's.
outside() { (cd "$scratch" && unshare --mount "$scratch/helper" "$@" 2>&1) || true; }

tried=0
# refused OUTSIDE INSIDE WORD...: outside it ends as the pattern OUTSIDE, inside as INSIDE, in all modes. A host that has
# not what is reached for says so outside.
refused() {
  local wanted=$1 refusal=$2 there mode
  shift 2
  there=$(outside "$@")
  # shellcheck disable=SC2254  # patterns
  case $there in
    $wanted) ;;
    *) echo "not tried: $*: outside it is $there"; return ;;
  esac
  tried=$((tried + 1))
  for mode in "${modes[@]}"; do
    # shellcheck disable=SC2086  # options
    expect_one_of "$mode: $*" "$refusal" "$(inside "$mode" ${extra-} -- "$@")"
  done
}
# expect_one_of WHAT "WORD WORD..." ACTUAL
expect_one_of() {
  case " $2 " in
    *" ${3:-nothing} "*) echo "good: $1: $3" ;;
    *) failures=$((failures + 1)); printf 'BAD:  %s\n  expected one of: %s\n  but got: %s\n' "$1" "$2" "$3" ;;
  esac
}

echo "-- system calls"
refused reached EPERM bpf
refused reached EPERM perf
refused reached EPERM userfaultfd
refused reached ENOSYS io_uring
refused "E[!P]*" EPERM module
refused EINVAL EPERM console-level
if [ "$(cat /proc/sys/kernel/dmesg_restrict)" = 1 ]; then refused reached EPERM kernel-log; else echo "not tried: the kernel's log is for all users of this host"; fi
handle=$(outside handle "$root/etc/passwd")
# shellcheck disable=SC2086  # two words
refused reached EPERM open-handle $handle /
extra="--security-opt seccomp=unconfined --cap-add dac_read_search"
# shellcheck disable=SC2086
refused reached "EPERM ESTALE" open-handle $handle /
refused reached EPERM bpf
refused "E[!P]*" "EPERM ENOSYS" module
extra=

echo "-- files of the kernel"
for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/swappiness /proc/sysrq-trigger /proc/irq/default_smp_affinity \
  /sys/kernel/profiling /sys/kernel/uevent_helper /sys/power/state /sys/kernel/mm/transparent_hugepage/enabled; do
  refused reached "EROFS EACCES" open-w "$file"
done
for file in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do refused reached "ENODATA EACCES ENOENT" read "$file"; done
refused reached EPERM mknod "/tmp/varve-escape-$$"
rm -f "/tmp/varve-escape-$$"
mknod "$root/log" c 1 11; mknod "$root/disk" b 7 0
chmod 666 "$root/log" "$root/disk"
expect "a device of the image is one outside" reached "$(outside open-w "$root/log")"
for mode in root bob; do
  expect "$mode: a device of the image is none inside" "EACCES EACCES" "$(inside "$mode" -- open-w /log) $(inside "$mode" -- open-r /disk)"
done
rm "$root/log" "$root/disk"

echo "-- mounts"
refused reached EPERM mount none "/mnt" tmpfs
expect "a nested user namespace can mount" "reached reached" "$(inside root -- nested mount none /mnt tmpfs) $(inside bob -- nested mount none /mnt tmpfs)"
refused reached EPERM nested mount none /mnt proc
refused reached EPERM nested mount none /mnt sysfs
extra="--cap-add sys_admin"
for mode in "${modes[@]}"; do
  [ "$mode" = bob ] || expect_one_of "$mode: no file system of a device with sys_admin" "EPERM ENODEV ENOENT EACCES" "$(inside "$mode" --cap-add sys_admin -- mount /dev/loop0 /mnt ext4)"
done
extra=
refused reached EINVAL nested bind /proc /mnt
refused reached EPERM nested remount /sys
for path in /proc /proc/sys /proc/keys /sys/firmware; do
  for mode in "${modes[@]}"; do expect "$mode: the mount $path stays" EINVAL "$(inside "$mode" -- nested umount "$path")"; done
done
for mode in "${modes[@]}"; do expect "$mode: /proc/sys stays read-only" EPERM "$(inside "$mode" -- nested remount /proc/sys)"; done
refused reached "EROFS EACCES" nested open-w /proc/sys/kernel/core_pattern
for type in cgroup cgroup2; do
  data=()
  if [ "$type" = cgroup ]; then data=(memory); fi
  refused reached "ENOSPC EPERM" nested-cgroup mount-and-open-w "$type" /mnt cgroup.procs "${data[@]}"
  for mode in "${modes[@]}"; do expect "$mode: nor in its own namespace ($type)" EPERM "$(inside "$mode" -- nested mount none /mnt "$type" 0 "${data[@]}")"; done
done

echo "-- processes and namespaces"
sleep "${number}31" &
target=$!
extra="--share pid"
refused reached EPERM ptrace $target
refused reached EPERM read-memory $target
refused reached "EACCES EPERM" open-r "/proc/$target/root/etc/passwd"
refused reached "EACCES EPERM" read "/proc/$target/environ"
refused EINVAL "EACCES EPERM" setns "/proc/$target/ns/user" # outside it is the own one, which is told as EINVAL
for name in mnt pid net ipc; do refused reached "EACCES EPERM" setns "/proc/$target/ns/$name"; done
extra="--share pid --cap-add sys_ptrace --security-opt seccomp=unconfined"
refused reached EPERM ptrace $target
refused reached EPERM read-memory $target
refused reached "EACCES EPERM" setns "/proc/$target/ns/mnt"
extra=
refused reached ESRCH signal $target
refused reached ESRCH ptrace $target
kill $target
for mode in "${modes[@]}"; do
  expect "$mode: the first process is closed" "EACCES EACCES EACCES" "$(inside "$mode" -- open-r /proc/1/ns/mnt) $(inside "$mode" -- open-r /proc/1/root/etc) $(inside "$mode" -- open-r /proc/1/exe)"
  expect "$mode: no way up from its namespaces" "EPERM EPERM EPERM" "$(inside "$mode" -- parent-ns /proc/self/ns/user) $(inside "$mode" -- parent-ns /proc/self/ns/pid) $(inside "$mode" -- owner-ns /proc/self/ns/user)"
done
expect "with sys_ptrace neither" "EACCES" "$(inside root --cap-add sys_ptrace -- open-r /proc/1/exe)"

echo "-- what is passed on"
exec 7<"$scratch"
for words in "" "--no-init" "-i" "-t"; do
  # shellcheck disable=SC2086  # options
  expect "no descriptor of the host is open ($words)" "0 1 2" "$(inside root $words -- descriptors </dev/null | tr -d '\r')"
done
for number_of in 3 4 5 6 7 8 9 10 11 12; do
  expect "the working directory is no descriptor ($number_of)" 125 "$(status run -w "/proc/self/fd/$number_of" "$root" true)"
done
exec 7<&-
expect "a key can be read outside" reached "$(outside with-key "$scratch/helper" read-key)"
expect_one_of "and not inside" "EACCES ENOKEY EPERM" "$(outside with-key "$varve" run --rm "$root" try read-key)"
expect "an abstract socket of the host is reached with its network" reached "$(outside listen "varve-$$" "$varve" run --rm --share net "$root" try connect "varve-$$")"
expect "and not without" ECONNREFUSED "$(outside listen "varve-$$" "$varve" run --rm "$root" try connect "varve-$$")"
if command -v python3 >/dev/null; then
  python3 "$here/launcher_escapes_terminal.py" "$varve" "$root" "$scratch/helper" || failures=$((failures + 1))
else
  echo "not tried: the terminal, without python3"
fi

echo "-- privileges"
cp "$helper" "$root/bin/suid"; chmod 4755 "$root/bin/suid"
expect "a set-user-id program works where that is asked for" 0 "$(run -u bob --security-opt no-new-privileges=false "$root" suid user)"
expect "and else does not" 1000 "$(run -u bob "$root" suid user)"
expect "a crash leaves nothing on the host" "139" "$(cd "$scratch/mnt"; status run -w /mnt "$root" try crash; ls "$scratch/mnt")"

echo "-- the launcher's own file"
printf '#!/proc/self/exe\n' >"$root/bin/self"; chmod 755 "$root/bin/self"
printf '#!/bin/self-link\n' >"$root/bin/other"; chmod 755 "$root/bin/other"
ln -s /proc/self/exe "$root/bin/self-link"
for name in self self-link other; do
  expect "it is not run inside ($name)" 126 "$(status run "$root" "$name")"
  expect_in "and that is told ($name)" "*it leads through a link of /proc*" "$(cat "$scratch/output")"
done
"$scratch/bin/varve" run --rm "$root" sleep "${number}32" &
launcher=$!
wait_for 10 pgrep --full "^sleep ${number}32" >/dev/null
expect "nor written while it runs" ETXTBSY "$(outside open-w "$scratch/bin/varve")"
kill $launcher; end_of $launcher
expect "which it can be afterwards" reached "$(outside open-w "$scratch/bin/varve")"

echo "-- paths of the image"
mkdir "$scratch/host" "$scratch/host/etc"
for name in hosts hostname resolv.conf passwd group; do echo host >"$scratch/host/etc/$name"; done
# hostile NAME TARGET: a root whose NAME is a link to TARGET, by its whole path and by many steps upwards.
hostile() {
  rm -rf --one-file-system "$scratch/hostile"
  cp -a "$root" "$scratch/hostile"
  rm -rf --one-file-system "${scratch:?}/hostile/$1"
  mkdir -p "$(dirname "$scratch/hostile/$1")"
  ln -s "$2" "$scratch/hostile/$1"
}
before=$(cd "$scratch/host" && find . -printf '%p %y %s %m\n' | sort)
for up in "" "../../../../../../../../.."; do
  for name in proc sys dev; do
    hostile $name "$up$scratch/host"
    expect "/$name is a link out (${up:-/})" 125 "$(status run "$scratch/hostile" true)"
  done
  for name in hosts hostname resolv.conf; do
    hostile etc/$name "$up$scratch/host/etc/$name"
    expect_one_of "/etc/$name is a link out (${up:-/})" "0" "$(status run --share net "$scratch/hostile" true)"
  done
  hostile etc "$up$scratch/host/etc"
  expect "/etc is a link out (${up:-/})" 125 "$(status run -u bob "$scratch/hostile" true)"
  hostile work "$up$scratch/host"
  expect "the working directory is a link out (${up:-/})" 125 "$(status run -w /work "$scratch/hostile" true)"
  hostile bin/evil "$up$scratch/helper"
  expect "the command is a link out (${up:-/})" 127 "$(status run "$scratch/hostile" evil user)"
done
expect "/dev/shm and /dev/pts are made anew" "directory directory" "$(hostile dev/shm "$scratch/host"; ln -s "$scratch/host" "$scratch/hostile/dev/pts"; run "$scratch/hostile" stat -c %F /dev/shm /dev/pts | xargs)"
expect "nothing on the host has changed" "$before" "$(cd "$scratch/host" && find . -printf '%p %y %s %m\n' | sort)"
for name in passwd group; do
  hostile etc/$name /x; rm "$scratch/hostile/etc/$name"; mkfifo "$scratch/hostile/etc/$name"
  expect "a FIFO in place of /etc/$name does not block" 0 "$(status timeout 20 "$varve" run --rm "$scratch/hostile" true)"
done

expect "attempts were real" yes "$([ "$tried" -ge 25 ] && echo yes || echo "only $tried")"
finish
