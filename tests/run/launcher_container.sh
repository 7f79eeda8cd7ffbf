#!/usr/bin/env bash
# What a command in a container sees, how it ends, and what the host sees of it: `varve run` on a directory, as root.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
# shellcheck disable=SC2016  # what stands in single quotes is for the shell inside
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "skipped: owners of files inside need root; launcher_user.sh is for others"; exit 77; }
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
run() { "$varve" run --rm "$@"; }
sh_in() { run "$root" sh -c "$1"; }
hostname_before=$(uname -n)

echo "-- exit statuses"
expect "success is passed on" 0 "$(status sh_in 'exit 0')"
expect "a status is passed on" 7 "$(status sh_in 'exit 7')"
expect "SIGKILL is 137" 137 "$(status sh_in 'kill -KILL $$')"
expect "SIGTERM is 143" 143 "$(status sh_in 'kill -TERM $$')"
expect "the command's own 125 is passed on" 125 "$(status sh_in 'exit 125')"
expect "a program that is not there is 127" 127 "$(status run "$root" nosuch)"
expect_in "and named" "varve: starting the command: nosuch: No such file*" "$(cat "$scratch/output")"
expect "a file that is no program is 126" 126 "$(status run "$root" /etc/passwd)"
expect "a directory is no program" 126 "$(status run "$root" /bin)"
printf '#!/no/such/interpreter\n' >"$root/bin/script"; chmod 755 "$root/bin/script"
expect "a missing interpreter is 127" 127 "$(status run "$root" script)"
expect "an image that is not there is 125" 125 "$(status run nosuch true)"
expect "an option that is not there is 2" 2 "$(status run --no-such-option "$root" true)"
expect "a working directory that is not there is 125" 125 "$(status run -w /nosuch "$root" true)"
expect "a user that is not there is 125" 125 "$(status run -u eve "$root" true)"

echo "-- processes"
expect "only its own processes are seen" "1 varve-init 2 ps" "$(sh_in 'ps -o pid,comm' | tail -n +2 | xargs)"
expect_in "process 1 shows nothing of the host" "varve-init*" "$(sh_in 'tr "\0" " " </proc/1/cmdline')"
expect "the launcher's environment is not readable" 1 "$(status run "$root" cat /proc/1/environ)"
expect "the launcher's binary is not reachable" 1 "$(status run "$root" readlink /proc/1/exe)"
expect "with --no-init the command is process 1" "1" "$(run --no-init "$root" sh -c 'echo $$')"
expect "orphans are reaped" 0 "$(sh_in 'for i in 1 2 3 4; do (sh -c "sleep 0.1 &"); done; sleep 0.5; ps -o stat | grep -c Z || true')"
run "$root" sh -c "sleep ${number}11 & exit 0"
expect "what is left ends with the command" 0 "$(wait_for 5 no_process "^sleep ${number}11" && echo 0)"
expect "no descriptor of the launcher is open" "0 1 2 3" "$(exec 7</etc/passwd 9>"$scratch/nine"; sh_in 'ls /proc/self/fd' | xargs)"
expect "signals are at their defaults" "0000000000000000 0000000000000000" \
  "$(trap '' HUP; run "$root" grep -E 'SigIgn|SigBlk' /proc/self/status | sed 's/.*\t//' | xargs)"

echo "-- names and environment"
expect "the host name is the container's" "box" "$(run --hostname box "$root" hostname)"
expect "the host name defaults to the name" "web" "$(run --name web "$root" hostname)"
expect "it can be resolved" "127.0.0.1" "$(run --hostname box "$root" sh -c 'grep -w box /etc/hosts | head -n1 | cut -f1')"
expect "another cannot be set without the capability" 1 "$(status run "$root" hostname other)"
expect "with it, only inside" "other" "$(run --cap-add sys_admin "$root" sh -c 'hostname other; hostname')"
expect "the environment is clean" "HOME HOSTNAME PATH PWD SHLVL TERM container" \
  "$(SECRET=1 sh_in 'env | cut -d= -f1 | sort | xargs')"
expect "-e sets, and passes on by name" "1 2" "$(B=2 run -e A=1 -e B "$root" sh -c 'echo $A $B')"
expect "HOME comes from the image's passwd" "/home/bob" "$(run -u bob "$root" sh -c 'echo $HOME')"
expect "user names are the image's" "uid=1000(bob) gid=1000(bob) groups=10(wheel)" "$(run -u bob "$root" id)"
expect "numbers need no entry" "uid=4242 gid=0(root)" "$(run -u 4242 "$root" id)"
expect "-w is where it starts" "/etc" "$(run -w /etc "$root" pwd)"
expect "--entrypoint stands first" "a b" "$(run --entrypoint echo "$root" a b)"

echo "-- standard streams"
expect "stdin is passed on with -i" "hello" "$(echo hello | run -i "$root" cat)"
expect "and not without" "" "$(echo hello | run "$root" cat)"
expect "stdout and stderr stay apart" "out" "$(sh_in 'echo out; echo err >&2' 2>"$scratch/stderr")"
expect "stderr comes through" "err" "$(cat "$scratch/stderr")"
expect "binary data is not changed" "$(head -c 3000000 /dev/urandom | tee "$scratch/random" | sha256sum)" \
  "$(run -i "$root" cat <"$scratch/random" | sha256sum)"
mkfifo "$scratch/closed"
# By its own name: a function in the background would be a shell that holds the output as well.
"$varve" run --rm "$root" sh -c 'exec >&-; while [ -d /tmp ] && [ ! -e /tmp/seen ]; do sleep 0.1; done' >"$scratch/closed" &
launcher=$!
expect "an output that the command closes is seen as closed" 0 "$(status timeout 60 cat "$scratch/closed")"
touch "$root/tmp/seen"
end_of "$launcher"

echo "-- files"
expect "the root is the directory" "mark" "$(echo mark >"$root/etc/mark"; sh_in 'cat /etc/mark')"
expect "what is written stays" "written" "$(sh_in 'echo written >/etc/written'; cat "$root/etc/written")"
expect "owners are right" "1000:10" "$(chown 1000:10 "$root/etc/mark"; sh_in 'stat -c %u:%g /etc/mark')"
expect "and can be given" "7:8" "$(sh_in 'chown 7:8 /etc/mark'; stat -c %u:%g "$root/etc/mark")"
expect "files bound over are not written" "0" "$(stat -c %s "$root/etc/hosts")"
expect "--read-only holds" 1 "$(status run --read-only "$root" touch /new)"
expect "and cannot be undone" 1 "$(status run --read-only --cap-add sys_admin -u bob "$root" mount -o remount,rw /)"
expect "the device nodes work" "0 4" "$(sh_in 'cat /dev/null | wc -c; head -c 4 /dev/urandom | wc -c' | xargs)"
expect "and are the only ones" "full null random tty urandom zero" "$(sh_in 'cd /dev; for n in *; do [ ! -c $n ] || [ -L $n ] || echo $n; done' | sort | xargs)"
expect "a pipe has a name" "x" "$(sh_in 'echo x | cat /dev/stdin')"
expect "shared memory and message queues are there" "1777 1777" "$(sh_in 'stat -c %a /dev/shm /dev/mqueue' | xargs)"
expect "no device can be made" 1 "$(status run --cap-add mknod "$root" mknod /dev/sda b 254 0)"
expect "/proc/sys is read-only" 1 "$(status sh_in 'echo x >/proc/sys/kernel/domainname')"
expect "/proc/sysrq-trigger is read-only" 1 "$(status sh_in 'echo h >/proc/sysrq-trigger')"
expect "/sys is read-only" 1 "$(status run "$root" mkdir /sys/fs/cgroup/x)"
expect "masks cannot be taken off" 1 "$(status run "$root" umount /proc/keys)"
expect "masked files are empty" 0 "$(sh_in 'cat /proc/keys /proc/timer_list 2>/dev/null | wc -c')"
expect "the host's tree is gone" 0 "$(sh_in 'grep -c varve-launcher /proc/self/mounts || true')"

echo "-- hostile images"
hostile=$scratch/hostile
make_root "$hostile"
mkdir "$scratch/host"; echo host >"$scratch/host/hosts"
rm -r "${hostile:?}"/{dev,sys,etc/hosts}
ln -s "$scratch/host" "$hostile/dev"
ln -s ../../../../../../../../sys "$hostile/sys"
ln -s "$scratch/host/hosts" "$hostile/etc/hosts"
expect "links out of the image do not lead out" 125 "$(status run "$hostile" true)"
expect "and nothing was made there" "hosts" "$(ls "$scratch/host")"
rm "$hostile/dev" "$hostile/sys"; mkdir "$hostile/real-dev"; ln -s /real-dev "$hostile/dev"
expect "links within the image are followed" "$(stat -c %t:%T /dev/null)" "$(run "$hostile" stat -c %t:%T /real-dev/null)"
expect "a link out of it is not bound over" "host" "$(cat "$scratch/host/hosts")"
rm "$hostile/etc/passwd"; mkfifo "$hostile/etc/passwd"
expect "a FIFO in place of passwd does not block" 0 "$(status timeout 10 "$varve" run --rm "$hostile" true)"

echo "-- privileges"
expect "capabilities are podman's" "00000000800405fb" "$(sh_in 'sed -n "s/CapEff:\t//p" /proc/self/status')"
expect "and bound what follows" "00000000800405fb" "$(sh_in 'sed -n "s/CapBnd:\t//p" /proc/self/status')"
expect "a user has none" "0000000000000000" "$(run -u bob "$root" sed -n 's/CapEff:\t//p' /proc/self/status)"
expect "unless it is given one" "0000000000000400" "$(run -u bob --cap-add net_bind_service "$root" sed -n 's/CapEff:\t//p' /proc/self/status)"
expect "ALL can be dropped" "0000000000000000" "$(run --cap-drop ALL "$root" sed -n 's/CapEff:\t//p' /proc/self/status)"
expect "there are no new privileges" 1 "$(sh_in 'sed -n "s/NoNewPrivs:\t//p" /proc/self/status')"
expect "mounting needs what it has not" 1 "$(status run "$root" mount -t tmpfs none /tmp)"

echo "-- network and ipc"
expect "the loopback is up, and alone" "1 lo" "$(sh_in 'ip -o link | grep -c "[<,]UP[,>]"; ls /sys/class/net' | xargs)"
expect "it answers" 0 "$(status run --cap-add net_raw "$root" ping -c 1 -W 2 127.0.0.1)"
expect "System V objects are its own" 0 "$(id=$(ipcmk -Q 2>/dev/null | tr -dc 0-9 || true); sh_in 'tail -n +2 /proc/sysvipc/msg | wc -l'; [ -z "$id" ] || ipcrm -q "$id")"

echo "-- sharing"
expect "--share net shows the host's interfaces" "$(find /sys/class/net -mindepth 1 -printf '%f\n' | sort | xargs)" "$(run --share net "$root" ls /sys/class/net | xargs)"
expect "--share uts shows the host's name" "$hostname_before" "$(run --share uts "$root" hostname)"
expect "--share pid shows the host's processes" "$$" "$(run --share pid "$root" sh -c "ls -d /proc/$$ | xargs basename")"
expect "a shared pid namespace is left clean" "0" "$(run --share pid "$root" sh -c "(sh -c 'sleep ${number}13 &')"; wait_for 5 no_process "^sleep ${number}13" && echo 0)"
expect "--share user keeps root" "0 0 4294967295" "$(run --share user "$root" cat /proc/self/uid_map | xargs)"
expect "--share mnt is a chroot" "mark" "$(run --share mnt "$root" cat /etc/mark)"
for namespace in mnt pid net ipc uts user cgroup; do
  mine=$(readlink "/proc/self/ns/$namespace")
  theirs=$(run "$root" readlink "/proc/self/ns/$namespace")
  expect "$namespace is its own" 1 "$([ "$mine" != "$theirs" ] && [ -n "$theirs" ] && echo 1)"
done

echo "-- signals"
"$varve" run --rm "$root" sh -c 'trap "echo caught; exit 3" TERM; echo ready; while :; do sleep 0.1; done' >"$scratch/signalled" &
launcher=$!
wait_for 10 grep -qs ready "$scratch/signalled"
kill -TERM "$launcher"; end_of "$launcher"
expect "a signal to the launcher reaches the command" 3 "$end"
expect "and its handler" "ready caught" "$(xargs <"$scratch/signalled")"
"$varve" run --rm "$root" sleep "${number}12" &
launcher=$!
wait_for 10 pgrep --full "^sleep ${number}12" >/dev/null
kill -TERM "$launcher"; end_of "$launcher"
expect "a command without a handler ends too" 143 "$end"
"$varve" run --rm "$root" sleep "${number}14" &
launcher=$!
wait_for 10 pgrep --full "^sleep ${number}14" >/dev/null
kill -KILL "$launcher"; end_of "$launcher"
expect "a killed launcher takes the container with it" 0 "$(wait_for 5 no_process "^sleep ${number}14" && echo 0)"
# Its control groups, where it had some, are found by its record.
killed=$(ls "$VARVE_STORE/containers")
[ -z "$killed" ] || expect "what it left is removed by name" 0 "$(status "$varve" rm "$killed")"

echo "-- the host afterwards"
expect "its mounts show nothing of it" 0 "$(mounts_on_host)"
expect "its name is as before" "$hostname_before" "$(uname -n)"
expect "no record is left" "" "$(ls "$VARVE_STORE/containers" 2>/dev/null || true)"
finish
