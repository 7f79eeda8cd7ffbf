# shellcheck shell=bash
# Shared by the scripts: how they speak, and how they become root. Source it; it runs nothing by itself.

step_number=0

# step WHAT...: announces the next step.
step() {
  step_number=$((step_number + 1))
  printf '\n== %d. %s\n' "$step_number" "$*"
}

# say WHAT...: a line of explanation.
say() { printf '   %s\n' "$*"; }

# fail WHAT...: says why the script ends, and ends it.
fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# print_command WORD...: prints the command as one would type it.
print_command() {
  local word line='  '
  line+=' $'
  for word in "$@"; do
    # Quotes only where a shell needs them; %q would put a backslash before every blank.
    [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    line+=" $word"
  done
  printf '%s\n' "$line"
}

# as_root COMMAND...: runs it as root, through sudo where that is needed.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo -- "$@"
  else
    fail "running \"$*\" needs root, and there is no sudo: run this script as root"
  fi
}

# processors: how many this process may use.
processors() { nproc 2>/dev/null || echo 1; }
