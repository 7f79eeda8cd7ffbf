#!/usr/bin/env bash
# imagetool as a person runs it: what it prints, what it answers with, what it leaves behind.
# Environment: VARVE_BIN, the directory of imagetool and varvefs. Exit status 77: cannot run here, and says why.
set -euo pipefail
bin=${VARVE_BIN:?the directory with imagetool and varvefs}
imagetool=$bin/imagetool
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/support/flip_byte.sh
. "$here/../support/flip_byte.sh"

[ "$(id -u)" -eq 0 ] || { echo "skipped: owners, devices and mounts need root"; exit 77; }
for program in setfacl setcap python3; do
  command -v "$program" >/dev/null || { echo "skipped: there is no $program"; exit 77; }
done

scratch=$(mktemp -d /tmp/varve-imagetool.XXXXXX)
cleanup() {
  while mountpoint --quiet "$scratch/mnt" && umount --lazy "$scratch/mnt"; do :; done
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
cd "$scratch"
export VARVE_STORE=$scratch/store
unset SOURCE_DATE_EPOCH

fail() { echo "FAILED: $*" >&2; exit 1; }
step() { echo "== $*"; }
# expect STATUS TEXT COMMAND...: the exit status, and one line on standard error that holds TEXT.
expect() {
  local status=$1 text=$2 got=0
  shift 2
  "$@" >out 2>err || got=$?
  [ "$got" -eq "$status" ] || fail "$*: exit status $got, not $status: $(cat err)"
  grep --quiet --fixed-strings -- "$text" err || fail "$*: standard error lacks \"$text\": $(cat err)"
  [ "$(wc -l <err)" -eq 1 ] || fail "$*: not one line on standard error: $(cat err)"
}

step "a tree with one of everything, made by the tools people use"
mkdir -p tree/bin tree/etc tree/dev tree/spool
cp /bin/true tree/bin/ping
setcap cap_net_raw+ep tree/bin/ping
printf 'hello\n' >tree/etc/greeting
ln tree/etc/greeting tree/etc/greeting.link
ln -s greeting tree/etc/symlink
setfacl -m u:1234:rw,g:99:r tree/etc/greeting
setfacl -d -m u:7:rwx tree/spool
chmod 1777 tree/spool
mknod tree/dev/null c 1 3
mkfifo tree/dev/fifo
truncate --size 8M tree/sparse
printf data | dd of=tree/sparse bs=1 seek=4M conv=notrunc status=none
touch --date '1999-12-31 23:59:59.123456789 UTC' tree/etc/symlink --no-dereference
touch --date '1960-01-01 00:00:00.5 UTC' tree/spool

# Everything tar(1) knows of a tree, but times of access, and the blocks that a sparse file takes (with --sparse tar would
# put its process id in).
listing() {
  tar --create --file - --directory "$1" --sort=name --acls --xattrs --format=pax \
    --pax-option=delete=atime,delete=ctime,exthdr.name=x . | sha256sum
  [ ! -e "$1/sparse" ] || stat --format '%b' "$1/sparse"
}

step "directory -> layer -> directory"
"$imagetool" layer build tree -o a.layer --jobs 2 >out
grep --quiet '^a.layer: ' out || fail "no summary: $(cat out)"
"$imagetool" layer build tree -o b.layer --jobs 1 >/dev/null
cmp a.layer b.layer
"$imagetool" layer extract a.layer -o back
[ "$(listing tree)" = "$(listing back)" ] || fail "the tree changed: $(diff -r --no-dereference tree back)"
[ "$(getcap back/bin/ping)" = "back/bin/ping cap_net_raw=ep" ] || fail "capabilities: $(getcap back/bin/ping)"
(cd tree && getfacl -R .) >facl.tree
(cd back && getfacl -R .) >facl.back
cmp facl.tree facl.back

step "to a pipe, on trial, checked, small"
# shellcheck disable=SC2094  # the layer goes through a pipe, what is told of it goes to the file
"$imagetool" layer build tree -o - 2>err | cat >c.layer
cmp a.layer c.layer || fail "a layer through a pipe differs"
grep --quiet 'standard output\|^-: ' err || fail "no summary beside the pipe: $(cat err)"
# With frames of 2M a tail that shares no frame may hold what a file that shares one is.
mkdir tails
head --bytes 2200000 /dev/urandom >tails/long
tail --bytes 102848 tails/long >tails/tail
"$imagetool" layer build tails -o tails.layer --profile max >/dev/null
"$imagetool" layer build tails -o - --profile max 2>/dev/null | cat >c.layer
cmp tails.layer c.layer || fail "a layer of large frames through a pipe differs"
tar --create --file - --directory tree . | "$imagetool" layer build - -o - 2>/dev/null | cat >d.layer
"$imagetool" layer verify d.layer >/dev/null
bytes=$(stat --format %s a.layer)
"$imagetool" layer build tree --dry-run --json | python3 -c "import json,sys; assert json.load(sys.stdin)['file_bytes'] == $bytes"
"$imagetool" layer build tree -o dry.layer --dry-run >out
grep --quiet '^dry run' out || fail "dry run: $(cat out)"
[ ! -e dry.layer ] || fail "a dry run wrote a layer"
"$imagetool" layer build tree -o c.layer --verify >/dev/null
cmp a.layer c.layer
"$imagetool" layer build tree -o c.layer --profile max >/dev/null
"$imagetool" layer inspect c.layer | grep --quiet '"level":19' || fail "--profile max is not level 19"
"$imagetool" layer inspect c.layer --json | grep --quiet '"frame_bytes": *2097152' || fail "--profile max: no frames of 2M"
"$imagetool" layer build tree -o c.layer --profile max --frame-size 1M >/dev/null
"$imagetool" layer inspect c.layer --json | grep --quiet '"frame_bytes": *1048576' || fail "--frame-size over --profile"
"$imagetool" layer build tree -o d.layer --profile fast --level 3 >/dev/null
cmp a.layer d.layer || fail "--profile fast with --level 3 is not the default"
for bad in cdc: cdc:16X cdc:5000 cdc:512K zip; do
  expect 2 'a power of two from 4K to 256K' "$imagetool" layer build tree -o d.layer --parent a.layer --dedup="$bad"
done
expect 2 'parent' "$imagetool" layer build tree -o d.layer --dedup=cdc
"$imagetool" layer build tree -o d.layer --parent a.layer --dedup=cdc:64K >/dev/null
"$imagetool" layer verify d.layer --parent a.layer >/dev/null
rm ./[cd].layer

step "tar, as GNU tar writes it and compressed, -> layer -> tar"
tar --create --file a.tar --directory tree --sparse --acls --xattrs --xattrs-include='*' --format=pax .
"$imagetool" layer build a.tar -o tar.layer >/dev/null
for how in cat gzip bzip2 xz zstd lz4; do
  command -v "$how" >/dev/null || continue
  "$how" <a.tar | "$imagetool" layer build - -o packed.layer >/dev/null
  cmp tar.layer packed.layer || fail "$how gives another layer"
done
"$imagetool" layer extract tar.layer -o from-tar
[ "$(listing tree)" = "$(listing from-tar)" ] || fail "the tar changed: $(diff -r --no-dereference tree from-tar)"
"$imagetool" layer extract a.layer --tar - >out.tar
"$imagetool" layer extract a.layer --tar out2.tar
cmp out.tar out2.tar
mkdir untarred
tar --extract --file out.tar --directory untarred --acls --xattrs --xattrs-include='*' --same-owner 2>err
grep --invert-match 'implausibly old' err && fail "GNU tar complains"
[ "$(listing tree)" = "$(listing untarred)" ] || fail "what GNU tar made of our archive differs"

step "looking into a layer"
[ "$("$imagetool" layer cat a.layer etc/greeting)" = hello ]
"$imagetool" layer ls -l a.layer /etc >out
grep --quiet -- '/etc/symlink -> greeting' out || fail "ls -l: $(cat out)"
"$imagetool" layer ls --json a.layer | python3 -c 'import json,sys; assert len(json.load(sys.stdin)) == 12'
"$imagetool" layer inspect --json a.layer |
  python3 -c 'import json,sys; assert json.load(sys.stdin)[0]["regular_files"] == 3'
"$imagetool" layer tree a.layer >out
grep --quiet greeting.link out || fail "tree: $(cat out)"
"$imagetool" layer verify a.layer >out
grep --quiet good out || fail "verify: $(cat out)"

step "a layer on another one: what that holds is not stored again"
cp --archive tree changed
printf 'more' >>changed/etc/greeting
head --bytes=1000000 /dev/urandom >big && cp big tree-big && flip_byte tree-big 500000
mkdir low high && cp big low/big && cp tree-big high/big && cp big high/elsewhere
"$imagetool" layer build low -o low.layer >/dev/null
"$imagetool" layer build high -o high.layer --parent low.layer --verify >/dev/null
[ "$(stat -c %s high.layer)" -lt 10000 ] || fail "high.layer has $(stat -c %s high.layer) bytes"
"$imagetool" layer cat high.layer big --parent low.layer | cmp - tree-big
"$imagetool" layer extract high.layer -o high-back --parent low.layer
[ "$(listing high)" = "$(listing high-back)" ] || fail "the delta files changed: $(diff -r high high-back)"
"$imagetool" layer verify high.layer --parent low.layer >out
grep --quiet 'good: 2 files, ' out || fail "verify with its parent: $(cat out)"
"$imagetool" layer verify high.layer >out
grep --quiet '2 of them inherit from layers that are not given' out || fail "verify alone: $(cat out)"
expect 1 'is not below it' "$imagetool" layer cat high.layer big --parent a.layer
"$imagetool" layer build changed -o changed.layer --parent a.layer >/dev/null
"$imagetool" layer extract changed.layer -o changed-back --parent a.layer
[ "$(listing changed)" = "$(listing changed-back)" ] || fail "the tree changed: $(diff -r --no-dereference changed changed-back)"

step "errors: one line, the right status, nothing left"
expect 1 'missing: No such file' "$imagetool" layer build missing -o x.layer
expect 1 'not a tar archive' "$imagetool" layer build /etc/passwd -o x.layer
expect 1 '/etc/passwd' "$imagetool" layer ls /etc/passwd
expect 1 'no "nothing" in this layer' "$imagetool" layer cat a.layer nothing
expect 1 'not a regular file' "$imagetool" layer cat a.layer etc
expect 1 'is not empty' "$imagetool" layer extract a.layer -o tree
expect 1 'No space left' "$imagetool" layer extract a.layer --tar /dev/full
[ -c /dev/full ] || fail "/dev/full was replaced"
expect 2 'command line' "$imagetool" layer build
expect 2 '--output' "$imagetool" layer build tree
expect 2 'command line' "$imagetool" layer build tree -o x.layer --profile best
expect 1 '--frame-size' "$imagetool" layer build tree -o x.layer --frame-size 5000
expect 1 'only a layer in a file' "$imagetool" layer build tree -o - --verify
expect 2 'command line' "$imagetool" layer build tree -o x.layer --level 99
expect 2 'command line' "$imagetool" layer build tree -o x.layer --no-such-option
expect 1 'no such layer' "$imagetool" layer build tree -o x.layer --parent missing.layer
expect 2 'command line' "$imagetool" frobnicate
expect 1 'no such image' "$imagetool" inspect nothing
expect 1 'neither a container' "$imagetool" commit nothing x
[ ! -e x.layer ] || fail "a failed build left its output"
head --bytes 5000 a.layer >cut.layer
expect 1 'cut.layer' "$imagetool" layer ls cut.layer
"$imagetool" --version | grep --quiet '^imagetool [0-9]'
for command in 'layer build' 'layer inspect' 'layer ls' 'layer tree' 'layer cat' 'layer extract' 'layer verify' 'layer diff' import \
  commit images inspect history tag rm verify gc diff squash stats mount umount; do
  # shellcheck disable=SC2086
  "$imagetool" $command --help >out
  grep --quiet Example out || fail "$command --help has no example"
done

step "a flipped byte is found, and the file named"
cp a.layer flipped.layer
flip_byte flipped.layer 5000
got=0
"$imagetool" layer verify flipped.layer >out 2>err || got=$?
[ "$got" -eq 1 ] || fail "verify of a damaged layer: $got"
grep --quiet 'damaged file /' out || fail "no file is named: $(cat out)"

step "Ctrl-C leaves nothing half-written"
mkdir interrupted
mkfifo pipe
"$imagetool" layer build - -o interrupted/x.layer <pipe 2>err &
builder=$!
exec 9>pipe
head --bytes 512 a.tar >&9
sleep 0.5
kill -INT "$builder"
got=0
wait "$builder" || got=$?
exec 9>&-
[ "$got" -eq 1 ] || fail "an interrupted build ends with $got"
grep --quiet interrupted err || fail "$(cat err)"
[ -z "$(ls -A interrupted)" ] || fail "left behind: $(ls -A interrupted)"

step "images: import, tag, history, verify, rm, gc"
"$imagetool" import tree base:1 --cmd sh --cmd=-c --env A=b --label who=me -m first >out
"$imagetool" import a.tar from-tar >/dev/null
"$imagetool" layer build tails -o tails.layer --profile max >/dev/null
"$imagetool" import tails tails --profile max >/dev/null
sum=$(sha256sum <tails.layer | cut -d' ' -f1)
[ -e "$VARVE_STORE/blobs/sha256/$sum" ] || fail "import --profile max makes another layer than layer build"
"$imagetool" images >out
grep --quiet '^base:1 ' out || fail "images: $(cat out)"
[ "$("$imagetool" images --names | xargs)" = 'base:1 from-tar:latest tails:latest' ] || fail "images --names: $("$imagetool" images --names)"
expect 2 '--json excludes --names' "$imagetool" images --names --json
"$imagetool" tag base:1 other
"$imagetool" inspect other | python3 -c 'import json,sys; i=json.load(sys.stdin)[0]
c=i["config"]["config"]; assert c["Cmd"] == ["sh","-c"] and c["Env"] == ["A=b"] and c["Labels"] == {"who":"me"}, c'
"$imagetool" history base:1 >out
grep --quiet 'imagetool import tree  # first' out || fail "history: $(cat out)"
"$imagetool" verify base:1 from-tar >/dev/null
"$imagetool" rm from-tar
"$imagetool" gc >out
grep --quiet '^deleted 3 blobs' out || fail "gc: $(cat out)"
"$imagetool" verify base:1 other >/dev/null
expect 1 '(say which one: store:NAME)' "$imagetool" import store an-oci-layout
python3 - <<'PYTHON'
import hashlib, json, os
store = os.environ["VARVE_STORE"]
for entry in json.load(open(store + "/index.json"))["manifests"]:
    path = store + "/blobs/sha256/" + entry["digest"].split(":")[1]
    manifest = json.load(open(path))
    assert manifest["layers"][0]["mediaType"] == "application/vnd.varve.layer.v1"
    for blob in [manifest["config"]] + manifest["layers"]:
        data = open(store + "/blobs/sha256/" + blob["digest"].split(":")[1], "rb").read()
        assert len(data) == blob["size"] and "sha256:" + hashlib.sha256(data).hexdigest() == blob["digest"]
PYTHON

step "commit: the upper of a mount becomes a layer over its image"
if [ ! -w /dev/fuse ]; then
  echo "passed over: there is no usable /dev/fuse"
  exit 0
fi
layers() {
  "$imagetool" inspect "$1" | python3 -c 'import json,sys
print(":".join(l["path"] for l in reversed(json.load(sys.stdin)[0]["layers"])))'
}
mkdir mnt upper work
"$bin/varvefs" -o "lowerdir=$(layers base:1),upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/mnt"
echo more >>mnt/etc/greeting
rm mnt/dev/fifo
mv mnt/spool mnt/moved
printf X | dd of=mnt/sparse bs=1 seek=100 conv=notrunc status=none
listing_mounted() {
  (cd mnt && find . -printf '%P %y %m %U:%G %T@ %l\n' | sort && find . -type f -exec sha256sum {} + | sort -k 2)
}
listing_mounted >before
"$imagetool" commit upper base:mounted --parent base:1 >/dev/null || fail "a commit of what is mounted"
umount mnt
for _ in $(seq 100); do
  "$imagetool" commit upper base:2 --parent base:1 -m second >out 2>err && break
  grep --quiet 'in use by' err || fail "$(cat err)"
  sleep 0.1
done
"$imagetool" history base:2 >out
grep --quiet '# second' out || fail "history of the commit: $(cat out err)"
"$bin/varvefs" -o "lowerdir=$(layers base:2)" "$scratch/mnt"
listing_mounted >after
diff before after || fail "the committed image shows something else"
umount mnt
"$imagetool" diff base:mounted base:2 >out
[ "$(cat out)" = "0 added (0 B), 0 changed (0 B), 0 removed (0 B)" ] || fail "committed while mounted it was something else: $(cat out)"
"$imagetool" rm base:mounted
"$imagetool" gc >/dev/null
"$imagetool" verify base:2 >/dev/null

step "diff, squash, stats"
"$imagetool" diff base:1 base:2 >out
for line in 'D .* 0 B  /dev/fifo' 'D .*  /spool' 'A .*  /moved' 'C  *6 B -> 11 B  /etc/greeting' 'C .*  /sparse'; do
  grep --quiet "^$line\$" out || fail "diff has no line \"$line\": $(cat out)"
done
"$imagetool" diff --json base:1 base:2 | python3 -c 'import json,sys
changes = {c["path"]: c for c in json.load(sys.stdin)}
assert changes["/etc/greeting"]["kind"] == "changed" and changes["/etc/greeting"]["bytes_after"] == 11, changes'
"$imagetool" squash base:2 flat -m "one layer" >/dev/null
"$imagetool" diff base:2 flat >out
[ "$(cat out)" = "0 added (0 B), 0 changed (0 B), 0 removed (0 B)" ] || fail "a squash shows something else: $(cat out)"
"$imagetool" history flat | grep --quiet 'imagetool squash base:2  # one layer' || fail "$("$imagetool" history flat)"
[ "$("$imagetool" inspect flat | python3 -c 'import json,sys; print(len(json.load(sys.stdin)[0]["layers"]))')" = 1 ] || fail "flat has several layers"
expect 1 'there are not two to make one of' "$imagetool" squash base:2 --keep 1
expect 1 'there are not two to make one of' "$imagetool" squash flat --keep 1
"$imagetool" stats base:1 base:2 --json | python3 -c 'import json,sys
s = json.load(sys.stdin)
assert s["layers"] == 2 and s["of_images"]["stored_bytes"] > s["of_layers"]["stored_bytes"], s'
"$imagetool" stats | grep --quiet '^all, shared' || fail "stats: $("$imagetool" stats)"

step "mount and umount by name, with what is written kept by name"
"$imagetool" mount base:2 "$scratch/mnt"
"$imagetool" mount | grep --quiet "^ro  $scratch/mnt\$" || fail "mount lists: $("$imagetool" mount)"
expect 1 'no such image' "$imagetool" mount nothing "$scratch/mnt"
"$imagetool" umount "$scratch/mnt"
"$imagetool" mount base:2 "$scratch/mnt" --rw --upper kept
echo again >>mnt/etc/greeting
expect 1 'is in use' "$imagetool" mount base:2 "$scratch/other" --upper kept
"$imagetool" umount "$scratch/mnt"
again() {
  for _ in $(seq 100); do
    "$imagetool" "$@" >out 2>err && return
    grep --quiet 'in use' err || fail "$(cat err)"
    sleep 0.1  # the daemon ends a little later than its mount
  done
  fail "$(cat err)"
}
again mount base:2 "$scratch/mnt" --upper kept
[ "$(tail -n1 mnt/etc/greeting)" = again ] || fail "what was written is gone"
"$imagetool" umount "$scratch/mnt"
again commit kept base:4
"$imagetool" diff base:2 base:4 | grep --quiet '  /etc/greeting$' || fail "the commit lacks the change"
expect 1 'was written over another image' "$imagetool" mount base:4 "$scratch/mnt" --upper kept

step "gc keeps what is mounted"
"$bin/varvefs" -o "lowerdir=$(layers flat)" "$scratch/mnt"
"$imagetool" rm flat
blobs=$(find "$VARVE_STORE/blobs" -type f | wc -l)
"$imagetool" gc >/dev/null
cat mnt/etc/greeting >/dev/null
[ "$(find "$VARVE_STORE/blobs" -type f | wc -l)" = "$((blobs - 2))" ] || fail "gc did not take manifest and configuration alone"
umount mnt
for _ in $(seq 100); do
  "$imagetool" gc >out
  [ "$(find "$VARVE_STORE/blobs" -type f | wc -l)" = "$((blobs - 3))" ] && break
  sleep 0.1  # the daemon ends a little later than its mount
done
[ "$(find "$VARVE_STORE/blobs" -type f | wc -l)" = "$((blobs - 3))" ] || fail "gc left the layer: $(cat out)"

echo "all passed"
