#include "launcher/outside/container_log.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/unit/launcher/scratch_directory.h"

namespace varve::launcher {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ContainerLogTest : public ::testing::Test {
 protected:
  ContainerLog open(const LogLimits& limits = {}) {
    ResultOrFailure<ContainerLog> log = ContainerLog::open(path_, limits);
    EXPECT_TRUE(log.ok());
    log->set_clock([this]() { return now_; });
    return std::move(*log);
  }
  std::vector<std::string> lines(const std::string& suffix = "") {
    std::ifstream file(path_ + suffix);
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }

  ScratchDirectory scratch_;
  std::string path_ = scratch_.path() + "/output.log";
  struct timespec now_ = {.tv_sec = 1764324000, .tv_nsec = 5};
};

TEST_F(ContainerLogTest, LinesAreWrittenWhenTheyEnd) {
  ContainerLog log = open();
  log.write(LogStream::kOut, "one\ntw");
  log.write(LogStream::kErr, "bad\n");
  EXPECT_THAT(lines(), ElementsAre("2025-11-28T10:00:00.000000005Z stdout F one",
                                   "2025-11-28T10:00:00.000000005Z stderr F bad"));
  log.write(LogStream::kOut, "o\n\n");
  log.write(LogStream::kOut, "rest");
  log.finish();
  const std::vector<std::string> all = lines();
  ASSERT_EQ(all.size(), 5U);
  EXPECT_EQ(all[2], "2025-11-28T10:00:00.000000005Z stdout F two");
  EXPECT_EQ(all[3], "2025-11-28T10:00:00.000000005Z stdout F ");
  EXPECT_EQ(all[4], "2025-11-28T10:00:00.000000005Z stdout P rest");
}

TEST_F(ContainerLogTest, LongLinesComeInPartsThatMakeUpTheLine) {
  ContainerLog log = open();
  std::string text;
  for (std::size_t i = 0; i < 2 * ContainerLog::kMaxLineBytes + 10; ++i)
    text += static_cast<char>('a' + i % 26);
  log.write(LogStream::kOut, text + "\n");
  std::string joined;
  std::vector<bool> ends;
  for (const std::string& line : lines()) {
    const Result<LogLine> parsed = parse_log_line(line);
    ASSERT_TRUE(parsed.ok());
    joined += parsed->text;
    ends.push_back(parsed->ends);
  }
  EXPECT_EQ(joined, text);
  EXPECT_THAT(ends, ElementsAre(false, false, true));
}

TEST_F(ContainerLogTest, IsRotatedAtItsGreatestSizeAndTheOldestGoes) {
  ContainerLog log = open({.max_bytes = 100, .max_files = 3});  // two lines of 44 bytes each
  for (int i = 0; i < 9; ++i) log.write(LogStream::kOut, "number " + std::to_string(i) + "\n");
  const auto ends = [](const std::string& line) { return line.substr(line.size() - 1); };
  ASSERT_EQ(lines().size(), 1U);
  EXPECT_EQ(ends(lines()[0]), "8");
  ASSERT_EQ(lines(".1").size(), 2U);
  EXPECT_EQ(ends(lines(".1")[0]), "6");
  ASSERT_EQ(lines(".2").size(), 2U);
  EXPECT_EQ(ends(lines(".2")[0]), "4");
  EXPECT_FALSE(std::filesystem::exists(path_ + ".3"));
}

TEST_F(ContainerLogTest, ASingleFileBeginsAnew) {
  ContainerLog log = open({.max_bytes = 100, .max_files = 1});
  for (int i = 0; i < 3; ++i) log.write(LogStream::kOut, "number " + std::to_string(i) + "\n");
  EXPECT_EQ(lines().size(), 1U);
  EXPECT_THAT(lines(".1"), IsEmpty());
}

TEST_F(ContainerLogTest, GoesOnWhereAnotherEnded) {
  open().write(LogStream::kOut, "one\n");
  open().write(LogStream::kOut, "two\n");
  EXPECT_EQ(lines().size(), 2U);
}

TEST(LogLine, OtherTextIsRefused) {
  for (const char* bad : {"", "x", "2025 stdout", "2025 stdin F x", "2025 stdout X x", " stdout F x"}) {
    EXPECT_FALSE(parse_log_line(bad).ok()) << bad;
  }
  const Result<LogLine> line = parse_log_line("T stderr P a b ");
  ASSERT_TRUE(line.ok());
  EXPECT_EQ(line->stream, LogStream::kErr);
  EXPECT_FALSE(line->ends);
  EXPECT_EQ(line->text, "a b ");
}

}  // namespace
}  // namespace varve::launcher
