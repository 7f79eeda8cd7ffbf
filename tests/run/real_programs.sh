#!/usr/bin/env bash
# Programs that people use, on a mount whose files come from a compressed layer: a build, git, SQLite with a write-ahead log
# under two writers, a Python environment, dpkg. Each is looked at again after a remount. Then the mount as a lower and as an
# upper of the kernel's overlayfs.
# Environment: VARVE_BIN, the directory of imagetool and varvefs. Exit status 77: cannot run here, and says why.
set -euo pipefail
bin=${VARVE_BIN:?the directory with imagetool and varvefs}
here=$(cd "$(dirname "$0")" && pwd)

# shellcheck source=tests/run/private_mounts.sh
. "$here/private_mounts.sh"
[ -w /dev/fuse ] || { echo "skipped: there is no usable /dev/fuse"; exit 77; }
for program in gcc make git python3 dpkg dpkg-deb; do
  command -v "$program" >/dev/null || { echo "skipped: there is no $program"; exit 77; }
done

scratch=$(mktemp -d /tmp/varve-programs.XXXXXX)
cleanup() {
  cd /
  for place in over mnt; do
    while mountpoint --quiet "$scratch/$place" && umount --lazy "$scratch/$place"; do :; done
  done
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
cd "$scratch"

step() { echo "== $*"; }
fail() { echo "FAILED: $*"; exit 1; }
mkdir -p tree/source upper work mnt

mount_stack() { "$bin/varvefs" -o "lowerdir=$scratch/base.layer,upperdir=$scratch/upper,workdir=$scratch/work" mnt; }
mount_when_free() {
  # The upper is free when the daemon before has marked it clean.
  for _ in $(seq 200); do
    mount_stack 2>"$scratch/mount.err" && return
    sleep 0.05
  done
  fail "mounting again: $(cat "$scratch/mount.err")"
}
remount() {
  umount mnt
  mount_when_free
}

step "A layer: sources of a program, a repository, a database, an installed package"
for i in $(seq 40); do
  printf '#include "all.h"\nint part_%d(int x) { return x + %d; }\n' "$i" "$i" >"tree/source/part$i.c"
  printf 'int part_%d(int x);\n' "$i" >>tree/source/all.h
done
{
  printf '#include <stdio.h>\n#include "all.h"\nint main(void) { int sum = 0;\n'
  for i in $(seq 40); do printf '  sum = part_%d(sum);\n' "$i"; done
  # shellcheck disable=SC2016  # the backslash and percent are C's
  printf '  printf("%%d\\n", sum); return 0; }\n'
} >tree/source/main.c
cat >tree/source/Makefile <<'MAKE'
OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))
program: $(OBJECTS)
	$(CC) -o $@ $^
%.o: %.c all.h
	$(CC) -g -O1 -c -o $@ $<
MAKE
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init --quiet --initial-branch=main tree/repository
cp tree/source/* tree/repository
git -C tree/repository add .
git -C tree/repository commit --quiet --message first
python3 - tree/database <<'PYTHON'
import sqlite3, sys
base = sqlite3.connect(sys.argv[1])
base.execute("create table t(id integer primary key, word text)")
base.executemany("insert into t values(?, ?)", ((i, f"word {i} " * 20) for i in range(20000)))
base.commit()
PYTHON
# package VERSION: a package with some files, a link and a script that runs when it is configured.
package() {
  local root=$scratch/package-$1
  mkdir -p "$root"/{DEBIAN,usr/share/varve-test}
  printf 'Package: varve-test\nVersion: %s\nArchitecture: all\nMaintainer: a <a@b>\nDescription: a test\n' "$1" >"$root/DEBIAN/control"
  for i in $(seq 60); do echo "$1 $i" >"$root/usr/share/varve-test/file$i"; done
  echo "only in $1" >"$root/usr/share/varve-test/only-$1"
  ln -s file1 "$root/usr/share/varve-test/link"
  dpkg-deb --root-owner-group --build "$root" "$scratch/$1.deb" >/dev/null
}
package 1.0
package 2.0
mkdir -p tree/system/var/lib/dpkg/{info,updates} tree/system/var/log
touch tree/system/var/lib/dpkg/status
install_package() { dpkg --root="$1" --force-script-chrootless --log="$1/var/log/dpkg.log" "${@:2}" >"$scratch/dpkg.out" 2>&1 || fail "dpkg $*: $(cat "$scratch/dpkg.out")"; }
install_package "$scratch/tree/system" --install 1.0.deb
"$bin/imagetool" layer build tree -o base.layer >/dev/null
mount_stack

step "A build"
make -s -j4 -C mnt/source
[ "$(mnt/source/program)" = 820 ] || fail "the program says $(mnt/source/program)"
touch mnt/source/part7.c
[ "$(make -C mnt/source | grep -c 'part.*\.c')" -eq 1 ] || fail "make builds anew what has not changed"
remount
make -s -q -C mnt/source || fail "make finds something to do after a remount"
[ "$(mnt/source/program)" = 820 ] || fail "after a remount the program says $(mnt/source/program)"

step "git: status, commits, a clone, garbage collection, fsck"
[ -z "$(git -C mnt/repository status --porcelain)" ] || fail "git sees changes where there are none"
for i in 1 2 3; do
  echo "change $i" >>"mnt/repository/part$i.c"
  git -C mnt/repository commit --quiet --all --message "change $i"
done
git clone --quiet mnt/repository mnt/clone
git -C mnt/clone checkout --quiet -b branch HEAD~2
git -C mnt/clone gc --quiet --prune=now
for at in repository clone; do git -C "mnt/$at" fsck --strict --no-progress || fail "git fsck in $at"; done
remount
for at in repository clone; do
  git -C "mnt/$at" fsck --strict --no-progress || fail "git fsck in $at after a remount"
  [ -z "$(git -C "mnt/$at" status --porcelain)" ] || fail "git sees changes in $at after a remount"
done
[ "$(git -C mnt/repository rev-list --count main)" -eq 4 ] || fail "commits are missing"

step "SQLite: a write-ahead log and two writers, and a reader beside them"
cat >database.py <<'PYTHON'
import multiprocessing, sqlite3, sys
path = sys.argv[1]
def open_it():
    base = sqlite3.connect(path, timeout=60, isolation_level=None)
    base.execute("pragma synchronous=full")
    return base
def write(writer):
    base = open_it()
    for i in range(150):
        base.execute("begin immediate")
        base.execute("update t set word = word || ? where id = ?", (f"+{writer}", (i * 131) % 20000))
        base.execute("insert into t(word) values(?)", (f"writer {writer} number {i}",))
        base.execute("commit")
def read(_):
    base = open_it()
    for _ in range(30):
        count = base.execute("select count(*) from t").fetchone()[0]
        assert 20000 <= count <= 20300, count
if __name__ == "__main__":
    assert open_it().execute("pragma journal_mode=wal").fetchone() == ("wal",)
    processes = [multiprocessing.Process(target=f, args=(i,)) for i, f in enumerate((write, write, read))]
    for process in processes: process.start()
    for process in processes: process.join()
    assert all(process.exitcode == 0 for process in processes)
PYTHON
check_database() {
  python3 - mnt/database <<'PYTHON' || fail "the database is not what it should be $1"
import sqlite3, sys
base = sqlite3.connect(sys.argv[1])
assert base.execute("pragma integrity_check").fetchone() == ("ok",)
assert base.execute("select count(*) from t").fetchone() == (20300,)
assert base.execute("select count(*) from t where word like '%+0%' and word like '%+1%'").fetchone() == (150,)
PYTHON
}
python3 database.py mnt/database || fail "a process did not come to its end"
check_database "before a remount"
remount
check_database "after a remount"

step "A Python environment"
python3 -m venv --without-pip --copies mnt/environment
[ "$(mnt/environment/bin/python -c 'import sys; print(sys.prefix)')" = "$scratch/mnt/environment" ] || fail "the environment's Python"
remount
mnt/environment/bin/python -c 'import json, sqlite3, ssl' || fail "the environment's Python after a remount"

step "dpkg: an upgrade of what the layer holds, and a removal"
install_package "$scratch/mnt/system" --install 2.0.deb
[ "$(cat mnt/system/usr/share/varve-test/file60)" = "2.0 60" ] || fail "a file of the upgraded package"
[ ! -e mnt/system/usr/share/varve-test/only-1.0 ] || fail "a file of the old package is left"
remount
[ -z "$(dpkg --root="$scratch/mnt/system" --verify)" ] || fail "dpkg --verify after a remount"
[ "$(readlink mnt/system/usr/share/varve-test/link)" = file1 ] || fail "a link of the upgraded package"
install_package "$scratch/mnt/system" --purge varve-test
[ ! -e mnt/system/usr/share/varve-test ] || fail "the removed package left its directory"

step "As a lower of the kernel's overlayfs"
mkdir over over-upper over-work
umount mnt
"$bin/varvefs" -o "ro,lowerdir=$scratch/base.layer" mnt
mount -t overlay none -o "lowerdir=$scratch/mnt,upperdir=$scratch/over-upper,workdir=$scratch/over-work" over
diff --recursive tree over || fail "overlayfs over the mount differs from the tree"
make -s -j4 -C over/source
[ "$(over/source/program)" = 820 ] || fail "the program built on overlayfs says $(over/source/program)"
rm -rf over/repository
echo more >>over/database
[ "$(stat --format=%s over/database)" -eq $(($(stat --format=%s tree/database) + 5)) ] || fail "copy-up by overlayfs"
umount over
umount mnt

step "As the upper of the kernel's overlayfs"
mkdir lower
cp --archive tree/source lower
mount_when_free
mkdir mnt/over-upper mnt/over-work
mount -t overlay none -o "lowerdir=$scratch/lower,upperdir=$scratch/mnt/over-upper,workdir=$scratch/mnt/over-work" over
make -s -j4 -C over/source
[ "$(over/source/program)" = 820 ] || fail "the program built over the mount as upper says $(over/source/program)"
rm over/source/part1.c
mv over/source over/renamed 2>/dev/null || cp --archive over/source over/renamed
rm -rf over/source
[ "$(find over/renamed -name '*.c' | wc -l)" -eq 40 ] || fail "overlayfs with the mount as upper lists $(find over/renamed -name '*.c' | wc -l) sources"
umount over
remount
mount -t overlay none -o "lowerdir=$scratch/lower,upperdir=$scratch/mnt/over-upper,workdir=$scratch/mnt/over-work" over
[ ! -e over/source ] || fail "a directory that was removed is back"
[ "$(over/renamed/program)" = 820 ] || fail "after a remount of both the program says $(over/renamed/program)"
umount over
umount mnt
echo "all good"
