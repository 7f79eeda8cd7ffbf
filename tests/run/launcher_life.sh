#!/usr/bin/env bash
# Containers in the background, and the commands for those that run: exec, logs, stop, kill, rm -f, prune; then kills at every moment.
# Run by root it does the first part a second time as nobody. Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
# shellcheck disable=SC2016  # what stands in single quotes is for the shell inside
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
as_user=()
varve() { "${as_user[@]}" "$varve" "$@"; }
state_of() { varve ps -a | awk -v name="$1" '$1 == name {print $2, $3}' | sed 's/ [0-9]*$//'; }
field_of() { varve inspect "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)[0][sys.argv[1]])' "$2"; }
ended() { [[ $(state_of "$1") == exited* ]]; }
no_containers() { [ -z "$(ls -A "$VARVE_STORE/containers" 2>/dev/null)" ]; }

check_life() {
  expect "run -d prints the name and returns" "talker" "$(varve run -d --name talker "$root" sh -c \
    'echo out one; echo err one >&2; printf "no end"; sleep 0.3; echo; echo last; exit 6')"
  expect "logs -f goes on to the end" "out one,no end,last" "$(varve logs -f talker 2>/dev/null | paste -sd,)"
  expect "what went to stderr comes out there" "err one" "$(varve logs talker 2>&1 >/dev/null)"
  expect "--tail" "last" "$(varve logs --tail 1 talker)"
  expect_in "--timestamps" "20*T*Z last" "$(varve logs --tail 1 -t talker)"
  expect "its end is written down" 0 "$(wait_for 20 ended talker && echo 0)"
  expect "with its status" 6 "$(field_of talker ExitStatus)"
  expect "stopping one that has ended is no failure" 0 "$(status varve stop talker)"
  expect "exec in it is one" 125 "$(status varve exec talker true)"
  expect_in "that says why" "*it does not run*" "$(cat "$scratch/output")"
  expect "a command that is not there is 127 at once" 127 "$(status varve run -d --rm --name absent "$root" nosuch)"
  expect_in "and named" "*nosuch*" "$(cat "$scratch/output")"

  start_ready server -e FROM=run --hostname box "$root" sh -c 'trap "echo asked; exit 5" TERM; echo ready; while :; do sleep 0.05; done'
  expect "exec has the container's environment, host name and processes" "run box 1" \
    "$(varve exec server sh -c 'echo $FROM $(hostname) $(ps -o pid,comm | grep -c varve-init)')"
  expect "and its capabilities" "$(varve run --rm "$root" sed -n 's/Cap[EB].*\t//p' /proc/self/status | xargs)" \
    "$(varve exec server sed -n 's/Cap[EB].*\t//p' /proc/self/status | xargs)"
  expect "-e, -w" "two /tmp" "$(varve exec -e WORD=two -w /tmp server sh -c 'echo $WORD $PWD')"
  expect "-i passes input on" "typed" "$(echo typed | varve exec -i server cat)"
  expect "without it there is none" "" "$(echo typed | varve exec server cat)"
  expect "statuses are passed on" 7 "$(status varve exec server sh -c 'exit 7')"
  expect "so are signals that kill" 143 "$(status varve exec server sh -c 'kill -TERM $$')"
  expect "127" 127 "$(status varve exec server nosuch)"
  expect "descriptors: 0, 1, 2 and that of ls" 4 "$(varve exec server ls /proc/self/fd | wc -l)"
  expect "-t is a terminal of the container" "/dev/pts/0" "$(script -qec "${as_user[*]} $varve exec -t server tty" /dev/null </dev/null | tr -d '\r')"
  expect "-d returns at once" 0 "$(status varve exec -d server sleep "${number}41")"
  expect "and goes on" 1 "$(varve exec server ps | grep -c "sleep ${number}41")"
  varve exec server sleep "${number}42" & local exec_pid=$!
  wait_for 20 pgrep --full "^sleep ${number}42" >/dev/null
  kill -KILL "$(pgrep --full "exec server sleep ${number}42" | tail -1)"; end_of "$exec_pid"
  expect "a killed exec takes its command along" 0 "$(wait_for 20 no_process "^sleep ${number}42" && echo 0)"
  expect "stop asks first" 0 "$(status varve stop server)"
  expect "and the container could answer" "ready asked" "$(varve logs server | xargs)"
  expect "its status" "exited (5)" "$(state_of server)"
  expect "what exec -d left is gone" 0 "$(processes_with "^sleep ${number}41")"

  start_ready deaf --stop-timeout 1 "$root" sh -c 'trap "" TERM; echo ready; while :; do sleep 0.05; done'
  expect "who does not listen is killed" 0 "$(status varve stop deaf)"
  expect "after the time it was given" "exited (137)" "$(state_of deaf)"
  start_ready hup --stop-signal HUP "$root" sh -c 'trap "exit 8" HUP; echo ready; while :; do sleep 0.05; done'
  varve stop hup
  expect "--stop-signal" "exited (8)" "$(state_of hup)"
  start_ready usr "$root" sh -c 'trap "exit 9" USR1; echo ready; while :; do sleep 0.05; done'
  expect "kill sends any signal" 0 "$(status varve kill -s USR1 usr)"
  expect "that the command can take" 0 "$(wait_for 20 ended usr && echo 0)"
  expect "  (status)" "exited (9)" "$(state_of usr)"
  expect "a signal that is none is refused" 1 "$(status varve kill -s NONE usr)"
  expect "--timeout kills" 137 "$(status varve run --rm --timeout 1 "$root" sleep "${number}43")"

  varve run -d --name forced "$root" sleep "${number}44" >/dev/null
  expect "rm -f" 0 "$(status varve rm -f forced)"
  expect "kills first" 0 "$(processes_with "^sleep ${number}44")"
  varve run -d --rm --name gone "$root" true >/dev/null
  expect "-d --rm leaves nothing" "" "$(wait_for 20 test ! -e "$VARVE_STORE/containers/gone" || echo "it is there")"
  varve run -d --name alive "$root" sleep "${number}45" >/dev/null
  expect "prune removes all that ended" "deaf hup server talker usr" "$(varve prune | xargs)"
  expect "and nothing that runs" "alive" "$(varve ps -a | awk 'NR > 1 {print $1}')"
  expect "ps -q tells names alone" "alive" "$(varve ps -q)"
  expect "stop -a" 0 "$(status varve stop -a)"
  varve prune >/dev/null
  expect "nothing is left" 0 "$(no_containers && echo 0)"

  varve run -d --name full --log-opt max-size=4k --log-opt max-file=2 "$root" sh -c 'i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i + 1)); done' >/dev/null
  expect "logs are rotated" 0 "$(wait_for 20 ended full && echo 0)"
  expect "  (the last is there, the first is not)" "line 399 0" "$(varve logs --tail 1 full) $(varve logs full | grep -c '^line 0$' || true)"
  expect "  (two files, neither larger than it may be)" "2 0" \
    "$(find "$VARVE_STORE/containers/full" -name 'output.log*' | wc -l) $(find "$VARVE_STORE/containers/full" -name 'output.log*' -size +4k | wc -l)"
  varve rm full
}

echo "-- as $(id -un)"
check_life

if [ "$(id -u)" -eq 0 ]; then
  if can_become_nobody; then
    echo "-- as nobody"
    go_on_as_nobody
    check_life
    as_user=()
  else
    echo "not tried as nobody: ordinary users may make no user namespaces here"
  fi
fi

echo "-- kills at every moment"
# kill_after MICROSECONDS COMMAND...: kills it (-9) then, wherever it is.
for round in $(seq 60); do
  "$varve" run --name "k$round" "$root" sh -c "exec sleep ${number}5" >/dev/null 2>&1 </dev/null &
  victim=$!
  python3 -c 'import sys, time; time.sleep(int(sys.argv[1]) / 2000)' "$round"
  kill -KILL "$victim" 2>/dev/null || true
  end_of "$victim"
done
expect "no process is left" 0 "$(wait_for 30 no_process "^sleep ${number}5" && echo 0)"
"$varve" prune >/dev/null
expect "no record or part of one is left" 0 "$(no_containers && echo 0)"
expect "no mount is left" 0 "$(mounts_on_host)"
finish
