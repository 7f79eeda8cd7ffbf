#include "imagetool/transport/registry_name.h"

#include <gtest/gtest.h>

namespace varve::transport {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

std::string full(std::string_view text) {
  const auto name = parse_registry_name(text);
  return name.ok() ? name->text() : "refused";
}

TEST(RegistryName, HasTheDefaultsOfPodman) {
  EXPECT_EQ(full("debian"), "docker.io/library/debian:latest");
  EXPECT_EQ(full("debian:12"), "docker.io/library/debian:12");
  EXPECT_EQ(full("someone/app"), "docker.io/someone/app:latest");
  EXPECT_EQ(full("docker.io/debian"), "docker.io/library/debian:latest");
  EXPECT_EQ(full("index.docker.io/debian"), "docker.io/library/debian:latest");
  EXPECT_EQ(full("localhost/app"), "localhost/app:latest");
  EXPECT_EQ(full("docker://registry.example/app:1"), "registry.example/app:1");
}

TEST(RegistryName, TellsPortFromTag) {
  const auto name = parse_registry_name("registry.example:5000/team/app:1.0");
  ASSERT_TRUE(name.ok());
  EXPECT_EQ(name->registry, "registry.example:5000");
  EXPECT_EQ(name->repository, "team/app");
  EXPECT_EQ(name->tag, "1.0");
  EXPECT_EQ(full("[::1]:5000/app"), "[::1]:5000/app:latest");
}

TEST(RegistryName, TakesTagAndDigestTogether) {
  const auto name = parse_registry_name("registry.example/app:1@" + kDigest);
  ASSERT_TRUE(name.ok());
  EXPECT_EQ(name->tag, "1");
  EXPECT_EQ(name->reference(), kDigest);
  EXPECT_EQ(full("registry.example/app@" + kDigest), "registry.example/app@" + kDigest);
}

TEST(RegistryName, AsksDockerWhereItsHttpIs) {
  EXPECT_EQ(parse_registry_name("debian")->http_host(), "registry-1.docker.io");
  EXPECT_EQ(parse_registry_name("quay.io/a/b")->http_host(), "quay.io");
}

TEST(RegistryName, RefusesWhatIsNone) {
  for (const std::string text : {"",
                                 ":",
                                 "@",
                                 "app:",
                                 "app@",
                                 "App",
                                 "a//b",
                                 "/app",
                                 "app/",
                                 "../app",
                                 "registry.example/../../etc",
                                 "app:../x",
                                 "app:a/b:c",
                                 "registry.example:0/app",
                                 "registry.example:99999/app",
                                 "registry.example:x/app",
                                 "user@host/app",
                                 "a b",
                                 "app\n",
                                 "-a.example/app",
                                 "a..example/app",
                                 "[::1/app",
                                 "[zz]:1/app",
                                 "a___b",
                                 "a-",
                                 "a.-b",
                                 "app@sha256:ABC",
                                 "app@md5:abc",
                                 "registry.example/a?b=c",
                                 "registry.example/a%2f",
                                 "registry.example#/a"}) {
    EXPECT_EQ(full(text), "refused") << text;
  }
  EXPECT_EQ(full("registry.example/" + std::string(300, 'a')), "refused");
  EXPECT_EQ(full("app:" + std::string(200, 'a')), "refused");
}

}  // namespace
}  // namespace varve::transport
