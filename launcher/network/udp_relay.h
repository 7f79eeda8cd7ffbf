#pragma once

// UdpRelay: carries the datagrams that come to one socket to a port of the container, and the answers back: for each
// sender a socket of its own, forgotten when nothing has come for a while. Thread rule: one thread.

#include <chrono>
#include <list>

#include "fs/base/unique_fd.h"
#include "launcher/network/poller.h"
#include "launcher/network/socket_address.h"

namespace varve::launcher {

class UdpRelay {
 public:
  // `socket`: non-blocking, bound, with IP_PKTINFO. `poller` outlives the relay.
  UdpRelay(Poller& poller, UniqueFd socket, struct sockaddr_in container, std::size_t max_senders);
  ~UdpRelay();
  UdpRelay(const UdpRelay&) = delete;
  UdpRelay& operator=(const UdpRelay&) = delete;

  // Called now and then: forgets senders that are silent.
  void tick();

 private:
  struct Sender {
    struct sockaddr_in address = {};
    struct in_addr asked = {};  // the address of the host that it sent to: answers come from there
    UniqueFd socket;            // to the container
    std::chrono::steady_clock::time_point last_used;
  };
  using Place = std::list<Sender>::iterator;

  void take_from_outside();
  void take_from_container(Place place);
  Place find_or_add(const struct sockaddr_in& address, struct in_addr asked);
  void forget(Place place);

  Poller& poller_;
  UniqueFd socket_;
  struct sockaddr_in container_;
  std::size_t max_senders_;
  std::list<Sender> senders_;  // used last stands last
};

}  // namespace varve::launcher
