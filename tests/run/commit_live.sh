#!/usr/bin/env bash
# `imagetool commit` of what is in use: a container that writes all the while, one that is to be removed at its end, an upper that is
# mounted. The image shows one moment of it, and the container goes on, also when imagetool is killed. As root.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
# shellcheck disable=SC2016  # what stands in single quotes is for the shell inside
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "skipped: as an ordinary user there may be no group that can be frozen"; exit 77; }
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
"$varve" run --dry-run "$root" true | grep --quiet "to kill and freeze\|freezer" || skip "no control group can be frozen"
imagetool=$bin/imagetool
"$imagetool" import "$root" base >/dev/null
lines_of() { "$varve" run --rm "$1" sh -c 'cat /one | wc -l; cat /two | wc -l' | xargs; }
# in_step ONE TWO: the second follows the first.
in_step() { [ "$1" -eq "$2" ] || [ "$1" -eq $(($2 + 1)) ]; }
has_grown() { [ "$("$varve" exec writer sh -c 'cat /two | wc -l')" -gt "$1" ]; }

echo "-- a container that writes"
"$varve" run -d --name writer base sh -c 'i=0; while :; do i=$((i+1)); echo $i >>/one; echo $i >>/two; done' >/dev/null
last=0
at_once=()
for number in 1 2 3 4 5; do
  wait_for 20 has_grown "$last"
  expect "it can be committed ($number)" 0 "$(status "$imagetool" commit writer "moment:$number")"
  read -r one two < <(lines_of "moment:$number")
  expect "it is one moment ($number)" yes "$(in_step "$one" "$two" && echo yes || echo "$one $two")"
  expect "a later one than the last ($number)" yes "$([ "$two" -ge "$last" ] && echo yes || echo "$two after $last")"
  last=$two
done
for number in 1 2 3; do
  "$imagetool" commit writer "at-once:$number" >/dev/null 2>"$scratch/at-once-$number" &
  at_once[number]=$!
done
for number in 1 2 3; do
  ended=0
  wait "${at_once[$number]}" || ended=$?
  expect "several at once ($number)" "0 " "$ended $(cat "$scratch/at-once-$number")"
  read -r one two < <(lines_of "at-once:$number")
  expect "  (one moment)" yes "$(in_step "$one" "$two" && echo yes || echo "$one $two")"
done
expect "it goes on" 0 "$(wait_for 20 has_grown "$last" && echo 0)"
expect "no copy is left" "" "$(ls -A "$VARVE_STORE/tmp")"
expect "one that is paused stays so" "0 0" "$("$varve" pause writer; echo "$(status "$imagetool" commit writer moment:paused) $("$varve" ps | grep -c running)")"
"$varve" unpause writer

echo "-- imagetool is killed while all stands still"
"$varve" exec writer sh -c 'head -c 300000000 /dev/zero | tr "\0" "x" >/large'
daemon=$("$varve" inspect writer | sed -n 's/.*"Upper": "\(.*\)".*/\1/p' | xargs -I{} getfattr --only-values -n trusted.varve.holder {} 2>/dev/null)
stands_still() { [ "$(sed 's/.*) //; s/ .*//' "/proc/$daemon/stat")" = T ]; }
"$imagetool" commit writer moment:killed >/dev/null 2>&1 &
commit=$!
for _ in $(seq 2000); do ! stands_still || break; done
expect "the daemon stands still" yes "$(stands_still && echo yes)"
kill -KILL "$commit"
wait "$commit" 2>/dev/null || true
runs() { ! stands_still && [ "$("$varve" ps | grep -c running)" = 1 ]; }
expect "daemon and container go on" 0 "$(wait_for 20 runs && echo 0)"
last=$("$varve" exec writer sh -c 'cat /two | wc -l')
expect "and it writes" 0 "$(wait_for 20 has_grown "$last" && echo 0)"
expect "gc clears up" 0 "$(status "$imagetool" gc)"
expect "  (nothing is left)" "" "$(ls -A "$VARVE_STORE/tmp" 2>/dev/null)"
"$varve" rm -f writer

echo "-- others that are in use"
"$varve" run -d --rm --name short base sh -c 'echo written >/kept; while :; do sleep 1; done' >/dev/null
written() { "$varve" exec short test -s /kept; }
wait_for 20 written
expect "one that is removed at its end" 0 "$(status "$imagetool" commit short short:1)"
expect "  (what it wrote)" "written" "$("$varve" run --rm short:1 cat /kept)"
"$varve" rm -f short
mkdir "$scratch/mnt"
"$imagetool" mount base "$scratch/mnt" --rw --upper mounted
echo first >"$scratch/mnt/first"
expect "an upper that is mounted" 0 "$(status "$imagetool" commit mounted mounted:1)"
echo second >"$scratch/mnt/second"
"$imagetool" umount "$scratch/mnt"
expect "  (what was written by then)" "A /first" "$("$imagetool" diff base mounted:1 | awk '/^A/ { print $1, $NF }')"
finish
