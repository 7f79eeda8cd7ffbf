// What the foundations cost on a request's path: a Result through three frames beside an exception, a name checked.
// A negative look-up is ordinary traffic, so an error must cost no more than a value (docs/decisions/0001).

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <system_error>

#include "fs/base/name.h"
#include "fs/base/result.h"

namespace varve {
namespace {

[[gnu::noinline]] Result<std::uint64_t> third_frame(std::uint64_t value) {
  if (value % 2 == 1) return Errno{ENOENT};
  return value;
}
[[gnu::noinline]] Result<std::uint64_t> second_frame(std::uint64_t value) {
  VARVE_ASSIGN(std::uint64_t below, third_frame(value));
  return below + 1;
}
[[gnu::noinline]] Result<std::uint64_t> first_frame(std::uint64_t value) {
  VARVE_ASSIGN(std::uint64_t below, second_frame(value));
  return below + 1;
}

[[gnu::noinline]] std::uint64_t third_throwing(std::uint64_t value) {
  if (value % 2 == 1) throw std::system_error(ENOENT, std::generic_category());
  return value;
}
[[gnu::noinline]] std::uint64_t second_throwing(std::uint64_t value) {
  return third_throwing(value) + 1;
}
[[gnu::noinline]] std::uint64_t first_throwing(std::uint64_t value) {
  return second_throwing(value) + 1;
}

void BM_ResultThroughThreeFrames(benchmark::State& state) {
  auto value = static_cast<std::uint64_t>(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(first_frame(value).ok());
}
BENCHMARK(BM_ResultThroughThreeFrames)->ArgName("error")->Arg(0)->Arg(1);

void BM_ExceptionThroughThreeFrames(benchmark::State& state) {
  auto value = static_cast<std::uint64_t>(state.range(0));
  for (auto _ : state) {
    try {
      benchmark::DoNotOptimize(first_throwing(value));
    } catch (const std::system_error& error) {
      benchmark::DoNotOptimize(error.code().value());
    }
  }
}
BENCHMARK(BM_ExceptionThroughThreeFrames)->ArgName("error")->Arg(0)->Arg(1);

void BM_NameParse(benchmark::State& state) {
  std::string bytes(static_cast<std::size_t>(state.range(0)), 'n');
  for (auto _ : state) benchmark::DoNotOptimize(Name::parse(bytes).ok());
}
BENCHMARK(BM_NameParse)->ArgName("bytes")->Arg(8)->Arg(32)->Arg(255);

}  // namespace
}  // namespace varve
