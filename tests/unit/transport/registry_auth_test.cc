#include "imagetool/transport/registry_auth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "imagetool/transport/registry_client.h"
#include "imagetool/transport/registry_credentials.h"
#include "tests/unit/transport/http_server.h"

namespace varve::transport {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(Challenges, AreReadAsTheRfcHasThem) {
  const auto found = parse_challenges(
      R"(Basic realm="a, \"b\"", Bearer realm="https://auth.example/token",service=registry.example , scope="a:b:c")");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].scheme, "basic");
  EXPECT_EQ(found[0].parameters.at("realm"), "a, \"b\"");
  EXPECT_EQ(found[1].scheme, "bearer");
  EXPECT_EQ(found[1].parameters.at("service"), "registry.example");
  EXPECT_EQ(found[1].parameters.at("scope"), "a:b:c");
}

TEST(Challenges, WhatMakesNoSenseIsLeftOut) {
  EXPECT_TRUE(parse_challenges("").empty());
  EXPECT_TRUE(parse_challenges("=,=").empty());
  EXPECT_TRUE(parse_challenges("realm=\"x\"").empty());
  EXPECT_EQ(parse_challenges("Bearer realm=\"never ends").at(0).parameters.size(), 0U);
  EXPECT_EQ(parse_challenges("Bearer realm=\"x\\").at(0).parameters.size(), 0U);
  EXPECT_EQ(parse_challenges("Bearer \x01\x02").size(), 1U);
}

// A registry that wants to be asked in some way, and the service that gives tokens for it.
class RegistryAuthTest : public ::testing::Test {
 protected:
  ServedAnswer serve(const ServedRequest& request) {
    if (request.target.starts_with("/token")) return token_answer_;
    if (request.header("authorization") == wanted_) return answer(200, "{}");
    return answer(401, R"({"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]})",
                  "WWW-Authenticate: " + challenge_ + "\r\n");
  }
  // The status of a manifest's answer, or the failure.
  std::string ask(std::optional<Credentials> credentials) {
    RegistryOptions options{.auth_file = "/dev/null", .credentials = std::move(credentials)};
    options.http.first_delay = std::chrono::milliseconds(1);
    auto client = RegistryClient::connect(*parse_registry_name(server_.host() + "/app"), "pull", {}, options);
    if (!client.ok()) return client.error().message;
    const auto response = (*client)->send({.url = *(*client)->url("manifests/latest")});
    if (!response.ok()) return response.error().message;
    if ((*response)->status() == 200) return "200";
    return (*client)->refusal("asking", **response).message;
  }
  std::vector<ServedRequest> requests_for(const std::string& begin) const {
    std::vector<ServedRequest> found;
    for (const ServedRequest& request : server_.requests()) {
      if (request.target.starts_with(begin)) found.push_back(request);
    }
    return found;
  }

  std::string wanted_;  // value of Authorization
  std::string challenge_;
  ServedAnswer token_answer_ = answer(200, R"({"token":"t1","expires_in":300})");
  HttpServer server_{[this](const ServedRequest& request) { return serve(request); }};
  const Credentials me_{.user = "me", .password = "secret"};
  const std::string basic_ = "Basic " + base64_encoded("me:secret");
};

TEST_F(RegistryAuthTest, BasicIsShownWhenItIsAskedFor) {
  wanted_ = basic_;
  challenge_ = "Basic realm=x";
  EXPECT_EQ(ask(me_), "200");
}

TEST_F(RegistryAuthTest, PasswordIsNotShownUnasked) {
  wanted_ = "";
  EXPECT_EQ(ask(me_), "200");
  for (const ServedRequest& request : server_.requests()) EXPECT_EQ(request.header("authorization"), "");
}

TEST_F(RegistryAuthTest, WithoutCredentialsItSaysWhatToDo) {
  wanted_ = basic_;
  challenge_ = "Basic realm=x";
  EXPECT_THAT(ask(std::nullopt), HasSubstr("401 (UNAUTHORIZED: who are you) (log in"));
}

TEST_F(RegistryAuthTest, TokenIsFetchedWithServiceScopeAndPassword) {
  wanted_ = "Bearer t1";
  challenge_ = "Bearer realm=\"" + server_.url("/token?x=1") + "\",service=\"a b\"";
  EXPECT_EQ(ask(me_), "200");
  const auto asked = requests_for("/token");
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].target, "/token?x=1&service=a%20b&scope=repository%3Aapp%3Apull&account=me");
  EXPECT_EQ(asked[0].header("authorization"), basic_);
}

TEST_F(RegistryAuthTest, TokenIsFetchedAnonymously) {
  wanted_ = "Bearer t1";
  challenge_ = "Bearer realm=\"" + server_.url("/token") + "\"";
  EXPECT_EQ(ask(std::nullopt), "200");
  EXPECT_EQ(requests_for("/token").at(0).header("authorization"), "");
}

TEST_F(RegistryAuthTest, IdentityTokenIsExchanged) {
  wanted_ = "Bearer t2";
  token_answer_ = answer(200, R"({"access_token":"t2"})");
  challenge_ = "Bearer realm=\"" + server_.url("/token") + "\",service=s";
  EXPECT_EQ(ask(Credentials{.identity_token = "a&b"}), "200");
  const ServedRequest asked = requests_for("/token").at(0);
  EXPECT_EQ(asked.method, "POST");
  EXPECT_EQ(
      asked.body,
      "grant_type=refresh_token&client_id=varve&service=s&scope=repository%3Aapp%3Apull&refresh_token=a%26b");
}

TEST_F(RegistryAuthTest, RefusedTokenIsNotFetchedForever) {
  wanted_ = "Bearer other";
  challenge_ = "Bearer realm=\"" + server_.url("/token") + "\"";
  EXPECT_THAT(ask(me_), HasSubstr("these credentials do not allow it"));
  EXPECT_LE(requests_for("/token").size(), 2U);
}

TEST_F(RegistryAuthTest, ServiceThatGivesNoneIsToldWithoutSecrets) {
  wanted_ = "Bearer t1";
  challenge_ = "Bearer realm=\"" + server_.url("/token") + "\"";
  token_answer_ = answer(401, "no");
  EXPECT_THAT(ask(me_), HasSubstr("gives no token: 401"));
  EXPECT_THAT(ask(me_), Not(HasSubstr("secret")));
}

TEST_F(RegistryAuthTest, HostileTokensAreRefused) {
  wanted_ = "Bearer t1";
  challenge_ = "Bearer realm=\"" + server_.url("/token") + "\"";
  for (const std::string& body :
       {std::string("{}"), std::string("[]"), std::string("{\"token\":7}"),
        std::string(R"({"token":"a\r\nX-Evil: 1"})"), std::string(R"({"token":""})"),
        "{\"token\":\"" + std::string(100000, 'a') + "\"}", std::string(R"({"token":"t","expires_in":-1})"),
        std::string(2 << 20, ' ')}) {
    token_answer_ = answer(200, body);
    EXPECT_THAT(ask(me_), Not(StartsWith("200"))) << body.substr(0, 100);
  }
}

TEST_F(RegistryAuthTest, HostileRealmsAreRefused) {
  wanted_ = "Bearer t1";
  for (const std::string realm :
       {"http://192.0.2.1/token", "file:///etc/passwd", "/token", "http://me:pw@127.0.0.1/token", ""}) {
    challenge_ = "Bearer realm=\"" + realm + "\"";
    EXPECT_THAT(ask(me_), Not(StartsWith("200"))) << realm;
  }
  challenge_ = "Bearer service=x";
  EXPECT_THAT(ask(me_), HasSubstr("does not say from where"));
  challenge_ = "Digest realm=x";
  EXPECT_THAT(ask(me_), HasSubstr("neither Bearer nor Basic"));
}

TEST_F(RegistryAuthTest, WhatARegistrySaysIsShownHarmlessly) {
  HttpServer server([](const ServedRequest& request) {
    if (request.target == "/v2/") return answer(200);
    return answer(
        403, "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"\\u001b[2J" + std::string(5000, 'm') + "\"}]}");
  });
  auto client = RegistryClient::connect(*parse_registry_name(server.host() + "/app"), "pull", {},
                                        {.auth_file = "/dev/null"});
  ASSERT_TRUE(client.ok());
  const auto response = (*client)->send({.url = *(*client)->url("manifests/latest")});
  const Failure failure = (*client)->refusal("asking", **response);
  EXPECT_EQ(failure.error_number, EACCES);
  EXPECT_THAT(failure.message, HasSubstr("403 (DENIED: ?[2Jmmm"));
  EXPECT_LT(failure.message.size(), 500U);
}

}  // namespace
}  // namespace varve::transport
