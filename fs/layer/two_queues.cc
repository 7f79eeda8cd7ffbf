#include "fs/layer/two_queues.h"

#include <utility>

#include "fs/base/check.h"

namespace varve::layer {
namespace {

// The shares that the paper recommends: a quarter of the room for probation, keys for half of it.
constexpr std::size_t kProbationDivisor = 4;
constexpr std::size_t kRememberedDivisor = 2;
// However small the blocks are.
constexpr std::size_t kMostRemembered = 1024;

}  // namespace

BlockPtr TwoQueues::find(const BlockKey& key) {
  const auto found = held_.find(key);
  if (found == held_.end()) return nullptr;
  const Held& held = found->second;
  if (held.queue == &protected_) protected_.keys.splice(protected_.keys.begin(), protected_.keys, held.at);
  return held.block;
}

void TwoQueues::insert(const BlockKey& key, BlockPtr block, std::vector<BlockPtr>& evicted) {
  const std::size_t size = block->bytes().size();
  if (size > limit_bytes_) return;
  Queue& queue = forget(key) ? protected_ : probation_;
  while (bytes() + size > limit_bytes_) {
    const bool from_probation =
        probation_.bytes > limit_bytes_ / kProbationDivisor || protected_.keys.empty();
    evict_last(from_probation ? probation_ : protected_, evicted);
  }
  std::list<BlockKey> added{key};
  held_.emplace(key, Held{std::move(block), &queue, added.begin()});
  queue.keys.splice(queue.keys.begin(), added);
  queue.bytes += size;
}

void TwoQueues::evict_last(Queue& queue, std::vector<BlockPtr>& evicted) {
  const auto found = held_.find(queue.keys.back());
  VARVE_CHECK(found != held_.end());
  const std::size_t size = found->second.block->bytes().size();
  evicted.push_back(found->second.block);
  if (&queue == &probation_) remember(found->first, size);
  held_.erase(found);
  queue.keys.pop_back();
  queue.bytes -= size;
}

void TwoQueues::remember(const BlockKey& key, std::size_t size_bytes) {
  std::list<BlockKey> added{key};
  remembered_.emplace(key, Remembered{size_bytes, added.begin()});
  remembered_queue_.keys.splice(remembered_queue_.keys.begin(), added);
  remembered_queue_.bytes += size_bytes;
  while (remembered_queue_.bytes > limit_bytes_ / kRememberedDivisor ||
         remembered_.size() > kMostRemembered) {
    forget(BlockKey(remembered_queue_.keys.back()));
  }
}

bool TwoQueues::forget(const BlockKey& key) {
  const auto found = remembered_.find(key);
  if (found == remembered_.end()) return false;
  remembered_queue_.bytes -= found->second.size_bytes;
  remembered_queue_.keys.erase(found->second.at);
  remembered_.erase(found);
  return true;
}

}  // namespace varve::layer
