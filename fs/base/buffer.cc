#include "fs/base/buffer.h"

#include <sys/mman.h>

#include <bitset>
#include <cstdint>
#include <new>

#include "fs/base/mutex.h"

namespace varve {
namespace {

// Less is not worth it.
constexpr std::size_t kLeastBytes = std::size_t{16} << 10;

class LargePage {
 public:
  // Null when there is no room.
  std::byte* take(std::size_t size_bytes) EXCLUDES(mutex_);
  // Returns: false for memory that is not from here.
  bool give_back(std::byte* data, std::size_t size_bytes) EXCLUDES(mutex_);

 private:
  static constexpr std::size_t kBytes = std::size_t{2} << 20;
  static constexpr std::size_t kUnitBytes = 4096;
  static constexpr std::size_t kUnits = kBytes / kUnitBytes;

  static std::size_t units_of(std::size_t size_bytes) { return (size_bytes + kUnitBytes - 1) / kUnitBytes; }
  void map_locked() REQUIRES(mutex_);

  Mutex mutex_;
  bool is_mapped_ GUARDED_BY(mutex_) = false;  // or cannot be
  std::byte* start_ GUARDED_BY(mutex_) = nullptr;
  std::bitset<kUnits> taken_ GUARDED_BY(mutex_);
};

void LargePage::map_locked() {
  is_mapped_ = true;
  // Twice the room holds one at a multiple of its size. The rest is never touched.
  void* const room =
      ::mmap(nullptr, 2 * kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return;
  const auto address = reinterpret_cast<std::uintptr_t>(room);
  start_ = static_cast<std::byte*>(room) + (kBytes - address % kBytes) % kBytes;
  ::madvise(start_, kBytes, MADV_HUGEPAGE);
}

std::byte* LargePage::take(std::size_t size_bytes) {
  const std::size_t wanted = units_of(size_bytes);
  const MutexLock lock(mutex_);
  if (!is_mapped_) map_locked();
  if (start_ == nullptr) return nullptr;
  std::size_t free = 0;
  for (std::size_t unit = 0; unit < kUnits; ++unit) {
    free = taken_[unit] ? 0 : free + 1;
    if (free < wanted) continue;
    const std::size_t first = unit + 1 - wanted;
    for (std::size_t i = first; i <= unit; ++i) taken_.set(i);
    return start_ + first * kUnitBytes;
  }
  return nullptr;
}

bool LargePage::give_back(std::byte* data, std::size_t size_bytes) {
  const MutexLock lock(mutex_);
  const auto offset = reinterpret_cast<std::uintptr_t>(data) - reinterpret_cast<std::uintptr_t>(start_);
  if (start_ == nullptr || offset >= kBytes) return false;
  const std::size_t first = offset / kUnitBytes;
  for (std::size_t i = first; i < first + units_of(size_bytes); ++i) taken_.reset(i);
  return true;
}

// Never destroyed: buffers of threads may outlive what main() leaves.
LargePage& large_page() {
  static LargePage& page = *new LargePage;
  return page;
}

// A sanitizer sees the bounds of what it allocates itself.
#if defined(VARVE_SANITIZED)
constexpr bool kUsesLargePage = false;
#else
constexpr bool kUsesLargePage = true;
#endif

bool may_come_from_large_page(std::size_t size_bytes) {
  return kUsesLargePage && size_bytes >= kLeastBytes;
}

}  // namespace

Buffer::Buffer(std::size_t size_bytes) : size_bytes_(size_bytes) {
  if (may_come_from_large_page(size_bytes)) data_ = large_page().take(size_bytes);
  if (data_ == nullptr) data_ = static_cast<std::byte*>(::operator new(size_bytes));
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  if (may_come_from_large_page(size_bytes_) && large_page().give_back(data_, size_bytes_)) return;
  ::operator delete(data_);
}

}  // namespace varve
