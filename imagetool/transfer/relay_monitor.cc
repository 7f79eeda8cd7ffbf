#include "imagetool/transfer/relay_monitor.h"

#include <chrono>
#include <system_error>
#include <thread>

namespace varve::transfer {
namespace {

constexpr std::chrono::milliseconds kPeriod(100);

}  // namespace

void RelayMonitor::run(unsigned threads, const std::function<void()>& work) {
  pass_on();  // it may have been cancelled before
  std::vector<std::thread> workers;
  {
    MutexLock lock(mutex_);
    running_ = threads;
  }
  const auto work_and_tell = [&] {
    work();
    MutexLock lock(mutex_);
    if (--running_ == 0) ended_.notify_all();
  };
  for (unsigned i = 0; i < threads; ++i) {
    try {
      workers.emplace_back(work_and_tell);
    } catch (const std::system_error&) {  // the limit of threads: this one does it
      work_and_tell();
    }
  }
  for (bool running = true; running;) {
    {
      MutexLock lock(mutex_);
      if (running_ > 0) ended_.wait_for(mutex_, kPeriod);
      running = running_ > 0;
    }
    pass_on();
  }
  for (std::thread& worker : workers) worker.join();
  pass_on();
}

void RelayMonitor::pass_on() {
  std::vector<std::string> warnings;
  {
    MutexLock lock(mutex_);
    warnings.swap(warnings_);
  }
  for (const std::string& warning : warnings) monitor_.warn(warning);
  if (const std::uint64_t bytes = done_bytes_.exchange(0); bytes > 0) monitor_.advance(bytes);
  if (monitor_.cancelled()) cancelled_ = true;
}

void RelayMonitor::warn(const std::string& text) {
  MutexLock lock(mutex_);
  warnings_.push_back(text);
}

}  // namespace varve::transfer
