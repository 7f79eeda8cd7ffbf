#pragma once

// Netlink: messages of rtnetlink(7), built and read, and the socket that carries them. As small as the launcher needs.
// Thread rule: one thread for each object.

#include <linux/netlink.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::launcher {

// One request: nlmsghdr, the fixed part of its type, attributes (netlink(7), rtnetlink(7)).
class NetlinkMessage {
 public:
  // `type`: RTM_...; `flags`: NLM_F_... besides NLM_F_REQUEST.
  NetlinkMessage(std::uint16_t type, std::uint16_t flags);

  template <class Fixed>
  NetlinkMessage& put(const Fixed& fixed) {
    return put_bytes({reinterpret_cast<const char*>(&fixed), sizeof fixed});
  }
  NetlinkMessage& put_attribute(std::uint16_t type, std::string_view bytes);
  NetlinkMessage& put_text(std::uint16_t type, const std::string& text);  // ends with a NUL
  NetlinkMessage& put_number(std::uint16_t type, std::uint32_t number);
  NetlinkMessage& put_address(std::uint16_t type, std::uint32_t ipv4);  // given in host byte order
  // What is put until end_nested(start) lies within the attribute.
  std::size_t begin_nested(std::uint16_t type);
  NetlinkMessage& end_nested(std::size_t start);

  // The whole message, its length filled in.
  const std::string& finish(std::uint32_t sequence, bool acknowledge);
  bool is_dump() const { return is_dump_; }

 private:
  NetlinkMessage& put_bytes(std::string_view bytes);
  std::string bytes_;
  bool is_dump_;
};

// An answer of the kernel; valid while the callback runs.
class NetlinkAnswer {
 public:
  explicit NetlinkAnswer(const struct nlmsghdr* header) : header_(header) {}
  // False when the message is too short to hold it.
  template <class Fixed>
  bool read(Fixed& fixed) const {
    return read_bytes(&fixed, sizeof fixed);
  }
  // The bytes of the first attribute of this type after a fixed part of `fixed_bytes`; empty when there is none.
  std::string_view attribute(std::size_t fixed_bytes, std::uint16_t type) const;
  std::string text(std::size_t fixed_bytes, std::uint16_t type) const;  // without the NUL
  std::uint32_t number(std::size_t fixed_bytes, std::uint16_t type) const;
  std::uint32_t address(std::size_t fixed_bytes, std::uint16_t type) const;  // IPv4, in host byte order

 private:
  bool read_bytes(void* to, std::size_t size) const;
  const struct nlmsghdr* header_;
};

// Runs `what` in the network namespace that `namespace_fd` refers to. Requires: CAP_SYS_ADMIN in the user namespaces of
// both; a process of one thread.
Status run_in_network(int namespace_fd, const std::function<void()>& what);

// A NETLINK_ROUTE socket. It speaks of the network namespace in which it was made, for as long as it lives.
class RouteSocket {
 public:
  static Result<RouteSocket> open();
  // One of the network namespace that `namespace_fd` refers to; as run_in_network().
  static Result<RouteSocket> open_in(int namespace_fd);

  using OnAnswer = std::function<void(const NetlinkAnswer&)>;
  // Sends the request and waits until the kernel has carried it out. Returns: its errno.
  Status exchange(NetlinkMessage message, const OnAnswer& on_answer = {});

 private:
  explicit RouteSocket(UniqueFd socket) : socket_(std::move(socket)) {}
  UniqueFd socket_;
  std::uint32_t sequence_ = 0;
};

}  // namespace varve::launcher
