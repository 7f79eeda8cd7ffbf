#pragma once

// ControlChannel: the line between the launcher, outside, and the first process of the container, inside: a pair of
// SOCK_SEQPACKET sockets, messages of one kind byte, a number, a text, and at most one descriptor (SCM_RIGHTS).
// It is closed by the exec of the container's command: the end of the conversation means that it runs.
// Thread rule: one thread on each side. Each side owns its end.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::launcher {

struct ControlMessage {
  enum class Kind : std::uint8_t {
    kEnd,         // the other side has closed its end
    kGo,          // to inside: begin; of helpers of the launcher: what was asked for is there
    kGroup,       // to inside: `fd`: the task list of a control group, to enter; `text`: its path
    kPrepared,    // to inside: all groups were given; `text`: a NetworkConnection
    kNetworkUp,   // to inside: the network is as the plan wants it
    kWarning,     // to outside: `text` is for the person; nothing fails
    kFuseDevice,  // to outside: the /dev/fuse descriptor of the mounted root; start the daemon on it
    kTerminal,    // to outside: the master side of the container's terminal
    kJoined,  // to outside: the sender lives in the namespaces that were joined; `fd`: its own network namespace
    kCommand,  // to outside: the sender is about to become the container's command
    kFailed,   // to outside: `text` says why, `exit_status` what the launcher exits with
  };
  Kind kind = Kind::kEnd;
  std::int32_t exit_status = 0;
  std::string text;  // longer than kMaxTextBytes is cut
  UniqueFd fd;
  pid_t sender =
      0;  // of a message that came in: its sender, as numbered for the receiver; 0 at the second end

  static constexpr std::size_t kMaxTextBytes = 4000;
};

class ControlChannel {
 public:
  // Both ends, close-on-exec. Messages that come in at the first, the launcher's, tell who has sent them (SO_PASSCRED, unix(7)).
  static Result<std::pair<ControlChannel, ControlChannel>> make_pair();
  explicit ControlChannel(UniqueFd socket) : socket_(std::move(socket)) {}

  // Returns: EPIPE when the other side is gone.
  Status send(const ControlMessage& message) const;
  // Waits for a message; kEnd when the other side has closed. Returns: EBADMSG for bytes that are no message.
  Result<ControlMessage> receive() const;

  int fd() const { return socket_.get(); }
  void close() { socket_.reset(); }

 private:
  UniqueFd socket_;
};

}  // namespace varve::launcher
