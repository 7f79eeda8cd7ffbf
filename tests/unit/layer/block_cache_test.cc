#include "fs/layer/block_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

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

TEST(BlockCache, KeepsWhatIsUsedAgainWhileALongScanPasses) {
  constexpr std::uint64_t kHot = 100;
  BlockCache cache(8 << 20);  // room for 80 blocks a megabyte
  const auto load = [] { return block_of(10'000); };
  const auto ask = [&](std::uint64_t layer, std::uint64_t frames) {
    for (std::uint64_t frame = 0; frame < frames; ++frame) ASSERT_TRUE(cache.get({layer, frame}, load).ok());
  };
  ask(1, kHot);
  ask(2, 900);  // falls out of probation, but is remembered
  ask(1, kHot);
  ask(3, 8400);  // ten times what fits
  const std::uint64_t misses = cache.statistics().misses;
  ask(1, kHot);
  EXPECT_EQ(cache.statistics().misses, misses);
}

// Asks for the same frame as `answered` does, from `count` threads; `asks(i)` tells whether thread i got what it should.
class Askers {
 public:
  Askers(unsigned count, const std::function<bool(unsigned)>& asks) {
    for (unsigned i = 0; i < count; ++i) {
      threads_.emplace_back([this, i, asks] { good_ += asks(i) ? 1 : 0; });
    }
  }
  unsigned good() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    return good_;
  }

 private:
  std::atomic<unsigned> good_{0};
  std::vector<std::thread> threads_;
};

TEST(BlockCache, LoadsAWholeFrameStraightIntoTheAskersMemoryAndKeepsNothing) {
  BlockCache cache;
  std::vector<std::byte> out(1000);
  const std::byte* filled = nullptr;
  ASSERT_TRUE(cache
                  .read_whole({1, 1}, out,
                              [&](std::span<std::byte> content) {
                                filled = content.data();
                                std::ranges::fill(content, std::byte{3});
                                return Status();
                              })
                  .ok());
  EXPECT_EQ(filled, out.data());
  EXPECT_EQ(cache.statistics().bytes, 0U);
  EXPECT_EQ(cache.statistics().direct, 1U);
}

TEST(BlockCache, LoadsAWholeFrameOnceThoughOthersAskForPartsOfIt) {
  BlockCache cache;
  constexpr unsigned kOthers = 7;
  std::atomic<int> loads{0};
  const auto load_into = [&](std::span<std::byte> content) {
    ++loads;
    while (cache.statistics().waits < kOthers) std::this_thread::sleep_for(1ms);
    std::ranges::fill(content, std::byte{3});
    return Status();
  };
  std::vector<std::byte> out(1000);
  Askers others(kOthers, [&](unsigned i) {
    while (loads == 0) std::this_thread::sleep_for(1ms);
    if (i % 2 == 0) {
      const auto block = cache.get({1, 1}, [&]() -> Result<BlockPtr> { return ++loads, Errno{EIO}; });
      return block.ok() && (*block)->bytes()[999] == std::byte{3};
    }
    std::vector<std::byte> own(1000);
    return cache.read_whole({1, 1}, own, load_into).ok() && own[999] == std::byte{3};
  });
  EXPECT_TRUE(cache.read_whole({1, 1}, out, load_into).ok());
  EXPECT_EQ(others.good(), kOthers);
  EXPECT_EQ(loads, 1);
  EXPECT_EQ(out[999], std::byte{3});
  // Somebody wanted it beside the first, so it stays.
  EXPECT_EQ(cache.statistics().bytes, 1000U);
  EXPECT_EQ(cache.statistics().direct, 0U);
}

TEST(BlockCache, TellsTheFailureOfAWholeReadToThoseWhoWait) {
  BlockCache cache;
  std::atomic<bool> begun{false};
  Askers other(1, [&](unsigned) {
    while (!begun) std::this_thread::sleep_for(1ms);
    const auto block = cache.get({1, 1}, [] { return block_of(1000); });
    return !block.ok() && block.error() == Errno{EIO};
  });
  std::vector<std::byte> out(1000);
  const Status failed = cache.read_whole({1, 1}, out, [&](std::span<std::byte>) -> Status {
    begun = true;
    while (cache.statistics().waits == 0) std::this_thread::sleep_for(1ms);
    return Errno{EIO};
  });
  EXPECT_EQ(error_number(failed), EIO);
  EXPECT_EQ(other.good(), 1U);
  EXPECT_TRUE(cache.get({1, 1}, [] { return block_of(1000); }).ok());
}

TEST(BlockCache, FillsAWholeReadFromWhatItHolds) {
  BlockCache cache;
  ASSERT_TRUE(cache.get({1, 1}, [] { return block_of(1000, std::byte{9}); }).ok());
  std::vector<std::byte> out(1000);
  ASSERT_TRUE(cache.read_whole({1, 1}, out, [](std::span<std::byte>) -> Status { return Errno{EIO}; }).ok());
  EXPECT_EQ(out[500], std::byte{9});
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

TEST(BlockCache, KeepsNothingOfAFileThatIsReadInOrder) {
  const test::TemporaryDirectory directory;
  const std::string text = test::sample_text(3'000'000);
  test::LayerBuilder builder(directory.file("a.layer"));
  builder.file("file", text);
  builder.finish();
  LayerContext context;
  const auto layer = test::must(LayerFile::open(builder.path(), context));
  const auto file = test::must(layer->open_file(test::find(*layer, "file").id));
  std::string out(3'000'000, '?');
  constexpr std::size_t kRequest = 131'072;
  for (std::size_t at = 0; at < out.size(); at += kRequest) {
    const auto part = std::as_writable_bytes(std::span(out).subspan(at, std::min(kRequest, out.size() - at)));
    ASSERT_TRUE(file->read(at, part).ok());
  }
  EXPECT_EQ(out, text);
  EXPECT_EQ(context.cache->statistics().bytes, 0U);
  EXPECT_EQ(context.cache->statistics().direct, layer->tables().frames.size());
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
