#pragma once

// BlockCache: decoded frames of all layer files of a process, bounded in bytes, least recently used out first. A frame
// that several threads ask for at once is loaded once; the others wait for it.
// Thread rule: every method may be called from any thread. No lock is held while a frame is loaded.
// Ownership: shared by the layers that use it. A block lives as long as somebody holds it, in the cache or not, so the
// bound counts what the cache holds, not what readers still use.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "fs/base/mutex.h"
#include "fs/base/result.h"

namespace varve::layer {

// The content of one frame.
class Block {
 public:
  explicit Block(std::size_t size_bytes)
      : bytes_(std::make_unique_for_overwrite<std::byte[]>(size_bytes)), size_bytes_(size_bytes) {}
  std::span<std::byte> writable() { return {bytes_.get(), size_bytes_}; }
  std::span<const std::byte> bytes() const { return {bytes_.get(), size_bytes_}; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_bytes_;
};
using BlockPtr = std::shared_ptr<const Block>;

class BlockCache {
 public:
  static constexpr std::size_t kDefaultBytes = std::size_t{64} << 20;

  struct Key {
    std::uint64_t layer = 0;  // from add_layer()
    std::uint64_t frame = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };

  struct Statistics {
    std::uint64_t hits = 0;
    std::uint64_t waits = 0;   // found another thread loading the frame
    std::uint64_t misses = 0;  // loads, failed ones included
    std::uint64_t evictions = 0;
    std::uint64_t bytes = 0;  // held now
  };

  using Load = std::function<Result<BlockPtr>()>;

  explicit BlockCache(std::size_t limit_bytes = kDefaultBytes);
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;
  ~BlockCache();

  // A number for one open layer, never handed out twice.
  std::uint64_t add_layer() { return next_layer_.fetch_add(1, std::memory_order_relaxed); }

  // The block of `key`, from the cache or through `load`. A failed load is told to all who waited and is not kept: the
  // next asker tries again. Requires: `load` does not ask this cache.
  Result<BlockPtr> get(Key key, const Load& load);

  Statistics statistics() const;

 private:
  struct Entry;
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept;
  };
  // Blocks are spread over shards by key, so that readers of different frames seldom meet at one mutex.
  struct Shard {
    mutable Mutex mutex;
    CondVar loaded;  // some entry of the shard is no longer loading
    std::unordered_map<Key, std::shared_ptr<Entry>, KeyHash> entries GUARDED_BY(mutex);
    std::list<Key> recent GUARDED_BY(mutex);  // ready entries, the most recently used first
    std::size_t bytes GUARDED_BY(mutex) = 0;
    Statistics statistics GUARDED_BY(mutex);
  };

  Result<BlockPtr> load_and_publish(Shard& shard, Key key, const Load& load);
  void insert_locked(Shard& shard, Key key, const std::shared_ptr<Entry>& entry) REQUIRES(shard.mutex);

  std::size_t shard_limit_bytes_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::atomic<std::uint64_t> next_layer_{1};
};

}  // namespace varve::layer
