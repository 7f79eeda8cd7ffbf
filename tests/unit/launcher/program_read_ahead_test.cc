#include "launcher/inside/program_read_ahead.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/base/unique_fd.h"
#include "tests/unit/launcher/scratch_directory.h"

namespace varve::launcher {
namespace {

class ProgramReadAhead : public testing::Test {
 protected:
  ProgramReadAhead() {
    root_.make_directory("bin");
    root_.make_directory("usr/bin");
    process_.environment.set("PATH", "/usr/bin::/bin");
  }

  off_t begin(const std::string& program) {
    process_.arguments = {program};
    const UniqueFd root(::open(root_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    return begin_reading_program(root.get(), process_);
  }
  std::string at(const std::string& path) const { return root_.path() + "/" + path; }

  ScratchDirectory root_;
  ProcessPlan process_;
};

TEST_F(ProgramReadAhead, FindsTheProgramAsItsStartWill) {
  root_.write_file("bin/tool", "12345");
  EXPECT_EQ(begin("tool"), 5);
  root_.write_file("usr/bin/tool", "123");
  EXPECT_EQ(begin("tool"), 3);
  EXPECT_EQ(begin("/bin/tool"), 5);
  process_.working_directory = "/bin";
  EXPECT_EQ(begin("./tool"), 5);
  EXPECT_EQ(begin("none"), 0);
  EXPECT_EQ(begin(""), 0);
}

TEST_F(ProgramReadAhead, LinksStayWithinTheRoot) {
  root_.write_file("usr/bin/busybox", "1234567");
  ASSERT_EQ(::symlink("/usr/bin/busybox", at("bin/sh").c_str()), 0);
  ASSERT_EQ(::symlink("../../../../../../../../etc/passwd", at("bin/out").c_str()), 0);
  ASSERT_EQ(::symlink("loop", at("bin/loop").c_str()), 0);
  EXPECT_EQ(begin("sh"), 7);
  EXPECT_EQ(begin("/bin/out"), 0);
  EXPECT_EQ(begin("/bin/loop"), 0);
}

TEST_F(ProgramReadAhead, WhatIsNoFileIsPassedOver) {
  ASSERT_EQ(::mkfifo(at("usr/bin/tool").c_str(), 0777), 0);
  root_.make_directory("bin/tool");
  EXPECT_EQ(begin("tool"), 0);
}

TEST_F(ProgramReadAhead, OfALargeProgramOnlyTheBeginning) {
  root_.write_file("bin/large", "");
  ASSERT_EQ(::truncate(at("bin/large").c_str(), 64 << 20), 0);
  EXPECT_EQ(begin("large"), 4 << 20);
}

}  // namespace
}  // namespace varve::launcher
