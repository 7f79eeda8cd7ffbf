#include "imagetool/transport/http_url.h"

#include <gtest/gtest.h>

namespace varve::transport {
namespace {

TEST(HttpUrl, TellsOriginWithItsPort) {
  EXPECT_EQ(HttpUrl::parse("https://Registry.Example/v2/?a=b")->origin(), "https://registry.example:443");
  EXPECT_EQ(HttpUrl::parse("http://[::1]:5000/")->origin(), "http://[::1]:5000");
}

TEST(HttpUrl, RefusesWhatIsNoPlaceToGo) {
  for (const char* text : {"", "/v2/", "ftp://host/", "file:///etc/passwd", "https://", "https://a b/",
                           "https://a/\r\nX: y", "https://user:secret@host/", "https://host:99999/"}) {
    EXPECT_FALSE(HttpUrl::parse(text).ok()) << text;
  }
  EXPECT_FALSE(HttpUrl::parse("https://host/" + std::string(9000, 'a')).ok());
}

TEST(HttpUrl, DoesNotRepeatPasswordsInMessages) {
  EXPECT_EQ(HttpUrl::parse("https://user:secret@host/").error().message.find("secret"), std::string::npos);
  EXPECT_EQ(HttpUrl::parse("https://host/a?signature=secret")->shown(), "https://host/a");
}

TEST(HttpUrl, ResolvesWhatLocationHeadersHold) {
  const HttpUrl base = *HttpUrl::parse("https://host:5000/v2/app/blobs/uploads/?x=1");
  EXPECT_EQ(base.resolve("/v2/app/blobs/uploads/7?_state=a%3D")->text(),
            "https://host:5000/v2/app/blobs/uploads/7?_state=a%3D");
  EXPECT_EQ(base.resolve("7?_state=a")->text(), "https://host:5000/v2/app/blobs/uploads/7?_state=a");
  EXPECT_EQ(base.resolve("//other/blob")->text(), "https://other/blob");
  EXPECT_EQ(base.resolve("http://other/blob#part")->text(), "http://other/blob");
  EXPECT_FALSE(base.resolve("gopher://other/").ok());
  EXPECT_FALSE(base.resolve("https://user:secret@other/").ok());
}

TEST(HttpUrl, AddsToAQueryThatIsThere) {
  EXPECT_EQ(HttpUrl::parse("https://host/a")->with_query("digest", "sha256:1/2").text(),
            "https://host/a?digest=sha256%3A1%2F2");
  EXPECT_EQ(HttpUrl::parse("https://host/a?b=c")->with_query("d", "e").text(), "https://host/a?b=c&d=e");
}

TEST(HttpUrl, KnowsThisMachine) {
  for (const char* text :
       {"http://localhost:5000/", "http://127.0.0.1/", "https://127.1.2.3/", "http://[::1]:80/"}) {
    EXPECT_TRUE(HttpUrl::parse(text)->is_loopback()) << text;
  }
  for (const char* text :
       {"http://localhost.example/", "http://127.0.0.1.example/", "http://128.0.0.1/", "http://10.0.0.1/"}) {
    EXPECT_FALSE(HttpUrl::parse(text)->is_loopback()) << text;
  }
}

TEST(ShownText, IsOneShortPrintableLine) {
  EXPECT_EQ(shown_text("a\x1b[2Jb\nc\xff"), "a?[2Jb?c?");
  EXPECT_EQ(shown_text(std::string(300, 'a'), 10), "aaaaaaaaaa...");
}

}  // namespace
}  // namespace varve::transport
