#include "launcher/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/launcher/scratch_directory.h"

namespace varve::launcher {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::optional<std::string> fake_host(const std::string& name) {
  if (name == "LANG") return "C";
  return std::nullopt;
}

TEST(Environment, LaterValueTakesThePlaceOfTheEarlier) {
  Environment environment;
  environment.set("A", "1");
  environment.set("AB", "2");
  environment.set("A", "3");
  EXPECT_THAT(environment.entries(), ElementsAre("A=3", "AB=2"));
}

TEST(Environment, NameAloneTakesTheHostsValue) {
  Environment environment;
  ASSERT_TRUE(environment.apply("LANG", fake_host).ok());
  ASSERT_TRUE(environment.apply("UNSET", fake_host).ok());
  EXPECT_THAT(environment.entries(), ElementsAre("LANG=C"));
}

TEST(Environment, ValueMayHoldEqualsSignsOrNothing) {
  Environment environment;
  ASSERT_TRUE(environment.apply("A=b=c", fake_host).ok());
  ASSERT_TRUE(environment.apply("E=", fake_host).ok());
  EXPECT_EQ(environment.get("A"), "b=c");
  EXPECT_EQ(environment.get("E"), "");
}

TEST(Environment, EmptyNameIsRefused) {
  Environment environment;
  EXPECT_FALSE(environment.apply("=x", fake_host).ok());
  EXPECT_FALSE(environment.apply("", fake_host).ok());
  EXPECT_THAT(environment.entries(), IsEmpty());
}

TEST(Environment, FileSkipsCommentsAndEmptyLines) {
  const ScratchDirectory scratch;
  const std::string path = scratch.write_file("env", "# words\n\nA=1\nLANG\nB=two words\n");
  Environment environment;
  ASSERT_TRUE(environment.apply_file(path, fake_host).ok());
  EXPECT_THAT(environment.entries(), ElementsAre("A=1", "LANG=C", "B=two words"));
}

TEST(Environment, MissingFileIsNamed) {
  Environment environment;
  const auto applied = environment.apply_file("/nonexistent/env", fake_host);
  ASSERT_FALSE(applied.ok());
  EXPECT_EQ(applied.error().error_number, ENOENT);
  EXPECT_NE(applied.error().message.find("/nonexistent/env"), std::string::npos);
}

}  // namespace
}  // namespace varve::launcher
