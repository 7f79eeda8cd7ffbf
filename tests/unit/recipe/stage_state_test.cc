#include "imagetool/recipe/stage_state.h"

#include <gmock/gmock.h>

#include "imagetool/image/store/json_text.h"
#include "tests/unit/image/scratch_directory.h"

namespace varve::recipe {
namespace {

using image::must;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

// Carries out the instructions of one stage; the last text is kept.
class StageStateTest : public ::testing::Test {
 protected:
  void apply(std::string_view text) {
    const Variables given = [this](std::string_view name) -> std::optional<std::string> {
      const auto found = build_args_.find(std::string(name));
      return found == build_args_.end() ? std::nullopt : std::optional(found->second);
    };
    const Recipe recipe = must(parse_recipe(globals_ + "FROM x\n" + std::string(text), "F", given));
    for (const Instruction& step : recipe.stages.at(0).steps) {
      understood_ = step.keyword == "WORKDIR"
                        ? must(apply_working_directory(step, recipe.escape, state_))
                        : must(apply_setting(step, {.recipe = recipe, .build_args = given}, state_));
    }
  }
  std::string failure(std::string_view text) {
    try {
      apply(text);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "no failure";
  }
  image::Json docker_field(const char* name) {
    return image::Json::parse(state_.config.source_json)["config"][name];
  }

  std::string globals_;
  std::map<std::string, std::string> build_args_;
  StageState state_ = begin_from_scratch();
  std::string understood_;
};

TEST_F(StageStateTest, EnvironmentReplacesAndSeesWhatWasBefore) {
  apply("ENV A=1 B=2\nENV A=3 C=$A/$B D='$A'\nENV E  all  of it\n");
  EXPECT_THAT(state_.config.env, ElementsAre("A=3", "B=2", "C=1/2", "D=$A", "E=all  of it"));
  EXPECT_EQ(understood_, "ENV E=all  of it");
}

TEST_F(StageStateTest, ThereIsAPathToAddTo) {
  apply("ENV PATH=/opt/bin:$PATH\nENV PATH=$PATH:/end\n");
  EXPECT_THAT(state_.config.env,
              ElementsAre("PATH=/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/end"));
}

TEST_F(StageStateTest, ArgumentsComeFromThePersonThenTheDefault) {
  build_args_ = {{"A", "given"}, {"G", "global given"}};
  globals_ = "ARG G=global\nARG H=h\n";
  apply("ARG A=default B=${A}2\nARG G\nARG H=own\nARG NONE\nARG TARGETOS\n");
  EXPECT_THAT(state_.args, ElementsAre(Pair("A", "given"), Pair("B", "given2"), Pair("G", "global given"),
                                       Pair("H", "own"), Pair("TARGETOS", "linux")));
}

TEST_F(StageStateTest, EnvironmentHidesArguments) {
  apply("ARG A=arg\nARG B=b\nENV A=env\nLABEL l=$A$B\n");
  EXPECT_EQ(state_.config.labels.at("l"), "envb");
  EXPECT_THAT(state_.environment(), ElementsAre("B=b", "A=env"));
  EXPECT_THAT(begin_on(state_).environment(), ElementsAre("A=env")) << "arguments end with their stage";
}

TEST_F(StageStateTest, CommandsHaveTwoForms) {
  apply("CMD a $X\n");
  EXPECT_THAT(state_.config.cmd, ElementsAre("/bin/sh", "-c", "a $X"));
  apply("SHELL [\"/bin/bash\", \"-ec\"]\nENTRYPOINT b\nCMD [\"c\"]\n");
  EXPECT_THAT(state_.config.entrypoint, ElementsAre("/bin/bash", "-ec", "b"));
  EXPECT_THAT(state_.config.cmd, ElementsAre("c"));
  EXPECT_THAT(docker_field("Shell"), ElementsAre("/bin/bash", "-ec"));
  EXPECT_THAT(begin_on(state_).shell(), ElementsAre("/bin/bash", "-ec")) << "the shell goes on";
}

TEST_F(StageStateTest, EntrypointForgetsTheCommandOfTheImageBelow) {
  state_.config.cmd = {"inherited"};
  apply("ENTRYPOINT [\"e\"]\n");
  EXPECT_THAT(state_.config.cmd, IsEmpty());
  apply("CMD [\"own\"]\nENTRYPOINT [\"f\"]\n");
  EXPECT_THAT(state_.config.cmd, ElementsAre("own"));
}

TEST_F(StageStateTest, PortsAndVolumesAreListed) {
  apply("ENV P=\"80 90/udp\"\nEXPOSE $P 80 7000-7002\nVOLUME /a $P\nVOLUME [\"/b c\"]\n");
  EXPECT_THAT(state_.config.exposed_ports,
              ElementsAre("80/tcp", "90/udp", "7000/tcp", "7001/tcp", "7002/tcp"));
  EXPECT_THAT(state_.config.volumes, ElementsAre("/a", "80 90/udp", "/b c"));
  for (const char* bad : {"0", "65536", "9-8", "80/icmp", "x"}) {
    EXPECT_THAT(failure(std::string("EXPOSE ") + bad + "\n"), HasSubstr("expected a port")) << bad;
  }
}

TEST_F(StageStateTest, WorkingDirectoriesFollowEachOther) {
  apply("ENV D=x\nWORKDIR /a/$D\nWORKDIR ../y/./z\n");
  EXPECT_EQ(state_.config.working_dir, "/a/y/z");
  apply("WORKDIR /../..\n");
  EXPECT_EQ(state_.config.working_dir, "/");
}

TEST_F(StageStateTest, HealthChecksAreKept) {
  apply("HEALTHCHECK --interval=1m30s --retries=3 --start-period=500ms CMD curl -f x || exit 1\n");
  EXPECT_EQ(docker_field("Healthcheck"), image::Json::parse(R"({"Test":["CMD-SHELL","curl -f x || exit 1"],
      "Interval":90000000000,"Retries":3,"StartPeriod":500000000})"));
  apply("HEALTHCHECK CMD [\"true\"]\n");
  EXPECT_THAT(docker_field("Healthcheck")["Test"], ElementsAre("CMD", "true"));
  apply("HEALTHCHECK NONE\n");
  EXPECT_THAT(docker_field("Healthcheck")["Test"], ElementsAre("NONE"));
  EXPECT_THAT(failure("HEALTHCHECK --interval=x CMD a\n"), HasSubstr("expected a time"));
  EXPECT_THAT(failure("HEALTHCHECK what\n"), HasSubstr("expected HEALTHCHECK"));
}

TEST_F(StageStateTest, TheRestIsSet) {
  apply("ENV U=bob\nUSER $U:wheel\nSTOPSIGNAL SIGINT\nMAINTAINER A B <a@b>\nONBUILD RUN x\n");
  EXPECT_EQ(state_.config.user, "bob:wheel");
  EXPECT_EQ(state_.config.stop_signal, "SIGINT");
  EXPECT_EQ(state_.config.author, "A B <a@b>");
  EXPECT_EQ(state_.config.labels.at("maintainer"), "A B <a@b>");
}

TEST(StageKeys, FollowLayersAndConfigurationButNotHistory) {
  image::Image image{.name = "x:1",
                     .digest = image::Digest::of("m"),
                     .config_descriptor = {"", image::Digest::of("c"), 1},
                     .config = {},
                     .layers = {{"", image::Digest::of("l"), 1}},
                     .layer_paths = {"/l"}};
  const image::Digest key = begin_on(image).key;
  image.config.created = "2024-01-01T00:00:00Z";
  image.config.history.push_back({.created = "then", .created_by = "who"});
  EXPECT_EQ(begin_on(image).key, key);
  image.config.env = {"A=1"};
  EXPECT_NE(begin_on(image).key, key);
  image.config.env.clear();
  image.layers[0].digest = image::Digest::of("other");
  EXPECT_NE(begin_on(image).key, key);
}

}  // namespace
}  // namespace varve::recipe
