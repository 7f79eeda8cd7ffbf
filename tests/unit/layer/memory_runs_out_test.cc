// What is left behind when memory runs out at any step of a change.

#include <gtest/gtest.h>

#include <new>
#include <set>

#include "fs/layer/directory_layer.h"
#include "fs/layer/two_queues.h"
#include "tests/support/failing_memory.h"
#include "tests/unit/layer/layer_builder.h"
#include "tests/unit/layer/temporary_directory.h"

namespace varve::layer {
namespace {

using test::FailingMemory;

// Runs `change` with 0, 1, 2 ... allocations allowed until it goes through, and `check` after each. Returns: how often it failed.
template <class Change, class Check>
std::uint64_t fail_at_every_allocation(const Change& change, const Check& check) {
  for (std::uint64_t allowed = 0;; ++allowed) {
    bool failed = false;
    try {
      const FailingMemory failing(allowed);
      change();
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    check();
    if (!failed) return allowed;
  }
}

TEST(MemoryRunsOut, TwoQueuesStaySound) {
  // Room for ten blocks; each insertion puts one out of probation, whose key is remembered.
  TwoQueues queues(1000);
  std::vector<BlockPtr> evicted;
  for (std::uint64_t frame = 0; frame < 10; ++frame) {
    queues.insert({1, frame}, std::make_shared<Block>(100), evicted);
  }
  std::uint64_t failures = 0;
  for (std::uint64_t frame = 10; frame < 60; ++frame) {
    // Every other one is one that fell out not long ago and will be protected.
    const BlockKey key{1, frame % 2 == 0 ? frame : frame - 11};
    if (queues.find(key) != nullptr) continue;
    const BlockPtr block = std::make_shared<Block>(100);
    failures += fail_at_every_allocation(
        [&] {
          std::vector<BlockPtr> gone;
          queues.insert(key, block, gone);
        },
        [&] {
          std::size_t held_bytes = 0;
          for (std::uint64_t i = 0; i < 60; ++i) {
            const BlockPtr held = queues.find({1, i});
            if (held != nullptr) held_bytes += held->bytes().size();
          }
          EXPECT_EQ(queues.bytes(), held_bytes);
          EXPECT_LE(queues.bytes(), 1000U);
        });
    EXPECT_EQ(queues.find(key), block);
  }
  EXPECT_GT(failures, 50U);
}

TEST(MemoryRunsOut, ADirectoryLayerGivesEachFileItsOwnId) {
  const test::TemporaryDirectory directory;
  for (int i = 0; i < 100; ++i) test::write_file(directory.file(std::to_string(i)), std::to_string(i));
  const auto layer = test::must(DirectoryLayer::open(directory.path()));
  std::uint64_t failures = 0;
  std::set<std::uint64_t> ids;
  for (int i = 0; i < 100; ++i) {
    const std::string text = std::to_string(i);  // a Name borrows it
    const Name name = test::must(Name::parse(text));
    Entry entry;
    failures +=
        fail_at_every_allocation([&] { entry = test::must(layer->look_up(layer->root(), name)); }, [] {});
    EXPECT_TRUE(ids.insert(entry.id.value()).second) << i;
    EXPECT_EQ(test::must(layer->path_of(entry.id)), "/" + std::to_string(i));
    EXPECT_EQ(test::must(test::content(*layer, std::to_string(i))), std::to_string(i));
  }
  EXPECT_GT(failures, 100U);
}

}  // namespace
}  // namespace varve::layer
