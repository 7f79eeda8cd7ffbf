#include "launcher/kernel/control_channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

namespace varve::launcher {
namespace {

TEST(ControlChannel, CarriesTextAndStatus) {
  auto ends = ControlChannel::make_pair();
  ASSERT_TRUE(ends.ok());
  ControlMessage message;
  message.kind = ControlMessage::Kind::kFailed;
  message.exit_status = 127;
  message.text = "no such program";
  ASSERT_TRUE(ends->first.send(message).ok());
  const auto received = ends->second.receive();
  ASSERT_TRUE(received.ok());
  EXPECT_EQ(received->kind, ControlMessage::Kind::kFailed);
  EXPECT_EQ(received->exit_status, 127);
  EXPECT_EQ(received->text, "no such program");
  EXPECT_FALSE(received->fd.valid());
}

TEST(ControlChannel, CarriesADescriptorThatExecCloses) {
  auto ends = ControlChannel::make_pair();
  ASSERT_TRUE(ends.ok());
  ControlMessage message;
  message.kind = ControlMessage::Kind::kFuseDevice;
  message.fd.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(ends->first.send(message).ok());
  const auto received = ends->second.receive();
  ASSERT_TRUE(received.ok());
  struct stat sent = {};
  struct stat got = {};
  ASSERT_EQ(::fstat(message.fd.get(), &sent), 0);
  ASSERT_EQ(::fstat(received->fd.get(), &got), 0);
  EXPECT_EQ(sent.st_rdev, got.st_rdev);
  EXPECT_EQ(::fcntl(received->fd.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(ControlChannel, EndOfTheOtherSideIsAnEnd) {
  auto ends = ControlChannel::make_pair();
  ASSERT_TRUE(ends.ok());
  ends->first.close();
  const auto received = ends->second.receive();
  ASSERT_TRUE(received.ok());
  EXPECT_EQ(received->kind, ControlMessage::Kind::kEnd);
  EXPECT_EQ(error_number(ends->second.send(ControlMessage{})), EPIPE);
}

TEST(ControlChannel, LongTextIsCut) {
  auto ends = ControlChannel::make_pair();
  ASSERT_TRUE(ends.ok());
  ControlMessage message;
  message.kind = ControlMessage::Kind::kFailed;
  message.text.assign(100'000, 'x');
  ASSERT_TRUE(ends->first.send(message).ok());
  const auto received = ends->second.receive();
  ASSERT_TRUE(received.ok());
  EXPECT_EQ(received->text, std::string(ControlMessage::kMaxTextBytes, 'x'));
}

TEST(ControlChannel, ForeignBytesAreNoMessage) {
  auto ends = ControlChannel::make_pair();
  ASSERT_TRUE(ends.ok());
  ASSERT_EQ(::send(ends->first.fd(), "ab", 2, 0), 2);
  EXPECT_EQ(ends->second.receive().error().value, EBADMSG);
  ASSERT_EQ(::send(ends->first.fd(), "\x7fgarbage", 8, 0), 8);
  EXPECT_EQ(ends->second.receive().error().value, EBADMSG);
}

}  // namespace
}  // namespace varve::launcher
