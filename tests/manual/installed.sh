#!/usr/bin/env bash
# `cmake --install` puts pages and completion scripts where man(1) and the shells look for them.
set -euo pipefail
build=${1:?the build directory}
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
for part in man bash-completion zsh fish; do
  DESTDIR=$prefix cmake -DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_INSTALL_LOCAL_ONLY=1 -P "$build/manual/cmake_install.cmake" >/dev/null
  [ -d "$prefix/usr/share/$part" ] || { echo "FAILED: no $part in /usr/share"; exit 1; }
done
for file in man/man1/varvefs.1 man/man1/imagetool-pull.1 man/man1/varve-run.1 man/man8/mount.fuse.varvefs.8 \
  bash-completion/completions/varve zsh/site-functions/_imagetool fish/vendor_completions.d/varvefs.fish; do
  [ -s "$prefix/usr/share/$file" ] || { echo "FAILED: $file is not installed"; exit 1; }
done
