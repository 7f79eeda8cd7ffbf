#!/usr/bin/env bash
# Every command on images with --json: one JSON value on standard output, and in it what docs/images.md says (json_shape.py). Of pull and
# push that is looked at in registry.sh.
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

scratch=$(mktemp -d "${VARVE_TEST_TMP:-/tmp}/varve-json.XXXXXX")
cleanup() {
  while mountpoint --quiet "$scratch/mnt" && umount --lazy "$scratch/mnt"; do :; done
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
cd "$scratch"
export VARVE_STORE=$scratch/store

# shaped ROW STATUS COMMAND...: `imagetool COMMAND`, whose standard output is as the rows called ROW say.
shaped() {
  local row=$1 status=$2 got=0
  shift 2
  timeout 60 "$bin/imagetool" "$@" >out 2>err || got=$?
  [ "$got" -eq "$status" ] || fail "$*: status $got, not $status: $(cat err)"
  python3 -B "$here/json_shape.py" "$here/../../docs/images.md" "$row" <out >wrong || fail "$*: $(cat wrong) in: $(cat out)"
  shown="$shown $row"
}
shown=

mkdir tree mnt upper work context
head --bytes 100000 /dev/urandom >tree/data
cp tree/data context/data
cp tree/data context/copy
printf 'FROM base:1\nCOPY copy /copy\n' >context/Imagefile

step "Images come and are made"
shaped import 0 import tree base:1 --json
shaped build 0 build -t built:1 context --json
shaped export 0 export base:1 oci layout --json
shaped export 0 export base:1 docker-archive docker.tar --json
shaped export-tree 0 export base:1 tar tree.tar --json
shaped export-tree 0 export base:1 dir unpacked --json
shaped import-image 0 import layout again:1 --json
shaped mount 0 mount base:1 "$scratch/mnt" --rw --upper kept --json
shaped mount-list 0 mount --json
printf X | dd of=mnt/data bs=1 seek=5000 conv=notrunc status=none
touch mnt/new
shaped commit 0 commit mnt changed:1 --json
umount mnt
shaped mount 0 mount base:1 "$scratch/mnt" --json
umount mnt
shaped squash 0 squash changed:1 flat:1 --json
shaped tag 0 tag flat:1 flat:2 --json

step "What is told of them"
shaped images 0 images --json
shaped inspect 0 inspect base:1 changed:1 --json
shaped inspect 0 inspect base:1
shaped history 0 history changed:1 --json
shaped diff 0 diff base:1 changed:1 --json
shaped stats 0 stats --json

step "They go, and are damaged"
shaped rm 0 rm flat:1 flat:2 --json
shaped rm 1 rm built:1 nothing --json
shaped gc 0 gc --dry-run --json
layer=$("$bin/imagetool" inspect base:1 | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["layers"][0]["path"])')
chmod u+w "$layer"
flip_byte "$layer" 5000
shaped verify 1 verify --json
shaped gc 0 gc --json

step "No command was forgotten"
commands=$("$bin/imagetool" --help | sed -n '/^Subcommands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
[ "$(wc -l <<<"$commands")" -ge 19 ] || fail "not all commands are found: $commands"
for command in $commands; do
  case $command in
    layer | umount | pull | push) ;;  # no results to tell, or tried elsewhere
    *) [[ " $shown " == *" $command "* ]] || fail "$command is not tried here" ;;
  esac
done
say "done"
