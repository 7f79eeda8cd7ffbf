#!/usr/bin/env bash
# Shells complete command lines by the scripts that are installed, with an image and containers in a store.
# Usage: completion.sh bash|zsh|fish    Environment: VARVE_BIN, VARVE_SHARE.
set -euo pipefail
shell=$1
here=$(cd "$(dirname "$0")" && pwd)
share=${VARVE_SHARE:?where the completion scripts lie}
command -v "$shell" >/dev/null || { echo "skipped: there is no $shell (scripts/install-dependencies test)"; exit 77; }
[ -c /dev/fuse ] || { echo "skipped: containers need /dev/fuse"; exit 77; }
# shellcheck source=tests/run/launcher_lib.sh
. "$here/../run/launcher_lib.sh"
PATH=$bin:$PATH

cd "$scratch"
mkdir -p files/lower files/upper
echo text >files/lower/file
touch files/layer.vrv
imagetool import root busybox:1 >/dev/null
imagetool tag busybox:1 busybox:second
imagetool import root other >/dev/null
varve run --name ended busybox:1 true
varve run -d --name alive busybox:1 sleep "${number}0" >/dev/null
# shellcheck disable=SC2317  # the trap calls it
stop_container() { varve rm --force alive >/dev/null; remove_scratch; }
trap stop_container EXIT
mkdir -p second
imagetool --store second import root elsewhere >/dev/null
cd files

# What the shell offers for each line, as "LINE => WORD WORD", the words sorted.
case $shell in
  bash) offer() { bash "$here/offer.bash" "$share" "$@"; } ;;
  zsh) offer() { zsh -f "$here/offer.zsh" "$share" "$@"; } ;;
  fish) offer() { fish --no-config "$here/offer.fish" "$share" "$@"; } ;;
esac

lines=()
wanted=()
# offers LINE WORD...: asked below, all at once.
offers() {
  lines+=("$1")
  local line=$1
  shift
  [ "$shell" != zsh ] || set -- "${@%/}" # it appends the slash of a directory by itself
  wanted+=("$line => $(printf '%s\n' "$@" | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')")
}
offers 'imagetool pu' pull push
offers 'imagetool layer ' build inspect ls tree cat extract diff verify
offers 'imagetool layer build --pro' --profile --progress
offers 'imagetool layer build --profile ' fast default max
offers 'imagetool --progress ' auto plain none
offers 'imagetool layer ls lo' lower/
offers 'imagetool rm ' busybox:1 busybox:second other:latest
offers 'imagetool inspect busybox:s' busybox:second
offers 'imagetool history --json oth' other:latest
offers 'imagetool --store ../second tag ' elsewhere:latest
offers 'imagetool tag --store ../second ' elsewhere:latest
offers 'imagetool export other:latest ' oci oci-archive docker-archive tar dir
offers 'imagetool build lo' lower/
offers 'varve unp' unpause
offers 'varve run --userns a' auto
offers 'varve run --network container:' container:alive
offers 'varve run --rm -it b' busybox:1 busybox:second
offers 'varve run --cap-add NET_A' NET_ADMIN
offers 'varve rm ' alive ended
offers 'varve stop -t 5 ' alive
offers 'varve exec -u root ' alive
offers 'varve kill --signal US' USR1 USR2
offers 'varvefs --image ot' other:latest
# zsh knows of itself that what stands before the value stays.
case $shell in
  zsh)
    offers 'imagetool layer build --profile=f' fast
    offers 'varvefs -o ro,passthrough=o' off on
    ;;
  *)
    offers 'imagetool layer build --profile=f' --profile=fast
    offers 'varvefs -o ro,passthrough=o' ro,passthrough=off ro,passthrough=on
    ;;
esac
# The command's own words are not ours to complete.
offers 'varve run busybox:1 --r' ''

offer "${lines[@]}" >"$scratch/offered"
mapfile -t offered <"$scratch/offered"
for i in "${!lines[@]}"; do
  expect "$shell: ${lines[i]}" "${wanted[i]}" "${offered[i]-nothing at all}"
done
exit $((failures > 0))
