#include "launcher/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace varve::launcher {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

RunOptions parsed_run(const std::vector<std::string>& arguments) {
  const CommandLine line = parse_command_line(arguments);
  const auto* wrong = std::get_if<WrongUsage>(&line);
  EXPECT_EQ(wrong, nullptr) << wrong->text;
  const auto* run = std::get_if<RunOptions>(&line);
  return run == nullptr ? RunOptions{} : *run;
}

std::string complaint(const std::vector<std::string>& arguments) {
  const CommandLine line = parse_command_line(arguments);
  const auto* wrong = std::get_if<WrongUsage>(&line);
  return wrong == nullptr ? "" : wrong->text;
}

TEST(CommandLine, OptionsAfterTheImageBelongToTheCommand) {
  const RunOptions options = parsed_run({"run", "--rm", "debian", "sh", "-c", "--rm", "--", "-i"});
  EXPECT_EQ(options.image, "debian");
  EXPECT_THAT(options.arguments, ElementsAre("sh", "-c", "--rm", "--", "-i"));
  EXPECT_FALSE(options.interactive);
}

TEST(CommandLine, DoubleDashEndsTheOptions) {
  const RunOptions options = parsed_run({"run", "--", "debian", "-x"});
  EXPECT_EQ(options.image, "debian");
  EXPECT_THAT(options.arguments, ElementsAre("-x"));
}

TEST(CommandLine, ImageMayBeNamedLikeACommand) {
  EXPECT_EQ(parsed_run({"run", "ps"}).image, "ps");
}

TEST(CommandLine, ShortFlagsMayBeJoined) {
  const RunOptions options = parsed_run({"run", "-it", "debian"});
  EXPECT_TRUE(options.interactive);
  EXPECT_TRUE(options.terminal);
}

TEST(CommandLine, RepeatedOptionTakesOneWordEachTime) {
  const RunOptions options =
      parsed_run({"run", "-e", "A=1", "-e", "B", "--cap-add", "kill", "debian", "env"});
  EXPECT_THAT(options.environment, ElementsAre("A=1", "B"));
  EXPECT_THAT(options.capabilities_added, ElementsAre("kill"));
  EXPECT_EQ(options.image, "debian");
}

TEST(CommandLine, ValueMayFollowAnEqualsSign) {
  EXPECT_EQ(parsed_run({"run", "--name=web", "debian"}).name, "web");
}

TEST(CommandLine, UnknownOptionIsRefusedByName) {
  EXPECT_THAT(complaint({"run", "--no-such", "1g", "debian"}), HasSubstr("--no-such"));
  EXPECT_THAT(complaint({"run", "-y", "/a:/b", "debian"}), HasSubstr("-y"));
}

TEST(CommandLine, MissingImageIsRefused) {
  EXPECT_THAT(complaint({"run", "--rm"}), HasSubstr("no IMAGE"));
}

TEST(CommandLine, LayersStandForTheImage) {
  const RunOptions options = parsed_run({"run", "--layers", "a:b\\:c::d", "ls", "-l"});
  EXPECT_THAT(options.layers, ElementsAre("a", "b:c", "d"));
  EXPECT_THAT(options.arguments, ElementsAre("ls", "-l"));
  EXPECT_THAT(options.image, IsEmpty());
}

TEST(CommandLine, EmptyLayersAreRefused) {
  EXPECT_THAT(complaint({"run", "--layers", ":", "ls"}), HasSubstr("--layers"));
}

TEST(CommandLine, EmptyEntrypointIsAnEntrypoint) {
  EXPECT_EQ(parsed_run({"run", "--entrypoint", "", "debian"}).entrypoint, "");
  EXPECT_EQ(parsed_run({"run", "debian"}).entrypoint, std::nullopt);
}

TEST(CommandLine, UnknownNamespaceIsRefused) {
  EXPECT_THAT(complaint({"run", "--share", "net,moon", "debian"}), HasSubstr("moon"));
}

TEST(CommandLine, UnknownCommandIsRefused) {
  EXPECT_THAT(complaint({"jump"}), HasSubstr("jump"));
}

TEST(CommandLine, HelpShowsExamples) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"--help"}, {"run", "--help"}, {"ps", "--help"}, {"rm", "--help"}, {"inspect", "--help"}}) {
    const CommandLine line = parse_command_line(arguments);
    const auto* text = std::get_if<ShowText>(&line);
    ASSERT_NE(text, nullptr) << arguments[0];
    EXPECT_THAT(text->text, HasSubstr("Example"));
  }
}

TEST(CommandLine, HelpOfRunAndExecNamesTheWordsBehindTheOptions) {
  const CommandLine run = parse_command_line({"run", "--help"});
  EXPECT_THAT(std::get<ShowText>(run).text, HasSubstr("[IMAGE|ROOTFS-DIR] [COMMAND] [ARG...]"));
  const CommandLine exec = parse_command_line({"exec", "--help"});
  EXPECT_THAT(std::get<ShowText>(exec).text, HasSubstr("CONTAINER COMMAND [ARG...]"));
}

TEST(CommandLine, NamesAloneAreNoJson) {
  EXPECT_THAT(complaint({"ps", "-q", "--json"}), HasSubstr("--json"));
  EXPECT_TRUE(std::get<ListOptions>(parse_command_line({"ps", "-aq"})).quiet);
}

}  // namespace
}  // namespace varve::launcher
