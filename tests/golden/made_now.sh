#!/usr/bin/env bash
# Makes a layer of every kind of object and lets both readers read it; shows too that the comparison finds what differs.
# Usage: made_now.sh IMAGETOOL DIRECTORY. Exit status 77: cannot run here, and says why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
imagetool=$1 made=$2/made
# shellcheck source=tests/golden/needs_python.sh
. "$here/needs_python.sh"
# shellcheck source=tests/support/flip_byte.sh
. "$here/../support/flip_byte.sh"
rm -rf "$made"
mkdir -p "$made/none"
/usr/bin/python3 -B "$here/make.py" "$imagetool" "$made" now
/usr/bin/python3 -B "$here/golden_test.py" "$imagetool" "$made"

if /usr/bin/python3 -B "$here/golden_test.py" "$imagetool" "$made/none" 2>/dev/null; then
  echo "FAILED: no golden layer at all was taken for good"
  exit 1
fi
sed -i 's/"uid": 70000/"uid": 70001/' "$made/now.json"
if /usr/bin/python3 -B "$here/golden_test.py" "$imagetool" "$made" >"$made/out"; then
  echo "FAILED: another owner was not seen"
  exit 1
fi
grep --quiet "^read_layer.py: '/d/packed'" "$made/out"
grep --quiet "^imagetool ls: '/d/packed'" "$made/out"
flip_byte "$made/now.layer" 5000
if /usr/bin/python3 -B "$here/read_layer.py" verify "$made/now.layer" 2>"$made/out"; then
  echo "FAILED: the second reader did not see a changed byte"
  exit 1
fi
grep --quiet 'checksum' "$made/out"
