// Names: in one layer, and in the union of many. A look-up is what most requests begin with.

#include <benchmark/benchmark.h>

#include "bench/micro/scene.h"

namespace varve::bench {
namespace {

view::MergedDirectoryPtr directory_of(const view::LowerStack& stack, unsigned number) {
  const std::string name = directory_name(number);
  return stack.look_up(stack.root(), Name::parse(name).value()).value()->directory;
}

// In a directory of 100 names, of a layer file.
void look_up_in_layer(benchmark::State& state) {
  const auto layer = Scene::get().layer();
  const std::string directory = directory_name(7);
  const LowerId parent = layer->look_up(layer->root(), Name::parse(directory).value()).value().id;
  const std::string name = state.range(0) != 0 ? file_name(42) : "absent";
  for (auto _ : state) {
    benchmark::DoNotOptimize(layer->look_up(parent, Name::parse(name).value()));
  }
}
BENCHMARK(look_up_in_layer)->ArgName("present")->Arg(1)->Arg(0);

void attributes_in_layer(benchmark::State& state) {
  const auto layer = Scene::get().layer();
  const std::string directory = directory_name(7);
  const LowerId id = layer->look_up(layer->root(), Name::parse(directory).value()).value().id;
  for (auto _ : state) benchmark::DoNotOptimize(layer->attributes(id));
}
BENCHMARK(attributes_in_layer);

// In the union: directory 0 is in every layer, directory 7 in the lowest alone.
void look_up_in_stack(benchmark::State& state) {
  const auto stack = Scene::get().stack(static_cast<unsigned>(state.range(0)));
  const view::MergedDirectoryPtr parent = directory_of(*stack, state.range(1) != 0 ? 0 : 7);
  const std::string name = file_name(99);
  for (auto _ : state) {
    benchmark::DoNotOptimize(stack->look_up(parent, Name::parse(name).value()));
  }
}
BENCHMARK(look_up_in_stack)->ArgNames({"layers", "merged"})->ArgsProduct({{1, 3, 125}, {0, 1}});

// All names of a directory that every layer has a part of.
void merge(benchmark::State& state) {
  const auto stack = Scene::get().stack(static_cast<unsigned>(state.range(0)));
  const view::MergedDirectoryPtr parent = directory_of(*stack, 0);
  std::int64_t names = 0;
  for (auto _ : state) {
    const Status merged = stack->for_each(parent, [&](std::string_view name, view::LowerRef, std::uint32_t) {
      benchmark::DoNotOptimize(name);
      ++names;
      return true;
    });
    if (!merged.ok()) state.SkipWithError("a layer cannot be read");
  }
  state.SetItemsProcessed(names);
}
BENCHMARK(merge)->ArgName("layers")->Arg(1)->Arg(3)->Arg(125);

}  // namespace
}  // namespace varve::bench
