// Building a layer of 10,000 small files.

#include <benchmark/benchmark.h>

#include <filesystem>

#include "bench/micro/scene.h"

namespace varve::bench {
namespace {

void write_layer(benchmark::State& state) {
  const Scene& scene = Scene::get();
  const std::string output = scene.scratch() + "/written.vrv";
  for (auto _ : state) {
    build(scene.tree(), output);
    state.PauseTiming();
    std::filesystem::remove(output);
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kDirectories * kFilesEach);
}
BENCHMARK(write_layer)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace varve::bench
