#!/usr/bin/env bash
# End to end on a real root file system: a Debian tree becomes a layer, is mounted, compared, run in, torn down by half,
# and is the same after a remount, while the layer does not change by a bit.
# Environment: VARVE_BIN, the directory of varvefs, imagetool and varve. Exit status 77: cannot run here, and says why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib/console.sh
. "$here/../../scripts/lib/console.sh"
# shellcheck source=scripts/lib/debian_tree.sh
. "$here/../../scripts/lib/debian_tree.sh"
bin=${VARVE_BIN:?the directory with varvefs, imagetool and varve}

skip() { echo "skipped: $*"; exit 77; }
[ "$(id -u)" -eq 0 ] || skip "owners and device nodes of a root file system need root"
[ -w /dev/fuse ] || skip "there is no usable /dev/fuse"
command -v debootstrap >/dev/null || skip "there is no debootstrap (scripts/install-dependencies test)"
tar=$(debian_tree_tar procps) || skip "no Debian tree could be had, see above"

scratch=$(mktemp -d /tmp/varve-e2e.XXXXXX)
chmod 755 "$scratch"
mnt=$scratch/mnt
cleanup() {
  while mountpoint --quiet "$mnt" && umount --lazy "$mnt"; do :; done
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
mkdir "$scratch"/{tree,mnt,upper,work}

unmount() {
  umount "$mnt"
  # The daemon writes its clean mark after the kernel has let go: the upper is free when its lock is.
  for _ in $(seq 200); do
    pgrep --full "varvefs.*$mnt\$" >/dev/null || return 0
    sleep 0.05
  done
  fail "varvefs still runs 10 s after umount"
}
mount_stack() {
  "$bin/varvefs" -o "lowerdir=$scratch/base.layer,upperdir=$scratch/upper,workdir=$scratch/work" "$mnt"
}
# metadata DIR: a line for each object; sizes of directories and of their links differ between file systems, so not those.
metadata() {
  (
    cd "$1"
    find . ! -type d -printf '%P\t%y %m %U:%G %s %n %T@ %l\n' -o -printf '%P\t%y %m %U:%G %T@\n' | LC_ALL=C sort
    find . \( -type b -o -type c \) -exec stat --format='%n device %t:%T' {} + | LC_ALL=C sort
    getfattr --recursive --physical --no-dereference --dump --match=- . 2>/dev/null
  )
}
# contents DIR: checksums of all regular files.
contents() { (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); }
# expect_same WHAT A B
expect_same() {
  diff "$2" "$3" >"$scratch/difference" || { head -n 20 "$scratch/difference"; fail "$1 differs, see above"; }
}

step "Unpacking the tree and building a layer of it"
tar --extract --file="$tar" --directory="$scratch/tree" --numeric-owner --xattrs --xattrs-include='*' --acls
say "$(find "$scratch/tree" | wc -l) objects, $(du -sm "$scratch/tree" | cut -f1) MiB"
"$bin/imagetool" layer build "$scratch/tree" -o "$scratch/base.layer"
say "layer: $(du -m "$scratch/base.layer" | cut -f1) MiB"
"$bin/imagetool" layer verify "$scratch/base.layer" >/dev/null
sum=$(sha256sum <"$scratch/base.layer")

step "Mounting it, and comparing it with the tree"
# As with overlayfs, the root directory of the mount is the upper's.
touch --reference="$scratch/tree" "$scratch/upper"
mount_stack
# diff cannot compare device nodes, and says so of two equal ones too: metadata() compares those.
diff --recursive --no-dereference "$scratch/tree" "$mnt" >"$scratch/diff" 2>&1 || true
grep --invert-match --extended-regexp \
  'File .* is a (character|block) special file while file .* is a (character|block) special file$' "$scratch/diff" |
  tee "$scratch/diff.left" | head -n 20 || true  # grep finds nothing when all is well
[ ! -s "$scratch/diff.left" ] || fail "diff -r --no-dereference found differences, see above"
metadata "$scratch/tree" >"$scratch/tree.metadata"
metadata "$mnt" >"$scratch/mnt.metadata"
expect_same "metadata" "$scratch/tree.metadata" "$scratch/mnt.metadata"

step "Running bash, dpkg and perl in it: chroot, then varve run"
# shellcheck disable=SC2016  # the inner shell expands it
program='set -e; [ "$(dpkg --get-selections | grep -c install)" -gt 50 ]; [ "$(perl -e "print 6*7")" = 42 ]; echo ran-$BASH_VERSION'
chroot "$mnt" /bin/bash -c "$program" | grep ^ran- || fail "chroot: bash, dpkg or perl did not run"
"$bin/varve" run "$mnt" /bin/bash -c "$program" | grep ^ran- || fail "varve run: bash, dpkg or perl did not run"
"$bin/varve" run "$mnt" /bin/bash -c 'ps -e --no-headers | wc -l; hostname' >"$scratch/inside"
[ "$(head -n 1 "$scratch/inside")" -le 4 ] || fail "ps shows more than the container's own processes"
[ "$(tail -n 1 "$scratch/inside")" != "$(hostname)" ] || fail "the container has the host's name"

step "Removing half of it, writing, renaming"
rm -rf "${mnt:?}/usr/share" "${mnt:?}/var/lib/dpkg/info"
find "$mnt/usr/lib" "$mnt/usr/bin" -type f | awk 'NR % 2' | xargs --delimiter='\n' rm -f
mv "$mnt/usr/lib" "$mnt/usr/renamed-lib"
mv "$mnt/etc" "$mnt/opt/etc"
mkdir "$mnt/etc" "$mnt/usr/share"
echo "a new file" >"$mnt/etc/note"
for file in "$mnt"/opt/etc/{passwd,group,debian_version}; do echo changed >>"$file"; done
find "$mnt" -xdev -type f -size +100k | head -n 20 | while read -r file; do
  printf 'x' | dd of="$file" bs=1 seek=50000 conv=notrunc status=none
done
metadata "$mnt" >"$scratch/before.metadata"
contents "$mnt" >"$scratch/before.contents"

step "Unmounting and mounting again: the same view"
unmount
[ "$(sha256sum <"$scratch/base.layer")" = "$sum" ] || fail "the layer file has changed"
mount_stack
metadata "$mnt" >"$scratch/after.metadata"
contents "$mnt" >"$scratch/after.contents"
expect_same "metadata after the remount" "$scratch/before.metadata" "$scratch/after.metadata"
expect_same "contents after the remount" "$scratch/before.contents" "$scratch/after.contents"
rm -rf "${mnt:?}"/* 2>/dev/null || true
[ -z "$(ls -A "$mnt")" ] || fail "something is left after rm -rf: $(ls -A "$mnt")"
unmount
[ "$(sha256sum <"$scratch/base.layer")" = "$sum" ] || fail "the layer file has changed"
say "good"
