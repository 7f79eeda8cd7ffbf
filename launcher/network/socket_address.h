#pragma once

// socket_address(): an IPv4 address and port as the socket calls want it. Thread rule: stateless.

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstdint>

#include "launcher/network/ipv4.h"

namespace varve::launcher {

inline struct sockaddr_in socket_address(Ipv4Address address, std::uint16_t port) {
  struct sockaddr_in made = {};
  made.sin_family = AF_INET;
  made.sin_port = htons(port);
  made.sin_addr.s_addr = htonl(address.value);
  return made;
}

// For bind(2), connect(2) and the like.
inline const struct sockaddr* generic(const struct sockaddr_in& address) {
  return reinterpret_cast<const struct sockaddr*>(&address);
}

}  // namespace varve::launcher
