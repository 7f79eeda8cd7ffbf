#include "launcher/network/ipv4.h"

#include <arpa/inet.h>

#include <array>

namespace varve::launcher {

std::optional<Ipv4Address> Ipv4Address::parse(const std::string& text) {
  struct in_addr address = {};
  if (::inet_pton(AF_INET, text.c_str(), &address) != 1) return std::nullopt;
  return Ipv4Address{ntohl(address.s_addr)};
}

std::string Ipv4Address::text() const {
  const struct in_addr address = {htonl(value)};
  std::array<char, INET_ADDRSTRLEN> bytes{};
  return ::inet_ntop(AF_INET, &address, bytes.data(), bytes.size());
}

}  // namespace varve::launcher
