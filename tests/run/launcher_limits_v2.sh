#!/usr/bin/env bash
# launcher_limits.sh on a kernel whose control groups are all of version 2, whatever the host's are: user-mode-linux, with
# the host's files as its root file system. It writes to a tmpfs of its own alone.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
skip() { echo "skipped: $*"; exit 77; }
command -v busybox >/dev/null || skip "there is no busybox (scripts/install-dependencies test)"
bin=${VARVE_BIN:?the directory with varvefs, imagetool and varve}
linux=$(command -v linux.uml) || skip "there is no linux.uml (package user-mode-linux; scripts/install-dependencies test)"
[ "$(id -u)" -eq 0 ] || skip "the kernel would see the files as those of this user"

scratch=$(mktemp -d /tmp/varve-uml.XXXXXX)
trap 'rm -rf --one-file-system "$scratch"' EXIT
chmod 755 "$scratch"
mkdir "$scratch/inside"
# Made here, because processes cost much there; with no more names of busybox than are used.
mkdir -p "$scratch/root"/{bin,dev,etc,proc,sys,tmp}
cp "$(command -v busybox)" "$scratch/root/bin/busybox"
for applet in cat dd find grep head mkdir seq sh sleep tail timeout true; do ln -s busybox "$scratch/root/bin/$applet"; done
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$scratch/root/etc/passwd"
touch "$scratch/root/etc/hosts" "$scratch/root/etc/hostname"
# The first process of that kernel. Console 0 is our standard output.
cat >"$scratch/init" <<END
#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t devtmpfs dev /dev && mkdir -p /dev/pts /dev/shm && mount -t devpts -o ptmxmode=0666 devpts /dev/pts
mount -t tmpfs -o size=300m,mode=1777 tmp "$scratch/inside"
ip link set lo up 2>/dev/null
export VARVE_BIN="$bin" VARVE_TEST_TMP="$scratch/inside" VARVE_TEST_ROOT="$scratch/root"
bash "$here/launcher_limits.sh" </dev/null 2>&1
result=\$?
echo "exit status inside: \$result, after \$(cut -d. -f1 /proc/uptime) s"
busybox poweroff -f
END
chmod 755 "$scratch/init"
# It takes its memory from a file in \$TMPDIR, which must take 512 MB only as far as they are touched.
result=0
TMPDIR=$scratch timeout 300 "$linux" mem=512M root=/dev/root rootfstype=hostfs rootflags=/ rw init="$scratch/init" \
  con=null con0=null,fd:1 quiet </dev/null >"$scratch/output" 2>&1 || result=$?
tr -d '\r' <"$scratch/output" | grep -aE '^(--|good|BAD|  expected|  but got|it had|not tested|skipped|exit status|[0-9]+ failed|varve)' || true
inside=$(tr -d '\r' <"$scratch/output" | sed -n 's/^exit status inside: \([0-9]*\),.*/\1/p')
if [ -z "$inside" ] || { [ "$inside" != 0 ] && ! grep -aq '^BAD' "$scratch/output"; }; then
  echo "the kernel ended with $result and said:"
  tail -n 20 "$scratch/output"
  exit "${inside:-1}"
fi
exit "$inside"
