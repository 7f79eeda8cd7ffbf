#include "fs/fuse/helpers.h"

#include <chrono>
#include <deque>
#include <exception>
#include <thread>
#include <vector>

#include "fs/base/mutex.h"
#include "fs/base/processors.h"

namespace varve::fuse {
namespace {

using Clock = std::chrono::steady_clock;
// As RequestLoop adds threads.
constexpr std::chrono::milliseconds kBetweenThreads{10};

struct Job {
  const std::function<void()>* work = nullptr;
  bool done = false;
  CondVar was_done;
};

}  // namespace

struct Helpers::State {
  unsigned most = 0;
  unsigned processors = 1;

  Mutex mutex;
  CondVar job_came;
  std::deque<Job*> jobs GUARDED_BY(mutex);  // that no thread has begun
  unsigned idle GUARDED_BY(mutex) = 0;
  bool stopping GUARDED_BY(mutex) = false;
  Clock::time_point last_added GUARDED_BY(mutex);
  std::vector<std::thread> threads GUARDED_BY(mutex);

  // Tells that `done`, unless it is null, is; waits for another one. Returns: null when there will be none.
  Job* next_job(Job* done);
  void work();
  bool add_thread_locked() REQUIRES(mutex);
};

Job* Helpers::State::next_job(Job* done) {
  const MutexLock lock(mutex);
  if (done != nullptr) {
    done->done = true;
    done->was_done.notify_one();
  }
  ++idle;
  while (jobs.empty() && !stopping) job_came.wait(mutex);
  --idle;
  if (jobs.empty()) return nullptr;
  Job* const job = jobs.front();
  jobs.pop_front();
  return job;
}

void Helpers::State::work() {
  use_all_processors();
  Job* job = nullptr;
  while ((job = next_job(job)) != nullptr) (*job->work)();
}

bool Helpers::State::add_thread_locked() {
  if (threads.size() >= most) return false;
  if (threads.size() >= processors && Clock::now() - last_added < kBetweenThreads) return false;
  try {
    threads.emplace_back([this] { work(); });
  } catch (const std::exception&) {
    return false;  // the caller does without
  }
  last_added = Clock::now();
  return true;
}

Helpers::Helpers(unsigned most) : state_(std::make_unique<State>()) {
  state_->most = most;
  state_->processors = count_usable_processors();
}

Helpers::~Helpers() = default;

bool Helpers::run(const std::function<void()>& work) {
  State& state = *state_;
  const MutexLock lock(state.mutex);
  if (state.idle <= state.jobs.size() && !state.add_thread_locked()) return false;
  Job job;
  job.work = &work;
  state.jobs.push_back(&job);
  state.job_came.notify_one();
  while (!job.done) job.was_done.wait(state.mutex);
  return true;
}

void Helpers::stop() {
  std::vector<std::thread> all;
  {
    const MutexLock lock(state_->mutex);
    state_->stopping = true;
    all.swap(state_->threads);
    state_->job_came.notify_all();
  }
  for (std::thread& thread : all) thread.join();
}

}  // namespace varve::fuse
