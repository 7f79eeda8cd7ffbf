#!/usr/bin/env bash
# What the security options of `varve run` do to the command: seccomp profiles, masked paths, limits, sysctls, umask.
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
echo "-- masked paths"
echo secret >"$root/etc/secret"; mkdir "$root/etc/secrets"; touch "$root/etc/secrets/one"; ln -s secret "$root/etc/alias"
expect "more can be masked" "0 0 0" \
  "$(run --security-opt mask=/etc/alias:/etc/secrets --security-opt mask=/proc/version:/no/such "$root" sh -c 'cat /etc/secret | wc -c; ls /etc/secrets | wc -l; cat /proc/version | wc -c' | xargs)"
expect "and nothing of the image changed" "secret" "$(cat "$root/etc/secret")"
hole=$(run --security-opt unmask=/proc/keys "$root" sh -c 'cat /proc/keys | wc -l')
expect "a mask can be left out" yes "$([ "$hole" -gt 0 ] && echo yes)"
expect "the others stay" 1 "$(status run --security-opt unmask=/proc/keys "$root" sh -c 'echo x >/proc/sys/kernel/domainname')"
expect "read-only paths, too" "ours" "$(run --security-opt unmask=ALL "$root" sh -c 'echo ours >/proc/sys/kernel/domainname; cat /proc/sys/kernel/domainname')"
expect "an unmask that fits nothing is told" 125 "$(status run --security-opt unmask=/proc/kcorn "$root" true)"

echo "-- podman's words for namespaces"
for pair in pid:pid ipc:ipc uts:uts cgroupns:cgroup userns:user; do
  mine=$(readlink "/proc/self/ns/${pair#*:}")
  expect "--${pair%:*} host keeps the host's" "$mine" "$(run "--${pair%:*}" host "$root" readlink "/proc/self/ns/${pair#*:}")"
done
expect "another word is wrong usage" 2 "$(status run --pid other "$root" true)"

echo "-- limits, sysctls, umask"
expect "limits are set" "100 200 0" "$(run --ulimit nofile=100:200 --ulimit core=0 "$root" sh -c 'ulimit -Sn; ulimit -Hn; ulimit -c' | xargs)"
expect "for a user, too" "100 200" "$(run -u bob --ulimit nofile=100:200 "$root" sh -c 'ulimit -Sn; ulimit -Hn' | xargs)"
high=$(($(ulimit -Hn) + 1))
if [ "$(ulimit -Hn)" != unlimited ]; then
  expect "a limit above the host's is told" 125 "$(status run --ulimit nofile=$high:$high "$root" true)"
  expect_in "by its name" "*--ulimit nofile: *CAP_SYS_RESOURCE*" "$(cat "$scratch/output")"
fi
expect "an unknown limit is told" 125 "$(status run --ulimit files=1 "$root" true)"
host_value=$(cat /proc/sys/net/core/somaxconn 2>/dev/null || echo none) host_max=$(cat /proc/sys/kernel/msgmax)
expect "sysctls are set, and are read-only" "77 55555 1" \
  "$(run --sysctl net.core.somaxconn=77 --sysctl kernel.msgmax=55555 "$root" sh -c 'cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax; echo 1 2>/dev/null >/proc/sys/kernel/msgmax; echo $?' | xargs)"
expect "and the host's stay" "$host_value $host_max" "$(cat /proc/sys/net/core/somaxconn 2>/dev/null || echo none) $(cat /proc/sys/kernel/msgmax)"
expect "the host's cannot be set" 125 "$(status run --sysctl kernel.core_pattern=x "$root" true)"
expect "a name that the kernel has not is told" 125 "$(status run --sysctl net.ipv4.nosuch=1 "$root" true)"
expect_in "with the name" "varve: setting a value of the kernel: net/ipv4/nosuch: No such file*" "$(cat "$scratch/output")"
expect "a value that it does not take as well" 125 "$(status run --sysctl net.core.somaxconn=many "$root" true)"
expect "the umask is 0022, or as asked for" "0022 0077" "$(run "$root" sh -c umask) $(run --umask 077 "$root" sh -c umask)"
finish
