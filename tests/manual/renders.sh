#!/usr/bin/env bash
# Every page is read by mandoc and by groff, the two that people's man(1) uses, without a warning.
set -euo pipefail
share=${VARVE_SHARE:?where the pages lie}
for program in mandoc groff; do
  command -v "$program" >/dev/null || { echo "skipped: there is no $program (scripts/install-dependencies test)"; exit 77; }
done
said=$(mktemp)
trap 'rm -f "$said"' EXIT
pages=("$share"/man/man1/*.1)
[ "${#pages[@]}" -gt 40 ] || { echo "FAILED: only ${#pages[@]} pages in $share/man"; exit 1; }
cd "$share/man"
mandoc -T lint -W warning "${pages[@]}" >"$said" || true
for page in "${pages[@]}"; do groff -ww -mandoc -z "$page" >>"$said" 2>&1; done
if [ -s "$said" ]; then
  cat "$said"
  exit 1
fi
echo "${#pages[@]} pages"
# What a reader sees: no mark of mdoc is left over, and options have their two hyphens.
mandoc -T utf8 man1/varve-run.1 | col -b >"$said"
grep --quiet --extended-regexp '^ +-m, --memory BYTES' "$said" || { echo "FAILED: varve-run.1 shows no -m, --memory BYTES"; exit 1; }
! grep --extended-regexp '^ *\.[A-Z][a-z] ' "$said" || { echo "FAILED: a macro is shown as text"; exit 1; }
# mount(8)'s name for varvefs leads to its page.
read -r request target <man8/mount.fuse.varvefs.8
[[ $request == .so && -f $target ]] || { echo "FAILED: mount.fuse.varvefs.8 leads nowhere"; exit 1; }
