#!/usr/bin/env bash
# What a mount tells of itself, and to whom; and by its counts, what the kernel is spared.
# Environment: VARVE_BIN, the directory of imagetool and varvefs. Exit status 77: cannot run here, and says why.
set -euo pipefail
bin=${VARVE_BIN:?the directory with imagetool and varvefs}
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib/console.sh
. "$here/../../scripts/lib/console.sh"

[ "$(id -u)" -eq 0 ] || { echo "skipped: it takes root to be another user"; exit 77; }
[ -w /dev/fuse ] || { echo "skipped: there is no usable /dev/fuse"; exit 77; }
for program in python3 setpriv unshare; do
  command -v "$program" >/dev/null || { echo "skipped: there is no $program"; exit 77; }
done

scratch=$(mktemp -d /tmp/varve-status.XXXXXX)
chmod 755 "$scratch"
cleanup() {
  while mountpoint --quiet "$scratch/mnt" && umount --lazy "$scratch/mnt"; do :; done
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
cd "$scratch"

# field PATH: of the status, "requests.OPEN"; 0 where there is none.
field() {
  "$bin/varvefs" --status mnt --json | python3 -c '
import functools, json, sys
print(functools.reduce(lambda page, key: page.get(key, 0), sys.argv[1].split("."), json.load(sys.stdin)))' "$1"
}
expect() { [ "$2" = "$3" ] || fail "$1: \"$3\", not \"$2\""; }
refused() {
  local what=$1
  shift
  if "$@" >out 2>err; then fail "$what: it was told: $(head -n 1 out)"; fi
  grep --quiet 'not the root of a varvefs mount, or another user' err || fail "$what: $(cat err)"
  [ ! -s out ] || fail "$what: something was printed"
}

step "A mount with an upper over a layer file"
mkdir -p tree/d/e up work mnt
for i in $(seq 50); do echo "$i" >"tree/d/file-$i"; done
mkdir tree/many
for i in $(seq 500); do : >"tree/many/a-name-that-is-long-enough-$i"; done
head --bytes 1000000 /dev/urandom >tree/big
"$bin/imagetool" layer build tree -o layer.vrv >/dev/null
"$bin/varvefs" -o lowerdir=layer.vrv,upperdir=up,workdir=work mnt
expect "layers" 1 "$(field layer_count)"
expect "read-only" False "$(field read_only)"
cat mnt/big >/dev/null
# With what shares its last frame.
expect "decompressed" 1000141 "$(field cache.decompressed_bytes)"
printf X | dd of=mnt/big bs=1 seek=500000 conv=notrunc 2>/dev/null
expect "objects copied up" 1 "$(field copied_up.objects)"
expect "blocks copied up" 1 "$(field copied_up.blocks)"
[ "$(field memory_bytes)" -gt 1000000 ] || fail "the daemon has no memory"
"$bin/varvefs" --status mnt >text
grep --quiet 'layer.vrv' text || fail "the text names no layer"
grep --quiet '1 objects, 1 blocks' text || fail "the text tells of no block"

step "A listing is asked for once, and again after a change"
listings() { echo $(($(field requests.READDIR) + $(field requests.READDIRPLUS))); }
show() { find mnt -printf '%p %i %s %m %T@\n'; }
show >before
first=$(listings)
[ "$first" -gt 0 ] || fail "no listing was counted"
# More than once, because anybody may have the kernel drop its caches in between.
for attempt in 1 2 3 4 5; do
  first=$(listings)
  show >again
  diff before again
  [ "$(listings)" -gt "$first" ] || break
  [ "$attempt" -lt 5 ] || fail "each find asked for the listings anew"
done
first=$(listings)
touch mnt/d/new
find mnt >after
[ "$(listings)" -gt "$first" ] || fail "a changed directory was not listed again"
grep --quiet --line-regexp mnt/d/new after || fail "the new name is missing"

step "A listing brings the attributes, in its later parts and of the upper's objects too, and no directory is opened"
for i in $(seq 501 1000); do : >"mnt/many/a-name-that-is-long-enough-$i"; done
for attempt in 1 2 3 4 5; do
  umount mnt
  "$bin/varvefs" -o lowerdir=layer.vrv,upperdir=up,workdir=work mnt
  expect "names" 1000 "$(find mnt/many -type f -size 0 | wc --lines)"
  [ "$(listings)" -gt 3 ] || fail "the listing had no later parts"
  [ "$(field requests.LOOKUP)" -gt 1 ] || break
  [ "$attempt" -lt 5 ] || fail "$(field requests.LOOKUP) names were looked up"
done
# The one that was answered with ENOSYS.
[ "$(field requests.OPENDIR)" -le 1 ] || fail "$(field requests.OPENDIR) directories were opened"

step "It tells nobody else"
getfattr --match - --dump --absolute-names mnt 2>/dev/null | grep --quiet varvefs && fail "the xattr is listed"
refused "another user" setpriv --reuid 12345 --clear-groups "$bin/varvefs" --status mnt
refused "another PID namespace" unshare --pid --fork "$bin/varvefs" --status mnt
refused "a directory of it" "$bin/varvefs" --status mnt/d
refused "another file system" "$bin/varvefs" --status /proc
umount mnt

step "Processors that are to wake up quickly"
"$bin/varvefs" -o lowerdir=layer.vrv mnt
expect "without the option" "None False 0 not asked for" \
  "$(field wakeup.asked_us) $(field wakeup.held) $(field wakeup.taken) $(field wakeup.why_not)"
umount mnt
# Where that is not possible there is a warning, and the mount all the same.
"$bin/varvefs" -o lowerdir=layer.vrv,wakeup_us=1000000 mnt
expect "with it" "1000000 False 0" "$(field wakeup.asked_us) $(field wakeup.held) $(field wakeup.taken)"
"$bin/varvefs" --status mnt | grep --quiet '^wakeup  *1000000 us: not ' || fail "the text does not tell of it"
umount mnt
say "all good"
