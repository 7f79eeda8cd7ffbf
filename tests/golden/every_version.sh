#!/usr/bin/env bash
# Lets both readers read the layers of every frozen version.
# Usage: every_version.sh IMAGETOOL. Exit status 77: cannot run here, and says why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/golden/needs_python.sh
. "$here/needs_python.sh"
# Made when version 1 was frozen: whoever makes them again reads something else than what was written then.
(cd "$here" && sha256sum --check --quiet v1.sha256)
exec /usr/bin/python3 -B "$here/golden_test.py" "$1" "$here"
