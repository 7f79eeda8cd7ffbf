#pragma once

// PublishedPort: a port of the host that leads to one of the container, as -p names it. Plain values.
// Thread rule: stateless.

#include <cstdint>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "launcher/network/ipv4.h"

namespace varve::launcher {

enum class Protocol : std::uint8_t { kTcp, kUdp };
const char* to_text(Protocol protocol);  // "tcp", "udp"

struct PublishedPort {
  Ipv4Address host_address;     // 0.0.0.0: every address of the host
  std::uint16_t host_port = 0;  // 0: a free one, chosen when the container starts
  std::uint16_t container_port = 0;
  Protocol protocol = Protocol::kTcp;
  friend bool operator==(const PublishedPort&, const PublishedPort&) = default;
};

// "0.0.0.0:8080->80/tcp"
std::string to_text(const PublishedPort& port);

// "[IP:][HOSTPORT:]CONTAINERPORT[/tcp|udp]" of podman-run(1) --publish; each port may be a range FIRST-LAST, the two of
// the same length. Returns: one entry for each port, or a Failure that quotes `text`.
ResultOrFailure<std::vector<PublishedPort>> parse_published_port(const std::string& text);

// "80/tcp", "53/udp", "80", "8000-8010/tcp": an ExposedPorts entry of an image (OCI image-spec config.md).
ResultOrFailure<std::vector<PublishedPort>> parse_exposed_port(const std::string& text);

// Refuses two entries that take the same port of the host, and more than a container may have.
StatusOrFailure check_published_ports(const std::vector<PublishedPort>& ports);

}  // namespace varve::launcher
