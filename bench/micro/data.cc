// Contents: decoding and checking a frame, and finding it in the cache.

#include <benchmark/benchmark.h>

#include <array>
#include <cstring>
#include <vector>

#include "bench/micro/scene.h"
#include "fs/layer/block_cache.h"

namespace varve::bench {
namespace {

// One frame after the other: read, XXH3 verified, decompressed, past the cache.
void decode(benchmark::State& state) {
  const auto layer = Scene::get().layer();
  const auto frames = layer->tables().frames;
  if (frames.size() < 2) {
    state.SkipWithError("the layer has no frames");
    return;
  }
  std::uint64_t at = 1;  // 0 is none
  for (auto _ : state) {
    if (layer->check_frame(at)) state.SkipWithError("a frame is damaged");
    at = at + 1 < frames.size() ? at + 1 : 1;
  }
  state.counters["stored"] = static_cast<double>(frames.size() - 1);
}
BENCHMARK(decode);

// A small file of a layer, whole, its frame in the cache.
void read_cached(benchmark::State& state) {
  const auto layer = Scene::get().layer();
  const std::string directory = directory_name(7);
  const std::string name = file_name(42);
  const LowerId parent = layer->look_up(layer->root(), Name::parse(directory).value()).value().id;
  const LowerId id = layer->look_up(parent, Name::parse(name).value()).value().id;
  const auto file = layer->open_file(id).value();
  std::vector<std::byte> out(file->size_bytes());
  for (auto _ : state) {
    if (!file->read(0, out).ok()) state.SkipWithError("it cannot be read");
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * out.size()));
}
BENCHMARK(read_cached);

// Blocks of 64 KiB that fit (hits), or do not (a load and an eviction each, without the decoding).
void cache(benchmark::State& state) {
  constexpr std::size_t kBlockBytes = 65'536;
  const auto blocks = static_cast<std::uint64_t>(state.range(0));
  layer::BlockCache cache(64 * kBlockBytes);
  const std::uint64_t number = cache.add_layer();
  std::uint64_t at = 0;
  for (auto _ : state) {
    const auto block = cache.get({number, at % blocks}, [&]() -> Result<layer::BlockPtr> {
      return std::make_shared<const layer::Block>(kBlockBytes);
    });
    benchmark::DoNotOptimize(block);
    ++at;
  }
}
BENCHMARK(cache)->ArgName("blocks")->Arg(16)->Arg(1024);

}  // namespace
}  // namespace varve::bench
