#include "fs/layer/block_cache.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace varve::layer {
namespace {

// A shard must hold several frames of the size that imagetool's profile max makes (2 MiB), and two of the greatest, else big
// frames would throw each other out.
constexpr std::size_t kLeastShardBytes = std::size_t{16} << 20;
constexpr std::size_t kMostShards = 16;

// Those who wait for a load must be told when memory runs out, so it may not fall through to the caller.
template <class Body>
auto attempt(const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Errno{ENOMEM};
  }
}

BlockPtr copy_of(std::span<const std::byte> content) {
  auto block = std::make_shared<Block>(content.size());
  std::memcpy(block->writable().data(), content.data(), content.size());
  return block;
}

}  // namespace

BlockCache::BlockCache(std::size_t limit_bytes) {
  const std::size_t count = std::clamp<std::size_t>(limit_bytes / kLeastShardBytes, 1, kMostShards);
  for (std::size_t i = 0; i < count; ++i) shards_.push_back(std::make_unique<Shard>(limit_bytes / count));
}

BlockCache::~BlockCache() = default;

std::optional<Result<BlockPtr>> BlockCache::find_or_begin(Shard& shard, Key key) {
  const MutexLock lock(shard.mutex);
  if (BlockPtr block = shard.blocks.find(key)) {
    ++shard.statistics.hits;
    return Result<BlockPtr>(std::move(block));
  }
  const auto found = shard.loading.find(key);
  if (found == shard.loading.end()) {
    ++shard.statistics.misses;
    shard.loading.emplace(key, std::make_shared<Loading>());
    return std::nullopt;
  }
  const std::shared_ptr<Loading> load = found->second;
  ++shard.statistics.waits;
  ++load->waiters;
  while (!load->outcome) shard.loaded.wait(shard.mutex);
  return load->outcome;
}

void BlockCache::publish(Shard& shard, Key key, const Result<BlockPtr>& outcome) {
  std::vector<BlockPtr> evicted;  // freed after the lock is released
  const MutexLock lock(shard.mutex);
  const auto found = shard.loading.find(key);
  VARVE_CHECK(found != shard.loading.end());
  found->second->outcome = outcome;
  shard.loading.erase(found);
  shard.loaded.notify_all();
  if (!outcome.ok()) return;
  shard.statistics.loaded_bytes += (*outcome)->bytes().size();
  try {
    shard.blocks.insert(key, *outcome, evicted);
  } catch (const std::bad_alloc&) {
    return;  // it is not kept; who asked for it has it
  }
  shard.statistics.evictions += evicted.size();
}

bool BlockCache::end_unwanted(Shard& shard, Key key, std::size_t loaded_bytes) {
  const MutexLock lock(shard.mutex);
  const auto found = shard.loading.find(key);
  VARVE_CHECK(found != shard.loading.end());
  if (found->second->waiters != 0) return false;
  shard.loading.erase(found);
  ++shard.statistics.direct;
  shard.statistics.loaded_bytes += loaded_bytes;
  return true;
}

Result<BlockPtr> BlockCache::get(Key key, const Load& load) {
  Shard& shard = shard_of(key);
  if (std::optional<Result<BlockPtr>> found = find_or_begin(shard, key)) return *std::move(found);
  Result<BlockPtr> outcome = attempt([&] { return load(); });
  publish(shard, key, outcome);
  return outcome;
}

Status BlockCache::read_whole(Key key, std::span<std::byte> out, const LoadInto& load) {
  Shard& shard = shard_of(key);
  if (const std::optional<Result<BlockPtr>> found = find_or_begin(shard, key)) {
    VARVE_ASSIGN(const BlockPtr block, *found);
    VARVE_CHECK(block->bytes().size() == out.size());
    std::memcpy(out.data(), block->bytes().data(), out.size());
    return {};
  }
  const Status loaded = attempt([&] { return load(out); });
  if (end_unwanted(shard, key, loaded.ok() ? out.size() : 0)) return loaded;
  publish(shard, key,
          loaded.ok() ? attempt([&]() -> Result<BlockPtr> { return copy_of(out); })
                      : Result<BlockPtr>(loaded.error()));
  return loaded;
}

BlockCache::Statistics BlockCache::statistics() const {
  Statistics sum;
  for (const auto& shard : shards_) {
    const MutexLock lock(shard->mutex);
    sum.hits += shard->statistics.hits;
    sum.waits += shard->statistics.waits;
    sum.misses += shard->statistics.misses;
    sum.direct += shard->statistics.direct;
    sum.evictions += shard->statistics.evictions;
    sum.bytes += shard->blocks.bytes();
    sum.loaded_bytes += shard->statistics.loaded_bytes;
  }
  return sum;
}

}  // namespace varve::layer
