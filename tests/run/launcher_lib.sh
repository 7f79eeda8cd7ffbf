# shellcheck shell=bash
# Shared by the launcher's tests: a small root file system, a scratch directory that goes away, and checks.
# Source it; it wants VARVE_BIN. Sets: varve, scratch, root, number; VARVE_STORE lies in the scratch directory.
# shellcheck disable=SC2034  # what is set here is used by those who source this

skip() { echo "skipped: $*"; exit 77; }
bin=${VARVE_BIN:?the directory with varvefs, imagetool and varve}
varve=$bin/varve
# Seconds that a test's own sleepers sleep begin with this, so that tests that run at the same time keep apart.
number=1$$
busybox=$(command -v busybox) || skip "there is no busybox (scripts/install-dependencies test)"
if ldd "$busybox" >/dev/null 2>&1; then skip "busybox is not statically linked (package busybox-static)"; fi

scratch=$(mktemp -d "${VARVE_TEST_TMP:-/tmp}/varve-launcher.XXXXXX")
chmod 755 "$scratch"
remove_scratch() { rm -rf --one-file-system "$scratch"; }
trap remove_scratch EXIT
export VARVE_STORE=$scratch/store

# make_root DIR: busybox under all its names, the accounts root and bob, and the files that are bound over.
# $VARVE_TEST_ROOT, when set, is such a root made before: where each process costs much.
make_root() {
  if [ -n "${VARVE_TEST_ROOT:-}" ]; then cp -a "$VARVE_TEST_ROOT" "$1"; return; fi
  mkdir -p "$1"/{bin,dev,etc,proc,sys,tmp}
  cp "$busybox" "$1/bin/busybox"
  "$busybox" --list | while read -r applet; do [ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"; done
  printf 'root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n' >"$1/etc/passwd"
  printf 'root:x:0:\nbob:x:1000:\nwheel:x:10:bob\n' >"$1/etc/group"
  touch "$1/etc/hosts" "$1/etc/hostname"
  chmod 1777 "$1/tmp"
}
root=$scratch/root
make_root "$root"

failures=0
# expect WHAT EXPECTED ACTUAL: the two are the same.
expect() {
  if [ "$2" = "$3" ]; then
    echo "good: $1"
  else
    failures=$((failures + 1))
    printf 'BAD:  %s\n  expected: %s\n  but got:  %s\n' "$1" "$2" "$3"
  fi
}
# expect_in WHAT PATTERN ACTUAL: the shell pattern fits.
expect_in() {
  # shellcheck disable=SC2254  # it is a pattern
  case $3 in
    $2) echo "good: $1" ;;
    *) failures=$((failures + 1)); printf 'BAD:  %s\n  expected: %s\n  but got:  %s\n' "$1" "$2" "$3" ;;
  esac
}
# status COMMAND...: its exit status; its output goes to $scratch/output.
status() {
  local result=0
  "$@" >"$scratch/output" 2>&1 </dev/null || result=$?
  echo "$result"
}
# wait_for SECONDS COMMAND...: until it succeeds; fails, and says so, when it does not in time.
wait_for() {
  local seconds=$1 tries=$(($1 * 20))
  shift
  while ! "$@"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "waited $seconds s in vain for: $*" >&2 && return 1; }
    sleep 0.05
  done
}
# start_ready NAME OPTION... ROOT sh -c COMMAND: in the background; waits until the command has printed "ready", its traps set.
start_ready() {
  varve run -d --name "$@" >/dev/null
  wait_for 20 has_printed "$1" ready
}
has_printed() { varve logs "$1" | grep --quiet --line-regexp -- "$2"; }
# no_process PATTERN: no command line fits it.
no_process() { ! pgrep --full -- "$1" >/dev/null; }
# end_of PID: sets end to the exit status of a process that was started in the background.
end_of() { end=0; wait "$1" 2>/dev/null || end=$?; }
# mounts_on_host: how many mounts of a container, or under the scratch directory, the host sees.
mounts_on_host() { grep --count --extended-regexp " $scratch| - tmpfs (dev|etc|masked) " /proc/self/mountinfo || true; }
# processes_with WORD: how many processes have it in their command line.
processes_with() { pgrep --full --count -- "$1" || true; }

finish() {
  echo "$failures failed"
  [ "$failures" -eq 0 ]
}

# can_become_nobody: whether user 65534 can make user namespaces here.
can_become_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups unshare --user true 2>/dev/null; }
# go_on_as_nobody: with programs, root and a new store that user 65534 can use; as_user stands before what is run.
go_on_as_nobody() {
  mkdir "$scratch/bin"
  cp "$bin/varve" "$bin/varvefs" "$scratch/bin/"
  varve=$scratch/bin/varve
  rm -rf "$VARVE_STORE"
  mkdir "$VARVE_STORE"
  chown -R 65534:65534 "$root" "$VARVE_STORE"
  as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups)
  number=2$$
}
