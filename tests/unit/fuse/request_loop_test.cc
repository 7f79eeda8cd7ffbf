// How the loop ends and ticks, with a device whose reads say what the test wants.

#include "fs/fuse/request_loop.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "fs/base/unique_fd.h"

namespace varve::fuse {
namespace {

ssize_t fail_write(int, struct iovec*, int, void*) {
  errno = EIO;
  return -1;
}
// `user_data`: the errno of each read.
ssize_t fail_read(int, void*, std::size_t, void* user_data) {
  errno = *static_cast<const int*>(user_data);
  return -1;
}

using Session = std::unique_ptr<struct fuse_session, decltype(&fuse_session_destroy)>;
using Read = ssize_t (*)(int, void*, std::size_t, void*);

// `readable`: what poll(2) tells of the device. Returns: null where this libfuse lets nobody say what is read.
Session session_over(Read read, void* user_data, bool readable) {
  const char* words[] = {"varvefs"};
  struct fuse_args arguments = FUSE_ARGS_INIT(1, const_cast<char**>(words));
  const struct fuse_lowlevel_ops operations {};
  Session session(fuse_session_new(&arguments, &operations, sizeof operations, user_data),
                  &fuse_session_destroy);
  fuse_opt_free_args(&arguments);
  const struct fuse_custom_io device {
    .writev = fail_write, .read = read, .splice_receive = nullptr, .splice_send = nullptr
  };
  UniqueFd fd(::eventfd(readable ? 1 : 0, EFD_CLOEXEC));
  const int result = fuse_session_custom_io(session.get(), &device, fd.get());
  if (result == -ENOTSUP) {
    session.reset();
  } else {
    EXPECT_EQ(result, 0);
    static_cast<void>(fd.release());  // the session's now
  }
  return session;
}

class RequestLoopTest : public testing::Test {
 protected:
  void SetUp() override {
    if (session_over(fail_read, nullptr, true) == nullptr)
      GTEST_SKIP() << "needs a libfuse with custom I/O (3.18: built with -Denable-custom-io=true)";
  }
};

// What run() returns when the first read of the device fails with `error`.
int run_until(int error, RequestLoop::Options options = {}) {
  const Session session = session_over(fail_read, &error, true);
  return RequestLoop(session.get(), std::move(options)).run();
}

// Of a device without requests; whoever reads there says that some have come another way. `user_data`: the loop.
ssize_t expect_others(int, void*, std::size_t, void* user_data) {
  static_cast<std::optional<RequestLoop>*>(user_data)->value().expect_ticks();
  errno = EAGAIN;
  return -1;
}

TEST_F(RequestLoopTest, EndsWellWhenTheMountGoesAway) {
  EXPECT_EQ(run_until(ENODEV), 0);
}

// The kernel says so when a request was being taken at that moment.
TEST_F(RequestLoopTest, EndsWellWhenTheMountGoesAwayWithARequest) {
  EXPECT_EQ(run_until(ECONNABORTED), 0);
}

TEST_F(RequestLoopTest, TellsOtherErrorsOfTheDevice) {
  EXPECT_EQ(run_until(EIO), -EIO);
}

TEST_F(RequestLoopTest, TicksUntilNobodyWantsItAnyMoreAndIsQuietThen) {
  std::optional<RequestLoop> loop;
  const Session session = session_over(expect_others, &loop, false);
  int ticks = 0;
  int ticks_before_quiet = 0;
  int ticks_before_end = 0;
  const auto tick = [&](std::uint64_t) { return ++ticks < 4; };
  const auto end = [&] {
    ticks_before_quiet = ticks;
    fuse_session_exit(session.get());
  };
  loop.emplace(session.get(), RequestLoop::Options{.on_tick = tick, .on_quiet = end, .on_ending = [&] {
                                                     ticks_before_end = ticks;
                                                   }});
  EXPECT_EQ(loop->run(), 0);
  EXPECT_EQ(ticks_before_quiet, 4);
  EXPECT_EQ(ticks_before_end, 4);
}

TEST_F(RequestLoopTest, EndsInTheSameWayBeforeTheEndOfTheProcess) {
  for (const int error : {ENODEV, ECONNABORTED}) EXPECT_EQ(run_until(error, {.process_ends = true}), 0);
  EXPECT_EQ(run_until(EIO, {.process_ends = true}), -EIO);
}

}  // namespace
}  // namespace varve::fuse
