#!/usr/bin/env bash
# Images go out to the tools that everybody else uses: what skopeo and podman make of them is what varvefs shows, entry by entry
# (compare_tars.py), and digests stay what they are on the way to another place and back.
# Environment: VARVE_BIN, the directory of varvefs, imagetool and varve. Exit status 77: cannot run here, and says why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib/console.sh
. "$here/../../scripts/lib/console.sh"
# shellcheck source=scripts/lib/debian_tree.sh
. "$here/../../scripts/lib/debian_tree.sh"
bin=${VARVE_BIN:?the directory with varvefs, imagetool and varve}

skip() { echo "skipped: $*"; exit 77; }
[ "$(id -u)" -eq 0 ] || skip "owners, devices and mounts need root"
[ -w /dev/fuse ] || skip "there is no usable /dev/fuse"
for program in debootstrap skopeo podman runc setfacl setfattr python3; do
  command -v "$program" >/dev/null || skip "there is no $program (scripts/install-dependencies test)"
done
debian=$(debian_tree_tar procps) || skip "no Debian tree could be had, see above"

scratch=$(mktemp -d "${VARVE_TEST_TMP:-/tmp}/varve-export.XXXXXX")
chmod 755 "$scratch"
podman() {
  timeout 120 podman --root "$scratch/podman" --runroot "$scratch/podman-run" --storage-driver overlay \
    --cgroup-manager cgroupfs "$@"
}
cleanup() {
  podman image umount --all >/dev/null 2>&1 || true
  while mountpoint --quiet "$scratch/podman/overlay" && umount --lazy "$scratch/podman/overlay"; do :; done
  while mountpoint --quiet "$scratch/mnt" && umount --lazy "$scratch/mnt"; do :; done
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
cd "$scratch"
export VARVE_STORE=$scratch/store
unset SOURCE_DATE_EPOCH
podman info >podman.info 2>&1 || skip "podman has no overlay storage here: $(tail -n 1 podman.info)"

expect() { [ "$2" = "$3" ] || fail "$1: \"$3\", not \"$2\""; }
# field JSON-FILE KEY
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
config_digest() { python3 -c 'import json, sys; print(json.load(sys.stdin)["config"]["digest"])'; }
export_image() { "$bin/imagetool" export "$@"; }
archive() {
  local directory=$1 to=$2
  shift 2
  tar --create --file "$to" --directory "$directory" --sort=name --format=pax --pax-option=delete=atime,delete=ctime,exthdr.name=x \
    --numeric-owner --xattrs --xattrs-include='*' --acls "$@" .
}
# same WANTED.tar OTHER.tar [PATTERN]: but for lines of that pattern.
same() {
  python3 -B "$here/compare_tars.py" "$1" "$2" >differences || true
  tail -n 1 differences | grep --quiet ' differences$' || fail "not compared: $(cat differences)"
  sed '$d' differences | grep --invert-match --extended-regexp "${3:-^$}" >left || true
  [ ! -s left ] || { head -n 20 left; fail "$2 is not what varvefs shows, see above"; }
  say "$2: $(tail -n 1 differences | cut -d, -f1,2), the same"
}
# shows WHAT IMAGE: what podman makes of an image. Its own is the root directory, to which it gives a mode and a time.
shows() {
  local mounted
  mounted=$(podman image mount "$2")
  archive "$mounted" "$1.tar"
  podman image umount "$2" >/dev/null
  same wanted.tar "$1.tar" '^/: (mode|mtime): '
}

step "An image of three layers: renamed directories, changed blocks, deleted and replaced things, links"
mkdir tree mnt
tar --extract --file "$debian" --directory tree --numeric-owner --xattrs --xattrs-include='*' --acls
mkdir -p tree/opt/big/sub
head --bytes 3000000 /dev/urandom >tree/opt/big/data
echo linked >tree/opt/big/sub/one
ln tree/opt/big/sub/one tree/opt/big/sub/two
# Names outside of the directories that are renamed below, in ones that no layer above has.
mkdir -p tree/srv/kept/deep tree/opt/big/more
echo outside >tree/opt/big/more/three
ln tree/opt/big/more/three tree/srv/kept/deep/three
ln tree/opt/big/more/three tree/opt/three
ln tree/opt/big/data tree/srv/data
ln -s nowhere tree/opt/big/dangling
ln -P tree/opt/big/dangling tree/srv/dangling
chmod 2750 tree/srv/kept
setfattr -n user.note -v kept tree/srv/kept/deep
setfacl -m u:1234:rw tree/opt/big/sub/one
setfacl -d -m g:99:rx tree/opt/big/sub
setfattr -n user.note -v yes tree/opt/big
setfattr -n trusted.note -v yes tree/opt/big/data
truncate --size 5M tree/opt/sparse
mknod tree/opt/device c 1 3
mkfifo tree/opt/fifo
ln -s sub/one tree/opt/big/link
chown -R 70000:4000000000 tree/opt/big/sub
"$bin/imagetool" import tree base:1 --cmd cat --cmd /greeting >/dev/null
cat >change <<'END'
set -e
mv /opt/big /opt/moved
printf X | dd of=/opt/moved/data bs=1 seek=1000000 conv=notrunc 2>/dev/null
rm /etc/issue
rm -rf /usr/share/doc
mkdir /usr/share/doc
echo new >/usr/share/doc/new
chmod 4755 /bin/cat
rm -rf /var/lib/dpkg/info
echo "a file now" >/var/lib/dpkg/info
echo text >/opt/new
ln /opt/new /opt/new-too
touch --no-dereference --date '1999-12-31 23:59:59.123456789 UTC' /opt/new
END
"$bin/varve" run --name first --network none -v "$scratch/change:/change:ro" base:1 bash /change
"$bin/imagetool" commit first base:2 >/dev/null
"$bin/varve" run --name second --network none base:2 bash -c \
  'mv /opt/moved/sub /opt/sub; mv /opt/moved /opt/again; rm /opt/sub/two; echo hello >/greeting'
"$bin/imagetool" commit second web:1 >/dev/null
"$bin/varvefs" --image web:1 mnt
expect "names of one file, in and outside of renamed directories" "3 3 3" "$(stat --format %h mnt/opt/again/more/three mnt/srv/kept/deep/three mnt/opt/three | xargs)"
archive mnt wanted.tar
archive mnt wanted-sparse.tar --sparse
umount mnt
rm -r tree

step "A layout, to another place and back by skopeo"
export_image web:1 oci layout --level 1 --json >out.json
digest=$(field out.json digest)
id=$(field out.json image_id)
expect "its layers" 3 "$(field out.json layers_written)"
export_image base:1 oci layout:other --compress zstd >/dev/null
export_image web:1 oci layout --level 1 --jobs 1 --json >again.json
expect "the digest of the same image" "$digest" "$(field again.json digest)"
expect "layers that are there already" 0 "$(field again.json layers_written)"
skopeo copy --quiet oci:layout:web:1 oci:there:x
skopeo copy --quiet oci:there:x oci:back:y
expect "the digest after two copies" "$digest" "$(skopeo inspect --format '{{.Digest}}' oci:back:y)"
expect "the other image" 1 "$(skopeo inspect oci:layout:other | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["Layers"]))')"
python3 - layout "${digest#sha256:}" <<'END'
import gzip, hashlib, json, sys
blob = lambda digest: open(f"{sys.argv[1]}/blobs/sha256/{digest.removeprefix('sha256:')}", "rb").read()
manifest = json.loads(blob(sys.argv[2]))
config = json.loads(blob(manifest["config"]["digest"]))
for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
    bytes = blob(layer["digest"])
    assert layer["size"] == len(bytes) and layer["digest"] == "sha256:" + hashlib.sha256(bytes).hexdigest(), layer
    assert diff_id == "sha256:" + hashlib.sha256(gzip.decompress(bytes)).hexdigest(), layer
assert sum(not entry.get("empty_layer") for entry in config["history"]) == 3, config["history"]
END

step "What podman makes of the layout"
podman pull --quiet oci:layout:web:1 >pulled
expect "the image's id" "sha256:$(cat pulled)" "$id"
shows pulled "$(cat pulled)"
podman image rm --all --force >/dev/null

step "An archive for docker load"
export_image web:1 docker-archive docker.tar >/dev/null
export_image web:1 docker-archive - 2>/dev/null | cmp - docker.tar
expect "the configuration in it" "$id" "sha256:$(tar --list --file docker.tar | sed -n 's/\.json$//p' | grep --invert-match manifest)"
skopeo copy --quiet docker-archive:docker.tar dir:from-docker
expect "its id, for skopeo" "$id" "$(config_digest <from-docker/manifest.json)"
podman load --quiet --input docker.tar >loaded
expect "its name" "Loaded image: localhost/web:1" "$(cat loaded)"
expect "its id" "$id" "sha256:$(podman image inspect --format '{{.Id}}' web:1)"
shows loaded web:1

step "A tar and a directory of the whole tree, and a container in it"
export_image web:1 tar tree.tar >/dev/null
same wanted-sparse.tar tree.tar
export_image web:1 tar - --compress gzip 2>/dev/null | gzip --decompress | cmp - tree.tar
export_image web:1 dir unpacked >/dev/null
archive unpacked unpacked.tar
cmp --quiet wanted.tar unpacked.tar || same wanted.tar unpacked.tar
expect "blocks of the sparse file" 0 "$(stat --format %b unpacked/opt/sparse)"
run=(run --rm --quiet --runtime runc --ulimit nofile=20000:20000 --ulimit nproc=30000:30000 --network none)
if podman "${run[@]}" --rootfs "$scratch/unpacked" cat /greeting >/dev/null 2>control; then
  expect "what the image's command says" hello "$(podman "${run[@]}" web:1)"
else
  say "podman runs no containers here, not even of a directory: $(tail -n 1 control)"
fi

step "An archive of a layout, by zstd"
export_image web:1 oci-archive layout.tar --compress zstd >/dev/null
skopeo copy --quiet oci-archive:layout.tar:web:1 oci:from-archive:x
expect "its id" "$id" "$(skopeo inspect --raw oci:from-archive:x | config_digest)"

step "Layers as they are in the store"
export_image web:1 oci kept --layers varve --json >kept.json
expect "the digest of the store" "$("$bin/imagetool" inspect web:1 | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["digest"])')" "$(field kept.json digest)"
skopeo copy --quiet oci:kept:web:1 oci:kept-too:x
expect "and of a copy" "$(field kept.json digest)" "$(skopeo inspect --raw oci:kept-too:x | sha256sum | sed 's/^\([0-9a-f]*\).*/sha256:\1/')"

step "What cannot be, and what is broken off"
# refused TEXT ARGUMENT...: fails with one line that holds TEXT.
refused() {
  local text=$1
  shift
  if export_image "$@" >out 2>err; then fail "export $*: was not refused"; fi
  grep --quiet --fixed-strings -- "$text" err || fail "export $*: \"$text\" is not in: $(cat err)"
  expect "lines of its message" 1 "$(wc -l <err)"
}
refused "no such image" nothing oci new
refused "is an image store of varve" web:1 oci store
refused "not for docker-archive" web:1 docker-archive x.tar --compress gzip
refused "is no name that docker takes" web:1 docker-archive x.tar:Web:1
refused "is not empty" web:1 dir unpacked
if [ -e x.tar ] || [ -e new ]; then fail "something is left of what was refused"; fi
for format in oci oci-archive; do
  "$bin/imagetool" export web:1 "$format" broken --level 9 --jobs 1 >out 2>err &
  sleep 0.5
  kill -INT $!
  status=0
  wait $! || status=$?
  expect "the status of a broken off export" "1 interrupted" "$status $(grep --only-matching 'interrupted$' err)"
  [ ! -e broken ] || fail "$format: something is left of what was broken off"
done
expect "what is left in the store" "" "$(ls store/tmp)"
say "done"
