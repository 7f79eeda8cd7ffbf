#pragma once

// HttpServer: answers requests on a port of 127.0.0.1 with the bytes that a test gives for them, right or wrong. To an attempt to speak TLS
// it answers in plain text, as servers do. Thread rule: the handler is called from a thread for each connection, one after the other.

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fs/base/unique_fd.h"

namespace varve::transport {

struct ServedRequest {
  std::string method, target;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

struct ServedAnswer {
  std::string bytes;     // head and body; the connection is closed after it
  bool endless = false;  // then more bytes until the client has enough
  bool silent = false;   // then nothing more, but the connection stays
};

// An answer with its length. `headers`: lines with "\r\n".
inline ServedAnswer answer(int status, const std::string& body = "", const std::string& headers = "") {
  return {"HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: " + std::to_string(body.size()) +
          "\r\n" + headers + "\r\n" + body};
}

class HttpServer {
 public:
  using Handler = std::function<ServedAnswer(const ServedRequest&)>;
  explicit HttpServer(Handler handler);
  ~HttpServer();

  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  std::string url(const std::string& path) const { return "http://" + host() + path; }
  std::vector<ServedRequest> requests() const;
  std::uint64_t sent_bytes() const { return sent_bytes_; }
  // Of the next so many requests whose body is longer than that many bytes about these are read; then the connection is closed.
  void break_bodies(int times, std::size_t after_bytes) {
    break_after_bytes_ = after_bytes;
    breaks_left_ = times;
  }

 private:
  void accept_all();
  void serve(int socket);
  void send_all(int socket, const std::string& bytes);

  Handler handler_;
  UniqueFd listener_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> sent_bytes_{0};
  std::atomic<int> breaks_left_{0};
  std::atomic<std::size_t> break_after_bytes_{0};
  mutable std::mutex mutex_;
  std::vector<ServedRequest> requests_;
  std::vector<std::thread> connections_;
  std::thread acceptor_;
};

}  // namespace varve::transport
