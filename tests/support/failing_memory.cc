#include "tests/support/failing_memory.h"

#include <cstdlib>
#include <limits>
#include <new>

namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
thread_local std::uint64_t allocations_left = kNoLimit;

}  // namespace

namespace varve::test {

FailingMemory::FailingMemory(std::uint64_t allowed) {
  allocations_left = allowed;
}

FailingMemory::~FailingMemory() {
  allocations_left = kNoLimit;
}

}  // namespace varve::test

void* operator new(std::size_t size) {
  if (allocations_left == 0) throw std::bad_alloc();
  if (allocations_left != kNoLimit) --allocations_left;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
