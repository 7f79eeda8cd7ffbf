#include "tests/unit/transport/http_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <optional>

namespace varve::transport {
namespace {

// More bytes of the connection, added to `text`. Returns: false at its end.
bool receive(int socket, std::string& text, const std::atomic<bool>& stopping) {
  while (!stopping) {
    struct pollfd waited {
      socket, POLLIN, 0
    };
    if (::poll(&waited, 1, 50) <= 0) continue;
    std::array<char, 65536> piece{};
    const ssize_t count = ::recv(socket, piece.data(), piece.size(), 0);
    if (count <= 0) return false;
    text.append(piece.data(), static_cast<std::size_t>(count));
    return true;
  }
  return false;
}

ServedRequest parse_head(const std::string& head) {
  ServedRequest request;
  request.method = head.substr(0, head.find(' '));
  const std::size_t target = request.method.size() + 1;
  request.target = head.substr(target, head.find(' ', target) - target);
  for (std::size_t at = head.find("\r\n"); at != std::string::npos;) {
    const std::size_t begin = at + 2;
    at = head.find("\r\n", begin);
    const std::string line = head.substr(begin, at - begin);
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    request.headers[name] = line.substr(colon + 2);
  }
  return request;
}

}  // namespace

HttpServer::HttpServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_in address {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<struct sockaddr*>(&address);
  EXPECT_EQ(::bind(listener_.get(), generic, size), 0);
  EXPECT_EQ(::listen(listener_.get(), 64), 0);
  EXPECT_EQ(::getsockname(listener_.get(), generic, &size), 0);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

HttpServer::~HttpServer() {
  stopping_ = true;
  acceptor_.join();
  for (std::thread& connection : connections_) connection.join();
}

std::vector<ServedRequest> HttpServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void HttpServer::accept_all() {
  while (!stopping_) {
    struct pollfd waited {
      listener_.get(), POLLIN, 0
    };
    if (::poll(&waited, 1, 20) <= 0) continue;
    const int socket = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) continue;
    connections_.emplace_back([this, socket] {
      const UniqueFd owned(socket);
      serve(socket);
    });
  }
}

void HttpServer::send_all(int socket, const std::string& bytes) {
  for (std::size_t at = 0; at < bytes.size() && !stopping_;) {
    struct pollfd waited {
      socket, POLLOUT, 0
    };
    if (::poll(&waited, 1, 50) <= 0) continue;
    const ssize_t count = ::send(socket, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) continue;
    if (count <= 0) return;
    at += static_cast<std::size_t>(count);
    sent_bytes_ += static_cast<std::uint64_t>(count);
  }
}

void HttpServer::serve(int socket) {
  std::string text;
  std::size_t end = std::string::npos;
  while ((end = text.find("\r\n\r\n")) == std::string::npos) {
    if (!receive(socket, text, stopping_)) return;
    if (text[0] == 0x16) return send_all(socket, "HTTP/1.0 400 Bad Request\r\n\r\nthis is no TLS\n");
  }
  ServedRequest request = parse_head(text.substr(0, end));
  if (!request.header("expect").empty()) send_all(socket, "HTTP/1.1 100 Continue\r\n\r\n");
  const std::string length = request.header("content-length");
  const std::size_t body_bytes = length.empty() ? 0 : std::stoul(length);
  text.erase(0, end + 4);
  const bool breaks = body_bytes > break_after_bytes_ && breaks_left_ > 0 && breaks_left_-- > 0;
  while (text.size() < body_bytes) {
    if (breaks && text.size() >= break_after_bytes_) return;
    if (!receive(socket, text, stopping_)) break;
  }
  if (breaks) return;
  request.body = text;
  ServedAnswer answered;
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    answered = handler_(request);
  }
  send_all(socket, answered.bytes);
  const std::string filler(65536, 'x');
  while (answered.endless && !stopping_) {
    const std::uint64_t before = sent_bytes_;
    send_all(socket, filler);
    if (sent_bytes_ == before) return;
  }
  if (!answered.silent) ::shutdown(socket, SHUT_WR);
  std::string rest;
  while (receive(socket, rest, stopping_)) rest.clear();
}

}  // namespace varve::transport
