#include "fs/layer/block_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "fs/layer/layer_file.h"
#include "tests/unit/layer/layer_builder.h"
#include "tests/unit/layer/temporary_directory.h"

namespace varve::layer {
namespace {

using namespace std::chrono_literals;

Result<BlockPtr> block_of(std::size_t size_bytes, std::byte fill = std::byte{7}) {
  auto block = std::make_shared<Block>(size_bytes);
  std::ranges::fill(block->writable(), fill);
  return BlockPtr(std::move(block));
}

TEST(BlockCache, LoadsOnceForAllWhoAskAtOnce) {
  BlockCache cache;
  constexpr unsigned kThreads = 8;
  std::atomic<int> loads{0};
  std::atomic<unsigned> good{0};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      const auto block = cache.get({1, 1}, [&] {
        ++loads;
        // Let go only when the seven others wait for this load: then each of them asked while it was under
        // way.
        while (cache.statistics().waits < kThreads - 1) std::this_thread::sleep_for(1ms);
        return block_of(1000);
      });
      if (block.ok() && (*block)->bytes().size() == 1000) ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(loads, 1);
  EXPECT_EQ(good, kThreads);
  EXPECT_EQ(cache.statistics().misses, 1U);
}

TEST(BlockCache, HoldsNoLockWhileItLoads) {
  // One shard: both frames lie in it.
  BlockCache cache(1 << 20);
  const auto outer = cache.get({1, 1}, [&] {
    std::thread other([&] { EXPECT_TRUE(cache.get({1, 2}, [] { return block_of(10); }).ok()); });
    other.join();
    return block_of(10);
  });
  EXPECT_TRUE(outer.ok());
}

TEST(BlockCache, StaysWithinItsBound) {
  constexpr std::size_t kLimit = 8 << 20;
  BlockCache cache(kLimit);
  std::vector<std::thread> threads;
  std::atomic<bool> exceeded{false};
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (std::uint64_t frame = 0; frame < 400; ++frame) {
        const auto block = cache.get({i, frame}, [] { return block_of(100'000); });
        if (!block.ok() || cache.statistics().bytes > kLimit) exceeded = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(exceeded);
  EXPECT_GT(cache.statistics().evictions, 1000U);
  EXPECT_GT(cache.statistics().bytes, kLimit / 2);
}

TEST(BlockCache, ThrowsOutTheLeastRecentlyUsed) {
  BlockCache cache(1000);
  const auto load = [] { return block_of(400); };
  for (const std::uint64_t frame : {1, 2, 1, 3}) ASSERT_TRUE(cache.get({1, frame}, load).ok());
  const std::uint64_t misses = cache.statistics().misses;
  ASSERT_TRUE(cache.get({1, 1}, load).ok());
  EXPECT_EQ(cache.statistics().misses, misses);
  ASSERT_TRUE(cache.get({1, 2}, load).ok());
  EXPECT_EQ(cache.statistics().misses, misses + 1);
}

TEST(BlockCache, TellsLayersApart) {
  BlockCache cache;
  EXPECT_NE(cache.add_layer(), cache.add_layer());
  ASSERT_TRUE(cache.get({1, 5}, [] { return block_of(1, std::byte{1}); }).ok());
  const auto other = cache.get({2, 5}, [] { return block_of(1, std::byte{2}); });
  EXPECT_EQ((*other)->bytes()[0], std::byte{2});
}

TEST(BlockCache, DoesNotKeepFailures) {
  BlockCache cache;
  EXPECT_EQ(cache.get({1, 1}, []() -> Result<BlockPtr> { return Errno{EIO}; }).error(), Errno{EIO});
  EXPECT_TRUE(cache.get({1, 1}, [] { return block_of(1); }).ok());
}

TEST(BlockCache, TellsMemoryThatRanOut) {
  BlockCache cache;
  const auto failed = cache.get({1, 1}, []() -> Result<BlockPtr> { throw std::bad_alloc(); });
  EXPECT_EQ(failed.error(), Errno{ENOMEM});
  EXPECT_TRUE(cache.get({1, 1}, [] { return block_of(1); }).ok());
}

TEST(BlockCache, HandsOutBlocksLargerThanItself) {
  BlockCache cache(100);
  const auto block = cache.get({1, 1}, [] { return block_of(1000); });
  ASSERT_TRUE(block.ok());
  EXPECT_EQ((*block)->bytes().size(), 1000U);
  EXPECT_EQ(cache.statistics().bytes, 0U);
}

TEST(BlockCache, ServesReadersOfOneFileInParallel) {
  const test::TemporaryDirectory directory;
  const std::string text = test::sample_text(3'000'000);
  test::LayerBuilder builder(directory.file("a.layer"));
  builder.file("file", text);
  builder.finish();
  LayerContext context;
  context.cache =
      std::make_shared<BlockCache>(300'000);  // less than the file: loads and evictions go on all the time
  const auto layer = test::must(LayerFile::open(builder.path(), context));
  const auto file = test::must(layer->open_file(test::find(*layer, "file").id));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      std::string out(50'000, '?');
      for (std::size_t step = 0; step < 200; ++step) {
        const std::size_t offset = (step * 37 + i * 11) * 4093 % 2'900'000;
        const auto count = file->read(offset, std::as_writable_bytes(std::span(out)));
        if (!count.ok() || out != text.substr(offset, out.size())) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace varve::layer
