#!/usr/bin/env bash
# Hostile archives are refused or contained, in bounded time and memory, with words that say why (hostile_tars.py).
# Environment: VARVE_BIN, the directory of imagetool.
set -euo pipefail
bin=${VARVE_BIN:?the directory with imagetool}
scratch=$(mktemp -d /tmp/varve-hostile.XXXXXX)
trap 'rm -rf --one-file-system "$scratch"' EXIT
python3 -B "$(dirname "$0")/hostile_tars.py" "$bin/imagetool" "$scratch"
