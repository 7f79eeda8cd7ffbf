#!/usr/bin/env bash
# Images of others come in: OCI layouts and archives, what `docker save` writes, as skopeo makes them of one another; what a mount of
# them shows is what the layers say when tar(1) applies them one by one.
# Environment: VARVE_BIN, the directory of imagetool and varvefs. Exit status 77: cannot run here, and says why.
set -euo pipefail
bin=${VARVE_BIN:?the directory with imagetool and varvefs}
imagetool=$bin/imagetool
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/support/flip_byte.sh
. "$here/../support/flip_byte.sh"

[ "$(id -u)" -eq 0 ] || { echo "skipped: owners, devices and mounts need root"; exit 77; }
[ -w /dev/fuse ] || { echo "skipped: there is no usable /dev/fuse"; exit 77; }
for program in skopeo setfacl setcap python3 tar zstd; do
  command -v "$program" >/dev/null || { echo "skipped: there is no $program"; exit 77; }
done

scratch=$(mktemp -d /tmp/varve-import.XXXXXX)
cleanup() {
  while mountpoint --quiet "$scratch/mnt" && umount --lazy "$scratch/mnt"; do :; done
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
cd "$scratch"
export VARVE_STORE=$scratch/store
unset SOURCE_DATE_EPOCH
mkdir mnt

fail() { echo "FAILED: $*" >&2; exit 1; }
step() { echo "== $*"; }
images() { python3 -B "$here/oci_images.py" "$@"; }
skopeo_copy() { skopeo copy --quiet --insecure-policy "$@"; }
# expect TEXT COMMAND...: exit status 1, and one line on standard error that holds TEXT.
expect() {
  local text=$1 got=0
  shift
  "$@" >out 2>err || got=$?
  [ "$got" -eq 1 ] || fail "$*: exit status $got: $(cat out err)"
  grep --quiet --fixed-strings -- "$text" err || fail "$*: standard error lacks \"$text\": $(cat err)"
  [ "$(wc -l <err)" -eq 1 ] || fail "$*: not one line on standard error: $(cat err)"
}
# layer DIRECTORY FILE: all that GNU tar can say of it.
layer() {
  tar --create --file "$2" --directory "$1" --sort=name --format=pax --pax-option=delete=atime,delete=ctime --numeric-owner \
    --acls --xattrs --xattrs-include='*' "${@:3}"
}
# same IMAGE TREE: a mount of the image shows the tree.
same() {
  "$bin/varvefs" --image "$1" mnt
  layer mnt mounted.tar .
  layer "$2" tree.tar .
  umount mnt
  python3 -B "$here/compare_tars.py" tree.tar mounted.tar || fail "$1 does not show what $2 has"
}
digest_of() { "$imagetool" inspect "$1" | python3 -c 'import json,sys; print(json.load(sys.stdin)[0]["'"$2"'"])'; }

step "three layers, plain, gzip, zstd"
mkdir -p one/{bin,etc,dev,opaque/below,gone/deep,new-again/below,to-file/x,spool} two/{opaque,new-again} three/deep
cp /bin/true one/bin/tool && setcap cap_net_raw+ep one/bin/tool
printf 'setuid' >one/bin/setuid && chown 12:34 one/bin/setuid && chmod 6711 one/bin/setuid
printf 'root:x:0:0\n' >one/etc/passwd && ln one/etc/passwd one/etc/passwd.link && ln -s passwd one/etc/lead
setfacl -m u:1234:rw one/etc/passwd && setfacl -d -m u:7:rwx one/spool && chmod 1777 one/spool
mknod one/dev/null c 1 3 && mkfifo one/dev/fifo
head --bytes 3000000 /dev/urandom >one/big
for file in opaque/old opaque/below/old gone/deep/file new-again/old new-again/below/old to-file/x/y to-dir removed single; do
  echo "$file" >"one/$file"
done
chmod 0711 one/opaque && chmod 0750 one
touch --date '2001-02-03 04:05:06.789 UTC' one/big one/gone one/opaque one
# The second changes metadata only of the large file, and replaces and deletes of all kinds.
cp --archive one/big two/big && chmod 0600 two/big
touch two/.wh.removed two/.wh.gone two/opaque/.wh..wh..opq two/.wh.new-again
echo new >two/opaque/new && echo new >two/new-again/new && chmod 0700 two/opaque
echo file >two/to-file && mkdir two/to-dir && echo x >two/to-dir/x
# The third names no directories that there are already, has hard links to files that only the first has, and one within itself.
echo deep >three/deep/pair && ln three/deep/pair three/deep/other
layer one one.tar . && layer two two.tar .
tar --create --file three.tar --directory three --format=pax --no-recursion deep deep/pair deep/other
python3 - <<'PYTHON'
import tarfile
with tarfile.open("three.tar", "a", format=tarfile.PAX_FORMAT) as tar:
    for name in ("etc/single", "bin/tool.link"):
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.LNKTYPE, "single" if name == "etc/single" else "bin/tool"
        tar.addfile(link)
    tar.addfile(tarfile.TarInfo("etc/.wh.passwd.link"))
PYTHON
gzip --keep two.tar
gzip --keep three.tar
zstd --quiet three.tar
images layout dir v1 one.tar two.tar.gz three.tar.zst
mkdir tree
for number in one two three; do images apply tree $number.tar; done

step "a layout"
"$imagetool" import oci:dir:v1 app:1 >out
grep --quiet '^app:1 sha256:.* in 3 layers)$' out || fail "summary: $(cat out)"
same app:1 tree
"$imagetool" verify app:1 >/dev/null
bytes=$("$imagetool" inspect app:1 | python3 -c 'import json,sys; print(*(l["bytes"] for l in json.load(sys.stdin)[0]["layers"][1:]))')
for size in $bytes; do [ "$size" -lt 30000 ] || fail "a layer over another has $size bytes: $bytes"; done
python3 - "$(digest_of app:1 digest)" <<'PYTHON'
import hashlib, json, os, sys
blobs = os.environ["VARVE_STORE"] + "/blobs/sha256/"
layers = json.load(open(blobs + sys.argv[1][7:]))["layers"]
assert len(layers) == 3
for layer in layers:
    told = {key: layer["annotations"]["org.varve.layer.metadata." + key] for key in ("offset", "size", "digest")}
    bytes = open(blobs + layer["digest"][7:], "rb").read()
    metadata = bytes[int(told["offset"]):]
    assert len(metadata) == int(told["size"]), told
    assert "sha256:" + hashlib.sha256(metadata).hexdigest() == told["digest"], told
PYTHON
[ "$(digest_of app:1 config_digest)" = "sha256:$(skopeo inspect --config --raw oci:dir:v1 | sha256sum | cut -d' ' -f1)" ] ||
  fail "the configuration is not what it was"
[ "$("$imagetool" history app:1 | grep --count 'layer of ')" -eq 3 ] || fail "history: $("$imagetool" history app:1)"
id=$(digest_of app:1 digest)

step "the same image by every way"
skopeo_copy oci:dir:v1 oci-archive:layout.tar:of-skopeo
images layout gzip v1 one.tar two.tar.gz three.tar.gz # what can be a docker-archive
skopeo_copy oci:gzip:v1 docker-archive:saved.tar:saved:3
skopeo_copy --dest-compress-format zstd oci:dir:v1 oci:zstd
gzip --keep layout.tar
zstd --quiet saved.tar
count=$(find store/blobs/sha256 -type f | wc -l)
"$imagetool" import dir >/dev/null
"$imagetool" import zstd >/dev/null
"$imagetool" import layout.tar >/dev/null
"$imagetool" import oci-archive:layout.tar.gz packed >/dev/null
"$imagetool" import saved.tar >/dev/null
"$imagetool" import saved.tar.zst:saved:3 saved:packed >/dev/null
# shellcheck disable=SC2002  # a pipe, not a file
cat saved.tar.zst | "$imagetool" import - piped >/dev/null
# shellcheck disable=SC2002
cat saved.tar | "$imagetool" import - >/dev/null
"$imagetool" import - redirected <layout.tar.gz >/dev/null
for name in dir:v1 zstd layout:of-skopeo packed saved:3 saved:packed piped redirected; do
  [ "$(digest_of $name digest)" = "$id" ] || fail "$name is another image: $("$imagetool" inspect $name)"
done
[ "$(find store/blobs/sha256 -type f | wc -l)" -eq "$count" ] || fail "there are new blobs"
[ -z "$(ls store/tmp)" ] || fail "leavings: $(ls store/tmp)"

step "several platforms"
images layout dir other one.tar
images index dir many linux/pdp11=other "linux/$("$imagetool" inspect app:1 | python3 -c '
import json,sys; print(json.load(sys.stdin)[0]["config"]["architecture"])')=v1"
"$imagetool" import dir:many many >/dev/null
[ "$(digest_of many digest)" = "$id" ] || fail "many is not this machine's"
"$imagetool" import dir:many many --platform linux/pdp11 >/dev/null 2>&1
"$imagetool" inspect many | grep --quiet 'layer of one' || fail "many is not what was asked for"
expect 'has no image for linux/vax (there are linux/pdp11, ' "$imagetool" import dir:many many --platform linux/vax
expect 'is no platform' "$imagetool" import dir:many many --platform vax
expect 'holds several images: v1, other, many (say which one: dir:NAME)' "$imagetool" import dir
expect 'holds no image of that name' "$imagetool" import dir:v2

step "commit over an image of others, and from store to store"
mkdir upper
echo mine >upper/mine
"$imagetool" commit upper app:2 --parent app:1 >/dev/null
mkdir tree2 && cp --archive tree/. tree2 && echo mine >tree2/mine && touch --reference upper/mine tree2/mine
touch --reference upper tree2 && chmod --reference upper tree2 && chown --reference upper tree2
same app:2 tree2
VARVE_STORE=$scratch/store2 "$imagetool" import store:app:2 >/dev/null
[ "$(VARVE_STORE=$scratch/store2 digest_of app:2 digest)" = "$(digest_of app:2 digest)" ] || fail "the copy is another image"
VARVE_STORE=$scratch/store2 same app:2 tree2
[ "$(digest_of app:2 config_digest)" != "$(digest_of app:1 config_digest)" ] || fail "app:2 has the configuration of app:1"
"$imagetool" inspect app:2 | python3 -c '
import json,sys
image = json.load(sys.stdin)[0]
ids = image["config"]["rootfs"]["diff_ids"]
assert len(ids) == 4 and ids[3] == image["layers"][3]["digest"], ids'
mkdir no-root && VARVE_STORE=$scratch/store3 "$imagetool" import no-root >/dev/null
skopeo_copy oci:dir:v1 oci:store3:tars
expect 'imagetool import' env VARVE_STORE="$scratch/store3" "$imagetool" inspect tars

step "what fails leaves nothing"
rm -r store/conversions # layers that are known would not be read
find store -type f | sort >before
blob=dir/blobs/sha256/$(sha256sum three.tar.zst | cut -d' ' -f1)
cp "$blob" good
flip_byte "$blob" 100
expect 'layer 3: is not what its digest' "$imagetool" import dir:v1 broken
head --bytes 200 good >"$blob"
expect 'layer 3: has less than' "$imagetool" import dir:v1 broken
cat good good >"$blob"
expect 'layer 3: has more than' "$imagetool" import dir:v1 broken
rm "$blob"
expect 'No such file' "$imagetool" import dir:v1 broken
cp good "$blob"
expect '--env is for root file systems' "$imagetool" import dir:v1 broken --env A=b
expect 'is no OCI image layout' "$imagetool" import oci:saved.tar broken
find store -type f | sort >after
cmp before after || fail "files came or went: $(diff before after)"
[ -z "$(find store/tmp -mindepth 1)" ] || fail "leavings: $(find store/tmp)"

step "root file systems are what they were"
gzip --stdout one.tar >root.tar.gz
"$imagetool" import one root:directory >/dev/null
"$imagetool" import root.tar.gz >/dev/null
"$imagetool" import - root:piped <root.tar.gz >/dev/null
# shellcheck disable=SC2002
cat one.tar | "$imagetool" import - root:streamed >/dev/null
for name in root:directory root root:piped root:streamed; do same $name one; done
expect '--platform chooses' "$imagetool" import one root:2 --platform linux/amd64
expect 'standard input has no name' "$imagetool" import - <root.tar.gz
echo "all good"
