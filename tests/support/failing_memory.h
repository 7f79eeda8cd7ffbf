#pragma once

// FailingMemory: lets allocations of one thread fail, to see what is left behind when memory runs out. Linking it replaces the
// program's operator new and delete. Thread rule: counts the allocations of the thread that made it; one at a time.

#include <cstdint>

namespace varve::test {

class FailingMemory {
 public:
  // The next `allowed` allocations succeed, all later ones throw std::bad_alloc, until this is destroyed.
  explicit FailingMemory(std::uint64_t allowed);
  FailingMemory(const FailingMemory&) = delete;
  FailingMemory& operator=(const FailingMemory&) = delete;
  ~FailingMemory();
};

}  // namespace varve::test
