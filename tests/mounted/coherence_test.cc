// Locks, watches, mappings and running programs that were there before a file's first write, and must not notice its copy-up.

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/mounted/placed_tree.h"

namespace varve::test {
namespace {

// Runs body in a child process, which must return 0 (or an errno, which the failure then names).
testing::AssertionResult in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  if (::waitpid(child, &status, 0) == child && status == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "the child ended with "
                                     << (WIFEXITED(status) ? strerrorname_np(WEXITSTATUS(status))
                                                           : "a signal");
}

struct flock whole_file(short type) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  return range;
}

std::string set_lock(int fd, int command, short type) {
  struct flock range = whole_file(type);
  return outcome(::fcntl(fd, command, &range));
}

class Locks : public EverywhereTest {
 protected:
  void SetUp() override {
    write_file(tree.seed("f"), "content");
    ASSERT_EQ(outcome(::link(tree.seed("f").c_str(), tree.seed("linked").c_str())), "ok");
    ASSERT_TRUE(tree.begin());
  }
};
VARVE_EVERYWHERE(Locks);

TEST_P(Locks, OfProcessesExcludeAcrossCopyUp) {
  UniqueFd holder = open_file(tree.at("f"), O_RDONLY);
  ASSERT_EQ(set_lock(holder.get(), F_SETLK, F_RDLCK), "ok");
  // The first write is the child's: whoever closes a descriptor of the file gives up his own locks of it.
  EXPECT_TRUE(in_child([this] {
    const UniqueFd fd(::open(tree.at("linked").c_str(), O_RDWR | O_CLOEXEC));
    if (::pwrite(fd.get(), "C", 1, 0) != 1) return errno;
    if (set_lock(fd.get(), F_SETLK, F_RDLCK) != "ok") return EPROTO;  // shared with the holder
    if (set_lock(fd.get(), F_SETLK, F_WRLCK) != "EAGAIN") return ENOLCK;
    struct flock range = whole_file(F_WRLCK);
    if (::fcntl(fd.get(), F_GETLK, &range) != 0) return errno;
    return range.l_type == F_RDLCK && range.l_pid == ::getppid() ? 0 : ESRCH;
  }));
  EXPECT_EQ(read_at(holder.get(), 0, 100), "Content");
  ASSERT_EQ(set_lock(holder.get(), F_SETLK, F_UNLCK), "ok");
  EXPECT_TRUE(in_child([this] {
    const UniqueFd fd(::open(tree.at("f").c_str(), O_RDWR | O_CLOEXEC));
    return set_lock(fd.get(), F_SETLK, F_WRLCK) == "ok" ? 0 : ENOLCK;
  }));
}

TEST_P(Locks, WaitedForAreHadInTheEnd) {
  UniqueFd holder = open_file(tree.at("f"), O_RDWR);
  ASSERT_EQ(set_lock(holder.get(), F_SETLK, F_WRLCK), "ok");
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    const UniqueFd fd(::open(tree.at("f").c_str(), O_RDWR | O_CLOEXEC));
    const bool began = ::pwrite(fd.get(), "C", 1, 0) == 1 && ::write(writer.get(), "w", 1) == 1;
    const bool had = began && set_lock(fd.get(), F_SETLKW, F_WRLCK) == "ok";
    ::_exit(had && ::write(writer.get(), "h", 1) == 1 ? 0 : 1);
  }
  writer.reset();
  char byte = 0;
  ASSERT_EQ(::read(reader.get(), &byte, 1), 1);
  struct pollfd waiting {
    reader.get(), POLLIN, 0
  };
  EXPECT_EQ(::poll(&waiting, 1, 100), 0) << "the lock was had while another held it";
  ASSERT_EQ(set_lock(holder.get(), F_SETLK, F_UNLCK), "ok");
  EXPECT_EQ(::read(reader.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'h');
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_P(Locks, OfOpenFilesExcludeAcrossCopyUp) {
  const UniqueFd holder = open_file(tree.at("f"), O_RDONLY);
  ASSERT_EQ(set_lock(holder.get(), F_OFD_SETLK, F_RDLCK), "ok");
  const UniqueFd flock_holder = open_file(tree.at("linked"), O_RDONLY);
  ASSERT_EQ(outcome(::flock(flock_holder.get(), LOCK_SH | LOCK_NB)), "ok");
  write_at(tree.at("f"), 0, "C");
  const UniqueFd other = open_file(tree.at("linked"), O_RDWR);
  EXPECT_EQ(set_lock(other.get(), F_OFD_SETLK, F_WRLCK), "EAGAIN");
  EXPECT_EQ(set_lock(other.get(), F_OFD_SETLK, F_RDLCK), "ok");
  const UniqueFd third = open_file(tree.at("f"), O_RDWR);
  EXPECT_EQ(outcome(::flock(third.get(), LOCK_EX | LOCK_NB)), "EAGAIN");
  EXPECT_EQ(outcome(::flock(third.get(), LOCK_SH | LOCK_NB)), "ok");
  ASSERT_EQ(set_lock(holder.get(), F_OFD_SETLK, F_UNLCK), "ok");
  EXPECT_EQ(set_lock(other.get(), F_OFD_SETLK, F_WRLCK), "ok");
  ASSERT_EQ(outcome(::flock(flock_holder.get(), LOCK_UN)), "ok");
  EXPECT_EQ(outcome(::flock(third.get(), LOCK_EX | LOCK_NB)), "ok");
}

// Adds the events that wait in an inotify descriptor, as "NAME modify close ...", in their order.
void add_events(int watcher, std::vector<std::string>& events) {
  static const std::vector<std::pair<std::uint32_t, const char*>> kWords = {
      {IN_MODIFY, "modify"},       {IN_ATTRIB, "attrib"},    {IN_CLOSE_WRITE, "close"},
      {IN_MOVE_SELF, "move-self"}, {IN_DELETE_SELF, "gone"}, {IN_MOVED_FROM, "from"},
      {IN_MOVED_TO, "to"},         {IN_CREATE, "create"},    {IN_DELETE, "delete"},
      {IN_IGNORED, "end"},
  };
  alignas(struct inotify_event) char buffer[16384];
  const ssize_t size = ::read(watcher, buffer, sizeof buffer);
  for (ssize_t at = 0; at < size;) {
    struct inotify_event event {};
    std::memcpy(&event, buffer + at, sizeof event);
    std::string line = event.len > 0 ? buffer + at + sizeof event : "self";
    for (const auto& [bit, word] : kWords) {
      if ((event.mask & bit) != 0) line += std::string(" ") + word;
    }
    events.push_back(line);
    at += static_cast<ssize_t>(sizeof event + event.len);
  }
}

// The events so far, once there are `count`: the last ones of an inode come when the kernel drops it, which the closing of a file
// may delay. Fewer after ten seconds.
std::vector<std::string> events_of(int watcher, std::size_t count) {
  std::vector<std::string> events;
  for (int step = 0; step < 100 && events.size() < count; ++step) {
    struct pollfd waiting {
      watcher, POLLIN, 0
    };
    if (::poll(&waiting, 1, 100) == 1) add_events(watcher, events);
  }
  return events;
}

class Watches : public EverywhereTest {};
VARVE_EVERYWHERE(Watches);

TEST_P(Watches, OfAFileFireAcrossCopyUp) {
  write_file(tree.seed("f"), "content");
  ASSERT_TRUE(tree.begin());
  const UniqueFd watcher(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  ASSERT_GE(::inotify_add_watch(watcher.get(), tree.at("f").c_str(),
                                IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVE_SELF | IN_DELETE_SELF),
            0);
  using testing::ElementsAre;
  ASSERT_EQ(outcome(::chmod(tree.at("f").c_str(), 0600)), "ok");
  EXPECT_THAT(events_of(watcher.get(), 1), ElementsAre("self attrib"));
  write_at(tree.at("f"), 0, "C");
  EXPECT_THAT(events_of(watcher.get(), 2), ElementsAre("self modify", "self close"));
  ASSERT_EQ(outcome(::truncate(tree.at("f").c_str(), 3)), "ok");
  EXPECT_THAT(events_of(watcher.get(), 1), ElementsAre("self modify"));
  ASSERT_EQ(outcome(::rename(tree.at("f").c_str(), tree.at("g").c_str())), "ok");
  EXPECT_THAT(events_of(watcher.get(), 1), ElementsAre("self move-self"));
  ASSERT_EQ(outcome(::unlink(tree.at("g").c_str())), "ok");
  EXPECT_THAT(events_of(watcher.get(), 3), ElementsAre("self attrib", "self gone", "self end"));
}

TEST_P(Watches, OfADirectoryFireAcrossCopyUp) {
  write_file(tree.seed("d/f"), "content");
  write_file(tree.seed("d/g"), "content");
  ASSERT_TRUE(tree.begin());
  const UniqueFd watcher(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  ASSERT_GE(
      ::inotify_add_watch(watcher.get(), tree.at("d").c_str(),
                          IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_MOVE_SELF),
      0);
  write_at(tree.at("d/f"), 0, "C");
  ASSERT_EQ(outcome(::rename(tree.at("d/f").c_str(), tree.at("d/h").c_str())), "ok");
  ASSERT_EQ(outcome(::unlink(tree.at("d/g").c_str())), "ok");
  ASSERT_EQ(outcome(::rename(tree.at("d").c_str(), tree.at("e").c_str())), "ok");
  ASSERT_EQ(outcome(::mkdir(tree.at("e/new").c_str(), 0755)), "ok");
  write_at(tree.at("e/h"), 1, "O");
  EXPECT_THAT(events_of(watcher.get(), 7), testing::ElementsAre("f modify", "f from", "h to", "g delete",
                                                                "self move-self", "new create", "h modify"));
}

TEST_P(Watches, ByFanotifyFireAcrossCopyUp) {
  VARVE_NEEDS(kRootOfHost);
  write_file(tree.seed("f"), "content");
  ASSERT_TRUE(tree.begin());
  const UniqueFd watcher(::fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(watcher.valid()) << outcome(-1);
  ASSERT_EQ(outcome(::fanotify_mark(watcher.get(), FAN_MARK_ADD, FAN_MODIFY | FAN_CLOSE_WRITE, AT_FDCWD,
                                    tree.at("f").c_str())),
            "ok");
  write_at(tree.at("f"), 0, "C");
  std::uint64_t seen = 0;
  alignas(struct fanotify_event_metadata) char buffer[4096];
  for (ssize_t size; (size = ::read(watcher.get(), buffer, sizeof buffer)) > 0;) {
    auto* event = reinterpret_cast<struct fanotify_event_metadata*>(buffer);
    for (; FAN_EVENT_OK(event, size); event = FAN_EVENT_NEXT(event, size)) {
      seen |= event->mask;
      const UniqueFd file(event->fd);
      EXPECT_EQ(read_at(file.get(), 0, 100), "Content");
      EXPECT_EQ(stat_of(file.get()).st_ino, stat_of(tree.at("f")).st_ino);
    }
  }
  EXPECT_EQ(seen, std::uint64_t{FAN_MODIFY | FAN_CLOSE_WRITE});
}

class Mappings : public EverywhereTest {};
VARVE_EVERYWHERE(Mappings);

TEST_P(Mappings, MadeBeforeTheFirstWriteSeeEveryKindOfChange) {
  constexpr std::size_t kPage = 4096;
  const std::string content = noise(10 * kPage, 1);
  write_file(tree.seed("f"), content);
  write_file(tree.seed("from"), std::string(kPage, 'c'));
  ASSERT_EQ(outcome(::link(tree.seed("f").c_str(), tree.seed("linked").c_str())), "ok");
  ASSERT_TRUE(tree.begin());
  const UniqueFd reader = open_file(tree.at("f"), O_RDONLY);
  auto* seen = static_cast<char*>(::mmap(nullptr, content.size(), PROT_READ, MAP_SHARED, reader.get(), 0));
  ASSERT_NE(seen, MAP_FAILED);
  const auto page = [seen](std::size_t index) { return std::string(seen + index * kPage, kPage); };
  ASSERT_EQ(page(9), content.substr(9 * kPage));
  for (std::size_t i = 0; i < 10; ++i) ASSERT_EQ(seen[i * kPage], content[i * kPage]);
  const UniqueFd writer = open_file(tree.at("linked"), O_RDWR);
  EXPECT_EQ(::pwrite(writer.get(), std::string(kPage, 'w').data(), kPage, 0), ssize_t{kPage});
  EXPECT_EQ(page(0), std::string(kPage, 'w'));
  EXPECT_EQ(outcome(::fallocate(writer.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kPage, kPage)),
            "ok");
  EXPECT_EQ(page(1), std::string(kPage, '\0'));
  EXPECT_EQ(outcome(::fallocate(writer.get(), FALLOC_FL_ZERO_RANGE, 2 * kPage, kPage)), "ok");
  EXPECT_EQ(page(2), std::string(kPage, '\0'));
  const UniqueFd from = open_file(tree.at("from"), O_RDONLY);
  off_t to_offset = 3 * kPage;
  EXPECT_EQ(::copy_file_range(from.get(), nullptr, writer.get(), &to_offset, kPage, 0), ssize_t{kPage});
  EXPECT_EQ(page(3), std::string(kPage, 'c'));
  auto* stored =
      static_cast<char*>(::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, writer.get(), 4 * kPage));
  ASSERT_NE(stored, MAP_FAILED);
  std::memset(stored, 's', kPage);
  EXPECT_EQ(page(4), std::string(kPage, 's'));
  ::munmap(stored, kPage);
  EXPECT_EQ(outcome(::ftruncate(writer.get(), 5 * kPage + 1)), "ok");
  EXPECT_EQ(outcome(::ftruncate(writer.get(), 10 * kPage)), "ok");
  EXPECT_EQ(page(5), content.substr(5 * kPage, 1) + std::string(kPage - 1, '\0'));
  EXPECT_EQ(page(9), std::string(kPage, '\0'));
  EXPECT_TRUE(read_file(tree.at("f")) == std::string(seen, content.size()));
  ::munmap(seen, content.size());
}

class RunningPrograms : public EverywhereTest {};
VARVE_EVERYWHERE(RunningPrograms);

TEST_P(RunningPrograms, AreNotWrittenTo) {
  ASSERT_EQ(run({"cp", "/bin/sleep", tree.seed("program")}).exit_status, 0);
  ASSERT_TRUE(tree.begin());
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl(tree.at("program").c_str(), "program", "60", nullptr);
    ::_exit(errno);
  }
  writer.reset();
  char byte = 0;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 0);  // closed by exec
  const std::string path = tree.at("program");
  EXPECT_EQ(outcome(::open(path.c_str(), O_WRONLY | O_CLOEXEC)), "ETXTBSY");
  EXPECT_EQ(outcome(::open(path.c_str(), O_RDWR | O_TRUNC | O_CLOEXEC)), "ETXTBSY");
  EXPECT_EQ(outcome(::truncate(path.c_str(), 0)), "ETXTBSY");
  EXPECT_EQ(outcome(::chmod(path.c_str(), 0755)), "ok");
  EXPECT_EQ(outcome(::open(path.c_str(), O_WRONLY | O_CLOEXEC)), "ETXTBSY") << "now that it was copied up";
  EXPECT_EQ(outcome(::rename(path.c_str(), tree.at("moved").c_str())), "ok");
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "it could not be run";
  UniqueFd now;
  for (int step = 0; step < 100 && !now.valid();
       ++step) {  // somebody who reads /proc may hold its memory for a moment
    now = UniqueFd(::open(tree.at("moved").c_str(), O_WRONLY | O_CLOEXEC));
    if (!now.valid()) ::usleep(50'000);
  }
  EXPECT_TRUE(now.valid()) << outcome(-1);
  EXPECT_EQ(run({tree.at("moved"), "0"}).exit_status, 127) << "written to, it is not run (ETXTBSY)";
}

class AccessTimes : public EverywhereTest {};
VARVE_EVERYWHERE(AccessTimes);

TEST_P(AccessTimes, AreWhatWasSetAndLast) {
  write_file(tree.seed("f"), "content");
  struct timespec times[2] = {{-77, 5}, {1000, 2}};
  ASSERT_EQ(outcome(::utimensat(AT_FDCWD, tree.seed("f").c_str(), times, 0)), "ok");
  make_directories(tree.seed("d"));
  ASSERT_TRUE(tree.begin());
  // A layer file holds no times of access, and shows those of modification.
  const struct timespec expected = times[GetParam() == Place::kLayerFileLower ? 1 : 0];
  EXPECT_EQ(stat_of(tree.at("f")).st_atim.tv_sec, expected.tv_sec);
  EXPECT_EQ(stat_of(tree.at("f")).st_atim.tv_nsec, expected.tv_nsec);
  times[0] = {4000, 123'456'789};
  times[1] = {0, UTIME_OMIT};
  for (const char* name : {"f", "d"})
    ASSERT_EQ(outcome(::utimensat(AT_FDCWD, tree.at(name).c_str(), times, 0)), "ok");
  for (int round = 0; round < 2; ++round) {
    for (const char* name : {"f", "d"}) {
      EXPECT_EQ(stat_of(tree.at(name)).st_atim.tv_sec, 4000);
      EXPECT_EQ(stat_of(tree.at(name)).st_atim.tv_nsec, 123'456'789);
    }
    EXPECT_EQ(stat_of(tree.at("f")).st_mtim.tv_sec, 1000);
    ASSERT_TRUE(tree.again());
  }
}

TEST_P(AccessTimes, OfAWrittenFileAreMovedByReadingAsRelatimeHasIt) {
  write_file(tree.seed("f"), "content");
  ASSERT_TRUE(tree.begin());
  write_at(tree.at("f"), 0, "C");
  struct timespec times[2] = {{1000, 0}, {2000, 0}};
  ASSERT_EQ(outcome(::utimensat(AT_FDCWD, tree.at("f").c_str(), times, 0)), "ok");
  EXPECT_EQ(read_file(tree.at("f")), "Content");
  EXPECT_GT(stat_of(tree.at("f")).st_atim.tv_sec, 2000) << "older than the change: reading moves it";
}

// In lowers that are directories (false) and layer files (true): reading moves nothing there, as overlayfs has it.
class LayerAccessTimes : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Of, LayerAccessTimes, testing::Bool(), lower_kind_name);

TEST_P(LayerAccessTimes, StayAsTheyAre) {
  MountedStack stack(StackShape{.lowers = 1, .layer_files = GetParam()});
  write_file(stack.lower(0, "f"), "content");
  struct timespec times[2] = {{1000, 0}, {2000, 0}};
  ASSERT_EQ(outcome(::utimensat(AT_FDCWD, stack.lower(0, "f").c_str(), times, 0)), "ok");
  ASSERT_TRUE(stack.mount());
  const auto before = stat_of(stack.at("f")).st_atim.tv_sec;
  EXPECT_EQ(read_file(stack.at("f")), "content");
  ASSERT_TRUE(stack.remount());
  EXPECT_EQ(stat_of(stack.at("f")).st_atim.tv_sec, before);
}

TEST(NoatimeMount, MovesNoTimesOfAccess) {
  MountedStack stack(StackShape{.lowers = 1, .options = "noatime"});
  write_file(stack.lower(0, "copied-up"), "content");
  ASSERT_TRUE(stack.mount());
  write_at(stack.at("copied-up"), 0, "C");
  write_file(stack.at("new"), "content");
  struct timespec times[2] = {{1000, 0}, {2000, 0}};
  for (const char* name : {"copied-up", "new"}) {
    ASSERT_EQ(outcome(::utimensat(AT_FDCWD, stack.at(name).c_str(), times, 0)), "ok");
    EXPECT_THAT(read_file(stack.at(name)), testing::EndsWith("ontent"));
    EXPECT_EQ(stat_of(stack.at(name)).st_atim.tv_sec, 1000) << name;
  }
  ASSERT_TRUE(stack.remount());
  for (const char* name : {"copied-up", "new"})
    EXPECT_EQ(stat_of(stack.at(name)).st_atim.tv_sec, 1000) << name;
}

}  // namespace
}  // namespace varve::test
