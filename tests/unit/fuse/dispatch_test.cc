// What libfuse leaves out, over a socket in place of /dev/fuse.

#include "fs/fuse/dispatch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "fs/base/unique_fd.h"
#include "fs/fuse/wire.h"

namespace varve::fuse {
namespace {

struct Seen {
  RequestExtras extras;
  int calls = 0;
};

void note(fuse_req_t request) {
  auto* seen = static_cast<Seen*>(fuse_req_userdata(request));
  seen->extras = extras();
  ++seen->calls;
  fuse_reply_err(request, EIO);
}
void note_create(fuse_req_t request, fuse_ino_t, const char*, mode_t, struct fuse_file_info*) {
  note(request);
}
void note_open(fuse_req_t request, fuse_ino_t, struct fuse_file_info*) {
  note(request);
}
void note_write(fuse_req_t request, fuse_ino_t, const char*, size_t, off_t, struct fuse_file_info*) {
  note(request);
}

class DispatchTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    kernel_.reset(ends[0]);
    const char* words[] = {"varvefs"};
    struct fuse_args arguments = FUSE_ARGS_INIT(1, const_cast<char**>(words));
    struct fuse_lowlevel_ops operations {};
    operations.create = note_create;
    operations.write = note_write;
    operations.open = note_open;
    session_.reset(fuse_session_new(&arguments, &operations, sizeof operations, &seen_));
    fuse_opt_free_args(&arguments);
    ASSERT_NE(session_, nullptr);
    ASSERT_EQ(fuse_session_mount(session_.get(), fmt::format("/dev/fd/{}", ends[1]).c_str()), 0);
  }

  // One request as the kernel writes it. Returns: the answer behind its header.
  template <class Body>
  std::string ask(Dispatch& dispatch, std::uint32_t opcode, const Body& body, const std::string& rest = {}) {
    struct fuse_in_header header {};
    header.len = static_cast<std::uint32_t>(sizeof header + sizeof body + rest.size());
    header.opcode = opcode;
    header.unique = 2;
    header.nodeid = 1;
    header.uid = uid_;
    std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
    bytes.append(reinterpret_cast<const char*>(&body), sizeof body).append(rest);
    struct fuse_buf request {};
    request.mem = bytes.data();
    request.size = bytes.size();
    dispatch.process(request);
    char answer[4096];
    const ssize_t size = ::recv(kernel_.get(), answer, sizeof answer, MSG_DONTWAIT);
    const auto header_size = static_cast<ssize_t>(sizeof(struct fuse_out_header));
    EXPECT_GE(size, header_size);
    return size < header_size
               ? std::string()
               : std::string(answer + header_size, static_cast<std::size_t>(size - header_size));
  }
  // INIT's answer to a kernel that offers these.
  struct fuse_init_out initialize(Dispatch& dispatch, std::uint32_t flags, std::uint32_t flags2) {
    struct fuse_init_in offer {};
    offer.major = 7;
    offer.minor = 38;
    offer.flags = flags;
    offer.flags2 = flags2;
    const std::string answer = ask(dispatch, FUSE_INIT, offer);
    struct fuse_init_out out {};
    EXPECT_EQ(answer.size(), sizeof out);
    std::memcpy(&out, answer.data(), std::min(answer.size(), sizeof out));
    return out;
  }

  std::uint32_t uid_ = 0;  // who asks
  RequestCounts counts_;
  Seen seen_;
  UniqueFd kernel_;
  std::unique_ptr<struct fuse_session, decltype(&fuse_session_destroy)> session_{nullptr,
                                                                                 &fuse_session_destroy};
};

constexpr std::uint32_t kAll = 0xFFFFFFFF;

TEST_F(DispatchTest, AsksForWhatIsWishedAndOffered) {
  Dispatch dispatch(session_.get(), {.set_id = true, .passthrough = true}, counts_);
  const struct fuse_init_out out = initialize(dispatch, kAll, kAll);
  EXPECT_NE(out.flags & FUSE_HANDLE_KILLPRIV_V2, 0U);
  EXPECT_NE(out.flags & FUSE_INIT_EXT, 0U);
  EXPECT_EQ(out.flags2 & wire::kPassthroughInFlags2, wire::kPassthroughInFlags2);
  EXPECT_EQ(out.unused[0], 1U) << "max_stack_depth";
  EXPECT_TRUE(dispatch.granted().set_id);
  EXPECT_TRUE(dispatch.granted().passthrough);
}

TEST_F(DispatchTest, AsksForNothingThatIsNotWished) {
  Dispatch dispatch(session_.get(), {}, counts_);
  const struct fuse_init_out out = initialize(dispatch, kAll, kAll);
  EXPECT_EQ(out.flags & FUSE_HANDLE_KILLPRIV_V2, 0U);
  EXPECT_EQ(out.flags2 & wire::kPassthroughInFlags2, 0U);
  EXPECT_EQ(out.unused[0], 0U);
  EXPECT_FALSE(dispatch.granted().set_id);
  EXPECT_FALSE(dispatch.granted().passthrough);
}

TEST_F(DispatchTest, AsksAnOldKernelForNothingItDoesNotKnow) {
  Dispatch dispatch(session_.get(), {.set_id = true, .passthrough = true}, counts_);
  // Without FUSE_INIT_EXT flags2 means nothing.
  const struct fuse_init_out out = initialize(dispatch, FUSE_ASYNC_READ, kAll);
  EXPECT_EQ(out.flags & FUSE_HANDLE_KILLPRIV_V2, 0U);
  EXPECT_EQ(out.flags & FUSE_INIT_EXT, 0U);
  EXPECT_FALSE(dispatch.granted().set_id);
  EXPECT_FALSE(dispatch.granted().passthrough);
}

TEST_F(DispatchTest, AsksForRingsOnlyWhereTheyAreOpen) {
  for (const bool opens : {false, true}) {
    SetUp();
    bool offered = false;
    Dispatch dispatch(session_.get(), {.rings = true}, counts_, [&](bool is_offered) {
      offered = is_offered;
      return opens;
    });
    const struct fuse_init_out out = initialize(dispatch, kAll, wire::kOverIoUringInFlags2);
    EXPECT_TRUE(offered);
    EXPECT_EQ(out.flags2, opens ? wire::kOverIoUringInFlags2 : 0);
    EXPECT_TRUE(!opens || (out.flags & FUSE_INIT_EXT) != 0);  // libfuse may set it by itself
    EXPECT_EQ(dispatch.granted().rings, opens);
  }
}

TEST_F(DispatchTest, TellsWhenTheKernelOffersNoRings) {
  bool offered = true;
  Dispatch dispatch(session_.get(), {.rings = true}, counts_, [&](bool is_offered) {
    offered = is_offered;
    return false;
  });
  const struct fuse_init_out out = initialize(dispatch, FUSE_ASYNC_READ, kAll);
  EXPECT_FALSE(offered);
  EXPECT_EQ(out.flags2 & wire::kOverIoUringInFlags2, 0U);
}

TEST_F(DispatchTest, AnswersNoInitThatEndsTheSession) {
  Dispatch dispatch(session_.get(), {.rings = true}, counts_, [&](bool) {
    fuse_session_exit(session_.get());
    return false;
  });
  struct fuse_in_header header {};
  header.len = sizeof header + sizeof(struct fuse_init_in);
  header.opcode = FUSE_INIT;
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes.append(sizeof(struct fuse_init_in), '\0');
  struct fuse_buf request {};
  request.mem = bytes.data();
  request.size = bytes.size();
  dispatch.process(request);
  char answer[16];
  EXPECT_EQ(::recv(kernel_.get(), answer, sizeof answer, MSG_DONTWAIT), -1);
}

TEST_F(DispatchTest, TellsWhichWritesMayNotKeepSetIdBits) {
  Dispatch dispatch(session_.get(), {.set_id = true}, counts_);
  initialize(dispatch, kAll, kAll);
  struct fuse_write_in write {};
  write.size = 1;
  write.write_flags = FUSE_WRITE_KILL_SUIDGID;
  ask(dispatch, FUSE_WRITE, write, "x");
  EXPECT_TRUE(seen_.extras.kills_set_id);
  write.write_flags = 0;
  ask(dispatch, FUSE_WRITE, write, "x");
  EXPECT_FALSE(seen_.extras.kills_set_id);
  EXPECT_EQ(seen_.calls, 2);
}

TEST_F(DispatchTest, TakesAStrangersTruncationAtOpenForOneWhereTheKernelDoesNotSay) {
  Dispatch dispatch(session_.get(), {.set_id = true}, counts_);
  initialize(dispatch, FUSE_ASYNC_READ, 0);
  struct fuse_open_in open {};
  open.flags = O_WRONLY | O_TRUNC;
  ask(dispatch, FUSE_OPEN, open);
  EXPECT_FALSE(seen_.extras.kills_set_id);
  uid_ = 1234;
  ask(dispatch, FUSE_OPEN, open);
  EXPECT_TRUE(seen_.extras.kills_set_id);
  open.flags = O_WRONLY;
  ask(dispatch, FUSE_OPEN, open);
  EXPECT_FALSE(seen_.extras.kills_set_id);
  EXPECT_EQ(seen_.calls, 3);
}

TEST_F(DispatchTest, HandsTmpfileOnAsACreateWithoutAName) {
  Dispatch dispatch(session_.get(), {}, counts_);
  initialize(dispatch, kAll, kAll);
  struct fuse_create_in create {};
  create.mode = 0600;
  ask(dispatch, FUSE_TMPFILE, create, std::string("/\0", 2));
  EXPECT_EQ(seen_.calls, 1);
  EXPECT_TRUE(seen_.extras.unnamed);
  ask(dispatch, FUSE_CREATE, create, std::string("name\0", 5));
  EXPECT_EQ(seen_.calls, 2);
  EXPECT_FALSE(seen_.extras.unnamed);
}

}  // namespace
}  // namespace varve::fuse
