# shellcheck shell=bash
# Makes a small real Debian (or Ubuntu) root file system from the mirror that this machine's apt is configured for.
# Source it after console.sh.

# apt_main_source: prints "URL SUITE" of the configured archive that holds the running release's component "main".
apt_main_source() {
  local codename url suite component
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  [ -n "$codename" ] || return 1
  # shellcheck disable=SC2016  # the dollars are apt's
  while read -r url suite component; do
    if [ "$suite" = "$codename" ] && [ "$component" = main ]; then
      echo "${url%/} $suite"
      return 0
    fi
  done < <(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages')
  return 1
}

# apt_proxy: prints the HTTP proxy that apt is configured for, or nothing.
apt_proxy() {
  local proxy=
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  if [ "$proxy" != DIRECT ]; then echo "$proxy"; fi
}

# debian_tree_tar PACKAGES: prints the path of a tar of a minimal root file system with PACKAGES (comma separated) in
# it. The tar is kept in the cache directory, one for each suite and list of packages; it is made when it is not there.
# Returns 2 when no mirror is configured or none answers; what happened is on standard error.
debian_tree_tar() {
  local packages=$1 source url suite cache tar scratch proxy
  source=$(apt_main_source) || { echo "apt is configured for no mirror of this release" >&2; return 2; }
  read -r url suite <<<"$source"
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/varve-tests
  mkdir -p "$cache"
  tar=$cache/$suite-$(dpkg --print-architecture)-minbase-${packages//,/-}.tar
  if [ ! -s "$tar" ]; then
    proxy=$(apt_proxy)
    scratch=$(mktemp -d "$cache/making.XXXXXX")
    if ! as_root env ${proxy:+http_proxy="$proxy"} debootstrap --variant=minbase --include="$packages" \
      "$suite" "$scratch/tree" "$url" >"$scratch/log" 2>&1 </dev/null; then
      echo "debootstrap from the mirror $url failed; its last words:" >&2
      tail -n 5 "$scratch/log" >&2
      as_root rm -rf --one-file-system "$scratch"
      return 2
    fi
    as_root rm -rf "$scratch/tree/var/cache/apt/archives" "$scratch/tree/var/lib/apt/lists"
    as_root mkdir -p "$scratch/tree/var/cache/apt/archives/partial" "$scratch/tree/var/lib/apt/lists/partial"
    as_root tar --create --file="$scratch/tree.tar" --directory="$scratch/tree" --numeric-owner --xattrs \
      --xattrs-include='*' --acls .
    as_root mv "$scratch/tree.tar" "$tar"
    as_root rm -rf --one-file-system "$scratch"
  fi
  echo "$tar"
}
