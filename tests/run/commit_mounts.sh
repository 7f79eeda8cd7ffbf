#!/usr/bin/env bash
# `imagetool commit MOUNTPOINT`: of mounts of varvefs however they were made, while they are written to; and what is said of all that
# is no such mount, of mounts that lie about what they are, and of those that never answer. As root.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib/console.sh
. "$here/../../scripts/lib/console.sh"
bin=${VARVE_BIN:?the directory with varvefs and imagetool}
[ "$(id -u)" -eq 0 ] || { echo "skipped: mounts need root"; exit 77; }
[ -w /dev/fuse ] || { echo "skipped: there is no usable /dev/fuse"; exit 77; }

scratch=$(mktemp -d "${VARVE_TEST_TMP:-/tmp}/varve-commit.XXXXXX")
chmod 755 "$scratch"
helpers=()
fuse_is_ours=
cleanup() {
  [ -z "$fuse_is_ours" ] || umount /dev/fuse
  for pid in "${helpers[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  for mount in bound part tmp foreign mnt other node; do
    while mountpoint --quiet "$scratch/$mount" && umount --lazy "$scratch/$mount"; do :; done
  done
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
cd "$scratch"
export VARVE_STORE=$scratch/store
unset SOURCE_DATE_EPOCH

imagetool() { timeout 60 "$bin/imagetool" "$@"; }
expect() { [ "$2" = "$3" ] || fail "$1: \"$3\", not \"$2\""; }
# refused TEXT ARGUMENT...: `imagetool commit` fails with one line that holds TEXT, and in time.
refused() {
  local text=$1 status=0
  shift
  imagetool commit "$@" >out 2>err || status=$?
  expect "the status of commit $*" 1 "$status"
  grep --quiet --fixed-strings -- "$text" err || fail "commit $*: \"$text\" is not in: $(cat err)"
  expect "lines of its message" 1 "$(wc -l <err)"
}
blobs() { imagetool inspect "$1" | python3 -c 'import json, sys; print(":".join(l["path"] for l in reversed(json.load(sys.stdin)[0]["layers"])))'; }
differences() { imagetool diff "$1" "$2" | sed '$d' | awk '{ print $1, $NF }' | sort | xargs; }
parent_of() { python3 -c 'import json, sys; print(json.load(sys.stdin)["parent"])'; }
# unmount MNT: and waits until its daemon has let go.
unmount() {
  umount "$1"
  for _ in $(seq 100); do
    grep --quiet "$(stat --format %i "$2")" /proc/locks || return 0
    sleep 0.1
  done
  fail "the daemon of $1 does not end"
}
# helper ARGUMENT...: foreign_mount.py, running.
helper() {
  : >helper.out
  python3 -B "$here/foreign_mount.py" "$@" >helper.out &
  helpers+=($!)
  disown $!
  for _ in $(seq 100); do
    grep --quiet ready helper.out && return 0
    sleep 0.1
  done
  fail "foreign_mount.py $* does not begin"
}

mkdir tree mnt other upper work upper2 work2 bound part tmp foreign
mkdir tree/sub
head --bytes 1000000 /dev/urandom >tree/data
echo one >tree/sub/file
imagetool import tree base:1 --cmd first >/dev/null
echo two >tree/sub/file
imagetool import tree base:2 >/dev/null

step "mounted by the names of its layers"
"$bin/varvefs" -o "lowerdir=$(blobs base:1),upperdir=upper,workdir=work" mnt
printf X | dd of=mnt/data bs=1 seek=500000 conv=notrunc status=none
mv mnt/sub mnt/moved
(while :; do date >>mnt/log; done) &
writer=$!
helpers+=("$writer")
expect "the image below" base:1 "$(imagetool commit mnt made:1 -m note --json | parent_of)"
expect "the image below, named from elsewhere" base:1 "$(cd tree && imagetool commit ../mnt/ made:2 --json | parent_of)"
kill -KILL "$writer"
wait "$writer" 2>/dev/null || true
echo more >mnt/moved/more
expect "it goes on" "more" "$(cat mnt/moved/more)"
expect "what is in it" "A /log A /moved A /moved/file C /data D /sub D /sub/file" "$(differences base:1 made:1)"
expect "its configuration" first "$(imagetool inspect made:1 | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["config"]["config"]["Cmd"][0])')"
[ "$(imagetool inspect made:1 | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["layers"][1]["bytes"])')" -lt 100000 ] || fail "not the changed blocks alone"
expect "its history" 1 "$(imagetool history made:1 | grep --count 'imagetool commit mnt  # note')"
imagetool verify made:1 made:2 >/dev/null
expect "what is left in the store" "" "$(ls store/tmp)"

step "of several images the first by name, or the one it was mounted by, or the one that is said"
imagetool squash made:1 same:b >/dev/null
imagetool tag base:1 aaa
expect "the image below" aaa:latest "$(imagetool commit mnt made:3 --json | parent_of)"
expect "with --parent" base:1 "$(imagetool commit mnt made:3 --parent base:1 --json | parent_of)"
refused "was written over other layers" mnt made:4 --parent base:2
imagetool rm aaa
imagetool import tree tuned --cmd other >/dev/null
expect "another image of the same layer" "$(blobs base:2)" "$(blobs tuned)"
"$bin/varvefs" --image tuned -o upperdir=upper2,workdir=work2 other
touch other/new
expect "the image below" tuned:latest "$(imagetool commit other made:4 --json | parent_of)"
expect "what is in it" "A /new" "$(differences base:2 made:4)"
imagetool tag base:2 tuned
expect "an image that has lost its name" "sha256" "$(imagetool commit other made:4 --json | parent_of | cut -d: -f1)"
unmount other upper2

step "mounted by imagetool, and to be thrown away"
imagetool mount base:2 other --rw --upper kept
touch other/by-name
expect "the image below" base:2 "$(imagetool commit other made:5 --json | parent_of)"
expect "what is in it" "A /by-name" "$(differences base:2 made:5)"
refused "a container knows its image" other made:6 --parent base:2
unmount other store/containers/kept/upper
rm -rf upper2 work2
mkdir upper2 work2
"$bin/varvefs" --image base:2 -o upperdir=upper2,workdir=work2,fsync=never other
touch other/thrown-away
imagetool commit other made:6 >/dev/null
expect "what is in it" "A /thrown-away" "$(differences base:2 made:6)"
unmount other upper2
rm -rf upper2 work2
mkdir upper2 work2
"$bin/varvefs" -o "lowerdir=$(blobs base:2),upperdir=upper2,workdir=work2,fsync=never" other
refused "(give --parent IMAGE)" other made:7
imagetool commit other made:7 --parent base:2 >/dev/null
unmount other upper2

step "what is no mount of an image"
refused "lies within the mount $scratch/mnt (commit all of that" mnt/moved made:9
mount --bind mnt bound
expect "another mount point of it" base:1 "$(imagetool commit bound made:8 --json | parent_of)"
mount --bind mnt/moved part
refused "shows only /moved of a mount" part made:9
mount -t tmpfs none tmp
refused "a mount of tmpfs, not of varvefs" tmp made:9
"$bin/varvefs" --image base:2 other
refused "is mounted without an upper" other made:9
umount other
rm -rf upper2 work2
mkdir upper2 work2
"$bin/varvefs" -o "lowerdir=tree:$(blobs base:2),upperdir=upper2,workdir=work2" other
refused "the 2 layers below are not those of an image of $VARVE_STORE" other made:9
unmount other upper2
refused "over which image?" upper2 made:9
refused "neither a container" nothing made:9
refused "neither a container" tree/data made:9

step "those that lie, and those that never answer"
helper claim "$scratch/upper2" "$(stat --format %Hd:%Ld mnt)"
expect "an upper of another user that claims this mount" base:1 "$(imagetool commit mnt made:8 --json | parent_of)"
helper mount "$scratch/foreign" 64321
refused "was mounted by user 64321, whose word is not taken" foreign made:9
expect "beside one that does not answer" base:1 "$(imagetool commit mnt made:8 --json | parent_of)"
umount --lazy foreign
kill -KILL "${helpers[-1]}"
helper mount "$scratch/foreign" 0
refused "which upper it has cannot be found out" foreign made:9
umount --lazy foreign
kill -KILL "${helpers[-1]}"
umount bound part
unmount mnt upper
expect "the note is gone" "" "$(getfattr --absolute-names --match 'varve\.(mount|holder)' upper)"
imagetool verify made:1 made:3 made:8 >/dev/null

step "as an ordinary user, root of a user namespace"
user=64321
as_user=(timeout 60 setpriv --reuid "$user" --regid "$user" --clear-groups unshare --user --map-root-user --mount)
if ! "${as_user[@]}" true 2>/dev/null; then
  say "passed over: ordinary users may make no user namespaces here"
  say "done"
  exit 0
fi
# Where the user can reach them, and a /dev/fuse that everybody may open.
mkdir programs users node
cp "$bin/varvefs" "$bin/imagetool" programs/
chown "$user:$user" users
mount -t tmpfs none node
mknod -m 666 node/fuse c 10 229
mount --bind node/fuse /dev/fuse
fuse_is_ours=yes
cat >users.sh <<'END'
set -euo pipefail
cd users
export VARVE_STORE=$PWD/store
mkdir tree mnt upper work
echo one >tree/one
../programs/imagetool import tree base:1 >/dev/null
../programs/varvefs --image base:1 -o upperdir=upper,workdir=work mnt
echo two >mnt/two
../programs/imagetool commit mnt made:1 --json
../programs/imagetool diff base:1 made:1
umount mnt
END
"${as_user[@]}" bash users.sh >out
expect "the image below" base:1 "$(head -n 1 out | parent_of)"
expect "what is in it" "A /two" "$(sed '1d;$d' out | awk '{ print $1, $NF }')"
say "done"
