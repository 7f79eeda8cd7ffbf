#pragma once

// TwoQueues: the blocks that a cache holds, bounded in bytes, and which of them go when room is needed. The rule is 2Q (Johnson
// and Shasha, "2Q: A Low Overhead High Performance Buffer Management Replacement Algorithm", VLDB 1994):
//   probation   a block that was asked for once lies in a first-in-first-out queue; being asked for again soon moves nothing,
//               because the reads of one pass over a file come close together
//   remembered  of a block that falls out of probation the key is kept for a while
//   protected   a block whose key is remembered when it is loaded again lies in a queue by last use
// Room is made from probation while that is over its share, so a scan of any length passes through that share and leaves the
// protected blocks alone.
// Thread rule: none of its own; the owner's lock guards it. Ownership: shares the blocks with readers.

#include <cstddef>
#include <list>
#include <unordered_map>
#include <vector>

#include "fs/layer/block.h"

namespace varve::layer {

class TwoQueues {
 public:
  explicit TwoQueues(std::size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  // Null when the block is not held. Counts as a use.
  BlockPtr find(const BlockKey& key);
  // Takes `block` in, unless it is larger than the whole limit. What had to go is appended to `evicted`, for the owner to free
  // once its lock is released. When memory runs out (std::bad_alloc) `block` is not held, and all else is sound. Requires:
  // find(key) is null.
  void insert(const BlockKey& key, BlockPtr block, std::vector<BlockPtr>& evicted);

  std::size_t bytes() const { return probation_.bytes + protected_.bytes; }

 private:
  // Newest (probation, remembered) or last used (protected) first.
  struct Queue {
    std::list<BlockKey> keys;
    std::size_t bytes = 0;
  };
  struct Held {
    BlockPtr block;
    Queue* queue = nullptr;
    std::list<BlockKey>::iterator at;
  };
  struct Remembered {
    std::size_t size_bytes = 0;
    std::list<BlockKey>::iterator at;
  };

  void evict_last(Queue& queue, std::vector<BlockPtr>& evicted);
  void remember(const BlockKey& key, std::size_t size_bytes);
  // Whether `key` was remembered; it is not any more.
  bool forget(const BlockKey& key);

  const std::size_t limit_bytes_;
  std::unordered_map<BlockKey, Held, BlockKeyHash> held_;
  Queue probation_;
  Queue protected_;
  std::unordered_map<BlockKey, Remembered, BlockKeyHash> remembered_;
  Queue remembered_queue_;  // its bytes: of the blocks that the keys stood for
};

}  // namespace varve::layer
