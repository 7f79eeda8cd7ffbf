#!/usr/bin/env bash
# imagetool push and pull against Debian's docker-registry: plain, with passwords, with TLS; skopeo reads what was pushed, and what
# skopeo pushed is pulled; `imagetool build` takes its images from there. Then what is told while it comes (pull_progress.py), and a
# registry that lies (hostile_registry.py).
# Environment: VARVE_BIN, the directory of imagetool. Exit status 77: cannot run here, and says why.
set -euo pipefail
shopt -s inherit_errexit
bin=${VARVE_BIN:?the directory with imagetool}
imagetool=$bin/imagetool
here=$(cd "$(dirname "$0")" && pwd)

for program in docker-registry skopeo openssl perl python3; do
  command -v "$program" >/dev/null || { echo "skipped: there is no $program"; exit 77; }
done

scratch=$(mktemp -d /tmp/varve-registry.XXXXXX)
# shellcheck source=tests/run/registry_lib.sh
. "$here/registry_lib.sh"
# shellcheck source=tests/support/flip_byte.sh
. "$here/../support/flip_byte.sh"
cleanup() {
  stop_registries
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
cd "$scratch"
export HOME=$scratch/home XDG_RUNTIME_DIR=$scratch/run
unset REGISTRY_AUTH_FILE XDG_CONFIG_HOME DOCKER_CONFIG VARVE_STORE
mkdir -p "$HOME" "$XDG_RUNTIME_DIR"

fail() { echo "FAILED: $*" >&2; exit 1; }
step() { echo "== $*"; }
# in_store STORE COMMAND...: imagetool with that store.
in_store() {
  local store=$1
  shift
  "$imagetool" --store "$store" "$@"
}
# refused TEXT COMMAND...: exit status 1, nothing on standard output, and one line on standard error that holds TEXT.
refused() {
  local text=$1 got=0
  shift
  "$@" >out 2>err || got=$?
  [ "$got" -eq 1 ] || fail "$*: exit status $got, not 1: $(cat err)"
  [ ! -s out ] || fail "$*: wrote to standard output: $(cat out)"
  grep --quiet --fixed-strings -- "$text" err || fail "$*: standard error lacks \"$text\": $(cat err)"
  [ "$(wc -l <err)" -eq 1 ] || fail "$*: not one line on standard error: $(cat err)"
  if grep --quiet "sesame" err; then fail "$*: the password is in the message"; fi
}
# field NAME: of the JSON object on standard input.
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
# same_tree STORE NAME STORE NAME: names, attributes and contents of their topmost layers are the same.
same_tree() {
  local one other
  one=$(tree_of "$1" "$2")
  other=$(tree_of "$3" "$4")
  [ "$one" = "$other" ] || fail "$2 and $4: other trees"
}
tree_of() {
  local layer
  layer=$(in_store "$1" inspect "$2" | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["layers"][-1]["digest"])')
  rm -rf tree
  "$imagetool" layer extract "$1/blobs/sha256/${layer#sha256:}" -o tree
  (cd tree && find . -printf '%P %y %m %U:%G %T@ %s %l\n' | sort && find . -type f -exec sha256sum {} + | sort)
}

step "an image"
mkdir -p root/etc root/usr/share
printf 'hello\n' >root/etc/greeting
ln -s greeting root/etc/link
# Larger than what is kept in memory while it is sent, and not to be compressed below that.
head -c 9000000 /dev/urandom >root/usr/share/random
in_store a import root app:1 --cmd /bin/true >/dev/null
printf 'more\n' >root/etc/more
in_store a import root team/app:2 >/dev/null

step "plain http on this machine: push as tar layers, which is the default"
start_registry plain
plain=$registry
in_store a push app:1 "$plain/team/app:1" --digestfile digest --json >pushed
python3 -B "$here/json_shape.py" "$here/../../docs/images.md" push <pushed || fail "push --json is not as documented"
[ "$(cat digest)" = "$(field digest <pushed)" ] || fail "--digestfile and --json differ"
[ "$(field layers_written <pushed)" -eq 1 ] || fail "not one layer sent: $(cat pushed)"
[ "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$plain/team/app:1")" = "$(cat digest)" ] ||
  fail "skopeo sees another digest"
in_store a push app:1 "$plain/team/app:1" --json | grep --quiet '"layers_written":0' || fail "what is there was sent again"

step "pulled into another store by tag and by digest, it is what it was"
in_store b pull "$plain/team/app:1" --json --digestfile pulled >told
python3 -B "$here/json_shape.py" "$here/../../docs/images.md" pull <told || fail "pull --json is not as documented"
cmp digest pulled
[ "$(cat digest)" = "$(field registry_digest <told)" ] || fail "--digestfile and --json differ"
[ "$(field name <told)" = "$plain/team/app:1" ] || fail "another name: $(cat told)"
in_store b verify "$plain/team/app:1" >/dev/null
same_tree a app:1 b "$plain/team/app:1"
in_store b pull "$plain/team/app@$(cat digest)" >/dev/null
in_store b images | grep --quiet "^$plain/team/app:sha256-" || fail "what was pulled by its digest has no name"
in_store b pull "docker://$plain/team/app:1" short >/dev/null
in_store b images --json | grep --quiet '"short:latest"' || fail "the name that was given is not in the store"
in_store b inspect short | grep --quiet '/bin/true' || fail "the configuration was lost"

step "what is damaged is pulled again"
layer=$(in_store b inspect short | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["layers"][0]["path"])')
in_store b tag short renamed:1
chmod u+w "$layer"
flip_byte "$layer" 100000
if in_store b verify >verified 2>err; then fail "a damaged layer is not found"; fi
for name in short:latest "$plain/team/app:1"; do
  grep --quiet "^    imagetool pull .*$plain/team/app:1 $name  (fetches it again" verified || fail "no hint for $name: $(cat verified)"
done
grep --quiet "^    imagetool pull .*$plain/team/app:1 renamed:1  (" verified || fail "no hint for the other name: $(cat verified)"
in_store b pull "$plain/team/app:1" >/dev/null
in_store b verify >/dev/null
in_store b import root short >/dev/null
python3 -c '
import json
names = {e["annotations"]["org.opencontainers.image.ref.name"]: e["annotations"] for e in json.load(open("b/index.json"))["manifests"]}
assert "org.varve.image.source" in names["renamed:1"] and "org.varve.image.source" not in names["short:latest"], names' ||
  fail "where images came from"
in_store b pull "docker://$plain/team/app:1" short >/dev/null

step "what the store has is neither fetched nor converted again"
# layers_got REPOSITORY: how many layers of it the registry gave.
layers_got() {
  local layer
  layer=$(skopeo inspect --tls-verify=false --format '{{index .Layers 0}}' "docker://$plain/$1:1")
  grep --count "GET /v2/$1/blobs/$layer HTTP/1.1\" 200" plain.log || :
}
got=$(layers_got team/app)
[ "$got" -ge 1 ] || fail "the log tells nothing: $(cat plain.log)"
in_store b --progress=plain pull --profile max "$plain/team/app:1" again >/dev/null 2>told
grep --quiet 'already there$' told || fail "it is not told: $(cat told)"
[ "$(layers_got team/app)" -eq "$got" ] || fail "a layer came again"
same_tree b short b again
in_store b rm short >/dev/null; in_store b rm again >/dev/null
for name in $(in_store b images --json | python3 -c 'import json, sys; print(*(image["name"] for image in json.load(sys.stdin)))'); do
  in_store b rm "$name" >/dev/null
done
in_store b gc >/dev/null
in_store b pull "$plain/team/app:1" >/dev/null
[ "$(layers_got team/app)" -eq $((got + 1)) ] || fail "a layer that went was not fetched"
in_store b verify "$plain/team/app:1" >/dev/null

step "push as varve layers keeps manifest and digests"
in_store a push --format varve app:1 "$plain/varve/app:1" --digestfile digest >/dev/null
[ "$(cat digest)" = "$(in_store a images --json | python3 -c '
import json, sys
print(next(image["digest"] for image in json.load(sys.stdin) if image["name"] == "app:1"))')" ] || fail "another digest than in the store"
in_store c pull "$plain/varve/app:1" app:1 --digestfile pulled >/dev/null
cmp digest pulled
for blob in a/blobs/sha256/*; do
  [ ! -e "c/${blob#a/}" ] || cmp "$blob" "c/${blob#a/}"
done
in_store c verify app:1 >/dev/null
[ "$(find c/blobs/sha256 -type f | wc -l)" -eq 3 ] || fail "not manifest, configuration and one layer"

step "a layer that another repository of the registry has is not sent"
in_store c tag app:1 "$plain/varve/app:1"
in_store c push --format varve app:1 "$plain/other/app:1" >/dev/null
grep --quiet 'POST /v2/other/app/blobs/uploads/?[^ ]*mount=[^ ]* HTTP/1.1" 201' plain.log || fail "the layer was sent: $(grep POST plain.log)"
in_store d pull "$plain/other/app:1" >/dev/null

step "skopeo copies what was pushed, and what it copies back is pulled, with the same digests"
for name in team/app varve/app; do
  skopeo copy --quiet --src-tls-verify=false --preserve-digests "docker://$plain/$name:1" "oci:layout:one"
  skopeo copy --quiet --dest-tls-verify=false --preserve-digests oci:layout:one "docker://$plain/again/$name:1"
  [ "$(skopeo inspect --raw --tls-verify=false "docker://$plain/$name:1" | sha256sum)" = \
    "$(skopeo inspect --raw --tls-verify=false "docker://$plain/again/$name:1" | sha256sum)" ] || fail "$name: another manifest"
  in_store e pull "$plain/again/$name:1" >/dev/null
  same_tree a app:1 e "$plain/again/$name:1"
  rm -r layout
done

step "what is not there is told in one line"
refused "MANIFEST_UNKNOWN" in_store b pull "$plain/team/app:none"
refused "127.0.0.1:1" in_store b pull 127.0.0.1:1/app
refused "names no registry" in_store a push team/app:2
refused "no name of an image" in_store b pull "$plain/../app"

step "an upload that breaks is begun again"
# relay TIMES: sets relay to the address of one in front of the registry that breaks so many uploads after 4 MB.
relay() {
  rm -f relay.address
  python3 -B "$here/breaking_relay.py" "$plain" "$1" 4000000 >relay.address 2>relay.log &
  registry_processes+=($!)
  for _ in {1..100}; do
    [ ! -s relay.address ] || break
    sleep 0.1
  done
  relay=$(cat relay.address)
  [ -n "$relay" ] || fail "no relay: $(cat relay.log)"
}
relay 2
for format in oci varve; do
  in_store a push --format "$format" app:1 "$relay/broken/$format:1" --json >pushed
  [ "$(field layers_written <pushed)" -eq 1 ] || fail "not one layer sent: $(cat pushed)"
  in_store n pull "$plain/broken/$format:1" >/dev/null
  same_tree a app:1 n "$plain/broken/$format:1"
done
uploads=$(grep --count 'PATCH /v2/broken/oci/' plain.log || :)
[ "$uploads" -ge 2 ] || fail "nothing broke: $(grep PATCH plain.log)"
relay 1000
refused "begun 5 times" in_store a push --format varve app:1 "$relay/broken/never:1"

step "build pulls what it stands on, unless it is there"
mkdir context
printf 'one\n' >context/one
asked() { grep --count "GET /v2/$1/" plain.log || :; }
# build STORE LINES OPTION...
build() {
  local store=$1 lines=$2
  shift 2
  printf '%b' "$lines" | in_store "$store" build -t built -f - "$@" context 2>told || { cat told >&2; return 1; }
}
build k "FROM $plain/team/app:1\nCOPY one /\n" >/dev/null
grep --quiet --fixed-strings -- "--> pulling $plain/team/app:1" told || fail "it is not told: $(cat told)"
in_store b pull "$plain/team/app:1" app >/dev/null
same_tree k "$plain/team/app:1" b app
got=$(asked team/app)
build k "FROM $plain/team/app:1\nCOPY one /two\nFROM $plain/team/app:1\nCOPY --from=0 /two /\n" >/dev/null
build k "FROM $plain/team/app:1\nCOPY one /\n" --pull=never >/dev/null
[ "$(asked team/app)" -eq "$got" ] || fail "what is there was asked for"
in_store k tag "$plain/team/app:1" base
build k "FROM base\nCOPY one /\n" >/dev/null
digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$plain/team/app:1")
build k "FROM $plain/team/app@$digest\n" >/dev/null
in_store k images | grep --quiet "^$plain/team/app:sha256-${digest#sha256:}" || fail "no name for a digest: $(in_store k images)"
got=$(asked team/app)
build k "FROM $plain/team/app:1@$digest\n" >/dev/null
[ "$(asked team/app)" -eq "$got" ] || fail "a digest that is there was asked for"
build l "FROM scratch\nCOPY --from=$plain/team/app:1 /etc/greeting /\nCOPY --from=$plain/team/app:1 /etc/link /\n" >/dev/null
[ "$(grep --count -e '--> pulling' told)" -eq 1 ] || fail "not pulled once: $(cat told)"
# refused_build TEXT LINES OPTION...
refused_build() {
  printf '%b' "$2" >lines
  refused "$1" in_store l build --quiet -t built -f lines "${@:3}" context
}
refused_build "and with --pull=never it is not pulled" "FROM $plain/varve/app:1\n" --pull=never
refused_build "not in l, and not pulled: $plain/team/nosuch:latest: its manifest: 404" "FROM $plain/team/nosuch\n"
refused_build "2: COPY: $plain/team/nosuch: not in l, and not pulled" "FROM scratch\nCOPY --from=$plain/team/nosuch /x /\n"
refused_build "127.0.0.1:1/app: not pulled: 127.0.0.1:1: " "FROM 127.0.0.1:1/app\n" --pull=always

step "--pull=always takes what the registry has now"
in_store a push team/app:2 "$plain/moving" >/dev/null
build l "FROM $plain/moving\n" >/dev/null
in_store a push app:1 "$plain/moving" >/dev/null
build l "FROM $plain/moving\n" >/dev/null
same_tree l built a team/app:2
build l "FROM $plain/moving\nFROM $plain/moving\n" --pull >/dev/null
same_tree l built a app:1

step "FROM --platform takes an image for it, and leaves this machine's its name"
in_store a import root foreign --architecture mips >/dev/null
in_store a push foreign "$plain/foreign" >/dev/null
in_store m import root "$plain/foreign" >/dev/null
build m "FROM --platform=linux/mips $plain/foreign\n" >/dev/null
in_store m inspect built | grep --quiet '"mips"' || fail "not for mips: $(in_store m inspect built)"
if in_store m inspect "$plain/foreign" | grep --quiet '"mips"'; then fail "the name was given to another platform"; fi
got=$(asked foreign)
build m "FROM --platform=linux/mips $plain/foreign\n" >/dev/null
[ "$(asked foreign)" -eq "$got" ] || fail "it was pulled again"
printf '%b' "FROM --platform=linux/mips 127.0.0.1:1/here\n" >lines
in_store m tag "$plain/foreign" 127.0.0.1:1/here
refused "127.0.0.1:1/here: for another platform in m, and not pulled: 127.0.0.1:1: " in_store m build --quiet -t built -f lines context
digest=$(in_store m images --json | python3 -c '
import json, sys
print(next(image["digest"] for image in json.load(sys.stdin) if image["name"].endswith("/here:latest")))')
printf '%b' "FROM --platform=linux/mips $digest\n" >lines
refused "what is in m is for linux/" in_store m build --quiet -t built -f lines context
if build m "FROM --platform=linux/riscv64 $plain/foreign\n" >/dev/null 2>err; then fail "another platform was taken"; fi
grep --quiet -e '--platform=linux/riscv64: .* is for linux/mips' told || fail "it is not told: $(cat told)"

step "with a password"
# shellcheck disable=SC2016  # the salt of bcrypt begins with $2y$
printf 'ali:%s\n' "$(perl -e 'print crypt("sesame", q($2y$05$abcdefghijklmnopqrstuu))')" >htpasswd
start_registry locked "auth:" "  htpasswd:" "    realm: test" "    path: $scratch/htpasswd"
locked=$registry
refused "log in with podman login" in_store a push team/app:2 "$locked/app:2"
refused "these credentials do not allow it" in_store a push team/app:2 "$locked/app:2" --creds ali:open-sesame
in_store a push team/app:2 "$locked/app:2" --creds ali:sesame >/dev/null
refused "log in with podman login" in_store f pull "$locked/app:2"
skopeo login --tls-verify=false --username ali --password-stdin "$locked" <<<"sesame" >/dev/null
[ -s "$XDG_RUNTIME_DIR/containers/auth.json" ] || fail "skopeo keeps credentials elsewhere"
in_store f pull "$locked/app:2" >/dev/null
build f2 "FROM $locked/app:2\n" >/dev/null
cp "$XDG_RUNTIME_DIR/containers/auth.json" auth.json
rm "$XDG_RUNTIME_DIR/containers/auth.json"
in_store g pull --authfile auth.json "$locked/app:2" >/dev/null
REGISTRY_AUTH_FILE=auth.json in_store h pull "$locked/app:2" >/dev/null

step "with TLS and an authority of its own"
mkdir certificates
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 \
  -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificates/ca.crt 2>/dev/null
start_registry secure "  tls:" "    certificate: $scratch/certificates/ca.crt" "    key: $scratch/key.pem"
secure=$registry
refused "--cert-dir" in_store a push team/app:2 "$secure/app:2"
in_store a push --cert-dir certificates team/app:2 "$secure/app:2" >/dev/null
refused "--cert-dir" in_store i pull "$secure/app:2"
in_store i pull --cert-dir certificates "$secure/app:2" >/dev/null
build i2 "FROM $secure/app:2\n" --cert-dir certificates >/dev/null
in_store j pull --tls-verify=false "$secure/app:2" >/dev/null
same_tree a team/app:2 i "$secure/app:2"

step "what is told while it comes"
mkdir progress
python3 -B "$here/pull_progress.py" "$imagetool" "$scratch/progress"

step "a registry that lies"
mkdir hostile
python3 -B "$here/hostile_registry.py" "$imagetool" "$scratch/hostile"

step "done"
