#include "fs/fuse/entry_ring.h"

#include <cerrno>
#include <cstring>

#include "fs/base/check.h"

namespace varve::fuse {

EntryRing::~EntryRing() {
  if (open_) ::io_uring_queue_exit(&ring_);
}

Status EntryRing::open(int device, unsigned entries) {
  struct io_uring_params parameters {};
  // The command of FUSE takes more room than a submission has by default.
  parameters.flags = IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  if (const int error = ::io_uring_queue_init_params(entries, &ring_, &parameters); error < 0) {
    return Errno{-error};
  }
  open_ = true;
  if (const int error = ::io_uring_register_files(&ring_, &device, 1); error < 0) return Errno{-error};
  // Cheaper to enter; not needed.
  ::io_uring_register_ring_fd(&ring_);
  return {};
}

void EntryRing::queue(RingEntry& entry, wire::RingOperation operation) {
  struct io_uring_sqe* const slot = ::io_uring_get_sqe(&ring_);
  VARVE_CHECK(slot != nullptr);  // there is one for each entry, and each is with the kernel once at most
  std::memset(slot, 0, 2 * sizeof *slot);
  slot->opcode = IORING_OP_URING_CMD;
  slot->flags = IOSQE_FIXED_FILE;  // number 0, the device
  slot->cmd_op = static_cast<std::uint32_t>(operation);
  slot->user_data = reinterpret_cast<std::uintptr_t>(&entry);
  if (operation == wire::RingOperation::kRegister) {
    slot->addr = reinterpret_cast<std::uintptr_t>(entry.memory().data());
    slot->len = static_cast<std::uint32_t>(entry.memory().size());
  }
  const wire::RingCommand command{.commit_id = entry.commit_id(), .queue = entry.queue()};
  std::memcpy(slot->cmd, &command, sizeof command);
}

void EntryRing::add(RingEntry& entry) {
  queue(entry, wire::RingOperation::kRegister);
}

void EntryRing::commit(RingEntry& entry) {
  queue(entry, wire::RingOperation::kCommitAndFetch);
}

Status EntryRing::submit() {
  const int result = ::io_uring_submit(&ring_);
  if (result < 0) return Errno{-result};
  return {};
}

Status EntryRing::wait() {
  const int result = ::io_uring_submit_and_wait(&ring_, 1);
  if (result < 0) return Errno{-result};
  return {};
}

std::optional<EntryRing::Arrival> EntryRing::take() {
  unsigned head = 0;
  struct io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    const Arrival arrival{.entry = reinterpret_cast<RingEntry*>(static_cast<std::uintptr_t>(cqe->user_data)),
                          .error = -cqe->res};
    ::io_uring_cq_advance(&ring_, 1);
    return arrival;
  }
  return std::nullopt;
}

}  // namespace varve::fuse
