#include "fs/layer/block_cache.h"

#include <algorithm>
#include <new>
#include <optional>
#include <utility>

namespace varve::layer {
namespace {

// A shard must hold several frames of the size that imagetool's profile max makes (2 MiB), and two of the greatest, else big
// frames would throw each other out.
constexpr std::size_t kLeastShardBytes = std::size_t{16} << 20;
constexpr std::size_t kMostShards = 16;

}  // namespace

// loading -> ready (kept, in `recent`) or failed (no longer in `entries`). Guarded by its shard's mutex.
struct BlockCache::Entry {
  std::optional<Result<BlockPtr>> outcome;  // empty while it is loading
  std::list<Key>::iterator recent;          // while it is ready and kept
};

std::size_t BlockCache::KeyHash::operator()(const Key& key) const noexcept {
  std::uint64_t x = key.frame * 0x9E3779B97F4A7C15ULL ^ key.layer * 0xC2B2AE3D27D4EB4FULL;
  x ^= x >> 32;
  return static_cast<std::size_t>(x * 0xD6E8FEB86659FD93ULL >> 7);
}

BlockCache::BlockCache(std::size_t limit_bytes) {
  const std::size_t count = std::clamp<std::size_t>(limit_bytes / kLeastShardBytes, 1, kMostShards);
  shard_limit_bytes_ = limit_bytes / count;
  for (std::size_t i = 0; i < count; ++i) shards_.push_back(std::make_unique<Shard>());
}

BlockCache::~BlockCache() = default;

Result<BlockPtr> BlockCache::get(Key key, const Load& load) {
  Shard& shard = *shards_[KeyHash()(key) % shards_.size()];
  {
    MutexLock lock(shard.mutex);
    const auto found = shard.entries.find(key);
    if (found != shard.entries.end()) {
      const std::shared_ptr<Entry> entry = found->second;
      if (entry->outcome) {
        ++shard.statistics.hits;
        shard.recent.splice(shard.recent.begin(), shard.recent, entry->recent);
        return *entry->outcome;
      }
      ++shard.statistics.waits;
      while (!entry->outcome) shard.loaded.wait(shard.mutex);
      return *entry->outcome;
    }
    ++shard.statistics.misses;
    shard.entries.emplace(key, std::make_shared<Entry>());
  }
  return load_and_publish(shard, key, load);
}

Result<BlockPtr> BlockCache::load_and_publish(Shard& shard, Key key, const Load& load) {
  const auto attempt = [&]() -> Result<BlockPtr> {
    try {
      return load();
    } catch (const std::bad_alloc&) {
      // Those who wait must be told, so it may not fall through here.
      return Errno{ENOMEM};
    }
  };
  const Result<BlockPtr> outcome = attempt();
  MutexLock lock(shard.mutex);
  const auto found = shard.entries.find(key);
  VARVE_CHECK(found != shard.entries.end());
  const std::shared_ptr<Entry> entry = found->second;
  entry->outcome = outcome;
  shard.loaded.notify_all();
  if (outcome.ok() && (*outcome)->bytes().size() <= shard_limit_bytes_) {
    insert_locked(shard, key, entry);
  } else {
    shard.entries.erase(found);
  }
  return outcome;
}

void BlockCache::insert_locked(Shard& shard, Key key, const std::shared_ptr<Entry>& entry) {
  const std::size_t size = (**entry->outcome)->bytes().size();
  while (shard.bytes + size > shard_limit_bytes_) {
    const auto oldest = shard.entries.find(shard.recent.back());
    VARVE_CHECK(oldest != shard.entries.end());
    shard.bytes -= (**oldest->second->outcome)->bytes().size();
    shard.entries.erase(oldest);
    shard.recent.pop_back();
    ++shard.statistics.evictions;
  }
  shard.recent.push_front(key);
  entry->recent = shard.recent.begin();
  shard.bytes += size;
}

BlockCache::Statistics BlockCache::statistics() const {
  Statistics sum;
  for (const auto& shard : shards_) {
    MutexLock lock(shard->mutex);
    sum.hits += shard->statistics.hits;
    sum.waits += shard->statistics.waits;
    sum.misses += shard->statistics.misses;
    sum.evictions += shard->statistics.evictions;
    sum.bytes += shard->bytes;
  }
  return sum;
}

}  // namespace varve::layer
