#!/usr/bin/env bash
# `varve run` on a stack that varvefs mounts inside the container: what is written, what is kept, and that neither mount
# nor daemon outlives anything.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
# shellcheck disable=SC2016  # what stands in single quotes is for awk inside
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "skipped: /dev/fuse and owners of files need root"; exit 77; }
[ -w /dev/fuse ] || { echo "skipped: there is no usable /dev/fuse"; exit 77; }
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
mkdir -p "$scratch/top:1,x/etc"
echo top >"$scratch/top:1,x/etc/top"
layers="$scratch/top\\:1,x:$root"
run() { "$varve" run "$@"; }
no_daemon() { no_process "varvefs.*$scratch"; }

expect "the layers are one tree" "top root" "$(run --rm --layers "$layers" sh -c 'cat /etc/top; stat -c %U /etc/passwd' | xargs)"
expect "the mount is FUSE, and seen inside alone" "fuse.varvefs 0" \
  "$({ run --rm --layers "$layers" awk '$2 == "/" {print $3}' /proc/mounts; mounts_on_host; } | xargs)"
expect "the command's status is passed on" 9 "$(status run --rm --layers "$layers" sh -c 'exit 9')"
expect "a missing command is 127" 127 "$(status run --rm --layers "$layers" nosuch)"

run --name kept --layers "$layers" sh -c 'echo new >/etc/new; rm /etc/top'
expect "what is written lies in the container's upper" "new" "$(cat "$VARVE_STORE/containers/kept/upper/etc/new")"
expect "the layers are as they were" "top" "$(cat "$scratch/top:1,x/etc/top")"
expect "the container is listed with its end" "kept exited (0)" "$("$varve" ps -a | awk '/kept/ {print $1, $2, $3}')"
expect "and not among those that run" "" "$("$varve" ps | awk '/kept/')"
expect "its name is taken" 125 "$(status run --name kept --layers "$layers" true)"
expect "and still holds what was written" "new" "$(cat "$VARVE_STORE/containers/kept/upper/etc/new")"
expect "it can be inspected" "exited (0)" "$("$varve" inspect kept | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["Status"])')"
expect "it can be removed" 0 "$(status "$varve" rm kept)"
expect "with all that was written" "" "$(ls "$VARVE_STORE/containers")"
expect "a container that is none is told" 1 "$(status "$varve" rm kept)"

mkdir "$scratch/upper" "$scratch/work"
run --rm --layers "$layers" --upper "$scratch/upper" --work "$scratch/work" sh -c 'echo mine >/etc/mine'
expect "an upper of the caller's own is kept by --rm" "mine" "$(cat "$scratch/upper/etc/mine")"
expect "--read-only has no upper" 1 "$(status run --rm --read-only --layers "$layers" touch /etc/x)"

echo nothing >"$scratch/no-layer"
expect "a file that is no layer is 125" 125 "$(status run --rm --layers "$scratch/no-layer" true)"
expect_in "and named, in the daemon's words" "*mounting the image*no-layer*not a layer file*" "$(cat "$scratch/output")"
expect "no record of it is left" "" "$(ls "$VARVE_STORE/containers")"

echo "-- ends of every kind"
start_sleeper() {
  "$varve" run "$@" --layers "$layers" sh -c "exec sleep $seconds" &
  launcher=$!
  wait_for 30 pgrep --full "^sleep $seconds" >/dev/null
}
seconds=${number}21; start_sleeper --name sleeper
expect "a running container is listed" "sleeper running" "$("$varve" ps | awk '/sleeper/ {print $1, $2}')"
expect "and is not removed" 1 "$(status "$varve" rm sleeper)"
kill -KILL "$launcher"; end_of "$launcher"
expect "a killed launcher leaves no daemon" 0 "$(wait_for 30 no_daemon && echo 0)"
expect "and a record that says so" "died" "$("$varve" ps -a | awk '/sleeper/ {print $2}')"
expect "which can be removed" 0 "$(status "$varve" rm sleeper)"
seconds=${number}22; start_sleeper --rm
pkill --full --signal KILL "varvefs.*$scratch"
end_of "$launcher"
expect "a killed daemon ends its container" "125 0" "$end $(processes_with "^sleep ${number}22")"
seconds=${number}23; start_sleeper --rm
kill -KILL "$(pgrep --full "^sleep ${number}23")"; end_of "$launcher"
expect "a killed command is 137" 137 "$end"
expect "no daemon is left" 0 "$(wait_for 30 no_daemon && echo 0)"
for index in 1 2 3 4 5 6 7 8; do run --rm --layers "$layers" sh -c "echo $index >/etc/index; cat /etc/index" >"$scratch/parallel.$index" & done
wait
expect "eight at a time keep apart" "1 2 3 4 5 6 7 8" "$(cat "$scratch"/parallel.* | xargs)"
expect "no record is left" "" "$(ls "$VARVE_STORE/containers")"
expect "the host's mounts show nothing of it" 0 "$(mounts_on_host)"
finish
