#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "imagetool/transport/checked_copy.h"
#include "imagetool/transport/registry_destination.h"
#include "imagetool/transport/registry_source.h"
#include "tests/unit/transport/http_server.h"

namespace varve::transport {
namespace {

using ::testing::HasSubstr;

image::Descriptor descriptor_of(const std::string& bytes) {
  return {"application/octet-stream", image::Digest::of(bytes), bytes.size()};
}

std::string all_of(ResultOrFailure<std::unique_ptr<ByteStream>> stream) {
  if (!stream.ok()) return stream.error().message;
  std::string text;
  std::vector<std::byte> piece(70000);
  for (;;) {
    const auto count = (*stream)->read(piece);
    if (!count.ok()) return count.error().message;
    if (*count == 0) return text;
    text.append(reinterpret_cast<const char*>(piece.data()), *count);
  }
}

// Takes uploads as docker's registry does, at places that it names relatively, with a query.
class Uploads {
 public:
  ServedAnswer serve(const ServedRequest& request) {
    if (request.method == "HEAD") return answer(404);
    if (request.method == "POST")
      return answer(202, "", "Location: /v2/team/app/blobs/uploads/7?_state=a%3D\r\n");
    if (request.method == "PATCH") {
      if (++patches_ <= broken_) return {};
      patched_ = request.body;
      return answer(202, "", "Location: 7?_state=b\r\n");
    }
    return answer(201);
  }
  int broken_ = 0;  // PATCH requests that are not answered
  int patches_ = 0;
  std::string patched_;
};

// What a test lets a registry do; "/v2/" is answered here.
class RegistryTransportTest : public ::testing::Test {
 protected:
  ServedAnswer serve(const ServedRequest& request) {
    if (request.target == "/v2/") return answer(200);
    return handle_(request);
  }
  RegistryOptions options() const {
    RegistryOptions options{.auth_file = "/dev/null"};
    options.http.first_delay = std::chrono::milliseconds(1);
    return options;
  }
  std::unique_ptr<RegistrySource> source(const std::string& name = "/team/app:1") {
    auto opened = RegistrySource::open(*parse_registry_name(server_.host() + name), options());
    EXPECT_TRUE(opened.ok());
    return std::move(opened).value();
  }
  std::unique_ptr<RegistryDestination> destination(RegistryDestination::Elsewhere elsewhere = {}) {
    auto opened = RegistryDestination::open(*parse_registry_name(server_.host() + "/team/app:1"),
                                            std::move(elsewhere), options());
    EXPECT_TRUE(opened.ok());
    return std::move(opened).value();
  }
  // "METHOD target" of all but "/v2/".
  std::vector<std::string> asked() const {
    std::vector<std::string> lines;
    for (const ServedRequest& request : server_.requests()) {
      if (request.target != "/v2/") lines.push_back(request.method + " " + request.target);
    }
    return lines;
  }

  HttpServer::Handler handle_;
  // Not a test's own: the server may still be at an upload that was given up when the test has ended.
  Uploads uploads_;
  HttpServer server_{[this](const ServedRequest& request) { return serve(request); }};
};

TEST_F(RegistryTransportTest, ManifestIsAskedForByTag) {
  handle_ = [](const ServedRequest&) {
    return answer(200, "{}", "Content-Type: application/vnd.oci.image.index.v1+json; charset=utf-8\r\n");
  };
  const auto manifest = source()->manifest();
  ASSERT_TRUE(manifest.ok());
  EXPECT_EQ(manifest->bytes, "{}");
  EXPECT_EQ(manifest->media_type, "application/vnd.oci.image.index.v1+json");
  EXPECT_THAT(asked(), ::testing::ElementsAre("GET /v2/team/app/manifests/1"));
}

TEST_F(RegistryTransportTest, OtherManifestThanTheDigestSaysIsRefused) {
  handle_ = [](const ServedRequest&) { return answer(200, "{}"); };
  EXPECT_TRUE(source("/team/app@" + image::Digest::of("{}").text())->manifest().ok());
  EXPECT_EQ(source("/team/app@" + image::Digest::of("{ }").text())->manifest().error().error_number, EBADMSG);
}

TEST_F(RegistryTransportTest, ManifestThatIsTooLargeIsRefused) {
  handle_ = [](const ServedRequest&) {
    return ServedAnswer{.bytes = "HTTP/1.1 200 OK\r\n\r\n", .endless = true};
  };
  EXPECT_EQ(source()->manifest().error().error_number, EFBIG);
}

TEST_F(RegistryTransportTest, MissingManifestIsToldInTheRegistrysWords) {
  handle_ = [](const ServedRequest&) {
    return answer(404, R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]})");
  };
  const auto manifest = source()->manifest();
  EXPECT_EQ(manifest.error().error_number, ENOENT);
  EXPECT_THAT(manifest.error().message,
              HasSubstr("/team/app:1: its manifest: 404 (MANIFEST_UNKNOWN: manifest unknown)"));
}

TEST_F(RegistryTransportTest, BrokenDownloadGoesOnAtItsOffset) {
  const std::string blob = "0123456789abcdefghij";
  handle_ = [&](const ServedRequest& request) {
    const std::string range = request.header("range");
    const std::size_t from = range.empty() ? 0 : std::stoul(range.substr(6));
    const std::string rest = blob.substr(from);
    const std::string head = from == 0 ? "HTTP/1.1 200 OK\r\n"
                                       : "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " +
                                             std::to_string(from) + "-19/20\r\n";
    return ServedAnswer{head + "Content-Length: " + std::to_string(rest.size()) + "\r\n\r\n" +
                        rest.substr(0, 7)};
  };
  EXPECT_EQ(all_of(source()->open_blob(descriptor_of(blob), 0)), blob);
  EXPECT_EQ(asked().size(), 3U);
  EXPECT_EQ(all_of(source()->open_blob(descriptor_of(blob), 15)), "fghij");
}

TEST_F(RegistryTransportTest, ServerThatIgnoresRangesIsReadFromTheBegin) {
  const std::string blob = "0123456789";
  int times = 0;
  handle_ = [&](const ServedRequest&) {
    return ServedAnswer{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" +
                        blob.substr(0, ++times == 1 ? 4 : 10)};
  };
  EXPECT_EQ(all_of(source()->open_blob(descriptor_of(blob), 0)), blob);
  EXPECT_EQ(times, 2);
}

TEST_F(RegistryTransportTest, OtherPartThanAskedForIsRefused) {
  handle_ = [](const ServedRequest&) { return answer(206, "456789", "Content-Range: bytes 4-9/10\r\n"); };
  EXPECT_EQ(source()->open_blob(descriptor_of("0123456789"), 3).error().error_number, EBADMSG);
  EXPECT_FALSE(source()->open_blob(descriptor_of("0123456789"), 0).ok());
}

TEST_F(RegistryTransportTest, DownloadThatBreaksOffForeverEnds) {
  handle_ = [](const ServedRequest&) {
    return ServedAnswer{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"};
  };
  EXPECT_THAT(all_of(source()->open_blob(descriptor_of("0123456789"), 0)), HasSubstr("broken off 6 times"));
}

TEST_F(RegistryTransportTest, EndThatNobodyToldIsABreak) {
  const std::string blob = "0123456789";
  int times = 0;
  handle_ = [&](const ServedRequest&) {
    return ServedAnswer{"HTTP/1.0 200 OK\r\n\r\n" + blob.substr(0, ++times == 1 ? 4 : 10)};
  };
  EXPECT_EQ(all_of(source()->open_blob(descriptor_of(blob), 0)), blob);
}

TEST_F(RegistryTransportTest, BlobElsewhereIsFetchedWithoutCredentials) {
  HttpServer storage([](const ServedRequest&) { return answer(200, "blob"); });
  handle_ = [&](const ServedRequest& request) {
    if (request.header("authorization").empty())
      return answer(401, "", "WWW-Authenticate: Basic realm=x\r\n");
    return answer(307, "", "Location: " + storage.url("/signed?key=1") + "\r\n");
  };
  RegistryOptions with = options();
  with.credentials = Credentials{.user = "me", .password = "secret"};
  auto opened = RegistrySource::open(*parse_registry_name(server_.host() + "/app"), with);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(all_of((*opened)->open_blob(descriptor_of("blob"), 0)), "blob");
  ASSERT_EQ(storage.requests().size(), 1U);
  EXPECT_EQ(storage.requests()[0].header("authorization"), "");
}

TEST_F(RegistryTransportTest, UploadGoesWhereTheRegistrySays) {
  handle_ = [&](const ServedRequest& request) { return uploads_.serve(request); };
  const image::Descriptor blob = descriptor_of("content");
  TextStream text("content");
  const auto put = destination()->put_blob(blob, text);
  ASSERT_TRUE(put.ok()) << put.error().message;
  EXPECT_EQ(uploads_.patched_, "content");
  EXPECT_THAT(asked(), ::testing::ElementsAre("POST /v2/team/app/blobs/uploads/",
                                              "PATCH /v2/team/app/blobs/uploads/7?_state=a%3D",
                                              "PUT /v2/team/app/blobs/uploads/7?_state=b&digest=sha256%3A" +
                                                  std::string(blob.digest.hex())));
}

constexpr std::size_t kLargeBytes = 6'000'000;

TEST_F(RegistryTransportTest, LargeUploadIsStreamed) {
  handle_ = [&](const ServedRequest& request) { return uploads_.serve(request); };
  const std::string bytes(kLargeBytes, 'c');
  TextStream text(bytes);
  ASSERT_TRUE(destination()->put_blob(descriptor_of(bytes), text).ok());
  EXPECT_EQ(uploads_.patched_, bytes);
}

TEST_F(RegistryTransportTest, UploadThatIsNotAnsweredIsBegunAgain) {
  for (const std::size_t size : {std::size_t{7}, kLargeBytes}) {
    uploads_ = {};
    uploads_.broken_ = kMostUploads - 1;
    handle_ = [&](const ServedRequest& request) { return uploads_.serve(request); };
    const std::string bytes(size, 'c');
    TextStream text(bytes);
    EXPECT_TRUE(destination()->put_blob(descriptor_of(bytes), text).ok());
    EXPECT_EQ(uploads_.patches_, kMostUploads);
    EXPECT_EQ(uploads_.patched_, bytes);
    uploads_ = {};
    uploads_.broken_ = 100;
    TextStream again(bytes);
    const auto put = destination()->put_blob(descriptor_of(bytes), again);
    EXPECT_EQ(put.error().error_number, EIO);
    EXPECT_THAT(put.error().message, HasSubstr("begun 5 times"));
    EXPECT_EQ(uploads_.patches_, kMostUploads);
  }
}

TEST_F(RegistryTransportTest, UploadThatBreaksInItsMidstIsBegunAgain) {
  handle_ = [&](const ServedRequest& request) { return uploads_.serve(request); };
  std::string bytes(kLargeBytes, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 / 3);
  for (const std::size_t after : {std::size_t{1}, std::size_t{100'000}, kLargeBytes - 1}) {
    server_.break_bodies(2, after);
    uploads_ = {};
    TextStream text(bytes);
    const auto put = destination()->put_blob(descriptor_of(bytes), text);
    ASSERT_TRUE(put.ok()) << after << ": " << put.error().message;
    EXPECT_EQ(uploads_.patched_, bytes);
    EXPECT_EQ(uploads_.patches_, 1);
  }
  const auto lines = asked();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "POST /v2/team/app/blobs/uploads/"), 9);
}

TEST_F(RegistryTransportTest, UploadThatIsRefusedIsNotBegunAgain) {
  int patches = 0;
  handle_ = [&](const ServedRequest& request) {
    if (request.method == "PATCH" && ++patches > 0) return answer(403);
    return uploads_.serve(request);
  };
  TextStream text("content");
  EXPECT_EQ(destination()->put_blob(descriptor_of("content"), text).error().error_number, EACCES);
  EXPECT_EQ(patches, 1);
}

TEST_F(RegistryTransportTest, UploadOfWhichOnlyTheAnswerWasLostIsNotSentAgain) {
  handle_ = [&](const ServedRequest& request) {
    if (request.method == "HEAD") return answer(uploads_.patches_ > 0 ? 200 : 404);
    return uploads_.serve(request);
  };
  uploads_.broken_ = 1;
  TextStream text("content");
  EXPECT_TRUE(destination()->put_blob(descriptor_of("content"), text).ok());
  EXPECT_EQ(uploads_.patches_, 1);
}

TEST_F(RegistryTransportTest, UploadThatCannotBeReadAgainIsTriedOnce) {
  class Once : public TextStream {
   public:
    using TextStream::TextStream;
    StatusOrFailure rewind() override { return ByteStream::rewind(); }
  };
  handle_ = [&](const ServedRequest& request) { return uploads_.serve(request); };
  uploads_.broken_ = 1;
  Once text("content");
  EXPECT_EQ(destination()->put_blob(descriptor_of("content"), text).error().error_number, EIO);
  EXPECT_EQ(uploads_.patches_, 1);
}

TEST_F(RegistryTransportTest, UploadGoesAgainWithWhatTheRegistryAsksFor) {
  handle_ = [&](const ServedRequest& request) {
    if (request.method == "PATCH" && request.header("authorization").empty())
      return answer(401, "", "WWW-Authenticate: Basic realm=x\r\n");
    return uploads_.serve(request);
  };
  RegistryOptions with = options();
  with.credentials = Credentials{.user = "me", .password = "secret"};
  auto opened = RegistryDestination::open(*parse_registry_name(server_.host() + "/team/app:1"), {}, with);
  ASSERT_TRUE(opened.ok());
  const std::string bytes(kLargeBytes, 'c');
  TextStream text(bytes);
  ASSERT_TRUE((*opened)->put_blob(descriptor_of(bytes), text).ok());
  EXPECT_EQ(uploads_.patched_, bytes);
}

TEST_F(RegistryTransportTest, OtherBytesThanTheDescriptorSaysAreNotUploaded) {
  handle_ = [&](const ServedRequest& request) { return uploads_.serve(request); };
  for (const std::string bytes : {"Content", "conten"}) {
    TextStream text(bytes);
    EXPECT_EQ(destination()->put_blob(descriptor_of("content"), text).error().error_number, EBADMSG) << bytes;
  }
  std::string large(kLargeBytes, 'c');
  const image::Descriptor blob = descriptor_of(large);
  large.back() = 'd';
  TextStream text(large);
  EXPECT_EQ(destination()->put_blob(blob, text).error().error_number, EBADMSG);
  for (const std::string& line : asked()) EXPECT_THAT(line, ::testing::Not(HasSubstr("PUT"))) << line;
}

TEST_F(RegistryTransportTest, BlobOfAnotherRepositoryIsMounted) {
  handle_ = [](const ServedRequest&) { return answer(201); };
  const image::Descriptor blob = descriptor_of("content");
  TextStream text("content");
  ASSERT_TRUE(destination({{blob.digest.text(), "team/base"}})->put_blob(blob, text).ok());
  EXPECT_THAT(asked(), ::testing::ElementsAre("POST /v2/team/app/blobs/uploads/?mount=sha256%3A" +
                                              std::string(blob.digest.hex()) + "&from=team%2Fbase"));
}

TEST_F(RegistryTransportTest, UploadWithoutAPlaceIsRefused) {
  handle_ = [](const ServedRequest&) { return answer(202); };
  TextStream text("content");
  EXPECT_EQ(destination()->put_blob(descriptor_of("content"), text).error().error_number, EPROTO);
}

TEST_F(RegistryTransportTest, BlobsThatAreThereAreKnown) {
  const image::Descriptor there = descriptor_of("there");
  handle_ = [&](const ServedRequest& request) {
    return answer(request.target.ends_with(there.digest.hex()) ? 200 : 404);
  };
  EXPECT_TRUE(*destination()->has_blob(there));
  EXPECT_FALSE(*destination()->has_blob(descriptor_of("absent")));
}

TEST_F(RegistryTransportTest, ManifestIsPutUnderItsTag) {
  handle_ = [](const ServedRequest&) { return answer(201); };
  ASSERT_TRUE(destination()->put_manifest({"application/vnd.oci.image.manifest.v1+json", "{}"}).ok());
  const ServedRequest put = server_.requests().back();
  EXPECT_EQ(put.method + " " + put.target, "PUT /v2/team/app/manifests/1");
  EXPECT_EQ(put.header("content-type"), "application/vnd.oci.image.manifest.v1+json");
  EXPECT_EQ(put.body, "{}");
}

TEST_F(RegistryTransportTest, WhatIsNoRegistryIsToldSo) {
  HttpServer other([](const ServedRequest&) { return answer(404, "<html>"); });
  const auto opened = RegistrySource::open(*parse_registry_name(other.host() + "/app"), options());
  EXPECT_THAT(opened.error().message, HasSubstr("no registry that speaks the OCI distribution protocol"));
}

}  // namespace
}  // namespace varve::transport
