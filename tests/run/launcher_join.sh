#!/usr/bin/env bash
# Containers that live in namespaces of another one: --pid, --ipc, --uts, --network container:NAME.
# Run by root it does all a second time as nobody. Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
# shellcheck disable=SC2016  # what stands in single quotes is for the shell inside
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
for program in python3 ipcmk script; do
  command -v "$program" >/dev/null || skip "there is no $program (scripts/install-dependencies test)"
done
as_user=()
varve() { "${as_user[@]}" timeout 60 "$varve" "$@"; }
run() { varve run --rm "$@"; }
# start NAME OPTIONS...: a container in the background.
start() { varve run -d --name "$1" "${@:2}" >/dev/null; }
# field NAME PYTHON: of its inspection.
field() { varve inspect "$1" | python3 -c "import json, sys; print(json.load(sys.stdin)[0]$2)"; }
ended() { [[ $(field "$1" "['Status']") == exited* ]]; }
first_sees() { varve exec first ps -o args | grep --quiet "^$1"; }
run_as_many() { [ "$(processes_with "$2")" -eq "$1" ]; }
no_containers() { [ -z "$(ls -A "$VARVE_STORE/containers" 2>/dev/null)" ]; }
# namespaces PREFIX...: which of the namespaces of the command that runs so are those of "first", which are others'.
kinds="pid ipc uts net user cgroup mnt"
links='for kind in '$kinds'; do readlink "/proc/self/ns/$kind"; done'
namespaces() {
  local theirs ours kind same="" other=""
  mapfile -t theirs < <(varve exec first sh -c "$links")
  mapfile -t ours < <("$@" sh -c "$links")
  local index=0
  for kind in $kinds; do
    if [ "${theirs[$index]}" = "${ours[$index]}" ]; then same+=" $kind"; else other+=" $kind"; fi
    index=$((index + 1))
  done
  echo "same:$same other:$other"
}
forever='while :; do sleep 0.1; done'
# make_segment: System V shared memory in the namespace of "first", by a program of the host: busybox has none that makes one.
make_segment() {
  local pid
  pid=$(field first "['Pid']")
  nsenter --target "$pid" --ipc ipcmk --shmem 4242 >/dev/null
}

check_join() {
  start first --hostname firstbox "$root" sh -c "echo \$\$ >/tmp/pid; $forever"
  echo "-- which namespaces"
  local all_else="user cgroup"
  expect "none without being asked" "same: other: $kinds" "$(namespaces run "$root")"
  expect "--pid" "same: pid $all_else other: ipc uts net mnt" "$(namespaces run --pid container:first "$root")"
  expect "--ipc" "same: ipc $all_else other: pid uts net mnt" "$(namespaces run --ipc container:first "$root")"
  expect "--uts" "same: uts $all_else other: pid ipc net mnt" "$(namespaces run --uts container:first "$root")"
  expect "--network" "same: net $all_else other: pid ipc uts mnt" "$(namespaces run --network container:first "$root")"
  expect "--userns" "same: $all_else other: pid ipc uts net mnt" "$(namespaces run --userns container:first "$root")"
  expect "all of them" "same: pid ipc uts net $all_else other: mnt" \
    "$(namespaces run --pid container:first --ipc container:first --uts container:first --network container:first "$root")"
  expect "without an init it is the same" "same: pid $all_else other: ipc uts net mnt" \
    "$(namespaces run --no-init --pid container:first "$root")"
  expect_in "the plan says it" "*joined:       pid,user,cgroup of first*" "$(varve run --dry-run --pid container:first "$root" true | paste -sd' ')"

  echo "-- pid"
  expect_in "processes of the other one are seen" "1 varve-init 2 sh * varve-init * ps*" "$(run --pid container:first "$root" ps -o pid,comm | tail -n +2 | grep -v sleep | xargs)"
  expect "with what they show" "sh -c echo" "$(run --pid container:first "$root" sh -c 'tr "\0" " " </proc/2/cmdline | cut -c1-10')"
  expect "init is not looked into" 1 "$(status run --pid container:first "$root" readlink /proc/1/exe)"
  local reader
  varve exec first sh -c 'echo ready >/tmp/ready; while [ ! -e /tmp/enough ]; do cat /proc/[0-9]*/cmdline; done 2>/dev/null' >"$scratch/seen" & reader=$!
  wait_for 20 test -e "$root/tmp/ready"
  for _ in 1 2 3 4 5; do
    run --pid container:first -e "WORD=unseen-run" "$root" true
    varve exec -e "WORD=unseen-exec" first true
  done
  touch "$root/tmp/enough"; end_of "$reader"
  rm "$root/tmp/enough" "$root/tmp/ready"
  expect "command lines were read all the while" 0 "$(grep -q "while .*cmdline" "$scratch/seen" && echo 0)"
  expect "and our own ones were not among them" "" "$(grep --text --only-matching 'unseen-[a-z]*' "$scratch/seen" | sort -u | xargs)"
  start second --pid container:first "$root" sh -c "sleep ${number}61 & $forever"
  expect "the other one sees ours" 0 "$(wait_for 20 first_sees "sleep ${number}61" && echo 0)"
  expect "exec joins the same" "same: pid $all_else other: ipc uts net mnt" "$(namespaces varve exec second)"
  expect "exec is in our root" "second" "$(varve exec second hostname)"
  expect "with a terminal" "/dev/pts/0" "$(script -qec "${as_user[*]} $varve exec -t second tty" /dev/null </dev/null | tr -d '\r')"
  expect "run with a terminal" "/dev/pts/0" "$(script -qec "${as_user[*]} $varve run --rm -t --pid container:first $root tty" /dev/null </dev/null | tr -d '\r')"
  expect "inspect tells" "first pid,user,cgroup" "$(field second "['Joined']['Container']") $(field second "['Joined']['Namespaces']")"
  expect "a container joins one that has joined" "same: pid $all_else other: ipc uts net mnt" "$(namespaces run --pid container:second "$root")"
  expect "what is left of the command is killed" 0 "$(run --pid container:first "$root" sh -c "sleep ${number}62 & exit 0" && wait_for 20 no_process "^sleep ${number}62" && echo 0)"
  expect "statuses are passed on" 7 "$(status run --pid container:first "$root" sh -c 'exit 7')"
  expect "and kills" 143 "$(status run --pid container:first "$root" sh -c 'kill -TERM $$')"
  start_ready stopped --pid container:first "$root" sh -c 'trap "exit 5" TERM; echo ready; '"$forever"
  varve stop stopped
  expect "stop asks the command" 5 "$(field stopped "['ExitStatus']")"
  varve rm stopped
  start_ready stopped --pid container:first "$root" sh -c "trap 'exit 6' TERM; echo ready; $forever"
  varve exec -d stopped sh -c "sleep ${number}65 & exec sleep ${number}66"
  expect "what exec started runs" 2 "$(wait_for 20 run_as_many 2 "^sleep ${number}6[56]"; processes_with "^sleep ${number}6[56]")"
  varve stop stopped
  expect "and is gone with the container" "0 6" "$(processes_with "^sleep ${number}6[56]") $(field stopped "['ExitStatus']")"
  varve rm stopped

  echo "-- ipc"
  if [ "$(id -u)" -eq 0 ]; then
    make_segment
    expect "shared memory of the other one is seen" 1 "$(run --ipc container:first "$root" grep -c ' 4242 ' /proc/sysvipc/shm)"
    expect "and only there" 0 "$(run "$root" grep -c ' 4242 ' /proc/sysvipc/shm || true)"
  else
    echo "not tried: a segment of shared memory is made from the host by root"
  fi
  varve exec first sh -c 'echo theirs >/dev/shm/note; chmod 644 /dev/shm/note'
  expect "/dev/shm is the other one's" "theirs" "$(run --ipc container:first "$root" cat /dev/shm/note)"
  expect "and can be written" "ours" "$(run --ipc container:first "$root" sh -c 'echo ours >/dev/shm/second'; varve exec first cat /dev/shm/second)"
  expect "without --ipc it is not" 1 "$(status run --pid container:first "$root" cat /dev/shm/note)"

  echo "-- uts"
  expect "the host name is the other one's" "firstbox firstbox firstbox" "$(run --uts container:first "$root" sh -c 'hostname; echo $HOSTNAME; cat /etc/hostname' | xargs)"
  expect "and cannot be chosen" 125 "$(status run --uts container:first --hostname mine "$root" true)"
  expect_in "with the reason" "*whose uts namespace is joined*" "$(cat "$scratch/output")"

  echo "-- network"
  varve exec -d first httpd -f -p 127.0.0.1:8099 -h /etc
  wait_for 20 varve exec first grep -q "$(printf ':%04X ' 8099)" /proc/net/tcp
  expect "a server on the other one's loopback is reached" "root:x:0:0:root:/root:/bin/sh" \
    "$(run --network container:first "$root" sh -c "(printf 'GET /passwd HTTP/1.0\\r\\n\\r\\n'; sleep 1) | timeout 20 nc -w 10 127.0.0.1 8099 | grep ^root")"
  expect "its name is known, as ours" "127.0.0.1 firstbox 127.0.0.1 ours" \
    "$(run --network container:first --hostname ours "$root" sh -c 'awk "/firstbox/ {print \$1, \$2} /^127.*ours/ {print \$1, \$3}" /etc/hosts' | xargs)"
  expect "inspect tells" "container:first" "$(start net --network container:first "$root" sh -c "$forever"; field net "['Network']['Mode']"; varve rm -f net)"
  expect "ports cannot be published" 125 "$(status run --network container:first -p 8080:80 "$root" true)"
  expect_in "with the reason" "*the network is that of the container first*" "$(cat "$scratch/output")"
  expect "nor values be set" 125 "$(status run --network container:first --sysctl net.ipv4.ip_forward=1 "$root" true)"

  echo "-- refusals"
  expect "two containers" 2 "$(status run --pid container:first --ipc container:second "$root" true)"
  expect "a name that is none" 125 "$(status run --pid container:nosuch "$root" true)"
  expect "ids that contradict" 125 "$(status run --pid container:first --userns host "$root" true)"
  expect_in "  (the reason)" "*its user namespace comes with them*" "$(cat "$scratch/output")"
  expect "a size of /dev/shm" 125 "$(status run --ipc container:first --shm-size 1m "$root" true)"
  expect "nothing is recorded of them" "first second" "$(varve ps -a | awk 'NR > 1 {print $1}' | xargs)"

  echo "-- ends"
  start third --ipc container:first "$root" sh -c "echo up; trap 'exit 3' TERM; $forever"
  local ids=()
  mapfile -t ids < <(for name in first second third; do field "$name" "['Id']"; done)
  varve exec -d second sleep "${number}63"
  varve kill first
  expect "the first one's end" 0 "$(wait_for 20 ended first && echo 0)"
  expect "is that of who lives in its pid namespace" 0 "$(wait_for 20 ended second && echo 0)"
  expect "by a signal" 137 "$(field second "['ExitStatus']")"
  expect "with all its processes" 0 "$(processes_with "^sleep ${number}6")"
  expect "others go on" "running" "$(field third "['Status']")"
  expect "and can be looked into" "up" "$(varve logs third)"
  varve stop third
  expect "until they end" 3 "$(field third "['ExitStatus']")"
  expect "a container that has ended cannot be joined" 125 "$(status run --pid container:first "$root" true)"
  expect_in "and it is said" "*first: it does not run*" "$(cat "$scratch/output")"
  start first2 "$root" sh -c "$forever"
  start killed --pid container:first2 "$root" sleep "${number}64"
  varve rm -f killed
  expect "rm -f of the second" 0 "$(wait_for 20 no_process "^sleep ${number}64" && echo 0)"
  expect "leaves the first" "running" "$(field first2 "['Status']")"
  varve rm -f first2
  varve prune >/dev/null
  expect "nothing is left" 0 "$(no_containers && echo 0)"
  expect "no process" 0 "$(processes_with "^sleep ${number}6")"
  expect "no control group" "" "$(for id in "${ids[@]}"; do find /sys/fs/cgroup -maxdepth 4 -name "$id"; done)"
}

# The root file system is a stack: the daemon outside serves a mount in a user namespace that it did not see being made.
check_stack() {
  "$bin/imagetool" import "$scratch/root.tar" base >/dev/null
  start first base sh -c "$forever"
  expect "an image's files are served and written" "root:x:0: made" \
    "$(run --pid container:first base sh -c 'echo made >/etc/made; head -n1 /etc/group; cat /etc/made' | xargs)"
  start second --pid container:first base sh -c "$forever"
  varve kill first
  expect "the daemon ends with the first" 0 "$(wait_for 20 ended second && wait_for 20 no_process "varvefs.*$scratch" && echo 0)"
  varve prune >/dev/null
}

# The first container is killed while the second one is being started, later each time.
check_race() {
  local round launcher statuses=""
  exec 9<> <(:)
  for round in $(seq 40); do
    start first base sleep "${number}67"
    "$varve" run --rm --pid container:first --ipc container:first base sleep "${number}68" >/dev/null 2>>"$scratch/said" & launcher=$!
    read -r -t "0.0$(printf %03d $((round * 5)))" -u 9 || true
    kill -KILL "$(field first "['Pid']")" 2>/dev/null || true
    end_of "$launcher"
    statuses+=" $end"
    varve rm -f first
  done
  expect "who starts meanwhile is killed, or told" "" "$(tr ' ' '\n' <<<"$statuses" | grep -v '^125$\|^137$' | xargs)"
  expect "and nothing is left" "0 0" "$(no_containers && wait_for 20 no_process "^sleep ${number}6[78]" && wait_for 20 no_process "varvefs.*$scratch" && echo "0 $(mounts_on_host)")"
}

echo "-- as $(id -un)"
check_join
tar -C "$root" -cf "$scratch/root.tar" .
check_stack
echo "-- kills while joining"
check_race

if [ "$(id -u)" -eq 0 ]; then
  expect "ids of another range are kept" "0 0 4294967295" "$(start first --userns host "$root" sh -c "$forever"; run --pid container:first "$root" cat /proc/self/uid_map | xargs; varve rm -f first)"
  if can_become_nobody; then
    go_on_as_nobody
    echo "-- as nobody"
    check_join
    as_user=()
  else
    echo "not tried as nobody: ordinary users may make no user namespaces here"
  fi
fi
expect "no mount is left" 0 "$(mounts_on_host)"
finish
