#!/usr/bin/env bash
# Layers made of layers, and of the difference between trees, seen through a mount: the same tree, entry by entry
# (compare_tars.py).
# Environment: VARVE_BIN, the directory of imagetool and varvefs. Exit status 77: cannot run here, and says why.
set -euo pipefail
bin=${VARVE_BIN:?the directory with imagetool and varvefs}
here=$(cd "$(dirname "$0")" && pwd)

[ "$(id -u)" -eq 0 ] || { echo "skipped: owners, devices and mounts need root"; exit 77; }
[ -w /dev/fuse ] || { echo "skipped: there is no usable /dev/fuse"; exit 77; }
for program in setfattr python3 tar; do
  command -v "$program" >/dev/null || { echo "skipped: there is no $program"; exit 77; }
done

scratch=$(mktemp -d /tmp/varve-layers.XXXXXX)
cleanup() {
  while mountpoint --quiet "$scratch/mnt" && umount --lazy "$scratch/mnt"; do :; done
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
cd "$scratch"

step() { echo "== $*"; }
fail() {
  echo "FAILED: $*"
  exit 1
}
build() { "$bin/imagetool" layer build "$@" >/dev/null; }
archive() {
  tar --create --file "$2" --directory "$1" --format=pax --pax-option=delete=atime,delete=ctime --numeric-owner --sparse \
    --xattrs --xattrs-include='*' .
}
# shows LOWERDIR TREE: the mount of those layers shows what TREE holds.
shows() {
  "$bin/varvefs" -o "ro,lowerdir=$1" mnt
  archive mnt mounted.tar
  umount mnt
  archive "$2" wanted.tar
  python3 -B "$here/compare_tars.py" wanted.tar mounted.tar
}
size_of() { stat --format %s "$1"; }

step "two trees: the second as a rebuild leaves it"
mkdir -p one/{stays/deep,loses,was-dir,linked} mnt
head --bytes 3000000 /dev/urandom >one/large
head --bytes 3000000 /dev/urandom >one/stays/deep/large
seq 1000 >one/stays/text
printf gone >one/loses/gone
printf kept >one/loses/kept
printf x >one/was-dir/x
printf x >one/was-file
printf pair >one/linked/a
ln one/linked/a one/linked/b
ln one/linked/a one/stays/c
mknod one/device c 1 3
ln -s stays one/link
setfattr --name user.note --value 'a value' one/stays/text
cp --archive one two
printf change | dd of=two/large bs=1 seek=1500000 conv=notrunc status=none
rm two/loses/gone
rm -r two/was-dir two/was-file
printf now-file >two/was-dir
mkdir two/was-file
printf y >two/was-file/y
chmod 600 two/linked/a
mkdir -p two/new/dir
cp one/large two/new/copy

step "the difference over the first is the second"
build one -o one.layer
build two -o diff.layer --diff --parent one.layer --verify
shows "$scratch/diff.layer:$scratch/one.layer" two
[ "$(size_of diff.layer)" -lt 20000 ] || fail "diff.layer has $(size_of diff.layer) bytes"
"$bin/imagetool" layer ls diff.layer >names
if grep --quiet deep names; then fail "what is equal is stored: $(cat names)"; fi
grep --quiet '^/stays/c$' names || fail "a name of a changed file is missing: $(cat names)"

step "the same from a pipe"
archive two two.tar
build - -o piped.layer --diff --parent one.layer <two.tar
shows "$scratch/piped.layer:$scratch/one.layer" two
[ "$(size_of piped.layer)" -lt 20000 ] || fail "piped.layer has $(size_of piped.layer) bytes"

step "three layers become one, over the first or over nothing"
cp --archive two three
mv three/new three/moved
printf z >>three/stays/text
build three -o next.layer --diff --parent diff.layer --parent one.layer
build next.layer diff.layer -o both.layer --parent one.layer --verify
shows "$scratch/both.layer:$scratch/one.layer" three
[ "$(size_of both.layer)" -lt 30000 ] || fail "both.layer has $(size_of both.layer) bytes"
build next.layer diff.layer one.layer -o flat.layer --flatten
shows "$scratch/flat.layer" three
if "$bin/imagetool" layer ls flat.layer | grep deleted; then fail "a flat layer deletes"; fi
build one.layer -o again.layer
cmp one.layer again.layer
build flat.layer -o packed.layer --profile max --jobs 1
shows "$scratch/packed.layer" three

step "a layer on another base"
cp --archive one other
printf other >other/only-here
build other -o other.layer
build diff.layer -o moved.layer --base one.layer --parent other.layer
cp --archive two wanted
printf other >wanted/only-here
touch --reference=other/only-here wanted/only-here
touch --reference=two wanted
shows "$scratch/moved.layer:$scratch/other.layer" wanted
[ "$(size_of moved.layer)" -lt 20000 ] || fail "moved.layer has $(size_of moved.layer) bytes"

step "what is missing or does not go together is said"
if "$bin/imagetool" layer build diff.layer -o x.layer 2>said; then fail "a base was not missed"; fi
grep --quiet 'continues in the layer with root hash [0-9a-f]*, which is not below it here (name its file with --parent' said || fail "$(cat said)"
if "$bin/imagetool" layer build one.layer two -o x.layer 2>said; then fail "a directory among layers"; fi
grep --quiet 'two: not a layer file' said || fail "$(cat said)"
if "$bin/imagetool" layer build two -o x.layer --flatten 2>said; then fail "--flatten of a directory"; fi
grep --quiet 'not a layer file (--flatten and --base are for those)' said || fail "$(cat said)"
status=0
"$bin/imagetool" layer build two -o x.layer --diff 2>said || status=$?
[ "$status" -eq 2 ] || fail "--diff without --parent: status $status, $(cat said)"
[ ! -e x.layer ] || fail "something was left behind"

echo "all passed"
