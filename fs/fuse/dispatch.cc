#include "fs/fuse/dispatch.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <optional>
#include <span>

#include "fs/base/log.h"
#include "fs/base/unique_fd.h"
#include "fs/fuse/wire.h"

namespace varve::fuse {
namespace {

thread_local RequestExtras current_extras;

// The structure behind the header, when the request is that long and lies in memory.
template <class Body>
std::optional<Body> body_of(const struct fuse_buf& request) {
  if ((request.flags & FUSE_BUF_IS_FD) != 0) return std::nullopt;
  if (request.size < sizeof(struct fuse_in_header) + sizeof(Body)) return std::nullopt;
  Body body{};
  std::memcpy(&body, static_cast<const char*>(request.mem) + sizeof(struct fuse_in_header), sizeof body);
  return body;
}

std::uint32_t opcode_of(const struct fuse_buf& request) {
  struct fuse_in_header header {};
  if ((request.flags & FUSE_BUF_IS_FD) != 0 || request.size < sizeof header) return 0;
  std::memcpy(&header, request.mem, sizeof header);
  return header.opcode;
}

void rename_opcode(const struct fuse_buf& request, std::uint32_t opcode) {
  std::memcpy(static_cast<char*>(request.mem) + offsetof(struct fuse_in_header, opcode), &opcode,
              sizeof opcode);
}

// For requests that carry no flag of their own: who is not root has no CAP_FSETID.
bool is_of_root(const struct fuse_buf& request) {
  struct fuse_in_header header {};
  std::memcpy(&header, request.mem, sizeof header);
  return header.uid == 0;
}

// `flagged`: the kernel flags what may not keep set-id bits.
RequestExtras extras_of(const struct fuse_buf& request, std::uint32_t opcode, bool flagged) {
  switch (opcode) {
    case FUSE_WRITE: {
      const auto write = body_of<struct fuse_write_in>(request);
      return {.kills_set_id = write && (write->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0};
    }
    case FUSE_SETATTR: {
      const auto change = body_of<struct fuse_setattr_in>(request);
      return {.kills_set_id = change && (change->valid & FATTR_KILL_SUIDGID) != 0};
    }
    case FUSE_OPEN: {
      const auto open = body_of<struct fuse_open_in>(request);
      if (!open) return {};
      // A kernel before 5.11 leaves O_TRUNC to OPEN as well, and has no flag for it.
      if (!flagged) return {.kills_set_id = (open->flags & O_TRUNC) != 0 && !is_of_root(request)};
      return {.kills_set_id = (open->open_flags & FUSE_OPEN_KILL_SUIDGID) != 0};
    }
    case FUSE_FALLOCATE:
    case FUSE_COPY_FILE_RANGE:
      return {.kills_set_id = !is_of_root(request)};
    case FUSE_TMPFILE:
      return {.unnamed = true};
    default:
      return {};
  }
}

// INIT's answer with the flags that libfuse does not know. Requires: `reply` is header and fuse_init_out, whole.
void add_flags(std::span<std::byte> reply, const Dispatch::Wishes& granted) {
  struct fuse_init_out out {};
  std::byte* const at = reply.data() + sizeof(struct fuse_out_header);
  std::memcpy(&out, at, sizeof out);
  if (granted.set_id) out.flags |= FUSE_HANDLE_KILLPRIV_V2;
  if (granted.passthrough) {
    out.flags |= FUSE_INIT_EXT;
    out.flags2 |= wire::kPassthroughInFlags2;
  }
  if (granted.rings) {
    out.flags |= FUSE_INIT_EXT;
    out.flags2 |= wire::kOverIoUringInFlags2;
  }
  std::memcpy(at, &out, sizeof out);
  if (granted.passthrough) {
    // Nothing may be stacked between the upper and its disk, so that the mount can be stacked on once more.
    const std::uint32_t depth = 1;
    std::memcpy(at + wire::kStackDepthOffset, &depth, sizeof depth);
  }
}

}  // namespace

const RequestExtras& extras() {
  return current_extras;
}

void Dispatch::note_offer(const struct fuse_buf& request) {
  const auto offer = body_of<struct fuse_init_in>(request);
  if (!offer) return;
  granted_.set_id = wishes_.set_id && (offer->flags & FUSE_HANDLE_KILLPRIV_V2) != 0;
  const std::uint32_t flags2 = (offer->flags & FUSE_INIT_EXT) != 0 ? offer->flags2 : 0;
  granted_.passthrough = wishes_.passthrough && (flags2 & wire::kPassthroughInFlags2) != 0;
  granted_.rings = wishes_.rings && open_rings_ && open_rings_((flags2 & wire::kOverIoUringInFlags2) != 0);
}

// libfuse writes its answer to whatever its descriptor is: for this one request a pipe.
void Dispatch::process_init(const struct fuse_buf& request) {
  const int device = fuse_session_fd(session_);
  note_offer(request);
  if (fuse_session_exited(session_) != 0) return;
  const UniqueFd kept(::fcntl(device, F_DUPFD_CLOEXEC, 0));
  int ends[2] = {-1, -1};
  const bool piped = kept.valid() && ::pipe2(ends, O_CLOEXEC) == 0;
  const UniqueFd answers(ends[0]);
  UniqueFd writes(ends[1]);
  if (!piped || ::dup3(writes.get(), device, O_CLOEXEC) < 0) {
    log_warning("starting: {}: passthrough and io_uring are not used", std::strerror(errno));
    granted_ = {};
    fuse_session_process_buf(session_, &request);
    return;
  }
  fuse_session_process_buf(session_, &request);
  ::dup3(kept.get(), device, O_CLOEXEC);
  writes.reset();
  std::array<std::byte, 4096> reply{};
  const ssize_t size = ::read(answers.get(), reply.data(), reply.size());
  if (size <= 0) return;  // there is no answer: the session has ended
  const auto whole = std::span(reply).first(static_cast<std::size_t>(size));
  if (whole.size() == sizeof(struct fuse_out_header) + sizeof(struct fuse_init_out)) {
    add_flags(whole, granted_);
  } else {
    granted_ = {};  // an error, or a kernel before 2012
  }
  // It fails when the mount is gone already; the next read of the device tells.
  [[maybe_unused]] const ssize_t written = ::write(device, whole.data(), whole.size());
}

void Dispatch::process(const struct fuse_buf& request) {
  const std::uint32_t opcode = opcode_of(request);
  counts_.note(opcode);
  if (opcode == FUSE_INIT) {
    process_init(request);
    return;
  }
  current_extras = extras_of(request, opcode, granted_.set_id);
  // The two have one form; libfuse 3.14 knows the older only.
  if (opcode == FUSE_TMPFILE) rename_opcode(request, FUSE_CREATE);
  fuse_session_process_buf(session_, &request);
}

}  // namespace varve::fuse
