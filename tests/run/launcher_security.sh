#!/usr/bin/env bash
# What the security options of `varve run` do to the command: seccomp profiles, as root and as a user.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
# shellcheck disable=SC2016  # what stands in single quotes is for the shell inside
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "skipped: owners of files inside need root"; exit 77; }
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
run() { "$varve" run --rm "$@"; }
# status_of NAME OPTION...: a line of the command's /proc/self/status.
status_of() { local name=$1; shift; run "$@" "$root" sed -n "s/^$name:\t//p" /proc/self/status; }
profile() { printf '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [%s]}' "$2" >"$scratch/$1.json"; }

echo "-- seccomp"
expect "there is a filter" 2 "$(status_of Seccomp)"
expect "for a user too" 2 "$(status_of Seccomp -u bob)"
expect "it can be left out" 0 "$(status_of Seccomp --security-opt seccomp=unconfined)"
for user in root bob; do
  expect "it does not need no_new_privs ($user)" "0 2" \
    "$(run -u "$user" --security-opt no-new-privileges=false "$root" grep -E 'NoNewPrivs|^Seccomp:' /proc/self/status | cut -f2 | xargs)"
done
expect "and leaves no capability behind" "00000000800405fb" "$(status_of CapPrm --security-opt no-new-privileges=false)"
expect "nor for a user" "0000000000000000" "$(status_of CapPrm --security-opt no-new-privileges=false -u bob)"
profile mkdir '{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}'
expect "a profile of one's own decides" 1 "$(status run --security-opt "seccomp=$scratch/mkdir.json" "$root" mkdir /tmp/new)"
expect_in "with the errno it names" "*No space left on device*" "$(cat "$scratch/output")"
# Everything the launcher itself does before the command is outside the filter.
profile started '{"action": "SCMP_ACT_KILL_PROCESS", "names": ["capset", "setresuid", "setresgid", "setgroups", "umask",
  "chdir", "close_range", "faccessat", "faccessat2", "keyctl", "seccomp", "socketpair", "sendmsg", "recvmsg", "fchown"]}'
for words in "" "--security-opt no-new-privileges=false"; do
  # shellcheck disable=SC2086  # several words
  expect "the profile need not allow what the launcher does ($words)" started \
    "$(run $words --security-opt "seccomp=$scratch/started.json" "$root" echo started)"
done
profile kill '{"names": ["uname"], "action": "SCMP_ACT_KILL_PROCESS"}'
expect "a call can be deadly" 159 "$(status run --security-opt "seccomp=$scratch/kill.json" "$root" uname)"
profile caps '{"names": ["uname"], "action": "SCMP_ACT_KILL_PROCESS", "excludes": {"caps": ["CAP_SYS_TIME"]}}'
expect "unless a capability permits it" 0 "$(status run --cap-add sys_time --security-opt "seccomp=$scratch/caps.json" "$root" uname)"
profile exec '{"names": ["execve"], "action": "SCMP_ACT_ERRNO"}'
expect "without execve nothing starts" 126 "$(status run --security-opt "seccomp=$scratch/exec.json" "$root" true)"
echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": "uname"}]}' >"$scratch/wrong.json"
expect "a wrong profile is told" 125 "$(status run --security-opt "seccomp=$scratch/wrong.json" "$root" true)"
expect_in "with the place" 'varve: reading a seccomp profile: */wrong.json: syscalls\[0\]: "names" is no array*' "$(cat "$scratch/output")"
expect "the plan shows it" "seccomp: $scratch/kill.json profile" \
  "$(run --dry-run --security-opt "seccomp=$scratch/kill.json" "$root" true | sed -n 's/, [0-9]* steps$//; s/^seccomp: */seccomp: /p')"
expect "--privileged is answered" 125 "$(status run --privileged "$root" true)"
expect_in "with what to do instead" "*--cap-add*" "$(cat "$scratch/output")"
finish
