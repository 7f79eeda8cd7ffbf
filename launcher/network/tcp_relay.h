#pragma once

// TcpRelay: carries the connections to one listening socket to a port of the container, each direction by itself: the end
// of one is passed on while the other goes on. Thread rule: one thread.

#include <list>
#include <memory>
#include <string>

#include "fs/base/unique_fd.h"
#include "launcher/network/poller.h"
#include "launcher/network/socket_address.h"

namespace varve::launcher {

class TcpRelay {
 public:
  // `listener`: non-blocking, listening. `poller` outlives the relay.
  TcpRelay(Poller& poller, UniqueFd listener, struct sockaddr_in container, std::size_t max_connections);
  ~TcpRelay();
  TcpRelay(const TcpRelay&) = delete;
  TcpRelay& operator=(const TcpRelay&) = delete;

  // Called now and then: listens again after the system had no descriptor left for a connection.
  void tick();

 private:
  // From one socket to the other. `pending`: read and not written yet.
  struct Direction {
    std::string pending;
    bool source_ended = false;
    bool end_passed_on = false;
  };
  struct Connection {
    UniqueFd client;
    UniqueFd container;
    bool connected = false;
    Direction to_container;
    Direction to_client;
  };
  using Place = std::list<Connection>::iterator;

  void accept_one();
  void handle_container(Place place, std::uint32_t events);
  void carry(Place place);
  void drop(Place place, bool reset);
  static bool pump(int from, int to, Direction& direction);
  void update_listener();

  Poller& poller_;
  UniqueFd listener_;
  struct sockaddr_in container_;
  std::size_t max_connections_;
  bool out_of_descriptors_ = false;
  std::list<Connection> connections_;
};

}  // namespace varve::launcher
