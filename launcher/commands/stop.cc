#include "launcher/commands/stop.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>

#include "launcher/commands/running.h"
#include "launcher/explain.h"
#include "launcher/kernel/pidfd.h"
#include "launcher/signal_names.h"

namespace varve::launcher {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kStopping = "stopping the container";
// After its last process has ended a container writes out what its file system holds.
constexpr std::chrono::seconds kWriteOutTime{60};

struct Stopping {
  RunningContainer container;
  Clock::time_point deadline;
};

// Whether the process has ended by `deadline`.
bool wait_for_process(int process_fd, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    constexpr std::chrono::milliseconds kLongest{60'000};
    const int timeout_ms = static_cast<int>(std::clamp(left, std::chrono::milliseconds(0), kLongest).count());
    struct pollfd ended = {process_fd, POLLIN, 0};
    if (::poll(&ended, 1, timeout_ms) > 0) return true;
    if (Clock::now() >= deadline) return false;
  }
}

// Until nobody holds the container's lock any more. It may be gone as well: --rm.
StatusOrFailure wait_until_free(const image::ContainerStore& store, const std::string& name) {
  const Clock::time_point deadline = Clock::now() + kWriteOutTime;
  for (;;) {
    const ResultOrFailure<std::optional<UniqueFd>> lock = store.lock_stopped(name);
    if (!lock.ok() && lock.error().error_number != ENOENT) return lock.error();
    if (!lock.ok() || lock->has_value()) return {};
    if (Clock::now() >= deadline) {
      return Failure{
          EBUSY, refuse(kStopping, name, "its file system is still being written out", "wait and look again")
                     .message};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

StatusOrFailure finish(const image::ContainerStore& store, const Stopping& stopping) {
  const int process = stopping.container.first_process.get();
  if (!wait_for_process(process, stopping.deadline)) {
    [[maybe_unused]] const Status ignored = send_signal(process, SIGKILL);  // ESRCH: it has ended meanwhile
    wait_for_process(process, Clock::now() + kWriteOutTime);
  }
  return wait_until_free(store, stopping.container.state.name);
}

ResultOrFailure<std::vector<std::string>> chosen_names(const image::ContainerStore& store,
                                                       const std::vector<std::string>& names, bool all) {
  if (!all) return names;
  std::vector<std::string> running;
  VARVE_ASSIGN(const std::vector<image::ContainerState> states, store.list());
  for (const image::ContainerState& state : states) {
    if (find_running(store, state.name, kStopping).ok()) running.push_back(state.name);
  }
  return running;
}

}  // namespace

StatusOrFailure stop_containers(const StopOptions& options) {
  const image::ContainerStore store = containers_of(options.store);
  VARVE_ASSIGN(const std::vector<std::string> names, chosen_names(store, options.names, options.all));
  StatusOrFailure result;
  std::vector<Stopping> begun;
  for (const std::string& name : names) {
    ResultOrFailure<RunningContainer> container = find_running(store, name, kStopping);
    if (!container.ok()) {
      // Stopped is what it should be.
      const bool is_stopped = container.error().error_number == ESRCH;
      if (!is_stopped && result.ok()) result = container.error();
      continue;
    }
    const std::string& word = container->state.stop_signal;
    const ResultOrFailure<int> signal = word.empty() ? ResultOrFailure<int>(SIGTERM) : parse_signal(word);
    if (!signal.ok()) return signal.error();
    [[maybe_unused]] const Status ignored =
        send_signal(container->first_process.get(), *signal);  // ESRCH: as above
    const std::uint64_t seconds =
        std::min<std::uint64_t>(options.seconds.value_or(container->state.stop_seconds), 1U << 30);
    begun.push_back({std::move(*container), Clock::now() + std::chrono::seconds(seconds)});
  }
  for (const Stopping& one : begun) {
    StatusOrFailure stopped = finish(store, one);
    if (!stopped.ok() && result.ok()) result = std::move(stopped);
  }
  return result;
}

StatusOrFailure kill_containers(const KillOptions& options) {
  constexpr const char* kKilling = "sending a signal to the container";
  VARVE_ASSIGN(const int signal, parse_signal(options.signal));
  const image::ContainerStore store = containers_of(options.store);
  VARVE_ASSIGN(const std::vector<std::string> names, chosen_names(store, options.names, options.all));
  StatusOrFailure result;
  for (const std::string& name : names) {
    const ResultOrFailure<RunningContainer> container = find_running(store, name, kKilling);
    const Status sent = container.ok() ? send_signal(container->first_process.get(), signal) : Status();
    if (result.ok() && !container.ok()) result = container.error();
    if (result.ok() && !sent.ok()) result = explain(sent.error(), kKilling, name);
  }
  return result;
}

StatusOrFailure kill_and_wait(const std::string& store_path, const std::string& name) {
  const image::ContainerStore store = containers_of(store_path);
  ResultOrFailure<RunningContainer> container = find_running(store, name, kStopping);
  if (!container.ok())
    return container.error().error_number == ESRCH ? wait_until_free(store, name) : container.error();
  return finish(store, {std::move(*container), Clock::now()});
}

}  // namespace varve::launcher
