#include "imagetool/transport/http_client.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>

#include "tests/unit/transport/http_server.h"

namespace varve::transport {
namespace {

using ::testing::HasSubstr;
using Milliseconds = std::chrono::milliseconds;

// Tries again soon.
HttpOptions quick() {
  return {.first_delay = Milliseconds(10)};
}

// Does not wait for long, either.
HttpOptions impatient() {
  HttpOptions options = quick();
  options.stall_timeout = options.answer_timeout = Milliseconds(300);
  return options;
}

HttpRequest get(const std::string& url, const std::string& authorization = "") {
  return {.url = *HttpUrl::parse(url), .authorization = authorization};
}

// Gives so many bytes, then fails or ends.
class CountedStream : public ByteStream {
 public:
  CountedStream(std::uint64_t bytes, bool fails) : left_(bytes), fails_(fails) {}
  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override {
    if (left_ == 0 && fails_) return Failure{EIO, "the disk is broken"};
    const std::size_t count = std::min<std::uint64_t>(into.size(), left_);
    std::memset(into.data(), 'u', count);
    left_ -= count;
    return count;
  }

 private:
  std::uint64_t left_;
  bool fails_;
};

TEST(HttpClient, GivesStatusHeadersAndBody) {
  const std::string body(3 << 20, 'b');
  HttpServer server(
      [&](const ServedRequest&) { return answer(200, body, "X-Thing: one\r\nx-thing:  two \r\n"); });
  HttpClient client(quick());
  const auto response = client.send(get(server.url("/a?b=c")));
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_EQ((*response)->status(), 200);
  EXPECT_THAT((*response)->headers("X-Thing"), ::testing::ElementsAre("one", "two"));
  EXPECT_EQ(*(*response)->read_all(body.size()), body);
  EXPECT_EQ(server.requests().at(0).target, "/a?b=c");
}

TEST(HttpClient, EndlessBodyIsReadNoFurtherThanTheLimit) {
  HttpServer server(
      [](const ServedRequest&) { return ServedAnswer{.bytes = "HTTP/1.1 200 OK\r\n\r\n", .endless = true}; });
  HttpClient client(quick());
  const auto response = client.send(get(server.url("/")));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ((*response)->read_all(1 << 20).error().error_number, EFBIG);
}

TEST(HttpClient, BodyThatNobodyReadsWaitsInTheNetwork) {
  HttpServer server(
      [](const ServedRequest&) { return ServedAnswer{.bytes = "HTTP/1.1 200 OK\r\n\r\n", .endless = true}; });
  HttpClient client(quick());
  const auto response = client.send(get(server.url("/")));
  ASSERT_TRUE(response.ok());
  std::vector<std::byte> piece(100);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(*(*response)->read(piece), piece.size());
    std::this_thread::sleep_for(Milliseconds(10));
  }
  // What is in buffers of the kernel, and a mebibyte here.
  EXPECT_LT(server.sent_bytes(), 32U << 20);
}

TEST(HttpClient, HugeHeadIsRefused) {
  std::string lines;
  for (int i = 0; i < 20; ++i) lines += "X-" + std::to_string(i) + ": " + std::string(8000, 'h') + "\r\n";
  HttpServer server([&](const ServedRequest&) { return answer(200, "", lines); });
  HttpClient client(quick());
  const auto response = client.send(get(server.url("/")));
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().error_number, EBADMSG);
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST(HttpClient, EndlessHeadLineIsRefused) {
  HttpServer server(
      [](const ServedRequest&) { return ServedAnswer{.bytes = "HTTP/1.1 200 OK\r\nX: ", .endless = true}; });
  HttpClient client(quick());
  EXPECT_FALSE(client.send(get(server.url("/"))).ok());
}

TEST(HttpClient, AnswerThatIsNoHttpIsRefused) {
  HttpServer server([](const ServedRequest&) { return ServedAnswer{.bytes = "220 smtp ready\r\n"}; });
  HttpClient client(quick());
  EXPECT_FALSE(client.send(get(server.url("/"))).ok());
}

TEST(HttpClient, RedirectToAnotherOriginCarriesNoCredentialsAndNeitherDoesTheWayBack) {
  std::string back;
  HttpServer other([&](const ServedRequest&) { return answer(307, "", "Location: " + back + "\r\n"); });
  HttpServer server([&](const ServedRequest& request) {
    if (request.target == "/a") return answer(302, "", "Location: /b\r\n");
    if (request.target == "/b") return answer(307, "", "Location: " + other.url("/c?signature=1") + "\r\n");
    return answer(200, "here");
  });
  back = server.url("/d");
  HttpClient client(quick());
  const auto response = client.send(get(server.url("/a"), "Bearer secret"));
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_EQ(*(*response)->read_all(100), "here");
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests[0].header("authorization"), "Bearer secret");
  EXPECT_EQ(requests[1].header("authorization"), "Bearer secret");
  EXPECT_EQ(requests[2].header("authorization"), "");
  EXPECT_EQ(other.requests().at(0).header("authorization"), "");
  EXPECT_EQ(other.requests().at(0).target, "/c?signature=1");
}

TEST(HttpClient, RedirectsEnd) {
  HttpServer server([](const ServedRequest&) { return answer(302, "", "Location: /again\r\n"); });
  HttpClient client(quick());
  EXPECT_EQ(client.send(get(server.url("/"))).error().error_number, ELOOP);
  EXPECT_EQ(server.requests().size(), kMostRedirects + 1U);
}

TEST(HttpClient, PlainHttpIsForThisMachineOnly) {
  HttpServer server([](const ServedRequest&) { return answer(302, "", "Location: http://192.0.2.1/\r\n"); });
  HttpClient client(quick());
  EXPECT_EQ(client.send(get("http://192.0.2.1/")).error().error_number, EACCES);
  EXPECT_EQ(client.send(get(server.url("/"))).error().error_number, EACCES);
}

TEST(HttpClient, RedirectsToFilesAndUsersAreRefused) {
  for (const std::string location :
       {"file:///etc/passwd", "http://me:secret@127.0.0.1/", "ftp://127.0.0.1/"}) {
    HttpServer server(
        [&](const ServedRequest&) { return answer(302, "", "Location: " + location + "\r\n"); });
    HttpClient client(quick());
    EXPECT_EQ(client.send(get(server.url("/"))).error().error_number, EINVAL) << location;
  }
}

TEST(HttpClient, WhatSpeaksNoTlsIsToldFromWhatIsNotThere) {
  HttpServer server([](const ServedRequest&) { return answer(200); });
  HttpClient client(quick());
  EXPECT_EQ(client.send(get("https://" + server.host() + "/")).error().error_number, EPROTO);
  EXPECT_EQ(client.send(get("https://127.0.0.1:1/")).error().error_number, ECONNREFUSED);
}

TEST(HttpClient, WhoDoesNotFinishTheHandshakeIsNotAskedAgain) {
  const UniqueFd mute(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  struct sockaddr_in address {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<struct sockaddr*>(&address);
  ASSERT_EQ(::bind(mute.get(), generic, size), 0);
  ASSERT_EQ(::listen(mute.get(), 5), 0);
  ASSERT_EQ(::getsockname(mute.get(), generic, &size), 0);
  HttpOptions options = quick();
  options.connect_timeout = Milliseconds(200);
  HttpClient client(options);
  const auto response =
      client.send(get("https://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/"));
  EXPECT_EQ(response.error().error_number, ECONNREFUSED);
  int connections = 0;
  for (UniqueFd one; (one = UniqueFd(::accept(mute.get(), nullptr, nullptr))).valid();) ++connections;
  EXPECT_EQ(connections, 1);
}

TEST(HttpClient, TooManyRequestsIsAskedAgainAfterTheTimeThatIsWanted) {
  int asked = 0;
  HttpServer server([&](const ServedRequest&) {
    return ++asked < 3 ? answer(429, "", asked == 1 ? "Retry-After: 1\r\n" : "Retry-After: never\r\n")
                       : answer(200, "good");
  });
  HttpClient client(quick());
  const auto begin = std::chrono::steady_clock::now();
  const auto response = client.send(get(server.url("/")));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ((*response)->status(), 200);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  EXPECT_EQ(server.requests().size(), 3U);
}

TEST(HttpClient, AttemptsEnd) {
  HttpServer server([](const ServedRequest&) { return answer(503, "", "Retry-After: 0\r\n"); });
  HttpServer mute([](const ServedRequest&) { return ServedAnswer{}; });
  HttpClient client(quick());
  EXPECT_EQ((*client.send(get(server.url("/"))))->status(), 503);
  EXPECT_EQ(server.requests().size(), static_cast<std::size_t>(kMostAttempts));
  EXPECT_EQ(client.send(get(mute.url("/"))).error().error_number, EIO);
  EXPECT_EQ(mute.requests().size(), static_cast<std::size_t>(kMostAttempts));
}

TEST(HttpClient, NoAnswerIsNotWaitedForForever) {
  HttpServer server([](const ServedRequest&) { return ServedAnswer{.silent = true}; });
  HttpClient client(impatient());
  HttpRequest request = get(server.url("/"));
  request.once = true;
  EXPECT_EQ(client.send(request).error().error_number, ETIMEDOUT);
}

TEST(HttpClient, BodyThatStopsIsBroken) {
  HttpServer server([](const ServedRequest&) {
    return ServedAnswer{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", .silent = true};
  });
  HttpClient client(impatient());
  const auto response = client.send(get(server.url("/")));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ((*response)->read_all(100).error().error_number, ETIMEDOUT);
}

TEST(HttpClient, WhatIsSmallHasATimeForAllOfIt) {
  HttpServer server([](const ServedRequest&) { return ServedAnswer{.silent = true}; });
  HttpOptions options = quick();
  HttpClient client(options);
  HttpRequest request = get(server.url("/"));
  request.once = true;
  request.whole_timeout = Milliseconds(200);
  EXPECT_EQ(client.send(request).error().error_number, ETIMEDOUT);
}

TEST(HttpClient, BodyThatIsShorterThanItsLengthIsBroken) {
  HttpServer server([](const ServedRequest&) {
    return ServedAnswer{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"};
  });
  HttpClient client(quick());
  EXPECT_EQ((*client.send(get(server.url("/"))))->read_all(100).error().error_number, EIO);
}

TEST(HttpClient, WaitingEndsWhenItIsCancelled) {
  HttpServer server([](const ServedRequest&) { return ServedAnswer{.silent = true}; });
  HttpOptions options = quick();
  std::atomic<bool> cancelled{false};
  options.cancelled = [&] { return cancelled.load(); };
  HttpClient client(options);
  std::thread other([&] {
    std::this_thread::sleep_for(Milliseconds(100));
    cancelled = true;
  });
  EXPECT_EQ(client.send(get(server.url("/"))).error().error_number, ECANCELED);
  other.join();
}

TEST(HttpClient, StreamsArriveWhole) {
  HttpServer server([](const ServedRequest&) { return answer(201); });
  HttpClient client(quick());
  CountedStream stream(5 << 20, false);
  const auto response = client.send({.method = "PATCH",
                                     .url = *HttpUrl::parse(server.url("/")),
                                     .stream = &stream,
                                     .stream_bytes = 5 << 20});
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_EQ((*response)->status(), 201);
  EXPECT_EQ(server.requests().at(0).body, std::string(5 << 20, 'u'));
}

TEST(HttpClient, StreamThatFailsEndsTheUploadWithItsOwnWords) {
  HttpServer server([](const ServedRequest&) { return answer(201); });
  HttpClient client(quick());
  CountedStream failing(1000, true);
  CountedStream shorter(1000, false);
  const HttpUrl url = *HttpUrl::parse(server.url("/"));
  EXPECT_THAT(
      client.send({.method = "PUT", .url = url, .stream = &failing, .stream_bytes = 2000}).error().message,
      HasSubstr("the disk is broken"));
  EXPECT_EQ(client.send({.method = "PUT", .url = url, .stream = &shorter, .stream_bytes = 2000})
                .error()
                .error_number,
            EBADMSG);
}

TEST(HttpClient, MayBeUsedFromSeveralThreads) {
  HttpServer server([](const ServedRequest& request) { return answer(200, request.target); });
  HttpClient client(quick());
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      const std::string target = "/" + std::to_string(i);
      for (int k = 0; k < 10; ++k) {
        const auto response = client.send(get(server.url(target)));
        if (response.ok() && *(*response)->read_all(10) == target) ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 80);
}

}  // namespace
}  // namespace varve::transport
