#include "imagetool/recipe/parser.h"

#include <gmock/gmock.h>

#include "imagetool/image/store/image_config.h"
#include "tests/unit/image/scratch_directory.h"

namespace varve::recipe {
namespace {

using image::must;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::optional<std::string> no_args(std::string_view) {
  return std::nullopt;
}
Recipe parse(std::string_view text, const Variables& args = no_args) {
  return must(parse_recipe(text, "Imagefile", args));
}
std::string failure(std::string_view text) {
  const auto result = parse_recipe(text, "Imagefile", no_args);
  return result.ok() ? "no failure" : result.error().message;
}

TEST(Parser, StagesHoldTheirSteps) {
  const Recipe recipe =
      parse("FROM a AS One\nRUN x\nFROM --platform=linux/arm64 one\nCOPY --from=0 a b\nCMD c\n");
  ASSERT_EQ(recipe.stages.size(), 2U);
  EXPECT_EQ(recipe.stages[0].name, "one");
  EXPECT_EQ(recipe.stages[0].steps.size(), 1U);
  EXPECT_EQ(recipe.stages[1].base, "one");
  EXPECT_EQ(recipe.stages[1].platform, "linux/arm64");
  EXPECT_EQ(recipe.stages[1].steps.size(), 2U);
}

TEST(Parser, GlobalArgumentsNameImages) {
  const std::string_view text = "ARG TAG=12\nARG IMAGE=debian:$TAG\nFROM ${IMAGE}\n";
  EXPECT_EQ(parse(text).stages[0].base, "debian:12");
  const Variables given = [](std::string_view name) {
    return name == "TAG" ? std::optional<std::string>("13") : std::nullopt;
  };
  const Recipe recipe = parse(text, given);
  EXPECT_EQ(recipe.stages[0].base, "debian:13");
  EXPECT_THAT(recipe.global_args, ElementsAre(Pair("TAG", "13"), Pair("IMAGE", "debian:13")));
  EXPECT_EQ(parse("FROM x-$TARGETARCH").stages[0].base, "x-" + image::host_architecture());
}

TEST(Parser, OnlyWhatTheTargetNeedsIsBuilt) {
  const Recipe recipe = parse(
      "FROM a AS base\nFROM base AS lib\nFROM a AS unused\nFROM a AS tool\nCOPY --from=2 x y\n"
      "FROM base\nCOPY --from=lib a b\nCOPY --from=elsewhere a b\n");
  EXPECT_THAT(recipe.needed_for(4), ElementsAre(0U, 1U, 4U));
  EXPECT_THAT(recipe.needed_for(3), ElementsAre(2U, 3U));
  EXPECT_EQ(recipe.find_stage("TOOL", 5), 3U);
  EXPECT_EQ(recipe.find_stage("1", 5), 1U);
  EXPECT_FALSE(recipe.find_stage("tool", 3).has_value());
  EXPECT_FALSE(recipe.find_stage("5", 5).has_value());
}

TEST(Parser, SaysWhereAndWhatWasExpected) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "expected FROM IMAGE"},
      {"RUN a\n", "Imagefile:1: RUN: expected FROM IMAGE first"},
      {"FROM a\n\nFORM b\n", "Imagefile:3: FORM: there is no such instruction"},
      {"FROM\n", "expected FROM IMAGE [AS NAME]"},
      {"FROM a b\n", "expected FROM IMAGE [AS NAME]"},
      {"FROM a AS 1x\n", "1x: expected a name"},
      {"FROM $X\n", "$X is empty"},
      {"FROM a\nCOPY b\n", "Imagefile:2: COPY: expected COPY SOURCE... DESTINATION"},
      {"FROM a\nCOPY b c d\n", "expected a directory with '/'"},
      {"FROM a\nCOPY --what b c\n", "--what: there is no such option"},
      {"FROM a\nRUN --mount=type=cache,target=/x b\n", "--mount is not supported"},
      {"FROM a\nCOPY --from=0 b c\n", "the number of an earlier stage"},
      {"FROM a AS x\nCOPY --from=X b c\n", "this stage itself"},
      {"FROM a\nENV A=1 B\n", "B: expected NAME=VALUE"},
      {"FROM a\nENV A\n", "A: expected NAME=VALUE"},
      {"FROM a\nSHELL /bin/sh\n", "expected SHELL [\"PROGRAM\""},
      {"FROM a\nUSER a b\n", "expected USER NAME[:GROUP]"},
      {"FROM a\nRUN\n", "expected RUN COMMAND"},
  };
  for (const auto& [text, expected] : cases) EXPECT_THAT(failure(text), HasSubstr(expected)) << text;
}

TEST(Parser, KeywordsOfOthersArePrintedSafely) {
  EXPECT_THAT(failure("FROM a\n\x1b[2Jfoo x\n"), HasSubstr("Imagefile:2: ?[2JFOO: "));
}

}  // namespace
}  // namespace varve::recipe
