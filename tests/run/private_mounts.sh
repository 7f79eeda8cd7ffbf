# shellcheck shell=bash
# Source it first: the script goes on in a mount namespace of its own, so what it mounts nobody else sees, and goes with it.
# Exit status 77 where that is not allowed.

if [ "${1-}" != inside ]; then
  [ "$(id -u)" -eq 0 ] || { echo "skipped: mounts need root"; exit 77; }
  unshare --mount true 2>/dev/null || { echo "skipped: no mount namespaces here"; exit 77; }
  exec unshare --mount bash "$0" inside "$@"
fi
shift  # leaves the script its own arguments
