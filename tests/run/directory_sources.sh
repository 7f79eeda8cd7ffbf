#!/usr/bin/env bash
# Directories as sources of layers: mount points inside, what cannot be read, depth.
# Environment: VARVE_BIN, the directory of imagetool. Exit status 77: cannot run here, and says why.
set -euo pipefail
bin=${VARVE_BIN:?the directory with imagetool}

# shellcheck source=tests/run/private_mounts.sh
. "$(dirname "$0")/private_mounts.sh"
command -v setpriv >/dev/null || { echo "skipped: there is no setpriv"; exit 77; }

scratch=$(mktemp -d /tmp/varve-directory.XXXXXX)
trap 'umount --recursive --lazy "$scratch" 2>/dev/null || true; rm -rf --one-file-system "$scratch"' EXIT
mount -t tmpfs -o mode=0755 none "$scratch"
cd "$scratch"

fail() { echo "FAILED: $*" >&2; exit 1; }
step() { echo "== $*"; }

step "mount points are taken and named, or left empty"
mkdir -p tree/{mounted,bound,plain}
mount -t tmpfs none tree/mounted
echo x >tree/mounted/file
mkdir elsewhere && echo y >elsewhere/file
mount --bind elsewhere tree/bound
"$bin/imagetool" layer build tree -o a.layer >/dev/null 2>err
[ "$("$bin/imagetool" layer ls a.layer | grep --count '/file$')" -eq 2 ] || fail "$("$bin/imagetool" layer ls a.layer)"
grep --quiet 'tree/mounted: a mount point; what is mounted there is taken' err || fail "$(cat err)"
grep --quiet 'tree/bound: a mount point' err || fail "$(cat err)"
[ "$(wc -l <err)" -eq 2 ] || fail "$(cat err)"
"$bin/imagetool" layer build tree -o b.layer --one-file-system >/dev/null 2>err
"$bin/imagetool" layer ls b.layer >out
if grep --quiet '/file$' out; then fail "$(cat out)"; fi
grep --quiet '^/mounted$' out || fail "$(cat out)"
grep --quiet 'tree/mounted: a mount point, empty in the layer' err || fail "$(cat err)"

step "what cannot be read is named"
mkdir secret && echo x >secret/file && chmod 0000 secret/file && chmod 0755 secret && chmod 1777 .
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
got=0
as_nobody "$bin/imagetool" layer build secret -o nobody.layer 2>err || got=$?
[ "$got" -eq 1 ] || fail "exit status $got"
grep --quiet 'secret/file: Permission denied' err || fail "$(cat err)"
mkdir closed closed/dir && chmod 0700 closed/dir
as_nobody "$bin/imagetool" layer build closed -o nobody.layer 2>err && fail "a closed directory was read"
grep --quiet 'closed/dir: Permission denied' err || fail "$(cat err)"
[ ! -e nobody.layer ] || fail "a layer was left"

step "as deep as 2000 directories, with the usual limit of descriptors"
python3 -B - <<'PYTHON'
import os
os.mkdir("deep")
os.chdir("deep")
for _ in range(2000):
    os.mkdir("d")
    os.chdir("d")
PYTHON
(ulimit -S -n 1024 && "$bin/imagetool" layer build deep -o deep.layer >/dev/null)
(ulimit -S -n 1024 && "$bin/imagetool" layer extract deep.layer -o deep-back)
python3 -B - <<'PYTHON'
import os
os.chdir("deep")
for _ in range(2000):
    os.chdir("d")
os.mkdir("d")
PYTHON
"$bin/imagetool" layer build deep -o deeper.layer 2>err && fail "2001 directories were taken"
grep --quiet 'more than 2000 directories deep' err || fail "$(tail --bytes 200 err)"

echo "all passed"
