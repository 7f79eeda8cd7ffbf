#include "fs/fuse/rings.h"

#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fs/base/log.h"
#include "fs/base/mutex.h"
#include "fs/base/processors.h"
#include "fs/fuse/helpers.h"
#include "fs/fuse/reply.h"
#include "fs/fuse/request_length.h"
#include "fs/fuse/ring_worker.h"

namespace varve::fuse {
namespace {

constexpr unsigned kDefaultThreads = 10;
// The second takes what comes while the first is at a request: what nobody waits for (RELEASE, read-ahead) beside what somebody does.
// The kernel prefers the one that was ready last.
constexpr unsigned kWorkersOfQueue = 2;

using Entries = std::vector<std::unique_ptr<RingEntry>>;

Entries only(std::unique_ptr<RingEntry> entry) {
  Entries entries;
  entries.push_back(std::move(entry));
  return entries;
}

struct fuse_in_header header_of(const struct fuse_buf& request) {
  struct fuse_in_header header {};
  std::memcpy(&header, request.mem, sizeof header);
  return header;
}

// Only regular files are asked about so.
bool is_of_file(std::uint32_t opcode) {
  return opcode == FUSE_OPEN || opcode == FUSE_READ || opcode == FUSE_WRITE || opcode == FUSE_RELEASE;
}

// Whether it was refused for want of space, and may be done once the last unlinked files have been forgotten: their FORGETs come by
// the device, past this request. An error of fsync is told once, so that is not done again.
bool may_fit_later(std::uint32_t opcode, int error) {
  return (error == ENOSPC || error == EDQUOT) && opcode != FUSE_FSYNC && opcode != FUSE_FSYNCDIR;
}

// The session is over, as the device tells as well.
bool ends_well(int error) {
  return error == ENOTCONN || error == ECONNABORTED || error == ECANCELED || error == ENODEV;
}

}  // namespace

std::uint16_t count_in_list(const std::string& list) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  unsigned count = 0;
  const char* at = list.c_str();
  while (is_digit(*at)) {
    char* end = nullptr;
    const unsigned long first = std::strtoul(at, &end, 10);
    unsigned long last = first;
    if (*end == '-') {
      if (!is_digit(end[1])) return 0;
      last = std::strtoul(end + 1, &end, 10);
    }
    if (last < first || last >= CPU_SETSIZE) return 0;
    count += static_cast<unsigned>(last - first + 1);
    at = *end == ',' ? end + 1 : end;
  }
  return *at == '\0' || *at == '\n' ? static_cast<std::uint16_t>(count) : 0;
}

struct Rings::State final : RingCrew {
  State(struct fuse_session* its_session, Options its_options)
      : session(its_session),
        options(std::move(its_options)),
        most_added(options.threads == 0 ? kDefaultThreads : options.threads),
        processors(count_usable_processors()),
        helpers(most_added) {}

  struct fuse_session* const session;
  const Options options;
  const unsigned most_added;
  const unsigned processors;
  Helpers helpers;
  std::atomic<bool> ending{false};
  std::atomic<bool> used{false};  // a request has come: the kernel sends no other way any more

  enum class Phase : std::uint8_t { kOpening, kServing, kEnding };
  Mutex mutex;
  CondVar changed;
  Phase phase GUARDED_BY(mutex) = Phase::kOpening;
  std::size_t opened GUARDED_BY(mutex) = 0;  // workers that have tried
  Status open_status GUARDED_BY(mutex);
  int error GUARDED_BY(mutex) = 0;
  unsigned added GUARDED_BY(mutex) = 0;  // beyond those that opened
  std::uint16_t queues GUARDED_BY(mutex) = 0;
  std::vector<std::unique_ptr<RingWorker>> workers GUARDED_BY(mutex);
  // The kernel's own begin at 2; an odd one would be an interrupt.
  std::atomic<std::uint64_t> next_unique{std::uint64_t{1} << 62};
  std::atomic<std::uint64_t> file{0};  // a regular file that the kernel has asked about lately

  void answer(RingEntry& entry, const struct fuse_buf& request) override;
  bool stopping() const override { return ending.load(std::memory_order_relaxed); }
  std::uint64_t known_file() const override { return file.load(std::memory_order_relaxed); }
  std::uint64_t new_unique() override { return next_unique.fetch_add(2, std::memory_order_relaxed); }
  void lost(const RingEntry& entry, int why) override;

  Status start_workers() REQUIRES(mutex);
  Status start_worker(Entries entries, std::optional<unsigned> processor, bool late) REQUIRES(mutex);
  void work(RingWorker& worker, bool late);
  bool may_serve(Status status);
  // Another worker for a queue, unless there are enough.
  void add_worker(std::uint16_t queue) REQUIRES(mutex);
  void keep_one_free(std::uint16_t queue);
  // Its queues get another worker where all that they have hang.
  void help(const RingWorker& hanging) REQUIRES(mutex);
  void end_workers();
};

void Rings::State::answer(RingEntry& entry, const struct fuse_buf& request) {
  options.on_request();
  const struct fuse_in_header header = header_of(request);
  // A worker had it sent to have the kernel look for others (RingWorker::ask_for_waiting).
  if (header.opcode == FUSE_NOTIFY_REPLY) {
    entry.put_error(0);
    return;
  }
  if (!used.load(std::memory_order_relaxed)) used.store(true, std::memory_order_relaxed);
  if (is_of_file(header.opcode)) file.store(header.nodeid, std::memory_order_relaxed);
  const auto work = [&] {
    const Answering here(entry);
    options.process(request);
    if (!may_fit_later(header.opcode, entry.answered_error()) || !options.await_notices()) return;
    // Dispatch may have changed it.
    std::memcpy(request.mem, &header, sizeof header);
    entry.take_back();
    options.process(request);
  };
  const RequestLength length = length_of(request, [] { return false; });
  if (length != RequestLength::kShort) keep_one_free(entry.queue());
  // What waits for a disk can wait here.
  if (length == RequestLength::kBusy && processors > 1 && helpers.run(std::ref(work))) return;
  work();
}

void Rings::State::lost(const RingEntry& entry, int why) {
  if (ends_well(why)) return;
  if (entry.commit_id() == 0) {
    log_warning("the kernel does not take memory for requests over io_uring: {}", std::strerror(why));
    return;
  }
  {
    const MutexLock lock(mutex);
    error = -why;
  }
  fuse_session_exit(session);
  options.on_request();
}

void Rings::State::add_worker(std::uint16_t queue) try {
  if (added >= most_added || phase != Phase::kServing) return;
  const cpu_set_t usable = usable_processors();
  const auto processor = CPU_ISSET(queue, &usable) ? std::optional<unsigned>(queue) : std::nullopt;
  auto entry = RingEntry::make(queue, options.payload_bytes);
  if (entry != nullptr && start_worker(only(std::move(entry)), processor, true).ok()) ++added;
} catch (const std::bad_alloc&) {
  // The queue goes on with those that it has.
}

void Rings::State::keep_one_free(std::uint16_t queue) {
  const MutexLock lock(mutex);
  const bool one_is = std::any_of(workers.begin(), workers.end(), [queue](const auto& worker) {
    return worker->serves(queue) && worker->at_hand() == 0 && !worker->has_ended();
  });
  if (!one_is) add_worker(queue);
}

// Returns: whether the worker whose ring has opened, or not, goes on.
bool Rings::State::may_serve(Status status) {
  const MutexLock lock(mutex);
  ++opened;
  const bool ok = status.ok();
  if (!ok) open_status = status;
  changed.notify_all();
  while (phase == Phase::kOpening) changed.wait(mutex);
  return ok && phase == Phase::kServing;
}

void Rings::State::work(RingWorker& worker, bool late) {
  if (may_serve(worker.open())) worker.serve(late);
  if (!options.process_ends) worker.close();
  worker.end();
  const MutexLock lock(mutex);
  changed.notify_all();
}

Status Rings::State::start_worker(Entries entries, std::optional<unsigned> processor, bool late) {
  try {
    workers.push_back(
        std::make_unique<RingWorker>(*this, fuse_session_fd(session), std::move(entries), processor));
    RingWorker& worker = *workers.back();
    worker.thread = std::thread([this, &worker, late] { work(worker, late); });
  } catch (const std::exception&) {
    if (!workers.empty() && !workers.back()->thread.joinable()) workers.pop_back();
    return Errno{EAGAIN};
  }
  return {};
}

// One for each processor that this process may use; one for all others, whose queues the kernel wants served, too.
Status Rings::State::start_workers() try {
  const cpu_set_t usable = usable_processors();
  Entries others;
  for (std::uint16_t queue = 0; queue < queues; ++queue) {
    auto entry = RingEntry::make(queue, options.payload_bytes);
    if (entry == nullptr) return Errno{ENOMEM};
    if (CPU_ISSET(queue, &usable)) {
      VARVE_RETURN_IF_ERROR(start_worker(only(std::move(entry)), queue, false));
    } else {
      others.push_back(std::move(entry));
    }
  }
  if (others.empty()) return {};
  return start_worker(std::move(others), std::nullopt, false);
} catch (const std::bad_alloc&) {
  return Errno{ENOMEM};
}

void Rings::State::end_workers() {
  ending.store(true);
  std::vector<std::unique_ptr<RingWorker>> all;
  {
    const MutexLock lock(mutex);
    phase = Phase::kEnding;
    changed.notify_all();
    all.swap(workers);
  }
  for (const auto& worker : all) {
    while (!worker->has_ended()) {
      // Again and again: the thread may have been just on its way to the ring.
      ::pthread_kill(worker->thread.native_handle(), SIGUSR1);
      const MutexLock lock(mutex);
      if (!worker->has_ended()) changed.wait_for(mutex, std::chrono::milliseconds(1));
    }
    worker->thread.join();
  }
}

Rings::Rings(struct fuse_session* session, Options options)
    : state_(std::make_unique<State>(session, std::move(options))) {}

Rings::~Rings() {
  stop();
  // Helpers sleep in it.
  if (state_->options.process_ends) static_cast<void>(state_.release());
}

Status Rings::open() {
  std::string possible;
  std::getline(std::ifstream("/sys/devices/system/cpu/possible"), possible);
  State& state = *state_;
  Status status;
  {
    const MutexLock lock(state.mutex);
    state.queues = count_in_list(possible);
    if (state.queues == 0) return Errno{ENOENT};
    for (unsigned round = 0; round < kWorkersOfQueue && status.ok(); ++round) status = state.start_workers();
    while (state.opened < state.workers.size()) state.changed.wait(state.mutex);
    if (status.ok()) status = state.open_status;
  }
  if (!status.ok()) state.end_workers();
  return status;
}

void Rings::serve() {
  const MutexLock lock(state_->mutex);
  state_->phase = State::Phase::kServing;
  state_->changed.notify_all();
}

int Rings::stop() {
  state_->end_workers();
  if (!state_->options.process_ends) state_->helpers.stop();
  const MutexLock lock(state_->mutex);
  return state_->error;
}

std::uint64_t Rings::received() const {
  const MutexLock lock(state_->mutex);
  std::uint64_t sum = 0;
  for (const auto& worker : state_->workers) sum += worker->received();
  return sum;
}

bool Rings::serves() const {
  return state_->used.load(std::memory_order_relaxed);
}

bool Rings::wants_ticks() const {
  const MutexLock lock(state_->mutex);
  return std::any_of(state_->workers.begin(), state_->workers.end(),
                     [](const auto& worker) { return worker->at_hand() != 0 && !worker->hangs(); });
}

void Rings::State::help(const RingWorker& hanging) {
  for (std::uint16_t queue = 0; queue < queues; ++queue) {
    if (!hanging.serves(queue)) continue;
    const bool all_hang = std::all_of(workers.begin(), workers.end(), [queue](const auto& worker) {
      return !worker->serves(queue) || worker->hangs();
    });
    if (all_hang) add_worker(queue);
  }
}

void Rings::tick() {
  const MutexLock lock(state_->mutex);
  // Not those that are added now.
  const std::size_t count = state_->workers.size();
  for (std::size_t i = 0; i < count; ++i) {
    RingWorker& worker = *state_->workers[i];
    if (!worker.hangs()) continue;
    worker.hung_at_hand = worker.seen_at_hand;
    state_->help(worker);
  }
  for (const auto& worker : state_->workers) worker->seen_at_hand = worker->at_hand();
}

}  // namespace varve::fuse
