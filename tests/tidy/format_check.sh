#!/usr/bin/env bash
# Every C++ file looks as .clang-format says. Skipped (77) without clang-format 14: other versions format differently.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(clang-format --version 2>/dev/null || true)
case "$version" in
  *"version 14."*) ;;
  *)
    echo "SKIP: needs clang-format 14, found: ${version:-none}"
    exit 77
    ;;
esac
find fs imagetool launcher manual tests bench \( -name '*.cc' -o -name '*.h' \) -print0 |
  xargs -0 clang-format --dry-run -Werror --ferror-limit=1 ||
  { echo "Format what is named above: clang-format -i FILE" >&2; exit 1; }
