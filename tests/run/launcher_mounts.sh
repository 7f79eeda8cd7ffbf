#!/usr/bin/env bash
# Binds, volumes, tmpfs and devices of `varve run`, as root and as an ordinary user, with images that lie about their paths.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
# shellcheck disable=SC2016  # what stands in single quotes is for the shell inside
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "skipped: mounts below a source, devices and owners need root"; exit 77; }
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
run() { "$varve" run --rm "$@"; }
# plan ARGUMENT...: the lines of the plan that show mounts.
plan() { "$varve" run --dry-run "$@" | grep -E '^(mount|device|/dev/shm):' | sed 's/^[^ ]* *//'; }
# options_of MOUNT ARGUMENT...: its options, as the container sees them.
options_of() { local where=$1; shift; run "$@" "$root" sh -c "grep ' $where ' /proc/self/mounts | tail -n1 | cut -d' ' -f4"; }

source=$scratch/source
mkdir -p "$source/below"
echo one >"$source/one"
mkdir -p "$root/data/own" "$root/var"
echo image >"$root/data/file"
mkfifo "$scratch/fifo"

echo "-- binds"
expect "a directory is bound" "one" "$(run -v "$source:/mnt" "$root" cat /mnt/one)"
expect "and written" "two" "$(run -v "$source:/mnt:rw" "$root" sh -c 'echo two >/mnt/two'; cat "$source/two")"
expect "the target is made in the root" "d" "$(stat -c %F "$root/mnt" | cut -c1)"
expect "with its parents" "one" "$(run -v "$source:/a/b/c" "$root" cat /a/b/c/one)"
expect "a file is bound" "one" "$(run -v "$source/one:/etc/new/one" "$root" cat /etc/new/one)"
expect "over a file" "one" "$(run -v "$source/one:/data/file" "$root" cat /data/file)"
expect "which stays as it was" "image" "$(cat "$root/data/file")"
expect "a FIFO is bound" "prw" "$(run -v "$scratch/fifo:/fifo" "$root" ls -l /fifo | cut -c1-3)"
ln -s "$source" "$scratch/link"
expect "links of the host are followed" "one" "$(run -v "$scratch/link:/mnt" "$root" cat /mnt/one)"
expect "a relative path begins with ./" "one" "$(cd "$scratch"; run -v ./source:/mnt "$root" cat /mnt/one)"
expect "a source that is not there is refused" 125 "$(status run -v "$scratch/nosuch:/mnt" "$root" true)"
expect_in "and named" "varve: finding the source of a mount: $scratch/nosuch: No such file*" "$(cat "$scratch/output")"
expect "and not made" 1 "$([ -e "$scratch/nosuch" ] || echo 1)"
expect ":ro cannot be written" 1 "$(status run -v "$source:/mnt:ro" "$root" touch /mnt/x)"
mkdir "$scratch/tree"; mount -t tmpfs below "$scratch/tree"; mkdir "$scratch/tree/deep"
mount -t tmpfs deeper "$scratch/tree/deep"; echo deep >"$scratch/tree/deep/file"
expect "what is mounted below comes along" "deep" "$(run -v "$scratch/tree:/mnt" "$root" cat /mnt/deep/file)"
expect ":ro holds for it too" 1 "$(status run -v "$scratch/tree:/mnt:ro" "$root" touch /mnt/deep/x)"
expect "bind leaves it away where the kernel lets it" "0" "$(run --share user -v "$scratch/tree:/mnt:bind" "$root" ls /mnt/deep | wc -l)"
expect "and says so where not" 125 "$(status run -v "$scratch/tree:/mnt:bind" "$root" true)"
expect_in "with the way out" "*write rbind*" "$(cat "$scratch/output")"
umount "$scratch/tree/deep" "$scratch/tree"
expect_in "noexec,nosuid,nodev are set" "*nosuid,nodev,noexec*" "$(options_of /mnt -v "$source:/mnt:noexec,nosuid,nodev")"
expect "noexec holds" 126 "$(cp "$busybox" "$source/busybox"; status run -v "$source:/mnt:noexec" "$root" /mnt/busybox true)"
expect "what is mounted later is not seen on the host" 0 "$(run --cap-add sys_admin -v "$source:/mnt" "$root" mount -t tmpfs none /mnt/below; grep -c "$source" /proc/self/mountinfo || true)"
expect "z is passed over, and said" 1 "$(plan -v "$source:/mnt:z" "$root" true | grep -c 'z is passed over')"
expect "U is refused" 125 "$(status run -v "$source:/mnt:U" "$root" true)"
expect "shared propagation is refused" 125 "$(status run -v "$source:/mnt:shared" "$root" true)"
expect "one target twice is refused" 125 "$(status run -v "$source:/mnt" --tmpfs /mnt/ "$root" true)"
expect "targets are sorted by depth" "inner" "$(mkdir -p "$scratch/outer/in"; mkdir "$scratch/inner"; touch "$scratch/inner/inner"
  run -v "$scratch/inner:/mnt/in" -v "$scratch/outer:/mnt" "$root" ls /mnt/in)"
for bad in :/mnt relative/path:/mnt "$source:mnt" "$source:/" "$source:/a:b:c" "$source:/mnt:nonsense" "$source:/.." ""; do
  expect "\"$bad\" is refused" 125 "$(status run -v "$bad" "$root" true)"
done

echo "-- --mount"
expect "type=bind" "one" "$(run --mount "type=bind,source=$source,target=/mnt" "$root" cat /mnt/one)"
expect "readonly" 1 "$(status run --mount "type=bind,src=$source,dst=/mnt,readonly" "$root" touch /mnt/x)"
expect "readonly=false" 0 "$(status run --mount "type=bind,src=$source,dst=/mnt,ro=false" "$root" touch /mnt/x)"
expect "type=tmpfs" "1024" "$(run --mount type=tmpfs,target=/mnt,tmpfs-size=1m "$root" df -k /mnt | awk 'NR==2 {print $2}')"
expect "a bind without a source is refused" 125 "$(status run --mount type=bind,target=/mnt "$root" true)"
expect "no target is refused" 125 "$(status run --mount type=tmpfs "$root" true)"
expect "another type is refused" 125 "$(status run --mount type=nfs,target=/mnt "$root" true)"

echo "-- tmpfs"
expect_in "it is nosuid, nodev, noexec" "rw,nosuid,nodev,noexec*" "$(options_of /scratch --tmpfs /scratch)"
expect_in "unless asked otherwise" "rw,nosuid,nodev,relatime*" "$(options_of /scratch --tmpfs /scratch:exec)"
expect "where nothing was, everybody may write" "1777" "$(run --tmpfs /fresh "$root" stat -c %a /fresh)"
chmod 750 "$root/data"; chown 7:8 "$root/data"
ln "$root/data/file" "$root/data/same"; ln -s file "$root/data/link"; mkfifo "$root/data/fifo"; touch -d @1000 "$root/data/file"
setfattr -n user.note -v kept "$root/data/file" 2>/dev/null || true
expect "it begins with what the image has" "750 7:8 image file 1000 2 prw" \
  "$(run --tmpfs /data "$root" sh -c 'stat -c "%a %u:%g" /data; cat /data/same; readlink /data/link; stat -c "%Y %h" /data/file; ls -l /data/fifo | cut -c1-3' | xargs)"
expect "what is written in it is not kept" "image" "$(run --tmpfs /data "$root" sh -c 'echo other >/data/file'; cat "$root/data/file")"
expect "notmpcopyup begins empty" 0 "$(run --tmpfs /data:notmpcopyup "$root" ls -A /data | wc -l)"
expect "mode, uid and gid are taken" "700 3:4" "$(run --tmpfs /data:mode=700,uid=3,gid=4 "$root" stat -c '%a %u:%g' /data)"
expect "ro is read-only, with what was copied" "image 1" "$(run --tmpfs /data:ro "$root" sh -c 'cat /data/file; touch /data/x 2>/dev/null || echo 1' | xargs)"
expect "a size that is too small says so" 125 "$(head -c 300000 /dev/zero >"$root/data/big"; status run --tmpfs /data:size=64k "$root" true)"
expect_in "with the way out" "*notmpcopyup*" "$(cat "$scratch/output")"
rm "$root/data/big"
expect "a wrong value is refused" 125 "$(status run --tmpfs /data:size=many "$root" true)"
expect "--shm-size is taken" "1024" "$(run --shm-size 1m "$root" df -k /dev/shm | awk 'NR==2 {print $2}')"
expect "and 64m without" "65536" "$(run "$root" df -k /dev/shm | awk 'NR==2 {print $2}')"
expect "a wrong size is refused" 125 "$(status run --shm-size big "$root" true)"

echo "-- read-only roots"
expect "/run, /tmp and /var/tmp can be written" "0" "$(status run --read-only "$root" touch /run/x /tmp/x /var/tmp/x)"
expect "the rest cannot" 1 "$(status run --read-only "$root" touch /var/x)"
expect "nor they with --read-only-tmpfs=false" 1 "$(status run --read-only --read-only-tmpfs=false "$root" touch /tmp/x)"
expect "a bind can, at a place that was not there" "written" "$(run --read-only -v "$source:/missing/place" "$root" sh -c 'echo written >/missing/place/w'; cat "$source/w")"
expect "so with a stack" "written" "$(run --read-only --layers "$root" -v "$source:/gone/place" sh -c 'echo written >/gone/place/w2'; cat "$source/w2")"
expect "which stays read-only" 1 "$(status run --read-only -v "$source:/gone" --layers "$root" touch /x)"

echo "-- volumes"
volumes=$VARVE_STORE/volumes
expect "a new one begins with what the image has" "image 750 7:8" "$(run -v first:/data "$root" sh -c 'cat /data/file; stat -c "%a %u:%g" /data' | xargs)"
expect "it lies in the store" "fifo file link own same" "$(find "$volumes/first/data" -mindepth 1 -printf '%f\n' | sort | xargs)"
expect "what is written stays" "kept" "$(run -v first:/data "$root" sh -c 'echo kept >/data/file'; run -v first:/elsewhere "$root" cat /elsewhere/file)"
expect "and is not filled again" "1" "$(run -v first:/data "$root" rm /data/link; run -v first:/data "$root" sh -c '[ -L /data/link ] || echo 1')"
expect "nocopy begins empty" 0 "$(run -v second:/data:nocopy "$root" ls -A /data | wc -l)"
expect "where the image has nothing it is root's" "755 0:0" "$(run -v third:/nothing "$root" stat -c '%a %u:%g' /nothing)"
expect "what a kill left half filled is begun anew" "file" "$(mkdir -p "$volumes/fourth/data.new/rest"; run -v fourth:/data "$root" sh -c 'ls /data | grep -E "rest|^file"')"
for i in 1 2 3 4; do "$varve" run --rm -v raced:/data "$root" cat /data/file >"$scratch/raced$i" 2>&1 & done
wait
expect "four containers that meet a new one find it whole" "image image image image" "$(cat "$scratch"/raced? | xargs)"
expect "an anonymous one is written" "image x" "$(run -v /data "$root" sh -c 'echo x >/data/x; cat /data/file /data/x' | xargs)"
expect "the root is not" 1 "$([ -e "$root/data/x" ] || echo 1)"
expect "with --rm nothing stays of it" 0 "$(find "$VARVE_STORE/containers" -mindepth 1 | wc -l)"
"$varve" run --name keeper -v /data "$root" sh -c 'echo x >/data/x'
expect "without it stays with its container" "x" "$(cat "$VARVE_STORE/containers/keeper/volumes/0/data/x")"
expect "and goes with it" 0 "$("$varve" rm keeper; find "$VARVE_STORE/containers" -mindepth 1 | wc -l)"

echo "-- volumes of an image"
"$bin/imagetool" import "$root" plain >/dev/null
# Gives the image the volumes that are named, as a Dockerfile's VOLUME would.
with_volumes() {
  python3 - "$VARVE_STORE" "$@" <<'PYTHON'
import hashlib, json, os, sys
store, volumes = sys.argv[1], sys.argv[2:]
blob = lambda digest: os.path.join(store, "blobs", "sha256", digest.split(":")[1])
def put(value):
    data = json.dumps(value).encode()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    with open(blob(digest), "wb") as file: file.write(data)
    return {"digest": digest, "size": len(data)}
with open(store + "/index.json") as file: index = json.load(file)
with open(blob(index["manifests"][0]["digest"])) as file: manifest = json.load(file)
with open(blob(manifest["config"]["digest"])) as file: config = json.load(file)
config.setdefault("config", {})["Volumes"] = {volume: {} for volume in volumes}
manifest["config"].update(put(config))
index["manifests"][0].update(put(manifest))
with open(store + "/index.json", "w") as file: json.dump(index, file)
PYTHON
}
with_volumes /data /new/place
expect "they are anonymous ones" "/data <- volume $VARVE_STORE/containers/c/volumes/0 (writable)" "$(plan --name c plain true | head -n1)"
expect "filled from the image" "image" "$(run plain cat /data/file)"
expect "and no part of its upper" "x y 0" "$("$varve" run --name c plain sh -c 'echo x >/data/x; echo y >/new/place/y'
  c=$VARVE_STORE/containers/c; { cat "$c/volumes/0/data/x" "$c/volumes/1/data/y"; find "$c/upper" -name '[xy]' | wc -l; } | xargs)"
"$varve" rm c
expect "what is asked for stands in their place" "one" "$(run -v "$source:/data" plain cat /data/one)"
expect "--image-volume=ignore" 1 "$(plan --image-volume=ignore plain true | wc -l | tr 0 1)"
expect "--image-volume=tmpfs" "/data <- tmpfs (writable, nosuid, nodev, noexec)" "$(plan --image-volume=tmpfs plain true | head -n1)"
expect "they can be written when the root cannot" "x 1" "$(run --read-only plain sh -c 'echo x >/new/place/x; cat /new/place/x; touch /x 2>/dev/null || echo 1' | xargs)"
for bad in /etc:/host first:/data relative / /proc/x ""; do
  with_volumes "$bad"
  expect "a volume \"$bad\" of an image is refused or one path" "" "$(plan plain true 2>/dev/null | grep -v "^/etc:/host <- volume .*/volumes/0 " || true)"
done

echo "-- devices"
mknod -m 666 "$scratch/node" c 1 3
ln -s node "$scratch/node-link"
expect "a node appears under its name" "1:7" "$(run --device /dev/full:/dev/other "$root" stat -c %t:%T /dev/other)"
expect "and works" 0 "$(run --device "$scratch/node-link:/dev/sink:rw" "$root" sh -c 'echo x >/dev/sink; cat /dev/sink | wc -c')"
expect "the plan shows it" "/dev/sink <- $scratch/node (c 1:3, rwm)" "$(plan --device "$scratch/node-link:/dev/sink" "$root" true)"
expect "a file is none" 125 "$(status run --device "$source/one" "$root" true)"

echo "-- hostile images"
hostile=$scratch/hostile
make_root "$hostile"
mkdir "$scratch/host"; echo host >"$scratch/host/file"
ln -s "$scratch/host" "$hostile/out"
expect "a link to a host's directory leads nowhere" 125 "$(status run -v "$source:/out/in" "$hostile" true)"
mkdir -p "$hostile$scratch/host"
ln -s "../../../../../../../../../..$scratch/host" "$hostile/up"
ln -s /proc "$hostile/proc-link"; ln -s proc-link/acpi "$hostile/mask"; ln -s /sys/kernel "$hostile/sys-link"; ln -s . "$hostile/dot"
ln -s /nowhere/at/all "$hostile/dangling"; ln -s loop "$hostile/loop"; mkfifo "$hostile/fifo"
hostile_run() { status timeout 20 "$varve" run --rm "$@"; }
expect "or to one within" "one" "$(run -v "$source:/out/in" "$hostile" cat "$scratch/host/in/one")"
expect "so is one with .." "one" "$(run -v "$source:/up/in2" "$hostile" cat "$scratch/host/in2/one")"
expect "a volume is not filled from the host" 0 "$(run -v probe:/out "$hostile" true; find "$volumes/probe/data" -name file | wc -l)"
expect "nothing is made on the host" "file" "$(ls "$scratch/host")"
for target in /proc-link /proc-link/self /mask /proc-link/scsi /sys-link/x /sys-link /proc/acpi /sys/fs/cgroup /dot /dot/proc /dot/dot/sys; do
  for what in "-v $source:$target" "--tmpfs $target" "-v volume:$target"; do
    # shellcheck disable=SC2086  # two words
    expect "$what is refused" 125 "$(hostile_run $what "$hostile" true)"
  done
done
expect "a FIFO is no place for a directory" 125 "$(hostile_run -v "$source:/fifo" "$hostile" true)"
expect "and one for a file" 0 "$(hostile_run -v "$source/one:/fifo" "$hostile" cat /fifo)"
expect "links that lead nowhere are refused" "125 125 125" "$(hostile_run -v "$source:/dangling" "$hostile" true) $(hostile_run -v "$source/one:/dangling" "$hostile" true) $(hostile_run -v "$source:/loop/x" "$hostile" true)"
expect "a directory is no place for a file" 125 "$(hostile_run -v "$source/one:/etc" "$hostile" true)"
expect "what is masked stays masked" 0 "$(run -v "$source:/mnt" "$hostile" sh -c 'cat /proc/keys /proc/timer_list 2>/dev/null | wc -c')"
expect "a volume that leads to /proc does not" 125 "$(mkdir "$scratch/leads"; ln -s /proc "$scratch/leads/p"; hostile_run -v "$scratch/leads:/mnt" -v "$source:/mnt/p/x" "$hostile" true)"
expect "nothing is mounted on the host" 0 "$(mounts_on_host)"

echo "-- an ordinary user"
user=65534
mkdir "$scratch/bin" "$scratch/mine"; cp "$bin/varve" "$bin/varvefs" "$scratch/bin/"
mkdir -m 700 "$scratch/theirs"; echo secret >"$scratch/theirs/file"
echo mine >"$scratch/mine/file"; chmod 700 "$scratch/mine"
export VARVE_STORE=$scratch/user-store
mkdir "$VARVE_STORE"
chown -R "$user:$user" "$scratch/mine" "$VARVE_STORE" "$root"
user_run() { setpriv --reuid "$user" --regid "$user" --clear-groups "$scratch/bin/varve" run --rm "$@"; }
if ! setpriv --reuid "$user" --regid "$user" --clear-groups unshare --user true 2>/dev/null; then
  echo "not tried: ordinary users may make no user namespaces here"
else
  expect "what only they can read is bound" "mine" "$(user_run -v "$scratch/mine:/mnt" "$root" cat /mnt/file)"
  expect "what they cannot is not" 1 "$(status user_run -v "$scratch/theirs:/mnt" "$root" cat /mnt/file)"
  expect "nor what lies in it" 125 "$(status user_run -v "$scratch/theirs/file:/mnt/file" "$root" true)"
  expect ":ro holds" 1 "$(status user_run -v "$scratch/mine:/mnt:ro" "$root" touch /mnt/x)"
  expect "a tmpfs begins with what the image has" "image" "$(user_run --tmpfs /data "$root" cat /data/file)"
  expect "volumes are theirs" "image $user" "$({ user_run -v home:/data "$root" cat /data/file; stat -c %u "$VARVE_STORE/volumes/home/data/file"; } | xargs)"
  expect "devices that they may open work" 0 "$(user_run --device "$scratch/node:/dev/sink" "$root" sh -c 'cat /dev/sink | wc -c')"
fi
finish
