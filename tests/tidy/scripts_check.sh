#!/usr/bin/env bash
# Lets shellcheck read every script of the tree. Exit status 77 when there is no shellcheck.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v shellcheck >/dev/null || { echo "skipped: there is no shellcheck (scripts/install-dependencies test)"; exit 77; }
mapfile -t scripts < <(grep --files-with-matches --recursive --include='*' --extended-regexp \
  '^#!.*\b(ba)?sh\b|^# shellcheck shell=' scripts .ci manual tests cmake bench | sort)
shellcheck --external-sources "${scripts[@]}"
echo "${#scripts[@]} scripts read"
