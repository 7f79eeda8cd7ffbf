#!/usr/bin/env bash
# `varve run -t`: a terminal of the container's own, its size, its keys, and the person's terminal afterwards.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
# shellcheck disable=SC2016  # what stands in single quotes is for the shell inside
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "skipped: the tree inside belongs to root"; exit 77; }
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
command -v python3 >/dev/null || skip "there is no python3 to hold the other side of a terminal"

expect "stdout is a terminal under /dev/pts" "/dev/pts/0" "$("$varve" run --rm -t "$root" tty | tr -d '\r')"
expect "and the console is the same" "136:0" "$("$varve" run --rm -t "$root" stat -c %t:%T /dev/console | tr -d '\r' | sed 's/^88:/136:/')"
expect "the status is passed on" 5 "$(status "$varve" run --rm -t "$root" sh -c 'exit 5')"
expect "all output arrives" "$(seq 20000 | sha256sum)" "$("$varve" run --rm -t "$root" seq 20000 | tr -d '\r' | sha256sum)"
expect "piped input arrives, and its end" "typed" "$(echo typed | "$varve" run --rm -it "$root" sh -c 'stty -echo; read line; echo "$line"; cat' | tr -d '\r' | grep -o typed | tail -n1)"
python3 "$here/launcher_terminal.py" "$varve" "$root" || failures=$((failures + 1))
finish
