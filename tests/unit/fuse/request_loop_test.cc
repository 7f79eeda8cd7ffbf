// How the loop ends and ticks, with a device whose reads say what the test wants.

#include "fs/fuse/request_loop.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "fs/base/unique_fd.h"

namespace varve::fuse {
namespace {

using Session = std::unique_ptr<struct fuse_session, decltype(&fuse_session_destroy)>;

// `readable`: what poll(2) tells of its device.
Session make_session(bool readable) {
  const char* words[] = {"varvefs"};
  struct fuse_args arguments = FUSE_ARGS_INIT(1, const_cast<char**>(words));
  const struct fuse_lowlevel_ops operations {};
  Session session(fuse_session_new(&arguments, &operations, sizeof operations, nullptr),
                  &fuse_session_destroy);
  fuse_opt_free_args(&arguments);
  UniqueFd fd(::eventfd(readable ? 1 : 0, EFD_CLOEXEC));
  EXPECT_EQ(fuse_session_mount(session.get(), fmt::format("/dev/fd/{}", fd.get()).c_str()), 0);
  static_cast<void>(fd.release());  // the session's now
  return session;
}

// What run() returns when the first read of the device fails with `error`.
int run_until(int error, RequestLoop::Options options = {}) {
  const Session session = make_session(true);
  options.read = [error](int, void*, std::size_t) {
    errno = error;
    return -1;
  };
  return RequestLoop(session.get(), std::move(options)).run();
}

TEST(RequestLoop, EndsWellWhenTheMountGoesAway) {
  EXPECT_EQ(run_until(ENODEV), 0);
}

// The kernel says so when a request was being taken at that moment.
TEST(RequestLoop, EndsWellWhenTheMountGoesAwayWithARequest) {
  EXPECT_EQ(run_until(ECONNABORTED), 0);
}

TEST(RequestLoop, TellsOtherErrorsOfTheDevice) {
  EXPECT_EQ(run_until(EIO), -EIO);
}

TEST(RequestLoop, TicksUntilNobodyWantsItAnyMoreAndIsQuietThen) {
  std::optional<RequestLoop> loop;
  const Session session = make_session(false);
  int ticks = 0;
  int ticks_before_quiet = 0;
  int ticks_before_end = 0;
  const auto tick = [&](std::uint64_t) { return ++ticks < 4; };
  const auto end = [&] {
    ticks_before_quiet = ticks;
    fuse_session_exit(session.get());
  };
  // A device without requests; whoever reads there says that some have come another way.
  const auto read = [&](int, void*, std::size_t) {
    loop->expect_ticks();
    errno = EAGAIN;
    return -1;
  };
  loop.emplace(
      session.get(),
      RequestLoop::Options{
          .on_tick = tick, .on_quiet = end, .on_ending = [&] { ticks_before_end = ticks; }, .read = read});
  EXPECT_EQ(loop->run(), 0);
  EXPECT_EQ(ticks_before_quiet, 4);
  EXPECT_EQ(ticks_before_end, 4);
}

TEST(RequestLoop, EndsInTheSameWayBeforeTheEndOfTheProcess) {
  for (const int error : {ENODEV, ECONNABORTED}) EXPECT_EQ(run_until(error, {.process_ends = true}), 0);
  EXPECT_EQ(run_until(EIO, {.process_ends = true}), -EIO);
}

}  // namespace
}  // namespace varve::fuse
