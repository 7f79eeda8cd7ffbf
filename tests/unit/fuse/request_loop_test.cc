// How the loop ends, with a device whose reads say what the test wants.

#include "fs/fuse/request_loop.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include <cerrno>
#include <memory>
#include <utility>

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

// What run() returns when the first read of the device fails with `error`.
int run_until(int error, RequestLoop::Options options = {}) {
  const char* words[] = {"varvefs"};
  struct fuse_args arguments = FUSE_ARGS_INIT(1, const_cast<char**>(words));
  const struct fuse_lowlevel_ops operations {};
  const std::unique_ptr<struct fuse_session, decltype(&fuse_session_destroy)> session(
      fuse_session_new(&arguments, &operations, sizeof operations, &error), &fuse_session_destroy);
  fuse_opt_free_args(&arguments);
  const struct fuse_custom_io device {
    .writev = fail_write, .read = fail_read, .splice_receive = nullptr, .splice_send = nullptr
  };
  EXPECT_EQ(fuse_session_custom_io(session.get(), &device, ::eventfd(1, EFD_CLOEXEC)), 0);
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

TEST(RequestLoop, EndsInTheSameWayBeforeTheEndOfTheProcess) {
  for (const int error : {ENODEV, ECONNABORTED}) EXPECT_EQ(run_until(error, {.process_ends = true}), 0);
  EXPECT_EQ(run_until(EIO, {.process_ends = true}), -EIO);
}

}  // namespace
}  // namespace varve::fuse
