#!/usr/bin/env bash
# Networks of `varve run`: bridge, published ports, the way out, pasta, and what is left after a kill. Everything is made in a
# network namespace of this test's own, where a second one plays the internet; the machine's network is not touched.
# Environment: VARVE_BIN. Exit status 77: cannot run here, and says why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ "${1:-}" != inside ]; then
  if ! unshare --net --mount true 2>/dev/null; then
    echo "skipped: it takes root to make the network that this test plays in"
    exit 77
  fi
  exec unshare --net --mount --pid --fork --kill-child --mount-proc bash "$0" inside
fi
# shellcheck source=tests/run/launcher_lib.sh
. "$here/launcher_lib.sh"
for program in ip nsenter nft python3; do
  command -v "$program" >/dev/null || skip "there is no $program (scripts/install-dependencies test)"
done
mount -t tmpfs run /run
# What a test starts in the background ends with the pid namespace of this test at the latest.
export VARVE_STORE=$scratch/store

# The internet: 198.51.100.1, on the other side of the interface "out" of this test's host, 198.51.100.2.
ip link set lo up
unshare --net sleep "${number}9" &
internet=$!
separate() { [ "$(readlink "/proc/$internet/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
wait_for 20 separate
ip link add out type veth peer name in netns "$internet"
ip address add 198.51.100.2/24 dev out
ip link set out up
out_there() { nsenter --target "$internet" --net "$@"; }
out_there ip address add 198.51.100.1/24 dev in
out_there ip link set in up
out_there ip link set lo up
ip route add default via 198.51.100.1

mkdir -p "$root/www" "$scratch/outside"
echo "from the container" >"$root/www/index.html"
echo "from the internet" >"$scratch/outside/index.html"
out_there "$busybox" httpd -f -p 198.51.100.1:80 -h "$scratch/outside" &

run() { "$varve" run --rm "$@"; }
# start NAME OPTIONS...: a container in the background; sets launcher.
start() {
  local name=$1
  shift
  "$varve" run --rm --name "$name" "$@" >"$scratch/$name.log" 2>&1 </dev/null &
  launcher=$!
}
field() { "$varve" inspect "$1" | python3 -c "import json, sys; print(json.load(sys.stdin)[0]$2)"; }
is_running() { "$varve" ps | grep -q "^$1 .*running" && [ -n "$(field "$1" "['Network']['Mode']")" ]; }
# fetch URL: not with the static busybox's wget, which dies of the host's nsswitch.conf.
cat >"$scratch/fetch.py" <<'INNER'
import sys, urllib.request
sys.stdout.buffer.write(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=10).read())
INNER
fetch() { python3 "$scratch/fetch.py" "$1" 2>"$scratch/fetch.log"; }
fetches() { fetch "$1" >/dev/null; }
# The pause: the pasta of Debian 12 loses the answer when the asking side ends before it.
# asks OPTIONS... ADDRESS PORT: what a container gets from there; with nc, for wget of the static busybox dies of getservbyname(3).
asks() {
  run "${@:1:$#-2}" "$root" sh -c "(printf 'GET / HTTP/1.0\\r\\n\\r\\n'; sleep 1) | timeout 20 nc -w 10 ${*: -2:1} ${*: -1} | tail -n 1"
}
fetch_there() { out_there python3 "$scratch/fetch.py" "$1" 2>"$scratch/fetch.log"; }
# Asks over UDP and prints the answer. The program runs where it is started: a namespace is chosen outside of it.
cat >"$scratch/udp.py" <<'INNER'
import socket, sys
if sys.argv[1] == "serve":
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        asked, sender = server.recvfrom(65536)
        server.sendto(b"echo " + asked, sender)
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(1)
client.connect((sys.argv[1], int(sys.argv[2])))
for attempt in range(10):
    try:
        client.send(sys.argv[3].encode())
        print(client.recv(65536).decode())
        break
    except OSError:
        pass
INNER

echo "== the bridge"
is_up=$(run --network bridge "$root" sh -c 'ip -4 -o address show eth0; ip route')
expect_in "a container has an address" "*inet 10.201.*/16*default via 10.201.0.1 dev eth0*" "$is_up"
expect "as the MTU the host's way out has" 1400 "$(ip link set out mtu 1400; run --network bridge "$root" cat /sys/class/net/eth0/mtu)"
expect "it reaches the host" 0 "$(status run --network bridge --cap-add NET_RAW "$root" ping -c 1 -W 5 10.201.0.1)"
expect "an address can be chosen" "10.201.7.7/16" "$(run --network bridge --ip 10.201.7.7 "$root" ip -4 -o address show eth0 | awk '{print $4}')"
expect "it has no IPv6 address" "" "$(run --network bridge "$root" ip -6 -o address show eth0)"
expect "nor has the bridge" "" "$(run --network bridge "$root" sh -c 'sleep 1' & sleep 0.3; ip -6 -o address show varve0 2>/dev/null; wait)"

start server --network bridge --ip 10.201.0.80 -p 8080:80 -p 127.0.0.1:8081:80 -p 80 -p 5300-5301:5300-5301/udp \
  "$root" httpd -f -p 80 -h /www
server=$launcher
wait_for 30 is_running server || { cat "$scratch/server.log"; exit 1; }
wait_for 30 fetches http://10.201.0.80/
expect "the host reaches the container" "from the container" "$(fetch http://10.201.0.80/)"
expect "another container reaches it" "from the container" "$(asks --network bridge 10.201.0.80 80)"
expect "inspect tells the address" "bridge 10.201.0.80" "$(field server "['Network']['Mode']") $(field server "['Network']['Address']")"
expect "its interface on the host is named by it" "varve0v0050" "$(field server "['Network']['HostLink']")"
expect_in "and says whose it is" "*alias varve container $(field server "['Id']")*" "$(ip link show varve0v0050 | xargs)"
expect "a second container cannot have the address" 125 "$(status run --network bridge --ip 10.201.0.80 "$root" true)"
expect_in "and is told so" "*10.201.0.80: another container has it*" "$(cat "$scratch/output")"
expect "nor one that is not the bridge's" 125 "$(status run --network bridge --ip 10.202.0.80 "$root" true)"

echo "== in another container's network"
live() { run --name guest --network container:server "$@"; }
expect "it is reached by the loopback" "from the container" "$(asks --network container:server 127.0.0.1 80)"
expect "so is the internet" "from the internet" "$(asks --network container:server 198.51.100.1 80)"
expect "the names of both lead to the address" "10.201.0.80 server 10.201.0.80 guest" "$(live "$root" sh -c 'grep 10.201 /etc/hosts' | xargs)"
expect "the name servers are the other one's" "$("$varve" exec server cat /etc/resolv.conf | xargs)" "$(live "$root" cat /etc/resolv.conf | xargs)"
expect "the way to the host can be named" "10.201.0.1 me" "$(live --add-host me:host-gateway "$root" head -n 1 /etc/hosts | xargs)"
expect "ports are the other one's" 125 "$(status live -p 8070:80 "$root" true)"
expect "who joins another namespace may have a network of its own" "10.201.0.83/16" \
  "$(run --pid container:server --network bridge --ip 10.201.0.83 "$root" ip -4 -o address show eth0 | awk '{print $4}')"

echo "== published ports"
expect "the host reaches it by its loopback" "from the container" "$(fetch http://127.0.0.1:8080/)"
expect "and by its address" "from the container" "$(fetch http://198.51.100.2:8080/)"
expect "and by the port of the loopback alone" "from the container" "$(fetch http://127.0.0.1:8081/)"
expect "others reach it from outside" "from the container" "$(fetch_there http://198.51.100.2:8080/)"
expect "but not by the loopback's port" 1 "$(status fetch_there http://198.51.100.2:8081/)"
expect "containers reach it by the host's address" "from the container" \
  "$(asks --network bridge 198.51.100.2 8080)"
expect "itself too" "from the container" "$(nsenter --target "$(field server "['Pid']")" --net python3 "$scratch/fetch.py" http://198.51.100.2:8080/)"
chosen=$(field server "['Network']['Published']" | grep -o "0.0.0.0:[0-9]*->80/tcp" | grep -v :8080 | grep -o '[0-9]*->' | tr -d '>-')
expect "a free port was chosen and is told" "from the container" "$(fetch "http://127.0.0.1:$chosen/")"
: >"$scratch/udp.ready"
nsenter --target "$(field server "['Pid']")" --net python3 "$scratch/udp.py" serve 5301 >"$scratch/udp.ready" &
wait_for 30 grep -q ready "$scratch/udp.ready"
expect "UDP from the host" "echo one" "$(python3 "$scratch/udp.py" 127.0.0.1 5301 one)"
expect "UDP from outside" "echo two" "$(out_there python3 "$scratch/udp.py" 198.51.100.2 5301 two)"
expect "a port that is taken is refused" 125 "$(status run --network bridge -p 8080:80 "$root" true)"
expect_in "with its name and the way out" "*0.0.0.0:8080->80/tcp: Address already in use (something on the host has port 8080; choose another*" \
  "$(cat "$scratch/output")"
expect "an address that the host has not" 125 "$(status run --network bridge -p 203.0.113.9:8080:80 "$root" true)"
expect "ports without a network are refused" 125 "$(status run -p 8080:80 "$root" true)"
expect_in "with the way out" "*add --network bridge or --network pasta*" "$(cat "$scratch/output")"
# Much data both ways through the relay, and the end of one direction before the other's.
head -c 20000000 /dev/urandom >"$root/www/big"
expect "20 MB through the relay" "$(sha256sum <"$root/www/big")" "$(fetch http://127.0.0.1:8080/big | sha256sum)"
expect "20 MB through the packet filter" "$(sha256sum <"$root/www/big")" \
  "$(fetch_there http://198.51.100.2:8080/big | sha256sum)"

echo "== the way out"
expect "a container reaches the internet" "from the internet" "$(asks --network bridge 198.51.100.1 80)"
expect_in "the container without one does not" "*Network is unreachable" "$(asks --network none 198.51.100.1 80 2>&1)"
expect "the rules are the container's own" 1 "$(nft list tables | grep -c "varve_$(field server "['Id']")")"

echo "== without a packet filter"
library=$(ldconfig -p | awk '/libnftables.so.1/ && !found {print $NF; found = 1}')
cat >"$scratch/hidden.sh" <<'INNER'
mount --bind /dev/null "$1"
shift
exec "$@"
INNER
hidden() { exec unshare --mount bash "$scratch/hidden.sh" "$library" "$@"; }
hidden "$varve" run --rm --name bare --network bridge -p 8070:80 "$root" httpd -f -p 80 -h /www >"$scratch/bare.log" 2>&1 </dev/null &
bare=$!
wait_for 30 fetches http://127.0.0.1:8070/ || { cat "$scratch/bare.log" "$scratch/fetch.log"; exit 1; }
expect "others reach it through the relay" "from the container" "$(fetch_there http://198.51.100.2:8070/)"
expect_in "and it is said what is missing" "*libnftables.so.1: *no way out of the host*carried in user space*" "$(cat "$scratch/bare.log")"
kill -TERM "$bare"
end_of "$bare"

echo "== names"
expect "its own name leads to its address" "10.201.0.9 box" "$(run --network bridge --ip 10.201.0.9 --hostname box "$root" tail -n 1 /etc/hosts | xargs)"
expect "names are added" "192.0.2.7 db 10.201.0.1 me" \
  "$(run --network bridge --add-host db:192.0.2.7 --add-host me:host-gateway "$root" head -n 2 /etc/hosts | xargs)"
rm -f "$root/etc/resolv.conf"
dns=(--network bridge --dns 192.0.2.53 --dns-search example.org --dns-option ndots:2)
wanted="nameserver 192.0.2.53 search example.org options ndots:2"
expect "an image without resolv.conf gets one" "$wanted" "$(run "${dns[@]}" "$root" cat /etc/resolv.conf | xargs)"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
expect "a symbolic link that leads nowhere is covered" "$wanted" "$(run "${dns[@]}" "$root" cat /etc/resolv.conf | xargs)"
expect "and stays in the image as it was" "../run/systemd/resolve/stub-resolv.conf" "$(readlink "$root/etc/resolv.conf")"
echo "the host's" >"$scratch/precious"
ln -sf "../../../../../../$scratch/precious" "$root/etc/resolv.conf"
expect "one that would lead out of it too" "$wanted" "$(run "${dns[@]}" "$root" cat /etc/resolv.conf | xargs)"
expect "and what is there is not touched" "the host's" "$(cat "$scratch/precious")"
rm "$root/etc/resolv.conf" "$root/etc/hosts"
expect "a read-only image without the files gets them" "$wanted 10.201.0.9 box" \
  "$(run "${dns[@]}" --ip 10.201.0.9 --hostname box --read-only "$root" sh -c 'cat /etc/resolv.conf; tail -n 1 /etc/hosts' | xargs)"
expect "and its other files stay" "bob" "$(run "${dns[@]}" --read-only "$root" sed -n 's/:.*//;2p' /etc/passwd)"
expect "nothing was made in it" "" "$(find "$root/etc" -name resolv.conf -o -name hosts)"
if [ -w /dev/fuse ]; then
  expect "a stack without the files gets them" "$wanted 10.201.0.9 box" \
    "$(run "${dns[@]}" --ip 10.201.0.9 --hostname box --layers "$root" sh -c 'cat /etc/resolv.conf; tail -n 1 /etc/hosts' | xargs)"
  expect "a read-only one too" "$wanted 10.201.0.9 box bob" \
    "$(run "${dns[@]}" --ip 10.201.0.9 --hostname box --read-only --layers "$root" \
      sh -c 'cat /etc/resolv.conf; tail -n 1 /etc/hosts; sed -n "s/:.*//;2p" /etc/passwd' | xargs)"
  expect "nothing was made in the layer" "" "$(find "$root/etc" -name resolv.conf -o -name hosts)"
else
  echo "not tried: a stack, since there is no /dev/fuse"
fi
mkdir "$root/etc/resolv.conf"
expect "a directory of this name is refused" 125 "$(status run "${dns[@]}" "$root" true)"
rmdir "$root/etc/resolv.conf"
touch "$root/etc/hosts"
expect "--no-hosts leaves the file alone" "" "$(run --network bridge --no-hosts "$root" cat /etc/hosts)"

echo "== the end"
gone() { ! ip link show "$1" >/dev/null 2>&1; }
no_rules() { [[ $(nft list tables) != *varve_* ]]; }
kill -TERM "$server"
end_of "$server"
wait_for 30 gone varve0v0050
expect "its interface is gone" 1 "$(gone varve0v0050 && echo 1)"
wait_for 30 gone varve0 || true
expect "the bridge goes with the last one" 1 "$(gone varve0 && echo 1)"
expect "the rules are gone" 0 "$(wait_for 30 no_rules && echo 0)"
expect "the ports are free" 1 "$(status fetch http://127.0.0.1:8080/)"

start killed --network bridge --ip 10.201.0.81 -p 8080:80 "$root" httpd -f -p 80 -h /www
wait_for 30 fetches http://127.0.0.1:8080/
kill -KILL "$launcher"
end_of "$launcher"
expect "killed: its interface goes" 1 "$(wait_for 30 gone varve0v0051 && echo 1)"
expect "killed: the bridge goes" 1 "$(wait_for 30 gone varve0 && echo 1)"
expect "killed: the rules go" 0 "$(wait_for 30 no_rules && echo 0)"
expect "killed: it is told" "died" "$("$varve" ps -a | awk '/^killed/ {print $2}')"
expect "killed: it is removed" 0 "$(status "$varve" rm killed)"
expect "killed: no process is left" 0 "$(wait_for 30 no_process "varve run.*$scratch" && echo 0)"
expect "the ports are free again" "from the container" \
  "$(start again --network bridge -p 8080:80 "$root" httpd -f -p 80 -h /www; wait_for 30 fetches http://127.0.0.1:8080/; fetch http://127.0.0.1:8080/; kill -TERM "$launcher")"

start orphan --network bridge --ip 10.201.0.82 -p 8060:80 "$root" httpd -f -p 80 -h /www
wait_for 30 fetches http://127.0.0.1:8060/
keeper=$(pgrep --parent "$launcher" | grep --invert-match --line-regexp "$(field orphan "['Pid']")")
expect "the keeper has one capability" "0000000000001000" "$(sed -n 's/CapEff:\t//p' "/proc/$keeper/status")"
kill -KILL "$keeper"
expect "its keeper killed: the rules go" 0 "$(wait_for 30 no_rules && echo 0)"
expect "its keeper killed: the container goes on" "from the container" "$(fetch http://10.201.0.82/)"
expect "its keeper killed: it is said" 0 "$(wait_for 30 grep -q 'the network of orphan is gone' "$scratch/orphan.log" && echo 0)"
kill -TERM "$launcher"
end_of "$launcher"
expect "no bridge and no interface is in the next one's way" "from the container" "$(
  start again --network bridge --ip 10.201.0.82 "$root" httpd -f -p 80 -h /www
  wait_for 30 fetches http://10.201.0.82/
  fetch http://10.201.0.82/
  kill -TERM "$launcher"
)"

echo "== the host's network"
expect "host: the interfaces are the host's" 1 "$(run --network host "$root" ip -o link | grep -c ' out@')"
expect "host: ports are not published" 125 "$(status run --network host -p 8080:80 "$root" true)"

echo "== pasta"
if ! command -v pasta >/dev/null; then
  echo "not tried: pasta is not installed (package passt)"
  finish
  exit
fi
as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups)
mkdir "$scratch/bin" "$scratch/node"
cp "$bin/varve" "$bin/varvefs" "$scratch/bin/"
chown -R 65534:65534 "$root" "$VARVE_STORE"
# A /dev/net/tun that everybody may open, as distributions have it.
mount -t tmpfs none "$scratch/node"
mknod -m 666 "$scratch/node/tun" c 10 200
mount --bind "$scratch/node/tun" /dev/net/tun
varve=$scratch/bin/varve
run() { "${as_user[@]}" "$varve" run --rm "$@"; }
expect "a user reaches the internet" "from the internet" "$(asks --network pasta 198.51.100.1 80)"
expect "with the host's address" "198.51.100.2/24" "$(run --network pasta "$root" ip -4 -o address show eth0 | awk '{print $4}')"
"${as_user[@]}" "$varve" run --rm --name pasta --network pasta -p 8090:80 -p 127.0.0.1:8091:80 "$root" httpd -f -p 80 -h /www &
launcher=$!
wait_for 30 fetches http://127.0.0.1:8090/
expect "pasta: the host reaches it" "from the container" "$(fetch http://127.0.0.1:8090/)"
expect "pasta: by the loopback's port" "from the container" "$(fetch http://127.0.0.1:8091/)"
expect "pasta: others reach it" "from the container" "$(fetch_there http://198.51.100.2:8090/)"
expect "pasta: a port that is taken is refused" 125 "$(status run --network pasta -p 8090:80 "$root" true)"
expect_in "with its name" "*0.0.0.0:8090->80/tcp: Address already in use*" "$(cat "$scratch/output")"
expect "pasta: another container lives in it" "from the container" "$(asks --network container:pasta 127.0.0.1 80)"
expect "pasta: and has the way out" "from the internet" "$(asks --network container:pasta 198.51.100.1 80)"
expect "pasta: of a container that has joined other namespaces" "from the internet" "$(asks --pid container:pasta --network pasta 198.51.100.1 80)"
no_pasta() { ! pgrep --full 'pasta --config-net' >/dev/null; }
kill -KILL "$launcher"
end_of "$launcher"
expect "pasta: killed, it goes" 0 "$(wait_for 30 no_pasta && echo 0)"
"${as_user[@]}" "$varve" rm pasta
expect "without pasta" 125 "$(status "${as_user[@]}" env PATH=/nowhere "$varve" run --rm --network pasta "$root" true)"
expect_in "with its package" "*install the package passt*" "$(cat "$scratch/output")"
expect "a user's bridge is refused" 125 "$(status run --network bridge "$root" true)"
expect_in "with the way out" "*--network pasta does without*" "$(cat "$scratch/output")"
as_user=()
expect "root reaches the internet by it, too" "from the internet" "$(asks --network pasta 198.51.100.1 80)"
expect "and no pasta is left" 0 "$(wait_for 30 no_pasta && echo 0)"
echo "nameserver 127.0.0.1" >"$scratch/resolv.conf"
if mount --bind "$scratch/resolv.conf" /etc/resolv.conf; then
  : >"$scratch/udp.ready"
  python3 "$scratch/udp.py" serve 53 >"$scratch/udp.ready" &
  wait_for 30 grep -q ready "$scratch/udp.ready"
  start resolver --network pasta "$root" sleep "${number}8"
  wait_for 30 is_running resolver
  eth0_is_up() { nsenter --target "$(field resolver "['Pid']")" --net ip -4 -o address show eth0 2>/dev/null | grep inet >/dev/null; }
  wait_for 30 eth0_is_up
  expect "the host's own resolver is reached" "echo 0123456789abcdef" \
    "$(nsenter --target "$(field resolver "['Pid']")" --net python3 "$scratch/udp.py" 169.254.1.1 53 0123456789abcdef)"
  kill -TERM "$launcher"
  end_of "$launcher"
  expect "and is what the container asks" "nameserver 169.254.1.1" "$(run --network pasta "$root" cat /etc/resolv.conf)"
  expect_in "on the bridge it is said that it cannot be" "*its loopback alone*give --dns*" "$(run --network bridge "$root" true 2>&1)"
  umount /etc/resolv.conf
fi
# A pasta that is just ending may still have it open.
umount --lazy /dev/net/tun "$scratch/node"
finish
