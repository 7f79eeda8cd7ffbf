#!/usr/bin/env bash
# tar -> layer -> read-only mount -> tar, and tar -> layer -> tar: the same archive, entry by entry (compare_tars.py).
# Environment: VARVE_BIN, the directory of imagetool and varvefs. Exit status 77: cannot run here, and says why.
set -euo pipefail
bin=${VARVE_BIN:?the directory with imagetool and varvefs}
here=$(cd "$(dirname "$0")" && pwd)

[ "$(id -u)" -eq 0 ] || { echo "skipped: owners, devices and mounts need root"; exit 77; }
[ -w /dev/fuse ] || { echo "skipped: there is no usable /dev/fuse"; exit 77; }
for program in setfacl setfattr setcap python3 tar; do
  command -v "$program" >/dev/null || { echo "skipped: there is no $program"; exit 77; }
done

scratch=$(mktemp -d /tmp/varve-round-trip.XXXXXX)
cleanup() {
  while mountpoint --quiet "$scratch/mnt" && umount --lazy "$scratch/mnt"; do :; done
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
cd "$scratch"

step() { echo "== $*"; }
compare() { python3 -B "$here/compare_tars.py" "$@"; }
# archive DIRECTORY FILE: all that GNU tar can say of it.
archive() {
  tar --create --file "$2" --directory "$1" --format=pax --pax-option=delete=atime,delete=ctime --numeric-owner --sparse \
    --acls --xattrs --xattrs-include='*' .
}

step "a tree with every kind of object"
mkdir -p tree/{dir,sticky,defaults,deep/er/still} mnt
printf 'hello\n' >tree/dir/file
ln tree/dir/file tree/dir/linked
ln tree/dir/file tree/deep/er/linked
printf 'other\n' >tree/pair
ln tree/pair tree/deep/pair
ln -s ../dir/file tree/deep/relative
ln -s /nowhere/at/all tree/deep/dangling
ln -s "$(printf 'x/%.0s' $(seq 500))" tree/deep/long-target
mknod tree/dev-char c 1 3
mknod tree/dev-block b 259 1000
mkfifo tree/fifo
: >tree/empty
head --bytes 700000 /dev/urandom >tree/random
seq 200000 >tree/text
truncate --size 9M tree/sparse
printf middle | dd of=tree/sparse bs=1 seek=4194304 conv=notrunc status=none
printf end | dd of=tree/sparse bs=1 seek=9437180 conv=notrunc status=none
truncate --size 3M tree/hole
truncate --size 20000000000 tree/large-hole
printf x | dd of=tree/large-hole bs=1 seek=19999997952 conv=notrunc status=none
touch "tree/$(printf 'n%.0s' $(seq 255))" $'tree/new\nline' $'tree/not-utf8-\xff'
ln $'tree/not-utf8-\xff' $'tree/linked-not-utf8-\xfe'
ln -s $'target-not-utf8-\xff' $'tree/symlink-not-utf8-\xff'
cp /bin/true tree/capable
setcap cap_net_raw,cap_sys_admin+ep tree/capable
cp /bin/true tree/setuid
chmod 6755 tree/setuid
chmod 1777 tree/sticky
chmod 0000 tree/empty
chown --no-dereference 123456:4000000000 tree/text tree/deep/dangling tree/fifo
setfattr --name user.note --value 'a value' tree/dir/file
setfattr --name user.binary --value 0x00ff0a3d00 tree/text
setfattr --name trusted.hidden --value secret tree/dir
setfacl --modify u:1234:rw,g:99:r,m::rw tree/random
setfacl --default --modify u:7:rwx tree/defaults
touch --date '1999-12-31 23:59:59.123456789 UTC' --no-dereference tree/deep/relative
touch --date '1960-01-01 00:00:00.250000001 UTC' tree/text
touch --date '2100-02-03 04:05:06.999999999 UTC' tree/defaults
touch --date '@0' tree/sticky
archive tree first.tar

step "tar -> layer -> tar"
"$bin/imagetool" layer build first.tar -o a.layer 2>warnings
[ ! -s warnings ] || { echo "FAILED: something was warned of: $(cat warnings)"; exit 1; }
"$bin/imagetool" layer extract a.layer --tar extracted.tar
compare first.tar extracted.tar

step "tar -> layer -> mount -> tar"
"$bin/varvefs" -o "ro,lowerdir=$scratch/a.layer" mnt
archive mnt mounted.tar
umount mnt
compare first.tar mounted.tar

step "tar -> layer -> tar -> GNU tar -> tar: GNU tar reads our sparse maps and lists"
mkdir untarred
tar --extract --file extracted.tar --directory untarred --acls --xattrs --xattrs-include='*' --same-owner 2>err
if grep --invert-match --extended-regexp 'implausibly old|in the future' err; then echo "FAILED: GNU tar complains"; exit 1; fi
archive untarred again.tar
compare first.tar again.tar

step "holes cost nothing in an archive"
[ "$(stat --format %s extracted.tar)" -lt 4000000 ] || { echo "FAILED: $(stat --format %s extracted.tar) bytes"; exit 1; }

step "sparse files of all dialects of GNU tar"
mkdir islands
truncate --size 20G islands/sparse
for at in $(seq 1 70); do
  printf 'island %s' "$at" | dd of=islands/sparse bs=4096 seek=$((at * at * 100)) conv=notrunc status=none
done
for dialect in '--format=gnu' '--format=pax --sparse-version=0.0' '--format=pax --sparse-version=0.1' \
  '--format=pax --sparse-version=1.0'; do
  # shellcheck disable=SC2086  # the options are words
  tar --create --file dialect.tar --directory islands --sparse $dialect .
  "$bin/imagetool" layer build dialect.tar -o dialect.layer >/dev/null
  "$bin/imagetool" layer extract dialect.layer --tar from-dialect.tar
  compare dialect.tar from-dialect.tar
done

step "data that ends inside a block, where a delta file's base ends: GNU tar and libarchive read the same"
mkdir old new ours theirs
head --bytes 5000 /dev/urandom >old/f
cp old/f new/f
truncate --size 16384 new/f
printf end >>new/f
"$bin/imagetool" layer build old -o old.layer >/dev/null
"$bin/imagetool" layer build new -o delta.layer --parent old.layer >/dev/null
"$bin/imagetool" layer extract delta.layer --parent old.layer --tar delta.tar
[ "$(stat --format %s delta.layer)" -lt 4000 ] || { echo "FAILED: it is no delta file"; exit 1; }
grep --quiet --text 'GNU.sparse.realsize=16387' delta.tar || { echo "FAILED: it is no sparse member"; exit 1; }
tar --extract --file delta.tar --directory theirs
cmp new/f theirs/f
"$bin/imagetool" layer build delta.tar -o again.layer >/dev/null
"$bin/imagetool" layer extract again.layer -o ours
cmp new/f ours/f

step "device numbers beyond octal digits: GNU tar reads them"
python3 -c '
import sys, tarfile
device = tarfile.TarInfo("device")
device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 4095, 2147483647
with tarfile.open(sys.argv[1], "w", format=tarfile.GNU_FORMAT) as archive:
    archive.addfile(device)' device.tar
"$bin/imagetool" layer build device.tar -o device.layer >/dev/null
"$bin/imagetool" layer extract device.layer --tar device.tar
tar --list --verbose --file device.tar device >listed 2>&1
grep --quiet ' 4095,2147483647 ' listed || { echo "FAILED: $(cat listed)"; exit 1; }

step "the comparison sees what changes"
dd if=/dev/zero of=tree/sparse bs=4096 count=1 conv=notrunc status=none
chmod 0640 tree/random
setfattr --name user.note --value 'another' tree/dir/file
archive tree changed.tar
if compare first.tar changed.tar >out; then echo "FAILED: a change was not seen"; exit 1; fi
grep --quiet '^/random: mode' out
grep --quiet '^/dir/linked: records' out
grep --quiet '^/sparse: data' out

echo "all passed"
