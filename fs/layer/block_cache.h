#pragma once

// BlockCache: decoded frames of all layer files of a process, bounded in bytes; two_queues.h says which ones stay. A frame that
// several threads ask for at once is decoded once; the others wait for it.
// Thread rule: every method may be called from any thread. No lock is held while a frame is loaded or copied.
// Ownership: shared by the layers that use it. A block lives as long as somebody holds it, in the cache or not, so the
// bound counts what the cache holds, not what readers still use.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "fs/base/mutex.h"
#include "fs/base/result.h"
#include "fs/layer/block.h"
#include "fs/layer/two_queues.h"

namespace varve::layer {

class BlockCache {
 public:
  static constexpr std::size_t kDefaultBytes = std::size_t{64} << 20;

  using Key = BlockKey;

  struct Statistics {
    std::uint64_t hits = 0;
    std::uint64_t waits = 0;   // found another thread loading the frame
    std::uint64_t misses = 0;  // loads, failed ones included
    std::uint64_t direct =
        0;  // of the loads, those straight into the asker's memory that nothing was kept of
    std::uint64_t evictions = 0;
    std::uint64_t bytes = 0;         // held now
    std::uint64_t loaded_bytes = 0;  // decoded so far, by all loads that went well
  };

  using Load = std::function<Result<BlockPtr>()>;
  using LoadInto = std::function<Status(std::span<std::byte> out)>;

  explicit BlockCache(std::size_t limit_bytes = kDefaultBytes);
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;
  ~BlockCache();

  // A number for one open layer, never handed out twice.
  std::uint64_t add_layer() { return next_layer_.fetch_add(1, std::memory_order_relaxed); }

  // The block of `key`, from the cache or through `load`. A failed load is told to all who waited and is not kept: the
  // next asker tries again. Requires: `load` does not ask this cache.
  Result<BlockPtr> get(Key key, const Load& load);

  // Fills `out`, which is as large as the whole frame. A frame that is neither held nor being loaded goes through `load`
  // straight into `out`, and the cache keeps nothing of it (who read all of a frame has no need of it soon), unless another
  // thread asked for it meanwhile. Requires: as get().
  Status read_whole(Key key, std::span<std::byte> out, const LoadInto& load);

  Statistics statistics() const;

 private:
  // One load under way. Guarded by its shard's mutex.
  struct Loading {
    std::optional<Result<BlockPtr>> outcome;  // empty until it ends
    unsigned waiters = 0;
  };
  // Blocks are spread over shards by key, so that readers of different frames seldom meet at one mutex.
  struct Shard {
    explicit Shard(std::size_t limit_bytes) : blocks(limit_bytes) {}
    mutable Mutex mutex;
    CondVar loaded;  // some load of the shard has ended
    TwoQueues blocks GUARDED_BY(mutex);
    std::unordered_map<Key, std::shared_ptr<Loading>, BlockKeyHash> loading GUARDED_BY(mutex);
    Statistics statistics GUARDED_BY(mutex);
  };

  Shard& shard_of(const Key& key) { return *shards_[BlockKeyHash()(key) % shards_.size()]; }
  // The block that is held or that another thread loads just now. Empty: the caller has to load it, and to publish.
  std::optional<Result<BlockPtr>> find_or_begin(Shard& shard, Key key);
  void publish(Shard& shard, Key key, const Result<BlockPtr>& outcome);
  // Ends a load that nobody waits for. Returns: false when somebody does.
  bool end_unwanted(Shard& shard, Key key, std::size_t loaded_bytes);

  std::vector<std::unique_ptr<Shard>> shards_;
  std::atomic<std::uint64_t> next_layer_{1};
};

}  // namespace varve::layer
