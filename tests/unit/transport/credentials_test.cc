#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "imagetool/transport/registry_credentials.h"

namespace varve::transport {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// "user:password", or why there is none.
std::string found(const std::string& text, std::string_view name) {
  const auto credentials = credentials_in(text, "FILE", *parse_registry_name(name));
  if (!credentials.ok()) return credentials.error().message;
  if (!*credentials) return "none";
  return (*credentials)->user + ":" + (*credentials)->password + (*credentials)->identity_token;
}

std::string entry(const std::string& key, const std::string& credentials) {
  return "\"" + key + "\":{\"auth\":\"" + base64_encoded(credentials) + "\"}";
}

std::string auths(const std::string& entries) {
  return "{\"auths\":{" + entries + "}}";
}

TEST(Base64, IsThatOfTheRfc) {
  const std::vector<std::pair<std::string, std::string>> pairs = {{"", ""},
                                                                  {"f", "Zg=="},
                                                                  {"fo", "Zm8="},
                                                                  {"foo", "Zm9v"},
                                                                  {"foob", "Zm9vYg=="},
                                                                  {"fooba", "Zm9vYmE="},
                                                                  {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : pairs) {
    EXPECT_EQ(base64_encoded(bytes), text);
    EXPECT_EQ(*base64_decoded(text), bytes);
  }
  EXPECT_EQ(*base64_decoded("Zm8"), "fo");
  EXPECT_FALSE(base64_decoded("Zm9vY").ok());
  EXPECT_FALSE(base64_decoded("Zm9\n").ok());
  EXPECT_FALSE(base64_decoded("Zm==9v").ok());
}

TEST(Credentials, AreSplitAtTheFirstColon) {
  const auto credentials = parse_credentials("me:a:b");
  ASSERT_TRUE(credentials.ok());
  EXPECT_EQ(credentials->user, "me");
  EXPECT_EQ(credentials->password, "a:b");
  EXPECT_FALSE(parse_credentials("me").ok());
  EXPECT_FALSE(parse_credentials(":secret").ok());
}

TEST(AuthFile, TheLongestPathHolds) {
  const std::string text =
      auths(entry("registry.example", "host:1") + "," + entry("registry.example/team", "team:2") + "," +
            entry("registry.example/team/app", "app:3"));
  EXPECT_EQ(found(text, "registry.example/other"), "host:1");
  EXPECT_EQ(found(text, "registry.example/team/other"), "team:2");
  EXPECT_EQ(found(text, "registry.example/team/app"), "app:3");
  EXPECT_EQ(found(text, "registry.example/team/app2"), "team:2");
  EXPECT_EQ(found(text, "registry.example:5000/team/app"), "none");
  EXPECT_EQ(found(text, "example/team/app"), "none");
}

TEST(AuthFile, KeysAreReadAsDockerWroteThem) {
  EXPECT_EQ(found(auths(entry("https://index.docker.io/v1/", "hub:1")), "debian"), "hub:1");
  EXPECT_EQ(found(auths(entry("docker.io", "hub:2")), "debian"), "hub:2");
  EXPECT_EQ(found(auths(entry("https://registry.example", "a:1")), "registry.example/app"), "a:1");
  EXPECT_EQ(found(auths(entry("http://registry.example/v2/", "a:2")), "registry.example/app"), "a:2");
  EXPECT_EQ(found(auths(entry("registry.example/v1/", "a:3")), "registry.example/app"), "a:3");
  EXPECT_EQ(found(auths(entry("https://registry.example.evil", "a:4")), "registry.example/app"), "none");
}

TEST(AuthFile, TakesIdentityTokens) {
  EXPECT_EQ(found("{\"auths\":{\"registry.example\":{\"auth\":\"" + base64_encoded("me:") +
                      "\",\"identitytoken\":\"secret\"}}}",
                  "registry.example/app"),
            "me:secret");
}

TEST(AuthFile, HostileOnesAreRefusedWithoutTellingSecrets) {
  for (const std::string& text :
       {std::string(""), std::string("[]"), std::string("{\"auths\":"), std::string("{\"auths\":[]}"),
        std::string("{\"auths\":{\"registry.example\":7}}"),
        std::string("{\"auths\":{\"registry.example\":{\"auth\":7}}}"),
        std::string("{\"auths\":{\"registry.example\":{\"auth\":\"c2VjcmV0\"}}}"),
        std::string("{\"auths\":{\"registry.example\":{\"auth\":\"!secret\"}}}"),
        std::string("{\"credHelpers\":7}"),
        std::string("{\"credHelpers\":{\"registry.example\":\"../../bin/sh\"}}"),
        std::string("{\"credsStore\":\"a b;c\"}"), std::string(100, '[')}) {
    const auto credentials = credentials_in(text, "FILE", *parse_registry_name("registry.example/app"));
    ASSERT_FALSE(credentials.ok()) << text;
    EXPECT_EQ(credentials.error().error_number, EINVAL) << text;
    EXPECT_THAT(credentials.error().message, Not(HasSubstr("secret"))) << text;
  }
}

// A directory with programs, first in $PATH, and files.
class CredentialFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/varve-credentials.XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
    path_before_ = std::getenv("PATH");
    ::setenv("PATH", (directory_.string() + ":" + path_before_).c_str(), 1);
  }
  void TearDown() override {
    ::setenv("PATH", path_before_.c_str(), 1);
    std::filesystem::remove_all(directory_);
  }
  std::string file(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ / name) << text;
    return directory_ / name;
  }
  void helper(const std::string& name, const std::string& script) const {
    ::chmod(file("docker-credential-" + name, "#!/bin/sh\n" + script).c_str(), 0755);
  }

  std::filesystem::path directory_;
  std::string path_before_;
};

TEST_F(CredentialFilesTest, HelperIsAskedForTheServer) {
  helper("good",
         "[ \"$1\" = get ] || exit 9\nread -r server || :\necho "
         "\"{\\\"Username\\\":\\\"$server\\\",\\\"Secret\\\":\\\"s\\\"}\"\n");
  EXPECT_EQ(found("{\"credHelpers\":{\"registry.example:5000\":\"good\"}}", "registry.example:5000/app"),
            "registry.example:5000:s");
  EXPECT_EQ(found("{\"credsStore\":\"good\"}", "debian"), "https://index.docker.io/v1/:s");
  EXPECT_EQ(found("{\"credsStore\":\"good\"," + auths(entry("registry.example", "a:1")).substr(1),
                  "registry.example/app"),
            "a:1");
}

TEST_F(CredentialFilesTest, HelperWithoutCredentialsIsNoFailure) {
  helper("empty", "echo credentials not found in native keychain; exit 1\n");
  EXPECT_EQ(found("{\"credsStore\":\"empty\"}", "registry.example/app"), "none");
}

TEST_F(CredentialFilesTest, HelpersThatMisbehaveAreEnded) {
  helper("slow", "sleep 100 & sleep 100\n");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(ask_credential_helper("slow", "x", std::chrono::milliseconds(300)).error().error_number,
            ETIMEDOUT);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  helper("endless", "exec cat /dev/zero\n");
  EXPECT_EQ(ask_credential_helper("endless", "x").error().error_number, EFBIG);
  helper("broken", "echo secret\n");
  EXPECT_THAT(ask_credential_helper("broken", "x").error().message, Not(HasSubstr("secret")));
  EXPECT_EQ(ask_credential_helper("absent", "x").error().error_number, ENOENT);
}

TEST_F(CredentialFilesTest, TheFirstFileThatKnowsHolds) {
  const std::string first = file("a", auths(entry("registry.example", "a:1")));
  const std::string second =
      file("b", auths(entry("registry.example", "b:2") + "," + entry("other.example", "b:3")));
  const std::vector<AuthFile> files = {{directory_ / "absent"}, {first}, {second}};
  EXPECT_EQ((*find_credentials(files, *parse_registry_name("registry.example/app")))->user, "a");
  EXPECT_EQ((*find_credentials(files, *parse_registry_name("other.example/app")))->password, "3");
  EXPECT_FALSE(find_credentials(files, *parse_registry_name("third.example/app"))->has_value());
  EXPECT_EQ(find_credentials({{directory_ / "absent", true}}, *parse_registry_name("a.example/b"))
                .error()
                .error_number,
            ENOENT);
}

TEST_F(CredentialFilesTest, AFileThatIsTooLargeIsRefused) {
  const std::string large = file("large", std::string(2 << 20, ' '));
  EXPECT_EQ(find_credentials({{large}}, *parse_registry_name("a.example/b")).error().error_number, EFBIG);
}

}  // namespace
}  // namespace varve::transport
