// Requests and answers in the memory of a ring entry, laid out as the kernel does it, and where replies go.

#include "fs/fuse/ring_entry.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "fs/base/unique_fd.h"
#include "fs/fuse/reply.h"
#include "fs/fuse/rings.h"

namespace varve::fuse {
namespace {

constexpr std::size_t kPayloadBytes = 16'384;
constexpr std::uint64_t kUnique = 42;
constexpr std::uint64_t kCommitId = 77;

std::string_view bytes_of(const void* memory, std::size_t size) {
  return {static_cast<const char*>(memory), size};
}

// The kernel's side of an entry.
class RingEntryTest : public testing::Test {
 protected:
  wire::RingHeader& header() { return *static_cast<wire::RingHeader*>(entry_->memory()[0].iov_base); }
  char* payload() { return static_cast<char*>(entry_->memory()[1].iov_base); }

  void put_request(std::uint32_t opcode, std::string_view operation, std::string_view behind) {
    struct fuse_in_header in {};
    in.len = static_cast<std::uint32_t>(sizeof in + operation.size() + behind.size());
    in.opcode = opcode;
    in.unique = kUnique;
    in.nodeid = 1;
    std::memcpy(header().in_out.data(), &in, sizeof in);
    std::memcpy(header().operation.data(), operation.data(), operation.size());
    std::memcpy(payload(), behind.data(), behind.size());
    header().state.payload_bytes = static_cast<std::uint32_t>(behind.size());
    header().state.commit_id = kCommitId;
  }
  struct fuse_out_header answer_header() {
    struct fuse_out_header out {};
    std::memcpy(&out, header().in_out.data(), sizeof out);
    return out;
  }
  std::string_view answer() { return bytes_of(payload(), header().state.payload_bytes); }

  const std::unique_ptr<RingEntry> entry_ = RingEntry::make(3, kPayloadBytes);
};

TEST_F(RingEntryTest, GivesARequestInOnePiece) {
  const std::string operation(40, 'o');
  const std::string data(10'000, 'd');
  put_request(FUSE_WRITE, operation, data);
  const auto request = entry_->take_request();
  ASSERT_TRUE(request);
  ASSERT_EQ(request->size, sizeof(struct fuse_in_header) + operation.size() + data.size());
  const std::string_view all = bytes_of(request->mem, request->size);
  EXPECT_EQ(all.substr(0, sizeof(struct fuse_in_header)),
            bytes_of(header().in_out.data(), sizeof(struct fuse_in_header)));
  EXPECT_EQ(all.substr(sizeof(struct fuse_in_header)), operation + data);
  EXPECT_EQ(all.data() + all.size() - data.size(), payload());  // the data was not moved
  EXPECT_EQ(entry_->commit_id(), kCommitId);
  EXPECT_FALSE(entry_->answered());
}

TEST_F(RingEntryTest, GivesRequestsThatLackAPart) {
  const std::string name("name\0", 5);
  put_request(FUSE_LOOKUP, "", name);
  auto request = entry_->take_request();
  ASSERT_TRUE(request);
  EXPECT_EQ(bytes_of(request->mem, request->size).substr(sizeof(struct fuse_in_header)), name);
  put_request(FUSE_READ, std::string(128, 'r'), "");
  request = entry_->take_request();
  ASSERT_TRUE(request);
  EXPECT_EQ(bytes_of(request->mem, request->size).substr(sizeof(struct fuse_in_header)),
            std::string(128, 'r'));
  put_request(FUSE_STATFS, "", "");
  request = entry_->take_request();
  ASSERT_TRUE(request);
  EXPECT_EQ(request->size, sizeof(struct fuse_in_header));
}

TEST_F(RingEntryTest, TakesNoSizesThatMakeNoSense) {
  const auto taken_with = [&](std::uint32_t length, std::uint32_t behind) {
    put_request(FUSE_WRITE, std::string(40, 'o'), "data");
    std::memcpy(header().in_out.data(), &length, sizeof length);  // fuse_in_header::len
    header().state.payload_bytes = behind;
    return entry_->take_request().has_value();
  };
  constexpr std::uint32_t kHeader = sizeof(struct fuse_in_header);
  EXPECT_TRUE(taken_with(kHeader + 40 + 4, 4));
  EXPECT_FALSE(taken_with(kHeader - 1, 0));
  EXPECT_FALSE(taken_with(kHeader + 3, 4));
  EXPECT_FALSE(taken_with(kHeader + 129 + 4, 4));
  EXPECT_FALSE(taken_with(kHeader + kPayloadBytes + 1, kPayloadBytes + 1));
}

TEST_F(RingEntryTest, PutsTheAnswerBehindItsHeader) {
  put_request(FUSE_CREATE, std::string(16, 'o'), "name");
  ASSERT_TRUE(entry_->take_request());
  EXPECT_FALSE(entry_->answered());
  const std::string_view content = "entry and opened";
  entry_->put_answer(std::as_bytes(std::span(content)));
  EXPECT_EQ(answer_header().len, sizeof(struct fuse_out_header) + content.size());
  EXPECT_EQ(answer_header().unique, kUnique);
  EXPECT_EQ(answer_header().error, 0);
  EXPECT_EQ(answer(), content);
  EXPECT_TRUE(entry_->answered());
}

TEST_F(RingEntryTest, KeepsAnAnswerThatWasPutTogetherInIt) {
  put_request(FUSE_READ, std::string(40, 'o'), "");
  ASSERT_TRUE(entry_->take_request());
  const std::span<std::byte> space = entry_->answer_space();
  ASSERT_EQ(space.size(), kPayloadBytes);
  std::memset(space.data(), 'x', space.size());
  entry_->put_answer(space);
  EXPECT_EQ(answer(), std::string(kPayloadBytes, 'x'));
}

TEST_F(RingEntryTest, RefusesAnAnswerThatIsTooLong) {
  put_request(FUSE_READ, std::string(40, 'o'), "");
  ASSERT_TRUE(entry_->take_request());
  const std::string data(kPayloadBytes + 1, 'x');
  entry_->put_answer(std::as_bytes(std::span(data)));
  EXPECT_TRUE(entry_->answered());
  EXPECT_EQ(answer_header().error, -EIO);
  EXPECT_EQ(answer_header().unique, kUnique);
  EXPECT_EQ(answer(), "");
}

TEST_F(RingEntryTest, CanBeAnsweredAgain) {
  put_request(FUSE_MKDIR, std::string(8, 'o'), "name");
  ASSERT_TRUE(entry_->take_request());
  EXPECT_EQ(entry_->answered_error(), 0);
  entry_->put_error(ENOSPC);
  EXPECT_EQ(entry_->answered_error(), ENOSPC);
  EXPECT_EQ(std::string_view(payload(), 4), "name");  // the request is as it was
  entry_->take_back();
  EXPECT_FALSE(entry_->answered());
  entry_->put_error(0);
  EXPECT_EQ(entry_->answered_error(), 0);
  EXPECT_EQ(answer_header().unique, kUnique);
}

void answer_getattr(fuse_req_t request, fuse_ino_t, struct fuse_file_info*) {
  auto* session = static_cast<struct fuse_session**>(fuse_req_userdata(request));
  fuse_lowlevel_notify_inval_inode(*session, 1, -1, 0);
  struct fuse_attr_out out {};
  out.attr.ino = 99;
  reply_struct(request, out);
}
void answer_unlink(fuse_req_t request, fuse_ino_t, const char*) {
  reply_error(request, EROFS);
}
void start(void*, struct fuse_conn_info*) {}

// A session over a socket in place of /dev/fuse.
class Reply : public RingEntryTest {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    kernel_.reset(ends[0]);
    const char* words[] = {"varvefs"};
    struct fuse_args arguments = FUSE_ARGS_INIT(1, const_cast<char**>(words));
    struct fuse_lowlevel_ops operations {};
    operations.init = start;
    operations.getattr = answer_getattr;
    operations.unlink = answer_unlink;
    session_ = fuse_session_new(&arguments, &operations, sizeof operations, &session_);
    fuse_opt_free_args(&arguments);
    ASSERT_NE(session_, nullptr);
    ASSERT_EQ(fuse_session_mount(session_, fmt::format("/dev/fd/{}", ends[1]).c_str()), 0);
    struct fuse_init_in offer {};
    offer.major = 7;
    offer.minor = 36;
    ASSERT_GT(ask(FUSE_INIT, bytes_of(&offer, sizeof offer)), 0U);
  }
  void TearDown() override { fuse_session_destroy(session_); }

  // A request of the device. Returns: the size of what was written there for it.
  std::size_t ask(std::uint32_t opcode, std::string_view body) {
    struct fuse_in_header in {};
    in.len = static_cast<std::uint32_t>(sizeof in + body.size());
    in.opcode = opcode;
    in.unique = 2;
    in.nodeid = 1;
    std::string all(bytes_of(&in, sizeof in));
    all += body;
    struct fuse_buf request {};
    request.mem = all.data();
    request.size = all.size();
    fuse_session_process_buf(session_, &request);
    return written();
  }
  // To the device; 0 when there is nothing more.
  std::size_t written() {
    char all[4096];
    const ssize_t size = ::recv(kernel_.get(), all, sizeof all, MSG_DONTWAIT);
    return size > 0 ? static_cast<std::size_t>(size) : 0;
  }

  UniqueFd kernel_;
  struct fuse_session* session_ = nullptr;
};

constexpr std::size_t kAttrBytes = sizeof(struct fuse_attr_out);
constexpr std::size_t kNoticeBytes =
    sizeof(struct fuse_out_header) + sizeof(struct fuse_notify_inval_inode_out);

TEST_F(Reply, GoesIntoTheEntryAndNoticesToTheDevice) {
  put_request(FUSE_GETATTR, std::string(sizeof(struct fuse_getattr_in), '\0'), "");
  const auto request = entry_->take_request();
  ASSERT_TRUE(request);
  {
    const Answering here(*entry_);
    EXPECT_EQ(answer_space().data(), entry_->answer_space().data());
    fuse_session_process_buf(session_, &*request);
  }
  EXPECT_TRUE(entry_->answered());
  EXPECT_EQ(answer_header().error, 0);
  EXPECT_EQ(answer().size(), kAttrBytes);
  EXPECT_EQ(written(), kNoticeBytes);
  EXPECT_EQ(written(), 0U);
}

TEST_F(Reply, GoesToTheDeviceForItsOwnRequests) {
  EXPECT_TRUE(answer_space().empty());
  EXPECT_EQ(ask(FUSE_GETATTR, std::string(sizeof(struct fuse_getattr_in), '\0')), kNoticeBytes);
  EXPECT_EQ(written(), sizeof(struct fuse_out_header) + kAttrBytes);
}

TEST_F(Reply, TellsErrorsInTheEntry) {
  put_request(FUSE_UNLINK, "", std::string("name\0", 5));
  const auto request = entry_->take_request();
  ASSERT_TRUE(request);
  {
    const Answering here(*entry_);
    fuse_session_process_buf(session_, &*request);
  }
  EXPECT_EQ(entry_->answered_error(), EROFS);
  EXPECT_EQ(written(), 0U);
}

TEST_F(Reply, IsLeftOutWhereThereIsNoHandler) {
  put_request(FUSE_RMDIR, "", std::string("name\0", 5));
  const auto request = entry_->take_request();
  ASSERT_TRUE(request);
  {
    const Answering here(*entry_);
    fuse_session_process_buf(session_, &*request);
  }
  EXPECT_FALSE(entry_->answered());
}

TEST(CountInList, KnowsTheKernelsLists) {
  EXPECT_EQ(count_in_list("0"), 1);
  EXPECT_EQ(count_in_list("0-1\n"), 2);
  EXPECT_EQ(count_in_list("0-3,8,10-11"), 7);
  for (const char* none : {"", "\n", "x", "3-1", "0-", "0,x", "0-99999"})
    EXPECT_EQ(count_in_list(none), 0) << none;
}

}  // namespace
}  // namespace varve::fuse
