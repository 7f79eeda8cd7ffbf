#!/usr/bin/env bash
# Runs a test script in a mount namespace of its own: in the one that all share, another test that copies it (unshare(1), a container)
# would keep every mount it finds, and its daemon, for as long as the copy lives. An ordinary user's scripts mount in user namespaces
# anyway and are just run.
# Usage: tests/run/in_own_mounts.sh SCRIPT [ARGUMENT...]
set -euo pipefail
if [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; then exec unshare --mount bash "$@"; fi
exec bash "$@"
