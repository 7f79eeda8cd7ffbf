#include "fs/fuse/request_loop.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "fs/base/log.h"
#include "fs/base/mutex.h"
#include "fs/base/processors.h"
#include "fs/base/unique_fd.h"
#include "fs/fuse/patience.h"
#include "fs/fuse/request_length.h"

namespace varve::fuse {
namespace {

constexpr unsigned kDefaultThreads = 10;
// How often the leader is looked after, while there are requests.
constexpr std::chrono::milliseconds kTick{10};

bool poll_device(int device, int timeout_ms) {
  struct pollfd readable {
    .fd = device, .events = POLLIN, .revents = 0
  };
  return ::poll(&readable, 1, timeout_ms) > 0;
}
bool more_is_queued(int device) {
  return poll_device(device, 0);
}
void wait_for(int device) {
  poll_device(device, -1);
}

using Clock = std::chrono::steady_clock;

// Watches the device until there is a request, for as long as `patience` finds worth it. Returns: whether it slept no sooner
// than there was one.
bool watch_device(int device, Patience& patience) {
  const Clock::time_point begin = Clock::now();
  for (Clock::time_point before = begin; before - begin < Patience::kMost;) {
    if (more_is_queued(device)) {
      patience.came();
      return true;
    }
    ::sched_yield();
    const Clock::time_point now = Clock::now();
    if (now - before > Patience::kCrowded) {
      patience.crowded();
      return false;
    }
    before = now;
  }
  patience.nothing_came();
  return false;
}

void call_back(int) {}

}  // namespace

struct RequestLoop::State {
  struct fuse_session* session = nullptr;
  unsigned most_threads = 0;
  unsigned processors = 1;
  std::function<void()> on_initialized;
  std::function<bool(std::uint64_t)> on_tick;
  std::function<void()> on_quiet;
  std::function<void()> on_ending;
  std::size_t payload_bytes = 0;
  DeviceRead read;
  std::function<void(const struct fuse_buf&)> process;
  OtherWay* other_way = nullptr;
  bool leaves_idle = false;
  bool sleepers_stay = false;  // threads are left, which wait for ever
  bool more_ticks = false;     // on_tick wants them; of the watcher alone
  // Written to when there are requests again after a quiet tick, and when the loop ends.
  UniqueFd wake;
  std::atomic<bool> watched{false};        // the watcher ticks
  std::atomic<std::uint64_t> received{0};  // requests taken from the device
  std::atomic<std::uint64_t> at_hand{0};  // of these the one that the leader itself answers just now; 0: none

  Mutex mutex;
  CondVar lead_is_free;
  CondVar came_to_rest;                      // a thread, while `stopping`
  std::uint64_t lead GUARDED_BY(mutex) = 0;  // number of the present leadership
  bool led GUARDED_BY(mutex) = false;
  bool stopping GUARDED_BY(mutex) = false;
  int error GUARDED_BY(mutex) = 0;
  unsigned waiting GUARDED_BY(mutex) = 0;  // threads that would lead
  unsigned running GUARDED_BY(mutex) = 0;
  std::vector<std::thread> threads GUARDED_BY(mutex);
  Clock::time_point last_added GUARDED_BY(mutex);  // of the threads
  bool lacks_thread GUARDED_BY(mutex) = false;     // nobody leads, because the system refused a thread

  // Unless there are enough. Returns: false when the system refused it.
  bool add_thread_locked() REQUIRES(mutex);
  // Makes the caller the leader once nobody leads. Returns: the number of the leadership; 0 when the loop ends.
  std::uint64_t take_lead();
  void free_lead_locked() REQUIRES(mutex);
  bool may_add_thread_locked() const REQUIRES(mutex);
  // Gives up `mine` before a request of that length, unless it has been taken away. Returns: false when it is kept, as is better
  // for kBusy at times.
  bool pass_lead(std::uint64_t mine, RequestLength length);
  bool still_leads(std::uint64_t mine);
  // When this leader has no memory to receive into: lets one lead that has, if there is one.
  void step_back(std::uint64_t mine);
  void end(int with_error);
  void wake_watcher() const;
  void want_watcher();
  void work();
  // As leader `mine`: until the lead is given up. Returns: false when the loop ends.
  bool lead_requests(std::uint64_t mine, ReceiveBuffer& buffer);
  // Of ReceiveBuffer::receive(), after some watching.
  int receive(ReceiveBuffer& buffer, Patience& patience) const;
  struct Seen {
    std::uint64_t received = 0;
    std::uint64_t at_hand = 0;
  };
  std::uint64_t received_in_all() const {
    return received.load() + (other_way != nullptr ? other_way->received() : 0);
  }
  bool brings_notices_only() const { return other_way != nullptr && other_way->serves(); }
  void take_over(std::uint64_t request);
  void retry_thread();
  bool is_quiet_since(const Seen& last);
  void tick(Seen& last);
  bool start();
  void watch(const sigset_t& usual_signals);
  // Whether no thread is at a request or at the device.
  bool is_at_rest_locked() const REQUIRES(mutex) { return running == (leaves_idle ? waiting : 0); }
  void await_rest();
  void stop_threads();
};

void RequestLoop::State::wake_watcher() const {
  const std::uint64_t one = 1;
  // It fails only when it was written to 2^64 - 2 times and never read.
  [[maybe_unused]] const ssize_t written = ::write(wake.get(), &one, sizeof one);
}

void RequestLoop::State::want_watcher() {
  if (!watched.load() && !watched.exchange(true)) wake_watcher();
}

bool RequestLoop::State::add_thread_locked() {
  if (stopping || threads.size() >= most_threads) return true;
  try {
    threads.emplace_back([this] { work(); });
    ++running;
    last_added = Clock::now();
    return true;
  } catch (const std::exception& refused) {
    // Once, however often it is tried again.
    if (!lacks_thread) log_warning("starting a thread: {} (there are {})", refused.what(), threads.size());
    return false;
  }
}

std::uint64_t RequestLoop::State::take_lead() {
  const MutexLock lock(mutex);
  ++waiting;
  if (stopping) came_to_rest.notify_one();
  while (stopping ? leaves_idle : led) lead_is_free.wait(mutex);
  --waiting;
  if (stopping) return 0;
  led = true;
  lacks_thread = false;
  return ++lead;
}

void RequestLoop::State::free_lead_locked() {
  led = false;
  if (waiting > 0) {
    lead_is_free.notify_one();
  } else if (!add_thread_locked()) {
    lacks_thread = true;
    want_watcher();
  }
}

// More threads than processors help only those that wait for the disk: they come one after the other. A thread costs 0.15 ms until
// it decodes, and a small program is read in three.
bool RequestLoop::State::may_add_thread_locked() const {
  return threads.size() < processors || Clock::now() - last_added >= kTick;
}

bool RequestLoop::State::pass_lead(std::uint64_t mine, RequestLength length) {
  if (length == RequestLength::kShort) return false;
  const MutexLock lock(mutex);
  if (!led || lead != mine) return true;
  if (length == RequestLength::kBusy && waiting == 0 && !may_add_thread_locked()) return false;
  free_lead_locked();
  return true;
}

bool RequestLoop::State::still_leads(std::uint64_t mine) {
  const MutexLock lock(mutex);
  return led && lead == mine && !stopping;
}

void RequestLoop::State::step_back(std::uint64_t mine) {
  const MutexLock lock(mutex);
  if (led && lead == mine && waiting > 0) free_lead_locked();
}

void RequestLoop::State::end(int with_error) {
  fuse_session_exit(session);
  const MutexLock lock(mutex);
  stopping = true;
  if (with_error != 0) error = with_error;
  if (!leaves_idle) lead_is_free.notify_all();
}

int RequestLoop::State::receive(ReceiveBuffer& buffer, Patience& patience) const {
  const int device = fuse_session_fd(session);
  // Watching takes a processor of its own, and nobody waits for the answer to a notice.
  if (processors < 2 || brings_notices_only()) return buffer.receive(device, read);
  if (patience.pays() && watch_device(device, patience)) return buffer.receive(device, read);
  const Clock::time_point begin = Clock::now();
  const int size = buffer.receive(device, read);
  patience.slept(Clock::now() - begin);
  return size;
}

bool RequestLoop::State::lead_requests(std::uint64_t mine, ReceiveBuffer& buffer) {
  const int device = fuse_session_fd(session);
  const struct fuse_buf& request = buffer.request();
  Patience patience;
  for (;;) {
    const int size = receive(buffer, patience);
    if (fuse_session_exited(session) != 0) {
      end(0);
      return false;
    }
    if (size == -EINTR || size == -EAGAIN) {
      // A device that somebody else opened may not block.
      if (size == -EAGAIN) wait_for(device);
      continue;
    }
    if (size == -ENOMEM) {
      step_back(mine);
      std::this_thread::sleep_for(kTick);
      if (!still_leads(mine)) return true;
      continue;
    }
    if (size < 0) {
      // Unmounted. ECONNABORTED: the kernel had just chosen a request then (a release, of a file that was closed just before).
      end(size == -ENODEV || size == -ECONNABORTED ? 0 : size);
      return false;
    }
    std::uint64_t number = received.fetch_add(1) + 1;
    want_watcher();
    if (number == 1) {
      // INIT. The kernel sends nothing else until it is answered; and nobody takes the lead from this thread meanwhile.
      process(request);
      if (on_initialized) on_initialized();
      continue;
    }
    if (pass_lead(mine, length_of(request, [device] { return more_is_queued(device); }))) {
      process(request);
      return true;
    }
    at_hand.store(number);
    // The watcher may have seen two quiet ticks since this request was counted.
    want_watcher();
    process(request);
    at_hand.compare_exchange_strong(number, 0);
    if (!still_leads(mine)) return true;
  }
}

void RequestLoop::State::work() {
  ReceiveBuffer buffer(payload_bytes);
  while (const std::uint64_t mine = take_lead()) {
    if (!lead_requests(mine, buffer)) break;
  }
  wake_watcher();
  const MutexLock lock(mutex);
  --running;
  came_to_rest.notify_one();
}

// Takes the lead from the thread that is at `request`.
void RequestLoop::State::take_over(std::uint64_t request) {
  const MutexLock lock(mutex);
  // Not when it has been answered just now.
  if (at_hand.compare_exchange_strong(request, 0)) free_lead_locked();
}

void RequestLoop::State::retry_thread() {
  const MutexLock lock(mutex);
  if (lacks_thread && add_thread_locked()) lacks_thread = false;
}

bool RequestLoop::State::is_quiet_since(const Seen& last) {
  if (more_ticks || received_in_all() != last.received || at_hand.load() != 0) return false;
  if (other_way != nullptr && other_way->wants_ticks()) return false;
  const MutexLock lock(mutex);
  return !lacks_thread;
}

// `last`: what the last tick saw.
void RequestLoop::State::tick(Seen& last) {
  const Seen now{.received = received_in_all(), .at_hand = at_hand.load()};
  retry_thread();
  if (other_way != nullptr) other_way->tick();
  if (on_tick) more_ticks = on_tick(now.received);
  if (now.at_hand != 0 && now.at_hand == last.at_hand) {
    take_over(now.at_hand);
  } else if (is_quiet_since(last)) {
    watched.store(false);
    // What came before this is seen here; what comes after it wakes the watcher.
    if (!is_quiet_since(now)) {
      watched.store(true);
    } else if (on_quiet) {
      on_quiet();
    }
  }
  last = now;
}

// Until the session ends.
void RequestLoop::State::watch(const sigset_t& usual_signals) {
  Seen last;
  while (fuse_session_exited(session) == 0) {
    struct pollfd poll_wake {
      .fd = wake.get(), .events = POLLIN, .revents = 0
    };
    const struct timespec tick_time { .tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(kTick).count() };
    const bool ticks = watched.load();
    // Signals come in here alone.
    const int ready = ::ppoll(&poll_wake, 1, ticks ? &tick_time : nullptr, &usual_signals);
    if (ready > 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t got = ::read(wake.get(), &count, sizeof count);
    } else if (ready == 0) {
      tick(last);
    }
  }
}

// The first thread. Returns: false, with `error` set, when there can be none.
bool RequestLoop::State::start() {
  const MutexLock lock(mutex);
  try {
    threads.reserve(most_threads);
  } catch (const std::exception&) {
    error = -ENOMEM;
    return false;
  }
  if (!add_thread_locked()) error = -EAGAIN;
  return error == 0;
}

void RequestLoop::State::await_rest() {
  const MutexLock lock(mutex);
  // When a thread has ended the loop, nobody is at the device.
  bool may_read = !stopping;
  stopping = true;
  if (!leaves_idle) lead_is_free.notify_all();
  while (!is_at_rest_locked()) {
    if (may_read) {
      for (std::thread& thread : threads) ::pthread_kill(thread.native_handle(), SIGUSR1);
    }
    // Again and again: the thread may have been just on its way to the device.
    may_read = true;
    came_to_rest.wait_for(mutex, std::chrono::milliseconds(1));
  }
}

void RequestLoop::State::stop_threads() {
  await_rest();
  std::vector<std::thread> all;
  {
    const MutexLock lock(mutex);
    all.swap(threads);
    sleepers_stay = running > 0;
  }
  for (std::thread& thread : all) {
    if (sleepers_stay) {
      thread.detach();
    } else {
      thread.join();
    }
  }
}

RequestLoop::RequestLoop(struct fuse_session* session, Options options) : state_(std::make_unique<State>()) {
  state_->session = session;
  state_->most_threads = options.threads == 0 ? kDefaultThreads : options.threads;
  state_->processors = count_usable_processors();
  state_->leaves_idle = options.process_ends;
  state_->other_way = options.other_way;
  state_->on_initialized = std::move(options.on_initialized);
  state_->on_tick = std::move(options.on_tick);
  state_->on_quiet = std::move(options.on_quiet);
  state_->on_ending = std::move(options.on_ending);
  state_->payload_bytes = options.payload_bytes;
  state_->read = std::move(options.read);
  if (!state_->read) state_->read = ::read;
  state_->process = std::move(options.process);
  if (!state_->process) {
    state_->process = [session](const struct fuse_buf& request) {
      fuse_session_process_buf(session, &request);
    };
  }
}

RequestLoop::~RequestLoop() {
  // They sleep in it.
  if (state_->sleepers_stay) static_cast<void>(state_.release());
}

void RequestLoop::expect_ticks() {
  state_->want_watcher();
}

bool RequestLoop::await_device() {
  constexpr std::chrono::microseconds kStep{200};
  constexpr int kMostSteps = 100;
  const int device = fuse_session_fd(state_->session);
  const auto is_busy = [&] { return more_is_queued(device) || state_->at_hand.load() != 0; };
  int steps = 0;
  for (; steps < kMostSteps && is_busy(); ++steps) std::this_thread::sleep_for(kStep);
  return steps > 0;
}

int RequestLoop::run() {
  State& state = *state_;
  state.wake = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!state.wake.valid()) return -errno;
  struct sigaction action {};
  action.sa_handler = call_back;  // without SA_RESTART: the read of the device ends
  if (::sigaction(SIGUSR1, &action, nullptr) != 0) return -errno;
  sigset_t ending;
  sigset_t calling;
  sigset_t usual;
  sigemptyset(&ending);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&ending, signal);
  sigemptyset(&calling);
  sigaddset(&calling, SIGUSR1);
  // The threads take this over. Who started this process may have blocked SIGUSR1, and that outlives an exec.
  ::pthread_sigmask(SIG_BLOCK, &ending, &usual);
  ::pthread_sigmask(SIG_UNBLOCK, &calling, nullptr);
  if (state.start()) {
    state.watch(usual);
    if (state.on_ending) state.on_ending();
    state.stop_threads();
  }
  ::pthread_sigmask(SIG_SETMASK, &usual, nullptr);
  const MutexLock lock(state.mutex);
  return state.error;
}

}  // namespace varve::fuse
