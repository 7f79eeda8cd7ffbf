#!/usr/bin/env bash
# `imagetool build` as a person runs it, on a root of busybox: what an Imagefile makes, what comes from the cache, what a failure
# and Ctrl-C leave.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
# shellcheck disable=SC2016  # what stands in single quotes is for the shell inside
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "skipped: owners of files and /dev/fuse need root"; exit 77; }
[ -w /dev/fuse ] || { echo "skipped: there is no usable /dev/fuse"; exit 77; }
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
imagetool=$bin/imagetool
unset SOURCE_DATE_EPOCH
# Nothing comes from elsewhere here: run.registry tries that.
build() { "$imagetool" build --pull=never "$@" 2>"$scratch/told" || { cat "$scratch/told" >&2; return 1; }; }
told() { cat "$scratch/told"; }
# made, cached: how many steps made a layer, or found one.
made() { grep --count '^--> layer' "$scratch/told" || true; }
cached() { grep --count '^--> cached: layer' "$scratch/told" || true; }
run() { "$varve" run --rm "$@" | xargs; }
left() { find "$VARVE_STORE/tmp" "$VARVE_STORE/containers" -mindepth 1 2>/dev/null || true; }
no_run() { no_process "varve.*$scratch"; }

"$imagetool" import "$root" base:1 --env PATH=/bin >/dev/null
context=$scratch/context
mkdir -p "$context/src/deep"
echo one >"$context/src/one"; echo two >"$context/src/deep/two"; echo log >"$context/src/x.log"; echo 1 >"$context/version"
echo '**/*.log' >"$context/.dockerignore"
cat >"$context/Imagefile" <<'IMAGEFILE'
# syntax=docker/dockerfile:1
ARG BASE=base:1
FROM $BASE AS build
WORKDIR /work
COPY src ./src/
RUN find src -type f | sort >list && \
    # a comment within
    chown bob:wheel list
ARG WHO=nobody
RUN echo "$WHO" >who
FROM base:1 AS unused
RUN false
FROM ${BASE}
ENV MODE="a b" LATER=$MODE.
COPY --from=build /work/list /work/who /data/
COPY --chown=bob:wheel --chmod=640 version /etc/version
RUN <<END
echo "$(cat /etc/version) $MODE" >/result
rm /bin/arch
END
LABEL mode=$MODE
USER bob
ENTRYPOINT ["/bin/cat"]
CMD ["/result"]
IMAGEFILE

echo "-- what is made"
answer=$(build -t app -t app:again --iidfile "$scratch/id" --label extra=1 "$context")
expect "layers: WORKDIR, COPY, RUN, RUN; COPY, COPY, RUN" "7 0" "$(made) $(cached)"
expect_in "the result is told, all else on standard error" "app:latest sha256:* (* 4 layers)" "$answer"
expect_in "each step is told" "*STEP 1/15: FROM base:1 AS build*STEP 15/15: CMD*" "$(told)"
expect "a stage that nothing needs is not built" 0 "$(grep --count unused "$scratch/told" || true)"
expect "the image does what it says" "1 a b" "$(run app)"
expect "files come from another stage, with their owners" "src/deep/two src/one nobody bob wheel" \
  "$(run --entrypoint '["sh", "-c"]' app 'cat /data/list /data/who; stat -c "%U %G" /data/list')"
expect "--chown and --chmod hold" "640 bob wheel" "$(run --entrypoint '["stat", "-c", "%a %U %G"]' app /etc/version)"
expect "what RUN deleted is gone" 1 "$(status "$varve" run --rm --entrypoint '["test", "-e"]' app /bin/arch)"
inspect() { "$imagetool" inspect app | python3 -c "import json, sys; c = json.load(sys.stdin)[0]['config']; print($1)"; }
expect "the configuration says the rest" "bob ['/bin/cat'] ['/result'] a b 1 MODE=a b LATER=." \
  "$(inspect "c['config']['User'], c['config']['Entrypoint'], c['config']['Cmd'], *sorted(c['config']['Labels'].values(), reverse=True), *c['config']['Env'][1:]")"
expect "the history tells each step" "4 9" \
  "$(inspect "sum(not h.get('empty_layer') for h in c['history']), len(c['history'])")"
expect "--iidfile holds the digest" "${answer:11:71}" "$(cat "$scratch/id")"
expect "--tag may be repeated" "$(run app)" "$(run app:again)"
expect "nothing else is left" "" "$(left)"

echo "-- the cache"
begin=$(date +%s%N)
again=$(build -t app --label extra=1 "$context")
milliseconds=$((($(date +%s%N) - begin) / 1000000))
expect "again, all comes from the cache" "0 7" "$(made) $(cached)"
expect "in less than a second" 1 "$((milliseconds < 1000))"
expect "and it is the same image" "$answer" "$again"
touch "$context/src/one"; echo changed >"$context/src/x.log"
build -t app --label extra=1 "$context" >/dev/null
expect "times and ignored files do not matter" "0 7" "$(made) $(cached)"
echo 2 >"$context/version"
build -t app "$context" >/dev/null
expect "a changed file: its step and those after it" "2 5" "$(made) $(cached)"
expect "which are right" "2 a b" "$(run app)"
build -t app --build-arg WHO=somebody "$context" >/dev/null
expect "a changed argument: what sees it" "4 3" "$(made) $(cached)"
expect "and it is seen" somebody "$(run --entrypoint '["cat"]' app /data/who)"
build -t app "$context" >/dev/null
expect "back again: the cache still knows" "0 7" "$(made) $(cached)"
build -t app --no-cache "$context" >/dev/null
expect "--no-cache carries out all" "7 0" "$(made) $(cached)"
"$imagetool" gc >/dev/null
build -t app --target build "$context" >/dev/null
expect "gc keeps what the cache names; --target builds a stage" "0 4" "$(made) $(cached)"
"$imagetool" gc --build-cache >/dev/null
build -t app --target 0 "$context" >/dev/null
expect "gc --build-cache forgets it" "4 0" "$(made) $(cached)"

echo "-- more of the language"
cat >"$context/More" <<'IMAGEFILE'
FROM scratch
ADD root.tar.gz /
COPY --from=base:1 /bin/busybox /bin/
COPY <<one <<'two' /texts/
$UNSET.${UNSET:-default}
one
$UNSET
two
SHELL ["/bin/busybox", "sh", "-c"]
RUN cat /texts/* /etc/packed >/all
RUN <<END
#!/bin/busybox sh
echo "script $0" >>/all
END
RUN ["/bin/busybox", "sh", "-c", "ls /dev/varve-script 2>/dev/null; id -u >>/all"]
RUN --network=none ls /sys/class/net >>/all
HEALTHCHECK --interval=5s CMD true
EXPOSE 80-81 90/udp
VOLUME /data
STOPSIGNAL SIGINT
IMAGEFILE
mkdir -p "$scratch/packed/etc"; echo packed >"$scratch/packed/etc/packed"
tar -C "$scratch/packed" -czf "$context/root.tar.gz" .
build -q -t more -f "$context/More" "$context" >/dev/null
expect "--quiet tells nothing" "" "$(told)"
expect "archives, documents, shells, scripts" ".default \$UNSET packed script /dev/varve-script 0 lo" \
  "$(run more busybox cat /all)"
expect "health, ports, volumes, signal" "5000000000 80/tcp,81/tcp,90/udp /data SIGINT" \
  "$("$imagetool" inspect more | python3 -c '
import json, sys
c = json.load(sys.stdin)[0]["config"]["config"]
print(c["Healthcheck"]["Interval"], ",".join(c["ExposedPorts"]), *c["Volumes"], c["StopSignal"])')"
printf 'FROM base:1\nCOPY <<x /x\n1\nx\n' | build --json -t piped -f - "$context" >"$scratch/json"
expect "a file from a pipe, the result as JSON" "piped:latest 2" \
  "$(python3 -c 'import json, sys; j = json.load(sys.stdin); print(j["name"], len(j["layers"]))' <"$scratch/json")"
printf 'FROM base:1\nFROM base:1\nCOPY --from=0 / /\n' | build -q -t twice -f - "$context" >/dev/null
expect "what a stage has already is not stored again" 1 \
  "$("$imagetool" history --json twice | python3 -c 'import json, sys; h = json.load(sys.stdin); print(int(h[0]["bytes"] * 20 < h[-1]["bytes"]))')"
chmod 711 "$root"; "$imagetool" import "$root" base:711 >/dev/null; chmod 755 "$root"
printf 'FROM base:711\nRUN touch /x\nRUN touch /y\n' | build -q -t mode -f - "$context" >/dev/null
top=$("$imagetool" history --json mode | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["layer"].split(":")[1])')
expect_in "the root directory stays what it is" "drwx--x--x *" "$("$imagetool" layer ls -l "$VARVE_STORE/blobs/sha256/$top" | head -n 1)"

echo "-- what goes wrong"
# refused WHAT PATTERN LINES: a build of these lines fails, with a message like this.
refused() {
  printf '%b' "$3" >"$scratch/wrong"
  expect "$1: status" 1 "$(status "$imagetool" build --pull=never -t wrong -f "$scratch/wrong" "$context")"
  expect_in "$1: message" "*$2*" "$(cat "$scratch/output")"
}
refused "an unknown instruction" "wrong:2: COPPY: there is no such instruction (expected FROM, RUN" "FROM base:1\nCOPPY a b\n"
refused "no FROM" "wrong:1: RUN: expected FROM IMAGE first" "RUN x\n"
refused "an image that is not there" "wrong:1: FROM: nosuch: no such image*--pull=never it is not pulled" "FROM nosuch\n"
refused "an image to copy from" "wrong:2: COPY: nosuch: no such image*--pull=never" "FROM base:1\nCOPY --from=nosuch / /\n"
refused "an image of another platform" "wrong:1: FROM: base:1: what is in * is for linux/*, not for linux/mips" \
  "FROM --platform=linux/mips base:1\n"
printf 'FROM 127.0.0.1:1/nosuch\n' >"$scratch/wrong"
expect "an image that is nowhere: status" 1 "$(status "$imagetool" build -t wrong -f "$scratch/wrong" "$context")"
expect_in "it is told that both were tried" "*wrong:1: FROM: 127.0.0.1:1/nosuch: not in $VARVE_STORE, and not pulled: 127.0.0.1:1: *" \
  "$(cat "$scratch/output")"
expect "a policy that is none is wrong usage" 2 "$(status "$imagetool" build --pull=sometimes -t wrong "$context")"
refused "a file that is not there" "wrong:2: COPY: *nosuch: expected a file or directory there" "FROM base:1\nCOPY nosuch /\n"
refused "a command that fails" "wrong:2: RUN: the command ended with status 3" "FROM base:1\nRUN exit 3\n"
refused "a program that is not there" "wrong:2: RUN: the command ended with status 127" "FROM base:1\nRUN [\"nosuch\"]\n"
refused "a user that is not there" "wrong:3: RUN: the container did not start" "FROM base:1\nUSER nosuch\nRUN true\n"
refused "an address" "nothing is fetched from the network" "FROM base:1\nADD https://example.org/x /\n"
refused "an empty stage" "wrong:2: RUN: the stage is empty" "FROM scratch\nRUN true\n"
expect "no name is given to it" 1 "$(status "$imagetool" inspect wrong)"
expect "no context" 1 "$(status "$imagetool" build -t x "$scratch/nosuch")"
expect_in "nothing to build from" "*neither Imagefile nor Dockerfile nor Containerfile*" \
  "$(mkdir "$scratch/empty"; "$imagetool" build -t x "$scratch/empty" 2>&1 || true)"
expect "no name at all is wrong usage" 2 "$(status "$imagetool" build "$context")"
expect "a launcher that is none" 1 "$(status env VARVE_LAUNCHER=/nosuch "$imagetool" build --no-cache -t x "$context")"
expect_in "is told" '*/nosuch: $VARVE_LAUNCHER is no program*' "$(cat "$scratch/output")"
expect "failures leave nothing" "" "$(left)"

echo "-- Ctrl-C"
printf 'FROM base:1\nRUN echo begun; sleep %s31\n' "$number" >"$scratch/long"
"$imagetool" build -t long -f "$scratch/long" "$context" >"$scratch/output" 2>&1 &
builder=$!
wait_for 20 grep --quiet begun "$scratch/output"
kill -INT "$builder"; end_of "$builder"
expect "the build ends" 1 "$end"
expect_in "and says why" "*interrupted*" "$(cat "$scratch/output")"
expect "no command is left" 0 "$(wait_for 20 no_process "^sleep ${number}31" && echo 0)"
expect "no launcher, no daemon" 0 "$(wait_for 20 no_run && echo 0)"
expect "no file, no container" "" "$(left)"
"$imagetool" build -t long -f "$scratch/long" "$context" >"$scratch/output" 2>&1 &
builder=$!
wait_for 20 grep --quiet begun "$scratch/output"
kill -KILL "$builder"; end_of "$builder"
expect "a killed build: no process" 0 "$(wait_for 20 no_process "^sleep ${number}31" && wait_for 20 no_run && echo 0)"
"$varve" prune >/dev/null; "$imagetool" gc >/dev/null
expect "and prune and gc take the rest" "" "$(left)"

echo "-- an ordinary user"
if can_become_nobody; then
  mkdir "$scratch/node"; mount -t tmpfs none "$scratch/node"
  mknod -m 666 "$scratch/node/fuse" c 10 229; mount --bind "$scratch/node/fuse" /dev/fuse
  trap 'umount /dev/fuse "$scratch/node"; remove_scratch' EXIT
  go_on_as_nobody
  cp "$bin/imagetool" "$scratch/bin/"
  chmod -R a+rX "$context"
  as_nobody() { "${as_user[@]}" "$scratch/bin/$1" "${@:2}"; }
  as_nobody imagetool import "$root" base:1 >/dev/null
  printf 'FROM base:1\nCOPY version /\nRUN id -u >/id; chmod 4700 /id\nFROM base:1\nCOPY --from=0 /id /version /\n' >"$context/User"
  as_nobody imagetool build -q -t mine --network none -f "$context/User" "$context" >/dev/null
  expect "builds, too" "2 0 4700 root" \
    "$(as_nobody varve run --rm mine sh -c 'cat /version /id; stat -c "%a %U" /id' | xargs)"
else
  echo "left out: user 65534 can make no user namespaces here"
fi
finish
