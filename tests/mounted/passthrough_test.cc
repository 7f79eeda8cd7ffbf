// Files of the upper that the kernel reads and writes itself (docs/decisions/0012): which these are, and that nothing else is
// different. What may go wrong there is run with and without it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {
namespace {

constexpr std::size_t kMiB = 1 << 20;

// How often the kernel has sent this kind of request to a daemon that was started with -d.
std::size_t requests(const MountedStack& stack, const std::string& opcode) {
  const std::string log = stack.log();
  const std::string words = "opcode: " + opcode + " (";
  std::size_t count = 0;
  for (std::size_t at = log.find(words); at != std::string::npos; at = log.find(words, at + 1)) ++count;
  return count;
}

std::size_t data_requests(const MountedStack& stack) {
  return requests(stack, "READ") + requests(stack, "WRITE");
}

// RELEASE comes after close(2) has returned.
void wait_until_closed(const MountedStack& stack) {
  for (int i = 0; i < 1000; ++i) {
    if (requests(stack, "RELEASE") == requests(stack, "OPEN") + requests(stack, "CREATE")) return;
    ::usleep(10'000);
  }
  ADD_FAILURE() << "a file stays open";
}

void expect_data_passes_by(const MountedStack& stack, const std::string& path) {
  const std::size_t before = data_requests(stack);
  const std::string text = noise(2 * kMiB, 7);
  write_at(path, 0, text);
  EXPECT_TRUE(read_at(path, 0, text.size()) == text);
  EXPECT_EQ(data_requests(stack), before) << path;
}

TEST(Passthrough, ServesFilesThatLieWhollyInTheUpper) {
  VARVE_NEEDS(kPassthrough);
  MountedStack stack{StackShape{.lowers = 1, .debug = true}};
  write_file(stack.lower(0, "emptied"), noise(kMiB, 1));
  write_file(stack.lower(0, "partly"), noise(kMiB, 2));
  ASSERT_TRUE(stack.mount());
  UniqueFd born = open_file(stack.at("born"), O_RDWR | O_CREAT | O_EXCL);
  expect_data_passes_by(stack, stack.at("born"));
  ASSERT_EQ(outcome(::truncate(stack.at("emptied").c_str(), 0)), "ok");
  expect_data_passes_by(stack, stack.at("emptied"));
  const std::size_t before = data_requests(stack);
  write_at(stack.at("partly"), 10, "some");
  EXPECT_GT(data_requests(stack), before) << "a partly copied file is not the kernel's";
  born.reset();
  ASSERT_TRUE(stack.remount());
  expect_data_passes_by(stack, stack.at("born"));
}

// The kernel refuses to stack so high (ELOOP).
TEST(Passthrough, IsDoneWithoutOnAnUpperThatIsPassedThroughItself) {
  MountedStack below;
  ASSERT_TRUE(below.mount());
  for (const char* name : {"u", "w"}) make_directories(below.at(name));
  const std::string top = below.scratch() + "/top";
  make_directories(top);
  ASSERT_EQ(
      run({program("varvefs"), "-o", "upperdir=" + below.at("u") + ",workdir=" + below.at("w"), top}).err,
      "");
  const std::string text = noise(kMiB, 8);
  write_file(top + "/f", text);
  EXPECT_TRUE(read_file(top + "/f") == text);
  write_at(top + "/f", 5000, "changed");
  EXPECT_EQ(read_at(top + "/f", 4999, 9), text.substr(4999, 1) + "changed" + text.substr(5007, 1));
  EXPECT_EQ(run({"umount", top}).exit_status, 0);
  EXPECT_EQ(read_at(below.at("u/f"), 5000, 7), "changed");
}

TEST(Passthrough, IsNotUsedWhenItIsSwitchedOff) {
  MountedStack stack{StackShape{.lowers = 1, .options = "passthrough=off", .debug = true}};
  ASSERT_TRUE(stack.mount());
  write_file(stack.at("born"), "text");
  EXPECT_EQ(requests(stack, "WRITE"), 1U);
}

TEST(Passthrough, AsksForCapabilitiesOnceNotBeforeEachWrite) {
  MountedStack stack{StackShape{.lowers = 1, .options = "passthrough=off", .debug = true}};
  ASSERT_TRUE(stack.mount());
  const UniqueFd fd = open_file(stack.at("f"), O_WRONLY | O_CREAT);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(::pwrite(fd.get(), "line\n", 5, i * 5), 5);
  EXPECT_EQ(requests(stack, "WRITE"), 20U);
  EXPECT_LE(requests(stack, "GETXATTR"), 1U);
}

TEST(Passthrough, BeginsOnceNoOpenOfTheOldWayIsLeft) {
  VARVE_NEEDS(kPassthrough);
  MountedStack stack{StackShape{.lowers = 1, .debug = true}};
  const std::string before = noise(kMiB, 3);
  std::string after = noise(kMiB, 4);
  write_file(stack.lower(0, "f"), before);
  ASSERT_TRUE(stack.mount());
  const std::string path = stack.at("f");
  UniqueFd old = open_file(path, O_RDONLY);
  {
    const UniqueFd writer = open_file(path, O_RDWR);
    EXPECT_EQ(::pwrite(writer.get(), after.data(), after.size(), 0), static_cast<ssize_t>(kMiB));
    EXPECT_EQ(outcome(::fsync(writer.get())), "ok");
  }
  EXPECT_TRUE(read_at(old.get(), 0, kMiB) == after);
  const std::size_t requests_before = data_requests(stack);
  write_at(path, 5, "through the daemon");
  after.replace(5, 18, "through the daemon");
  EXPECT_GT(data_requests(stack), requests_before) << "the old open is still there";
  EXPECT_TRUE(read_at(old.get(), 0, kMiB) == after);
  old.reset();
  wait_until_closed(stack);
  EXPECT_TRUE(read_at(path, 0, kMiB) == after);
  expect_data_passes_by(stack, path);
}

TEST(Passthrough, ReadsNoPagesFromBeforeIt) {
  MountedStack stack{StackShape{.lowers = 1, .debug = true}};
  write_file(stack.lower(0, "f"), std::string(kMiB, 'a'));
  ASSERT_TRUE(stack.mount());
  const std::string path = stack.at("f");
  write_at(path, 0, std::string(kMiB, 'b'));
  EXPECT_EQ(read_at(path, 4096, 4), "bbbb") << "now in the page cache";
  {
    const UniqueFd fd = open_file(path, O_RDWR);
    ASSERT_EQ(outcome(::fsync(fd.get())), "ok");
  }
  wait_until_closed(stack);
  write_at(path, 4096, "cccc");
  EXPECT_EQ(read_at(path, 4096, 4), "cccc");
  // A file with set-id bits goes through the daemon.
  ASSERT_EQ(outcome(::chmod(path.c_str(), 04755)), "ok");
  wait_until_closed(stack);
  EXPECT_EQ(read_at(path, 4096, 4), "cccc");
}

std::string way_name(const testing::TestParamInfo<bool>& passed_through) {
  return passed_through.param ? "PassedThrough" : "Asked";
}

// With passthrough where the machine allows it, and without.
class EitherWay : public testing::TestWithParam<bool> {
 protected:
  MountedStack stack{StackShape{.lowers = 1, .options = GetParam() ? "" : "passthrough=off"}};
};
INSTANTIATE_TEST_SUITE_P(Of, EitherWay, testing::Bool(), way_name);

// Of sizes that are no multiple of anything, so that the last request asks for more than there is; asked for anew, not out of the
// kernel's cache: a file of a layer that is a directory, and one of the upper.
TEST_P(EitherWay, LargeReadsBringWhatTheFileBelowHas) {
  const std::size_t sizes[] = {kMiB + 4097, 200'001, 32'768, 32'767};
  const auto content_of = [](std::size_t size) { return noise(size, static_cast<unsigned>(size)); };
  const auto name_of = [](std::size_t size) { return "f" + std::to_string(size); };
  for (const std::size_t size : sizes) write_file(stack.lower(0, name_of(size)), content_of(size));
  ASSERT_TRUE(stack.mount());
  for (const std::size_t size : sizes) {
    SCOPED_TRACE(size);
    const std::string name = name_of(size);
    const std::string content = content_of(size);
    EXPECT_TRUE(read_file(stack.at(name)) == content);
    write_file(stack.at("new" + name), content);
    const UniqueFd fd = open_file(stack.at("new" + name), O_RDONLY);
    ASSERT_EQ(::fsync(fd.get()), 0);
    ASSERT_EQ(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
    EXPECT_TRUE(read_file(stack.at("new" + name)) == content);
  }
}

TEST_P(EitherWay, StoresIntoAMappingShowInTheTimes) {
  ASSERT_TRUE(stack.mount());
  write_file(stack.at("f"), std::string(8192, '.'));
  const struct timespec old[2] = {{.tv_sec = 1000, .tv_nsec = 0}, {.tv_sec = 1000, .tv_nsec = 0}};
  ASSERT_EQ(outcome(::utimensat(AT_FDCWD, stack.at("f").c_str(), old, 0)), "ok");
  EXPECT_EQ(stat_of(stack.at("f")).st_mtim.tv_sec, 1000);
  const UniqueFd fd = open_file(stack.at("f"), O_RDWR);
  void* const map = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  static_cast<char*>(map)[5000] = '!';
  ASSERT_EQ(outcome(::msync(map, 8192, MS_SYNC)), "ok");
  EXPECT_GT(stat_of(stack.at("f")).st_mtim.tv_sec, 1000);
  EXPECT_EQ(read_at(stack.at("f"), 4999, 3), ".!.");
  ::munmap(map, 8192);
}

TEST_P(EitherWay, AWriteBySomebodyElseTakesSetIdBits) {
  VARVE_NEEDS(kOtherOwners);
  ASSERT_TRUE(stack.mount());
  const std::string path = stack.at("f");
  write_file(path, "program");
  const auto prepare = [&](mode_t mode) { ASSERT_EQ(outcome(::chmod(path.c_str(), mode)), "ok"); };
  const auto mode = [&] { return stat_of(path).st_mode & 07777U; };
  prepare(06777);
  EXPECT_EQ(mode(), 06777U);
  EXPECT_EQ(run_as(1234, 1234, [&] { return ::open(path.c_str(), O_RDONLY) < 0 ? errno : 0; }), 0);
  EXPECT_EQ(mode(), 06777U) << "reading takes nothing";
  EXPECT_EQ(run_as(1234, 1234,
                   [&] {
                     const int fd = ::open(path.c_str(), O_WRONLY);
                     return fd >= 0 && ::pwrite(fd, "P", 1, 0) == 1 ? 0 : errno;
                   }),
            0);
  EXPECT_EQ(mode(), 0777U);
  prepare(06777);
  EXPECT_EQ(run_as(1234, 1234, [&] { return ::truncate(path.c_str(), 3) == 0 ? 0 : errno; }), 0);
  EXPECT_EQ(mode(), 0777U);
  prepare(06777);
  EXPECT_EQ(run_as(1234, 1234, [&] { return ::open(path.c_str(), O_WRONLY | O_TRUNC) >= 0 ? 0 : errno; }), 0);
  EXPECT_EQ(mode(), 0777U);
  prepare(06777);
  EXPECT_EQ(run_as(1234, 1234,
                   [&] {
                     const int fd = ::open(path.c_str(), O_WRONLY);
                     return fd >= 0 && ::fallocate(fd, 0, 0, 4096) == 0 ? 0 : errno;
                   }),
            0);
  EXPECT_EQ(mode(), 0777U);
  prepare(06767);
  EXPECT_EQ(run_as(1234, 1234,
                   [&] {
                     const int fd = ::open(path.c_str(), O_WRONLY);
                     return fd >= 0 && ::pwrite(fd, "P", 1, 0) == 1 ? 0 : errno;
                   }),
            0);
  EXPECT_EQ(mode(), 02767U) << "without execution by the group it is no set-id bit";
  if (!lack_of(Right::kRootOfHost).empty()) return;
  prepare(04755);
  write_at(path, 0, "root");
  EXPECT_EQ(mode(), 04755U) << "root of the host keeps it";
}

TEST_P(EitherWay, AWriteThroughAnOldDescriptorTakesNewSetIdBits) {
  VARVE_NEEDS(kOtherOwners);
  ASSERT_TRUE(stack.mount());
  const std::string path = stack.at("f");
  write_file(path, "program");
  ASSERT_EQ(outcome(::chmod(path.c_str(), 0777)), "ok");
  int ready[2];
  int go[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(go), 0);
  const pid_t writer = ::fork();
  if (writer == 0) {
    char byte = 0;
    if (::setresgid(1234, 1234, 1234) != 0 || ::setresuid(1234, 1234, 1234) != 0) ::_exit(1);
    const int fd = ::open(path.c_str(), O_WRONLY);
    const bool told = fd >= 0 && ::write(ready[1], "r", 1) == 1 && ::read(go[0], &byte, 1) == 1;
    ::_exit(told && ::pwrite(fd, "X", 1, 0) == 1 ? 0 : 2);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ASSERT_EQ(outcome(::chmod(path.c_str(), 04755)), "ok");
  EXPECT_EQ(stat_of(path).st_mode & 07777U, 04755U);
  ASSERT_EQ(::write(go[1], "g", 1), 1);
  int status = -1;
  ASSERT_EQ(::waitpid(writer, &status, 0), writer);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(stat_of(path).st_mode & 07777U, 0755U);
  ASSERT_TRUE(stack.remount());
  EXPECT_EQ(stat_of(path).st_mode & 07777U, 0755U);
  for (const int end : {ready[0], ready[1], go[0], go[1]}) ::close(end);
}

// As tar and dpkg unpack a program.
TEST_P(EitherWay, SetIdBitsSetAfterTheLastWriteStay) {
  ASSERT_TRUE(stack.mount());
  {
    const UniqueFd fd = open_file(stack.at("f"), O_RDWR | O_CREAT);
    ASSERT_EQ(::write(fd.get(), "program", 7), 7);
    ASSERT_EQ(outcome(::fchmod(fd.get(), 04755)), "ok");
    const struct timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, {.tv_sec = 1000, .tv_nsec = 0}};
    ASSERT_EQ(outcome(::futimens(fd.get(), times)), "ok");
  }
  EXPECT_EQ(stat_of(stack.at("f")).st_mode & 07777U, 04755U);
  ASSERT_TRUE(stack.remount());
  EXPECT_EQ(stat_of(stack.at("f")).st_mode & 07777U, 04755U);
  EXPECT_EQ(stat_of(stack.at("f")).st_mtim.tv_sec, 1000);
}

TEST_P(EitherWay, PartsOfAFileArriveByWhateverCallsChangeIt) {
  ASSERT_TRUE(stack.mount());
  const std::string path = stack.at("f");
  std::string model = noise(64 * 1024, 9);
  write_file(path, model);
  UniqueFd fd = open_file(path, O_RDWR);
  ASSERT_EQ(outcome(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 8192)), "ok");
  model.replace(8192, 8192, std::string(8192, '\0'));
  loff_t from = 0;
  loff_t to = 32'768;
  ASSERT_EQ(::copy_file_range(fd.get(), &from, fd.get(), &to, 4096, 0), 4096);
  model.replace(32'768, 4096, model.substr(0, 4096));
  ASSERT_EQ(outcome(::ftruncate(fd.get(), 50'000)), "ok");
  model.resize(50'000);
  ASSERT_EQ(outcome(::ftruncate(fd.get(), 60'000)), "ok");
  model.resize(60'000);
  UniqueFd appender = open_file(path, O_WRONLY | O_APPEND);
  ASSERT_EQ(::write(appender.get(), "end", 3), 3);
  model += "end";
  EXPECT_EQ(stat_of(path).st_size, static_cast<off_t>(model.size()));
  EXPECT_EQ(::lseek(fd.get(), 8192, SEEK_DATA), 16'384);
  EXPECT_TRUE(read_file(path) == model);
  fd.reset();
  appender.reset();
  ASSERT_TRUE(stack.remount());
  EXPECT_TRUE(read_file(path) == model);
}

}  // namespace
}  // namespace varve::test
