#include "launcher/network/port_relay.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>

#include "launcher/network/socket_address.h"

namespace varve::launcher {
namespace {

constexpr Ipv4Address kLoopback{127U << 24 | 1};

UniqueFd make_socket(int type) {
  UniqueFd made(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  // So that what never comes fails the test and does not stop it.
  const struct timeval patience = {30, 0};
  ::setsockopt(made.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return made;
}

std::uint16_t port_of(int socket) {
  struct sockaddr_in address = {};
  socklen_t size = sizeof address;
  EXPECT_EQ(::getsockname(socket, reinterpret_cast<struct sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

UniqueFd bound_socket(int type) {
  UniqueFd made = make_socket(type);
  const struct sockaddr_in address = socket_address(kLoopback, 0);
  EXPECT_EQ(::bind(made.get(), generic(address), sizeof address), 0);
  return made;
}

UniqueFd connected_socket(int type, std::uint16_t port) {
  UniqueFd made = make_socket(type);
  const struct sockaddr_in address = socket_address(kLoopback, port);
  EXPECT_EQ(::connect(made.get(), generic(address), sizeof address), 0);
  return made;
}

std::string read_to_end(int socket) {
  std::string text;
  std::array<char, 65536> bytes{};
  for (;;) {
    const ssize_t got = ::recv(socket, bytes.data(), bytes.size(), 0);
    if (got <= 0) return got == 0 ? text : text + " and then an error";
    text.append(bytes.data(), static_cast<std::size_t>(got));
  }
}

std::string read_once(int socket) {
  std::array<char, 65536> bytes{};
  const ssize_t got = ::recv(socket, bytes.data(), bytes.size(), 0);
  return got < 0 ? "an error" : std::string(bytes.data(), static_cast<std::size_t>(got));
}

void write_text(int socket, const std::string& text) {
  std::size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t some = ::send(socket, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    ASSERT_GT(some, 0);
    sent += static_cast<std::size_t>(some);
  }
}

// A relay in a thread of its own, from a free port of the loopback to `target_port`.
class Relay {
 public:
  Relay(Protocol protocol, std::uint16_t target_port) : end_(::eventfd(0, EFD_CLOEXEC)) {
    ResultOrFailure<std::vector<BoundPort>> bound = bind_ports({{kLoopback, 0, target_port, protocol}});
    EXPECT_TRUE(bound.ok());
    port_ = (*bound)[0].port.host_port;
    thread_ = std::thread([this, ports = std::move(bound).value()]() mutable {
      EXPECT_TRUE(relay_ports(std::move(ports), kLoopback, end_.get()).ok());
    });
  }
  ~Relay() {
    EXPECT_EQ(::eventfd_write(end_.get(), 1), 0);
    thread_.join();
  }
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  std::uint16_t port() const { return port_; }

 private:
  UniqueFd end_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

TEST(PortRelay, EndOfOneDirectionLeavesTheOther) {
  const UniqueFd server = bound_socket(SOCK_STREAM);
  ASSERT_EQ(::listen(server.get(), 5), 0);
  const Relay relay(Protocol::kTcp, port_of(server.get()));
  const UniqueFd client = connected_socket(SOCK_STREAM, relay.port());
  const UniqueFd accepted(::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
  write_text(client.get(), "question");
  ASSERT_EQ(::shutdown(client.get(), SHUT_WR), 0);
  EXPECT_EQ(read_to_end(accepted.get()), "question");
  write_text(accepted.get(), "answer");
  ASSERT_EQ(::shutdown(accepted.get(), SHUT_WR), 0);
  EXPECT_EQ(read_to_end(client.get()), "answer");
}

TEST(PortRelay, SlowReaderGetsEveryByte) {
  const UniqueFd server = bound_socket(SOCK_STREAM);
  ASSERT_EQ(::listen(server.get(), 5), 0);
  const Relay relay(Protocol::kTcp, port_of(server.get()));
  const UniqueFd client = connected_socket(SOCK_STREAM, relay.port());
  UniqueFd accepted(::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
  std::string much(16 << 20, '.');
  for (std::size_t index = 0; index < much.size(); index += 4093)
    much[index] = static_cast<char>(index % 251);
  std::thread writer([&] {
    write_text(accepted.get(), much);
    accepted.reset();
  });
  ::usleep(200'000);  // every buffer on the way is full by then, or it is not and nothing is lost
  EXPECT_TRUE(read_to_end(client.get()) == much);
  writer.join();
}

TEST(PortRelay, RefusedThereIsResetHere) {
  std::uint16_t closed_port = 0;
  {
    const UniqueFd server = bound_socket(SOCK_STREAM);
    closed_port = port_of(server.get());
  }
  const Relay relay(Protocol::kTcp, closed_port);
  const UniqueFd client = connected_socket(SOCK_STREAM, relay.port());
  std::array<char, 1> byte{};
  EXPECT_EQ(::recv(client.get(), byte.data(), byte.size(), 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST(PortRelay, AnswersGoToTheSenderOfTheDatagram) {
  const UniqueFd server = bound_socket(SOCK_DGRAM);
  const Relay relay(Protocol::kUdp, port_of(server.get()));
  const UniqueFd one = connected_socket(SOCK_DGRAM, relay.port());
  const UniqueFd other = connected_socket(SOCK_DGRAM, relay.port());
  for (const auto& [client, text] : {std::pair(one.get(), "one"), std::pair(other.get(), "other")}) {
    write_text(client, text);
    std::array<char, 64> bytes{};
    struct sockaddr_in sender = {};
    socklen_t size = sizeof sender;
    const ssize_t got = ::recvfrom(server.get(), bytes.data(), bytes.size(), 0,
                                   reinterpret_cast<struct sockaddr*>(&sender), &size);
    ASSERT_EQ(std::string(bytes.data(), static_cast<std::size_t>(got)), text);
    ASSERT_EQ(::sendto(server.get(), bytes.data(), static_cast<std::size_t>(got), 0, generic(sender), size),
              got);
  }
  EXPECT_EQ(read_once(other.get()), "other");
  EXPECT_EQ(read_once(one.get()), "one");
}

TEST(BindPorts, TakenPortIsNamedWithTheWayOut) {
  const UniqueFd server = bound_socket(SOCK_STREAM);
  ASSERT_EQ(::listen(server.get(), 5), 0);
  const std::uint16_t port = port_of(server.get());
  const auto bound = bind_ports({{kLoopback, port, 80, Protocol::kTcp}});
  ASSERT_FALSE(bound.ok());
  EXPECT_NE(bound.error().message.find("127.0.0.1:" + std::to_string(port) + "->80/tcp"), std::string::npos);
  EXPECT_NE(bound.error().message.find("choose another with -p"), std::string::npos);
}

}  // namespace
}  // namespace varve::launcher
