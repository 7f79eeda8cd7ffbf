#include "fs/fuse/wake_latency.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "fs/base/log.h"

namespace varve::fuse {
namespace {

bool has_driver(const char* path) {
  std::string name;
  std::ifstream(path) >> name;
  // Not to be read: there is no way to know.
  return name != "none";
}

}  // namespace

bool Burst::tick(std::uint64_t received) {
  const std::uint64_t now = received - received_;
  received_ = received;
  if (now >= (ticks_left_ > 0 ? kGoesOn : kBegins)) {
    ticks_left_ = kCalmTicks;
  } else if (ticks_left_ > 0) {
    --ticks_left_;
  }
  return ticks_left_ > 0;
}

WakeLatency::WakeLatency(Options options) : options_(options) {
  const bool driven = has_driver(options_.driver);
  if (driven) device_ = UniqueFd(::open(options_.device, O_WRONLY | O_CLOEXEC));
  if (!device_.valid()) give_up(driven ? errno : kNoDriver);
}

bool WakeLatency::tick(std::uint64_t received) {
  const bool wanted = burst_.tick(received);
  if (device_.valid() && wanted != held_.load()) ask(wanted);
  return held_.load();
}

void WakeLatency::let_go() {
  if (held_.load()) ask(false);
}

void WakeLatency::ask(bool hold) {
  // Four bytes are taken for a number, all else for text (cpu_latency_qos_write).
  const std::int32_t limit_us = hold ? static_cast<std::int32_t>(options_.limit_us) : kAny;
  const ssize_t written = ::write(device_.get(), &limit_us, sizeof limit_us);
  if (written != sizeof limit_us) {
    const int error = written < 0 ? errno : EIO;
    device_.reset();
    held_.store(false);
    return give_up(error);
  }
  if (hold) taken_.fetch_add(1);
  held_.store(hold);
}

void WakeLatency::give_up(int why) {
  why_not_.store(why);
  log_warning(
      "option wakeup_us={}: {}: processors are not asked to wake up sooner ({}, or leave the option out)",
      options_.limit_us, why_not(),
      why == kNoDriver
          ? "load one and mount again; in a virtual machine this is cpuidle_haltpoll with force=1"
          : "run varvefs as root of the host, with that device in its /dev");
}

std::string WakeLatency::why_not() const {
  const int why = why_not_.load();
  if (why == 0) return {};
  if (why == kNoDriver) return "the kernel has no driver for idle processors (cpuidle)";
  return std::string(options_.device) + ": " + std::strerror(why);
}

WakeupStatus WakeLatency::status() const {
  return {.asked_us = options_.limit_us, .held = held_.load(), .taken = taken_.load(), .why_not = why_not()};
}

}  // namespace varve::fuse
