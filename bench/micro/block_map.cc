// The block map of a partly copied file of 1 GiB.

#include "fs/upper/cow/block_map.h"

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <random>

#include "fs/block/fd_block_file.h"

namespace varve::bench {
namespace {

constexpr std::uint64_t kBlocks = (std::uint64_t{1} << 30) / 4096;

upper::BlockMap new_map() {
  return upper::BlockMap::load({.map_id = 1, .boot_id = {}, .size_blocks = kBlocks}, nullptr,
                               []() -> Result<std::unique_ptr<block::BlockFile>> {
                                 UniqueFd memory(::memfd_create("map", MFD_CLOEXEC));
                                 return std::unique_ptr<block::BlockFile>(
                                     std::make_unique<block::FdBlockFile>(std::move(memory)));
                               })
      .value();
}

// A write of 4 KiB somewhere: what it adds to the write itself. The map lies in memory.
void claim(benchmark::State& state) {
  std::mt19937_64 random(1);
  upper::BlockMap map = new_map();
  for (auto _ : state) {
    const std::uint64_t block = random() % kBlocks;
    if (!map.reserve(block, block + 1).ok() || !map.claim(block, block + 1).ok()) {
      state.SkipWithError("claiming failed");
    }
  }
}
BENCHMARK(claim)->Iterations(100'000);

// A read somewhere, of a map of which every other run of 64 blocks is claimed: where does the run end?
void find_run(benchmark::State& state) {
  upper::BlockMap map = new_map();
  for (std::uint64_t block = 0; block < kBlocks; block += 128) {
    if (!map.claim(block, block + 64).ok()) state.SkipWithError("claiming failed");
  }
  std::mt19937_64 random(1);
  for (auto _ : state) {
    const std::uint64_t block = random() % kBlocks;
    benchmark::DoNotOptimize(map.claimed().test(block) ? map.claimed().next_clear(block)
                                                       : map.claimed().next_set(block));
  }
}
BENCHMARK(find_run);

}  // namespace
}  // namespace varve::bench
