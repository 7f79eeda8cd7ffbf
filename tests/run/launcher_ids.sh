#!/usr/bin/env bash
# User and group ids of `varve run`: an ordinary user with ranges of subordinate ids, without them, and root.
# The user is made in copies of the host's files, bound over in the mount namespace of this test.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
# shellcheck disable=SC2016  # what stands in single quotes is for the shell inside
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "skipped: the user and its ranges are made by root"; exit 77; }
if [ -z "${VARVE_IDS_OWN_MOUNTS:-}" ]; then VARVE_IDS_OWN_MOUNTS=1 exec unshare --mount bash "$0"; fi
for helper in newuidmap newgidmap; do
  command -v "$helper" >/dev/null || { echo "skipped: there is no $helper (package uidmap)"; exit 77; }
done
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
uid=$((20000 + $$ % 10000)); gid=$((uid + 1))
# Two ranges, one for the name and one for the number.
range1=$((1000000 + $$ % 1000 * 100)); range2=$((range1 + 5000000))
mkdir "$scratch/etc"
for file in passwd group subuid subgid; do
  touch "$scratch/etc/$file"
  [ ! -e "/etc/$file" ] || cp "/etc/$file" "$scratch/etc/$file"
  [ -e "/etc/$file" ] || skip "there is no /etc/$file to bind over"
done
echo "tester:x:$uid:$gid::$scratch/home:/bin/sh" >>"$scratch/etc/passwd"
echo "tester:x:$gid:" >>"$scratch/etc/group"
for file in subuid subgid; do
  printf 'somebody:900000:10\ntester:%s:1000\n%s:%s:9000\ncontainers:%s:5000\n' "$range1" "$uid" "$range2" "$((range2 + 20000))" >"$scratch/etc/$file"
done
for file in passwd group subuid subgid; do mount --bind "$scratch/etc/$file" "/etc/$file"; done
mkdir "$scratch/node"; mount -t tmpfs none "$scratch/node"
mknod -m 666 "$scratch/node/fuse" c 10 229; mount --bind "$scratch/node/fuse" /dev/fuse
remove_mounts() { umount /dev/fuse /etc/passwd /etc/group /etc/subuid /etc/subgid "$scratch/node" 2>/dev/null || true; remove_scratch; }
trap remove_mounts EXIT

as_user() { setpriv --reuid "$uid" --regid "$gid" --clear-groups env VARVE_STORE="$VARVE_STORE" "$@"; }
as_user unshare --user true 2>/dev/null || skip "ordinary users may make no user namespaces here"
mkdir "$scratch/bin" "$scratch/home"
cp "$bin/varve" "$bin/varvefs" "$bin/imagetool" "$scratch/bin/"
varve=$scratch/bin/varve
chown 1000:10 "$root/tmp"
tar -C "$root" -cf "$scratch/root.tar" .
export VARVE_STORE=$scratch/user-store
mkdir "$VARVE_STORE"; chown "$uid:$gid" "$VARVE_STORE" "$scratch/home"
as_user "$scratch/bin/imagetool" import "$scratch/root.tar" base >/dev/null
run() { as_user "$varve" run --rm "$@"; }
plan() { as_user "$varve" run --dry-run "$@"; }

echo "-- ranges"
expect "root inside is the user, then the ranges in order" "0 $uid 1 1 $range1 1000 1001 $range2 9000" "$(run base sh -c 'cat /proc/self/uid_map' | xargs)"
expect "so for groups" "0 $gid 1 1 $range1 1000 1001 $range2 9000" "$(run base sh -c 'cat /proc/self/gid_map' | xargs)"
expect "groups can be set" "uid=1000(bob) gid=1000(bob) groups=10(wheel)" "$(run -u bob base id)"
expect "the plan shows them" "uid map:      0 $uid 1, 1 $range1 1000, 1001 $range2 9000" "$(plan base true | grep '^uid map')"
expect "owners of the image are shown" "1000:10" "$(run base stat -c %u:%g /tmp)"
expect "the last id of the ranges can be used, the next not" "0 125" "$(status run -u 10000:10000 base true) $(status run -u 10001 base true)"
as_user "$varve" run --name work base sh -c 'echo 1 >/made; chown 1000:10 /made; chmod 4750 /made; ln -s made /link; chown -h 7:8 /link; mkdir -m 700 /private; chown 9:9 /private; su bob -c "echo 2 >/tmp/bobs"'
upper=$VARVE_STORE/containers/work/upper
expect "all in the upper belongs to the user" "" "$(find "$upper" ! -uid "$uid")"
expect "and set-id bits are not on disk" "" "$(find "$upper" -perm /6000)"
as_user "$scratch/bin/imagetool" commit work committed >/dev/null
expect "a committed layer has the owners" "4750 1000:10 777 7:8 700 9:9 1000:1000" \
  "$(run committed sh -c 'stat -c "%a %u:%g" /made /link /private; stat -c %u:%g /tmp/bobs' | xargs)"
expect "links still lead where they led" "made 1" "$(run committed sh -c 'readlink /link; cat /link' | xargs)"
expect "a tree with links can be given away" "5:5 5:5" "$(run base sh -c 'mkdir -p /t/d; ln -s d /t/l; chown -R 5:5 /t; stat -c %u:%g /t/l /t/d' | xargs)"
expect "the user removes it" 0 "$(status as_user "$varve" rm work)"
expect "a directory keeps the ids on the host" "$((range1 + 6)):$((range1 + 7))" "$(mkdir "$scratch/home/root"; cp -a "$root/." "$scratch/home/root"; chown -R "$uid:$gid" "$scratch/home/root"
  run "$scratch/home/root" sh -c 'echo x >/given; chown 7:8 /given'; stat -c %u:%g "$scratch/home/root/given")"
expect "volumes hold owners" "7:8 7:8" "$({ run -v data:/data base sh -c 'echo x >/data/x; chown 7:8 /data/x'; run -v data:/data base stat -c %u:%g /data/x; run -v data:/other base stat -c %u:%g /other/x; } | xargs)"
as_user "$varve" run --name anonymous -v /data base sh -c 'mkdir -m 700 /data/d; echo x >/data/d/x; chown -R 7:8 /data/d'
expect "a container with files of mapped ids is removed by the user" 0 "$(status as_user "$varve" rm anonymous)"
expect "wholly" "" "$(ls "$VARVE_STORE/containers")"
expect "and with --rm" "0 " "$(status run -v /data base sh -c 'mkdir -m 700 /data/d; echo x >/data/d/x; chown -R 7:8 /data/d') $(ls "$VARVE_STORE/containers")"
expect "a read-only root, tmpfs and devices work" "755 0" "$(run --read-only base sh -c 'stat -c %a /run; cat /dev/null | wc -c' | xargs)"

echo "-- keep-id"
expect "the user is the same inside" "uid=$uid gid=$gid" "$(run --userns keep-id base id | sed 's/ groups=.*//')"
expect "root inside is another" "0 $range1 1000" "$(run --userns keep-id base sh -c 'head -n1 /proc/self/uid_map' | xargs)"
expect "with uid= and gid= it is that one" "uid=1000(bob) gid=10(wheel)" "$(run --userns keep-id:uid=1000,gid=10 base id | sed 's/ groups=.*//')"
expect "the map leaves no id out" "0 $range1 1000 1000 $uid 1 1001 $range2 9000" "$(run --userns keep-id:uid=1000 base cat /proc/self/uid_map | xargs)"
expect "the user's files are the user's" "$uid" "$(mkdir -m 700 "$scratch/home/mine"; chown "$uid:$gid" "$scratch/home/mine"; run --userns keep-id -v "$scratch/home/mine:/mnt" base sh -c 'echo x >/mnt/x'; stat -c %u "$scratch/home/mine/x")"
expect "the layer's owners are as in the image" "0:0 1000:10" "$(run --userns keep-id base stat -c %u:%g /etc/passwd /tmp | xargs)"
as_user "$varve" run -d --name joined --userns keep-id base sh -c 'while :; do sleep 0.1; done' >/dev/null
expect "exec is the user as well" "$uid 0" "$(as_user "$varve" exec joined id -u) $(as_user "$varve" exec -u 0 joined id -u)"
expect "who joins it has its ids" "$(as_user "$varve" exec joined cat /proc/self/uid_map | xargs)" "$(run --pid container:joined base cat /proc/self/uid_map | xargs)"
expect "all of them" "0:0 1000:10 7:8" "$(run --pid container:joined base sh -c 'echo x >/x; chown 7:8 /x; stat -c %u:%g /etc/passwd /tmp /x' | xargs)"
expect "and is root unless told otherwise" "0 $uid" "$(run --ipc container:joined base id -u) $(run --ipc container:joined -u "$uid" base id -u)"
as_user "$varve" run --name work --pid container:joined base sh -c 'echo 1 >/made; chown 1000:10 /made; ln -s made /link; chown -h 7:8 /link'
as_user "$scratch/bin/imagetool" commit work joint >/dev/null
as_user "$varve" rm work
expect "what it wrote has the owners" "1000:10 7:8" "$(run joint stat -c %u:%g /made /link | xargs)"
as_user "$varve" rm -f joined
expect "-u wins" "0" "$(run --userns keep-id -u 0 base id -u)"
expect "volumes are root's inside, and filled" "0:0 1000:10" "$({ run --userns keep-id -v kept:/kept base stat -c %u:%g /kept; run --userns keep-id -v /tmp base stat -c %u:%g /tmp; } | xargs)"
# By its own name: a function in the background would be a shell that gets the signal.
setpriv --reuid "$uid" --regid "$gid" --clear-groups "$varve" run --rm --userns keep-id base sh -c 'trap "exit 3" TERM; echo ready; while :; do sleep 0.1; done' >"$scratch/signalled" &
launcher=$!
wait_for 30 grep -qs ready "$scratch/signalled"
kill -TERM "$launcher"; end_of "$launcher"
expect "signals reach the command" 3 "$end"
for bad in keep-id:uid=x keep-id:nonsense auto nonsense; do
  expect "--userns $bad is refused" 125 "$(status run --userns "$bad" base true)"
done

echo "-- one id"
expect "single is the own id alone" "0 $uid 1" "$(run --userns single base cat /proc/self/uid_map | xargs)"
expect "all others are nobody" "65534:65534" "$(run --userns single base stat -c %u:%g /tmp)"
# drop_lines PATTERN FILE: drops those that fit, in place: the file is bound elsewhere.
drop_lines() { local kept; kept=$(grep --invert-match "$1" "$2"); echo "$kept" >"$2"; }
drop_lines "^tester:\|^$uid:" "$scratch/etc/subuid"
expect "without ranges it is the default" "0 $uid 1" "$(run base cat /proc/self/uid_map | xargs)"
expect_in "with the reason in the plan" "ids:          one alone: looking for subordinate ids: /etc/subuid: no line is for tester*" "$(plan base true | grep '^ids:')"
expect "keep-id says so" 125 "$(status run --userns keep-id base true)"

echo "-- root"
export VARVE_STORE=$scratch/store
varve=$bin/varve
"$bin/imagetool" import "$scratch/root.tar" base >/dev/null
expect "root's ids are the host's" "0 0 4294967295" "$("$varve" run --rm base cat /proc/self/uid_map | xargs)"
expect "--userns host shares the namespace" "$(readlink /proc/self/ns/user)" "$("$varve" run --rm --userns host base readlink /proc/self/ns/user)"
expect "--userns auto takes a range of containers" "0 $((range2 + 20000)) 5000" "$("$varve" run --rm --userns auto base cat /proc/self/uid_map | xargs)"
expect "owners are as in the image" "0:0 1000:10 7:8" "$("$varve" run --rm --userns auto base sh -c 'echo x >/x; chown 7:8 /x; stat -c %u:%g /etc/passwd /tmp /x' | xargs)"
expect "what is written outside belongs to the range" "$((range2 + 20007))" "$(mkdir -m 777 "$scratch/out"; chmod 777 "$scratch/out"; "$varve" run --rm --userns auto -u 7 -v "$scratch/out:/out" base touch /out/x; stat -c %u "$scratch/out/x")"
"$varve" run -d --name joined --userns auto base sh -c 'while :; do sleep 0.1; done' >/dev/null
expect "exec is root of the range, with a terminal of it too" "0 /dev/pts/0" \
  "$("$varve" exec joined id -u) $(script -qec "$varve exec -t joined tty" /dev/null </dev/null | tr -d '\r')"
expect "who joins it has its ids" "0 $((range2 + 20000)) 5000" "$("$varve" run --rm --network container:joined base cat /proc/self/uid_map | xargs)"
expect "and no volumes" 125 "$(status "$varve" run --rm --network container:joined -v v:/data base true)"
"$varve" rm -f joined
expect "volumes are refused with auto" 125 "$(status "$varve" run --rm --userns auto -v v:/data base true)"
drop_lines ^containers: "$scratch/etc/subuid"
expect "without such a range it is refused" 125 "$(status "$varve" run --rm --userns auto base true)"
expect "keep-id is not for root" 125 "$(status "$varve" run --rm --userns keep-id base true)"
finish
