#pragma once

// Mutexes with clang's thread-safety annotations (https://clang.llvm.org/docs/ThreadSafetyAnalysis.html); libstdc++'s
// own carry none.

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "fs/base/check.h"

#if defined(__clang__)
#define VARVE_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define VARVE_THREAD_ANNOTATION(x)
#endif

#define CAPABILITY(x) VARVE_THREAD_ANNOTATION(capability(x))
#define SCOPED_CAPABILITY VARVE_THREAD_ANNOTATION(scoped_lockable)
#define GUARDED_BY(x) VARVE_THREAD_ANNOTATION(guarded_by(x))
#define REQUIRES(...) VARVE_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) VARVE_THREAD_ANNOTATION(requires_shared_capability(__VA_ARGS__))
#define ACQUIRE(...) VARVE_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define ACQUIRE_SHARED(...) VARVE_THREAD_ANNOTATION(acquire_shared_capability(__VA_ARGS__))
#define RELEASE(...) VARVE_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define RELEASE_SHARED(...) VARVE_THREAD_ANNOTATION(release_shared_capability(__VA_ARGS__))
#define RELEASE_GENERIC(...) VARVE_THREAD_ANNOTATION(release_generic_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) VARVE_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
#define EXCLUDES(...) VARVE_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS VARVE_THREAD_ANNOTATION(no_thread_safety_analysis)

#if defined(__SANITIZE_THREAD__)
#define VARVE_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define VARVE_THREAD_SANITIZER
#endif
#endif
#if defined(VARVE_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

namespace varve {

class CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }
  bool try_lock() TRY_ACQUIRE(true) { return mutex_.try_lock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

// A mutex of 4 bytes (a std::mutex has 40), for objects of which there may be millions; no CondVar goes with it. The third
// one of Drepper, Futexes Are Tricky (https://akkadia.org/drepper/futex.pdf).
class CAPABILITY("mutex") SmallMutex {
 public:
  SmallMutex() = default;
  ~SmallMutex() { destroyed(); }
  SmallMutex(const SmallMutex&) = delete;
  SmallMutex& operator=(const SmallMutex&) = delete;

  void lock() ACQUIRE() {
    about_to_lock();
    std::uint32_t expected = kFree;
    if (!state_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire)) {
      // Whoever has waited cannot tell whether more wait.
      while (state_.exchange(kAwaited, std::memory_order_acquire) != kFree) {
        state_.wait(kAwaited, std::memory_order_relaxed);
      }
    }
    locked();
  }
  void unlock() RELEASE() {
    about_to_unlock();
    if (state_.exchange(kFree, std::memory_order_release) == kAwaited) state_.notify_one();
    unlocked();
  }

 private:
  static constexpr std::uint32_t kFree = 0;
  static constexpr std::uint32_t kHeld = 1;
  static constexpr std::uint32_t kAwaited = 2;  // held, and somebody may wait for it

  // ThreadSanitizer learns the order of locks from these.
#if defined(VARVE_THREAD_SANITIZER)
  void about_to_lock() {
    __tsan_mutex_pre_lock(this, 0);
  }
  void locked() {
    __tsan_mutex_post_lock(this, 0, 0);
  }
  void about_to_unlock() {
    __tsan_mutex_pre_unlock(this, 0);
  }
  void unlocked() {
    __tsan_mutex_post_unlock(this, 0);
  }
  void destroyed() {
    __tsan_mutex_destroy(this, 0);
  }
#else
  void about_to_lock() {}
  void locked() {}
  void about_to_unlock() {}
  void unlocked() {}
  void destroyed() {}
#endif

  std::atomic<std::uint32_t> state_{kFree};
};

// Of a Mutex or a SmallMutex.
template <class AnyMutex>
class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(AnyMutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  AnyMutex& mutex_;
};

class CondVar {
 public:
  // Releases `mutex` while it waits. May wake without cause: wait in a loop.
  void wait(Mutex& mutex) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // The same, for `how_long` at most.
  void wait_for(Mutex& mutex, std::chrono::nanoseconds how_long) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait_for(lock, how_long);
    lock.release();
  }
  void notify_one() { condition_.notify_one(); }
  void notify_all() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

// Readers and one writer. A waiting writer goes before new readers, so a stream of look-ups cannot starve a rename;
// hence a thread must not take the shared side twice.
class CAPABILITY("mutex") SharedMutex {
 public:
  SharedMutex() {
    pthread_rwlockattr_t attributes;
    VARVE_CHECK(pthread_rwlockattr_init(&attributes) == 0);
    VARVE_CHECK(pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) ==
                0);
    VARVE_CHECK(pthread_rwlock_init(&lock_, &attributes) == 0);
    VARVE_CHECK(pthread_rwlockattr_destroy(&attributes) == 0);
  }
  ~SharedMutex() { pthread_rwlock_destroy(&lock_); }
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;
  void lock() ACQUIRE() { VARVE_CHECK(pthread_rwlock_wrlock(&lock_) == 0); }
  void unlock() RELEASE() { VARVE_CHECK(pthread_rwlock_unlock(&lock_) == 0); }
  void lock_shared() ACQUIRE_SHARED() { VARVE_CHECK(pthread_rwlock_rdlock(&lock_) == 0); }
  void unlock_shared() RELEASE_SHARED() { VARVE_CHECK(pthread_rwlock_unlock(&lock_) == 0); }

 private:
  pthread_rwlock_t lock_;
};

class SCOPED_CAPABILITY WriterLock {
 public:
  explicit WriterLock(SharedMutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~WriterLock() RELEASE() { mutex_.unlock(); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  SharedMutex& mutex_;
};

class SCOPED_CAPABILITY ReaderLock {
 public:
  explicit ReaderLock(SharedMutex& mutex) ACQUIRE_SHARED(mutex) : mutex_(mutex) { mutex_.lock_shared(); }
  ~ReaderLock() RELEASE_GENERIC() { mutex_.unlock_shared(); }
  ReaderLock(const ReaderLock&) = delete;
  ReaderLock& operator=(const ReaderLock&) = delete;

 private:
  SharedMutex& mutex_;
};

}  // namespace varve
