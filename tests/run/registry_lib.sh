# shellcheck shell=bash
# Registries of a test's own: Debian's docker-registry on free ports of 127.0.0.1. Sourced; wants $scratch, a directory.

: "${scratch:?}"

registry_processes=()

# "PORT": one that nobody listens on.
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start_registry NAME [LINE...]: begins one whose http section or other settings have these lines more, each with its own
# indentation. Sets registry to its HOST:PORT.
start_registry() {
  local name=$1 port
  shift
  port=$(free_port)
  registry=127.0.0.1:$port
  mkdir -p "$scratch/$name"
  {
    printf 'version: 0.1\nlog:\n  level: warn\n'
    printf 'storage:\n  filesystem:\n    rootdirectory: %s\n' "$scratch/$name"
    printf 'http:\n  addr: %s\n' "$registry"
    [ $# -eq 0 ] || printf '%s\n' "$@"
  } >"$scratch/$name.yml"
  docker-registry serve "$scratch/$name.yml" >"$scratch/$name.log" 2>&1 &
  registry_processes+=($!)
  for _ in {1..100}; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
    sleep 0.1
  done
  echo "FAILED: docker-registry does not begin: $(cat "$scratch/$name.log")" >&2
  return 1
}

stop_registries() {
  local process
  for process in "${registry_processes[@]}"; do
    kill "$process" 2>/dev/null || :
    wait "$process" 2>/dev/null || :
  done
  registry_processes=()
}
