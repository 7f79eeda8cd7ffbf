#include "imagetool/image/source/similarity.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <optional>
#include <random>

#include "fs/layer/open_layer.h"
#include "imagetool/image/layer_builder.h"
#include "imagetool/image/layer_verify.h"
#include "imagetool/image/source/directory_source.h"
#include "tests/unit/image/scratch_directory.h"

namespace varve::image {
namespace {

using testing::ElementsAre;

std::string noise(std::size_t size_bytes, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes(size_bytes, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

Sketch sketch_of_text(const std::string& text) {
  return sketch_of(std::as_bytes(std::span(text)));
}

std::vector<std::uint32_t> order_of(const std::vector<Sketch>& sketches) {
  const RememberingMonitor monitor;
  return must(order_by_similarity(sketches, monitor));
}

std::size_t equal_hashes(const Sketch& a, const Sketch& b) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) count += a[i] == b[i] && a[i] != kNoHash ? 1 : 0;
  return count;
}

TEST(Sketch, TellsHowMuchTwoContentsHaveInCommon) {
  const std::string text = noise(50'000, 1);
  EXPECT_EQ(equal_hashes(sketch_of_text(text), sketch_of_text(text)), 64U);
  EXPECT_GT(equal_hashes(sketch_of_text(text), sketch_of_text("moved" + text)), 60U);
  // Half of the runs of either are the other's, a third of those of both.
  const std::size_t half =
      equal_hashes(sketch_of_text(text), sketch_of_text(text.substr(0, 25'000) + noise(25'000, 2)));
  EXPECT_GT(half, 10U);
  EXPECT_LT(half, 34U);
  EXPECT_LT(equal_hashes(sketch_of_text(text), sketch_of_text(noise(50'000, 3))), 3U);
  EXPECT_EQ(equal_hashes(sketch_of_text("short"), sketch_of_text("short")), 0U);
}

TEST(Similarity, PutsTheLikeSideBySideAndLeavesTheOthersInOrder) {
  std::vector<Sketch> sketches;
  const auto add = [&](const std::string& text) { sketches.push_back(sketch_of_text(text)); };
  const std::string one = noise(20'000, 1);
  const std::string two = noise(20'000, 2);
  add(one);
  add(noise(20'000, 3));
  add(two);
  add("");
  add(one + "x");
  add("y" + two);
  add(one.substr(5'000));
  EXPECT_THAT(order_of(sketches), ElementsAre(0, 4, 6, 1, 2, 5, 3));
  EXPECT_THAT(order_of({}), ElementsAre());
}

TEST(Similarity, OrdersManyEqualFilesOnceEach) {
  std::vector<Sketch> sketches(5'000, sketch_of_text(noise(1'000, 1)));
  for (std::size_t i = 0; i < sketches.size(); i += 3) sketches[i] = Sketch();
  std::vector<std::uint32_t> order = order_of(sketches);
  std::sort(order.begin(), order.end());
  std::vector<std::uint32_t> all(sketches.size());
  std::iota(all.begin(), all.end(), 0U);
  EXPECT_EQ(order, all);
}

// The order as it is defined, found by looking at all that are left. Requires: no more sketches than a search looks at.
std::vector<std::uint32_t> defined_order(const std::vector<Sketch>& sketches) {
  constexpr std::uint64_t kStep = 49;
  const auto log = [](std::size_t equal) {
    return static_cast<std::uint64_t>(256 * std::log2(static_cast<double>(equal)));
  };
  std::vector<std::uint32_t> order;
  std::vector<std::uint64_t> score(sketches.size());
  std::vector<bool> used(sketches.size());
  while (order.size() < sketches.size()) {
    std::optional<std::uint32_t> first;
    std::optional<std::uint32_t> best;
    for (std::uint32_t file = 0; file < sketches.size(); ++file) {
      if (used[file]) continue;
      if (!first) first = file;
      if (score[file] < log(6) + kStep * order.size()) continue;
      if (!best || score[file] > score[*best]) best = file;
    }
    order.push_back(best.value_or(*first));
    used[order.back()] = true;
    for (std::uint32_t file = 0; file < sketches.size(); ++file) {
      const std::size_t equal = equal_hashes(sketches[file], sketches[order.back()]);
      if (equal >= 6) score[file] = std::max(score[file], log(equal) + kStep * order.size());
    }
  }
  return order;
}

TEST(Similarity, IsTheOrderOfItsDefinition) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    // From all alike, whose scores rise with each that is placed, to hardly any.
    const std::uint32_t kinds = 1 + random() % 12;
    std::vector<Sketch> sketches(32);
    for (Sketch& sketch : sketches) {
      for (std::uint32_t& hash : sketch) hash = random() % 16 == 0 ? kNoHash : random() % kinds;
    }
    EXPECT_EQ(order_of(sketches), defined_order(sketches)) << seed;
  }
}

TEST(Similarity, EndsWhenTheUserSaysSo) {
  RememberingMonitor monitor;
  monitor.stop = true;
  const auto order = order_by_similarity(std::vector<Sketch>(1), monitor);
  ASSERT_FALSE(order.ok());
  EXPECT_EQ(order.error().error_number, ECANCELED);
}

TEST(Similarity, MakesLayersSmallerAndTheSameForAnyNumberOfJobs) {
  const ScratchDirectory scratch;
  std::filesystem::create_directories(scratch / "tree");
  // Versions of eight files, by name far from each other: a frame holds eight of the forty.
  std::vector<std::string> names;
  for (std::uint32_t i = 0; i < 40; ++i) {
    names.push_back(scratch / ("tree/" + std::to_string(i * 37 % 40 + 10)));
    write_file(names.back(), std::to_string(i) + noise(8'000, i % 8));
  }
  std::string first;
  for (const auto& [by_similarity, jobs] : {std::pair(false, 1U), std::pair(true, 1U), std::pair(true, 3U)}) {
    RememberingMonitor monitor;
    const auto source = must(DirectorySource::open(scratch / "tree", {}, monitor));
    BuildOptions options;
    options.writer.output_path = scratch / "a.layer";
    options.writer.packed_frame_bytes = 65536;
    options.writer.jobs = jobs;
    options.by_similarity = by_similarity;
    options.verify = true;
    must(build_layer(*source, options, monitor));
    const std::string bytes = read_file(scratch / "a.layer");
    if (!by_similarity) {
      EXPECT_GT(bytes.size(), 200'000U);
      continue;
    }
    EXPECT_LT(bytes.size(), 120'000U);
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << jobs;
  }
}

}  // namespace
}  // namespace varve::image
