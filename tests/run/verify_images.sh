#!/usr/bin/env bash
# `imagetool verify` of a damaged store: which images and which of their files are affected (what a mount cannot read is what it says,
# no more and no less), where the same content is good, and that what it says to do repairs it.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib/console.sh
. "$here/../../scripts/lib/console.sh"
# shellcheck source=tests/support/flip_byte.sh
. "$here/../support/flip_byte.sh"
bin=${VARVE_BIN:?the directory with varvefs and imagetool}
[ "$(id -u)" -eq 0 ] || { echo "skipped: mounts need root"; exit 77; }
[ -w /dev/fuse ] || { echo "skipped: there is no usable /dev/fuse"; exit 77; }

scratch=$(mktemp -d "${VARVE_TEST_TMP:-/tmp}/varve-verify.XXXXXX")
cleanup() {
  while mountpoint --quiet "$scratch/mnt" && umount --lazy "$scratch/mnt"; do :; done
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
cd "$scratch"
export VARVE_STORE=$scratch/store SOURCE_DATE_EPOCH=1700000000

imagetool() { timeout 60 "$bin/imagetool" "$@"; }
expect() { [ "$2" = "$3" ] || fail "$1: \"$3\", not \"$2\""; }
# verified STATUS [ARGUMENT...]: `imagetool verify`, as text in `text` and as JSON in `json`.
verified() {
  local status=0 json_status=0
  imagetool verify "${@:2}" >text 2>err || status=$?
  expect "the status of verify ${*:2}" "$1" "$status"
  expect "lines on standard error" "$1" "$(wc -l <err)"
  imagetool verify "${@:2}" --json >json 2>err || json_status=$?
  expect "the same with --json" "$1" "$json_status"
}
# of_json EXPRESSION: of the last verify --json, `j`; images by name in `i`.
of_json() {
  python3 -c '
import json, sys
j = json.load(open("json"))
i = {one["name"]: one for one in j["images"]}
print(eval(sys.argv[1]))' "$1"
}
says() { grep --quiet --fixed-strings -- "$1" text || fail "\"$1\" is not in: $(cat text)"; }
layer() { imagetool inspect "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["layers"][int(sys.argv[1])]["path"])' "$2"; }
part() { imagetool inspect "$1" | python3 -c 'import json, os, sys
print(os.environ["VARVE_STORE"] + "/blobs/sha256/" + json.load(sys.stdin)[0][sys.argv[1]].removeprefix("sha256:"))' "$2"; }
# flip FILE OFFSET...: other bytes there; from the end when negative.
flip() {
  chmod u+w "$1"
  python3 -c '
import sys
with open(sys.argv[1], "r+b") as file:
    for offset in map(int, sys.argv[2:]):
        file.seek(offset, 2 if offset < 0 else 0)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0x10]))' "$@"
}
# lost_in IMAGE: the files of a mount of it that cannot be read.
lost_in() {
  "$bin/varvefs" --image "$1" mnt 2>/dev/null
  (cd mnt && find . -type f -printf '%P\n' | sort | while read -r file; do cat "$file" >/dev/null 2>&1 || echo "/$file"; done)
  umount mnt
}
lost_by_json() { of_json "'\n'.join(sorted(f['path'] for f in i['$1']['lost_files']))"; }

step "Images of layers that inherit from one another"
mkdir tree other mnt upper work
mkdir tree/sub
for name in a b c d e; do head --bytes 300000 /dev/urandom >tree/$name; done
head --bytes 300000 /dev/urandom >tree/sub/moved
head --bytes 300000 /dev/urandom >tree/sub/replaced
cp tree/c other/copy-of-c
imagetool import tree base:1 --cmd first >/dev/null
"$bin/varvefs" --image base:1 -o upperdir=upper,workdir=work mnt
for name in a b; do flip_byte mnt/$name 200000; done
mv mnt/sub mnt/elsewhere
rm mnt/d mnt/elsewhere/replaced
echo new >mnt/elsewhere/replaced
imagetool commit mnt app:1 >/dev/null
umount mnt
imagetool import other other:1 >/dev/null
verified 0
expect "what is good" "True 3" "$(of_json "j['good'], len(j['images'])" | tr -d '(),')"
expect "what to do" "[]" "$(of_json "[r for n in i for r in i[n]['repair']]")"
verified 0 app:1
expect "the layers of one image" 2 "$(of_json "len(i['app:1']['layers'])")"

step "Bytes of the content: what is said to be lost is what a mount cannot read"
base=$(layer base:1 0)
cp "$base" good.layer
data_bytes=$(imagetool layer inspect good.layer --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["data_bytes"])')
[ "$data_bytes" -gt 2100000 ] || fail "the layer holds $data_bytes bytes"
for seed in 1 2 3 4 5 6; do
  offset=$((4096 + (data_bytes - 8192) * seed / 7))
  flip "$base" "$offset"
  verified 1
  for image in base:1 app:1; do
    expect "lost in $image, byte $offset" "$(lost_in "$image")" "$(lost_by_json "$image")"
  done
  [ -n "$(lost_by_json base:1)" ] || fail "byte $offset damages nothing"
  expect "of the other" "True" "$(of_json "i['other:1']['good']")"
  cp good.layer "$base"
done

step "All of the content"
read -r -a all < <(seq 4096 500 "$((data_bytes - 4096))" | xargs)
flip "$base" "${all[@]}"
verified 1
expect "lost in base:1" "/a /b /c /d /e /sub/moved /sub/replaced" "$(lost_by_json base:1 | xargs)"
expect "lost in app:1, where some were deleted and one was replaced" "/a /b /c /e /elsewhere/moved" "$(lost_by_json app:1 | xargs)"
expect "what /a of app:1 inherits from" "$base" "$(of_json "next(f['sources'][0] for f in i['app:1']['lost_files'] if f['path'] == '/a')")"
expect "where /c is good" "/copy-of-c" "$(of_json "next(f['copy']['path'] for f in i['app:1']['lost_files'] if f['path'] == '/c')")"
expect "where /e is good" "None" "$(of_json "next(f['copy'] for f in i['app:1']['lost_files'] if f['path'] == '/e')")"
says "made by: imagetool import tree"
says "images that have it: app:1, base:1"
expect "what each image can be repaired by" "True" "$(of_json "all('imagetool import tree NEWNAME' in [r['command'] for r in i[n]['repair']] for n in ('app:1', 'base:1'))")"
says "; the same content is good as /copy-of-c of layer"
says "imagetool import tree NEWNAME  (if there is still the same"
says "imagetool rm app:1 && imagetool gc"

step "What it says to do repairs it"
imagetool import tree again:1 >/dev/null
verified 0
flip "$base" 5000
imagetool verify --set-aside >text 2>err && fail "it is not damaged"
says "set aside: $VARVE_STORE/damaged/$(basename "$base")"
expect "what was set aside" "5001" "$(cmp good.layer "$VARVE_STORE/damaged/$(basename "$base")" | sed 's/.*byte \([0-9]*\).*/\1/')"
verified 1
expect "what is missing" "True is missing" "$(of_json "i['app:1']['layers'][0]['missing'], i['app:1']['layers'][0]['problem']" | tr -d "(),'")"
says "the image cannot be mounted"
"$bin/imagetool" mount base:1 "$scratch/mnt" 2>err && fail "an image without its layer was mounted"
grep --quiet 'imagetool verify base:1' err || fail "$(cat err)"
imagetool import tree again:1 >/dev/null
verified 0
imagetool gc >/dev/null
rm -r "$VARVE_STORE/damaged"

step "Metadata, configuration, manifest"
flip "$base" -2000
verified 1 base:1
expect "whether it can be mounted" "False" "$(of_json "i['base:1']['can_be_mounted']")"
imagetool import tree again:1 >/dev/null
verified 0
for part in config_digest digest; do
  flip "$(part base:1 "$part")" 20
  verified 1
  says "base:1: DAMAGED: base:1: its"
  says "is damaged: other bytes than its digest says"
  imagetool import tree base:1 --cmd first >/dev/null
  verified 0
done
rm "$(part base:1 config_digest)"
verified 1
says "is missing (import or copy the image again)"
imagetool import tree base:1 --cmd first >/dev/null
verified 0

step "Layers that belong to no image, to another one, and to the build cache"
aside=$(layer other:1 0)
imagetool rm other:1
flip "$aside" 5000
verified 1
says "blob $(basename "$aside" | cut -c1-12), of none of these images: DAMAGED"
grep --quiet 'blobs that no image has are damaged' err || fail "$(cat err)"
imagetool gc >/dev/null
verified 0
python3 - <<'PYTHON'
import hashlib, json, os
store = os.environ["VARVE_STORE"]
index = json.load(open(store + "/index.json"))
read = lambda digest: json.load(open(f"{store}/blobs/sha256/{digest.removeprefix('sha256:')}"))
name = lambda entry: entry["annotations"]["org.opencontainers.image.ref.name"]
entry = next(entry for entry in index["manifests"] if name(entry) == "app:1")
manifest = read(entry["digest"])
manifest["layers"] = manifest["layers"][1:]
text = json.dumps(manifest).encode()
digest = hashlib.sha256(text).hexdigest()
open(f"{store}/blobs/sha256/{digest}", "wb").write(text)
wrong = dict(entry, digest="sha256:" + digest, size=len(text), annotations={"org.opencontainers.image.ref.name": "wrong:1"})
index["manifests"].append(wrong)
json.dump(index, open(store + "/index.json", "w"))
PYTHON
verified 1 wrong:1
says "it continues in the layer with root hash"
expect "lost" "/a /b" "$(lost_by_json wrong:1 | xargs)"
verified 1
expect "and of the right one" True "$(of_json "i['app:1']['good']")"
imagetool rm wrong:1
mkdir context
head --bytes 100000 /dev/urandom >context/file
printf 'FROM base:1\nCOPY file /file\n' >context/Imagefile
imagetool build -t built:1 context >/dev/null 2>&1
flip "$(layer built:1 1)" 5000
verified 1 built:1
says "imagetool verify --set-aside built:1  (then \`imagetool build\` carries out the steps"
imagetool verify --set-aside built:1 >/dev/null 2>err && fail "it is not damaged"
imagetool build -t built:1 context >/dev/null 2>&1
verified 0 built:1
expect "an image that is not there" "imagetool: verifying images: nothing: no such image" "$(imagetool verify nothing 2>&1 | cut -d' ' -f1-8 | sed 's/ in$//')"
say "done"
