// Content-defined chunks: content that moved is found in the parents, stored as extents into their frames, and reads back.

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <numeric>
#include <random>

#include "fs/layer/layer_file.h"
#include "fs/layer/open_layer.h"
#include "imagetool/image/chunk/chunk_cutter.h"
#include "imagetool/image/chunk/chunked_content.h"
#include "imagetool/image/layer_builder.h"
#include "imagetool/image/layer_verify.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/source/directory_source.h"
#include "tests/unit/image/scratch_directory.h"

namespace varve::image {
namespace {

std::string noise(std::size_t size_bytes, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes(size_bytes, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

std::vector<std::size_t> ends_of_chunks(const ChunkCutter& cutter, const std::string& text) {
  std::vector<std::size_t> ends;
  auto rest = std::as_bytes(std::span(text));
  while (!rest.empty()) {
    const std::size_t length = cutter.cut(rest);
    ends.push_back((ends.empty() ? 0 : ends.back()) + length);
    rest = rest.subspan(length);
  }
  return ends;
}

TEST(ChunkCutter, CutsChunksOfTheSizesThatItPromises) {
  for (const std::uint32_t average : {4U << 10, 16U << 10, 256U << 10}) {
    const ChunkCutter cutter(average);
    const std::string text = noise(200 * std::size_t{average}, 1);
    const std::vector<std::size_t> ends = ends_of_chunks(cutter, text);
    EXPECT_EQ(ends.back(), text.size());
    for (std::size_t i = 0; i + 1 < ends.size(); ++i) {
      const std::size_t length = ends[i] - (i == 0 ? 0 : ends[i - 1]);
      EXPECT_GE(length, cutter.least_bytes());
      EXPECT_LE(length, cutter.most_bytes());
    }
    EXPECT_GT(ends.size(), 100U);
    EXPECT_LT(ends.size(), 300U);
  }
  // No content chooses an end here.
  const std::string zeros(1 << 20, '\0');
  EXPECT_EQ(ends_of_chunks(ChunkCutter(16 << 10), zeros).size(), 16U);
}

TEST(ChunkCutter, FindsTheSameEndsBehindAnInsertion) {
  const ChunkCutter cutter;
  const std::string text = noise(4 << 20, 2);
  std::vector<std::size_t> before = ends_of_chunks(cutter, text);
  std::vector<std::size_t> after = ends_of_chunks(cutter, std::string(100, 'x') + text);
  for (std::size_t& end : after) end -= 100;
  std::vector<std::size_t> both;
  std::set_intersection(before.begin(), before.end(), after.begin(), after.end(), std::back_inserter(both));
  EXPECT_GT(both.size(), before.size() - 5);
}

class ChunksTest : public ::testing::Test {
 protected:
  using Files = std::vector<std::pair<std::string, std::string>>;  // path, content

  std::string at(const std::string& path) const { return scratch_ / path; }

  // Builds `layer` of the files on `parents`. Returns: the size of the layer file.
  std::uint64_t build(const Files& files, const std::string& layer, const std::vector<std::string>& parents,
                      std::size_t table_bytes = ParentChunks::kDefaultTableBytes) {
    std::filesystem::remove_all(at("tree"));
    std::filesystem::create_directories(at("tree"));
    for (const auto& [path, content] : files) {
      std::filesystem::create_directories(std::filesystem::path(at("tree/" + path)).parent_path());
      write_file(at("tree/" + path), content);
    }
    const auto source = must(DirectorySource::open(at("tree"), {}, monitor_));
    const auto below = must(ParentFiles::make(must(layer::open_stack(paths_of(parents), {})), {}));
    BuildOptions options;
    options.writer.output_path = at(layer);
    options.writer.jobs = jobs_;
    options.writer.frame_bytes = frame_bytes_;
    options.latest_mtime_seconds = 1;
    options.parents = parents.empty() ? nullptr : below.get();
    if (!parents.empty()) options.chunk_bytes = ChunkCutter::kDefaultAverageBytes;
    options.chunk_table_bytes = table_bytes;
    summary_ = must(build_layer(*source, options, monitor_));
    return std::filesystem::file_size(at(layer));
  }

  std::vector<std::string> paths_of(const std::vector<std::string>& names) const {
    std::vector<std::string> paths;
    for (const std::string& name : names) paths.push_back(at(name));
    return paths;
  }

  // That the topmost of `layers` holds the files, read above the others, and that its own checksums agree.
  void expect_files(const std::vector<std::string>& layers, const Files& files) {
    const auto stack = must(layer::open_stack(paths_of(layers), {}));
    for (const auto& [path, wanted] : files) {
      const auto file = std::move(stack[0]->open_file(must(find_in_layer(*stack[0], path)))).value();
      std::string bytes(file->size_bytes(), '\0');
      ASSERT_EQ(*file->read(0, std::as_writable_bytes(std::span(bytes))), bytes.size());
      EXPECT_TRUE(bytes == wanted) << path;
    }
    const auto report = must(verify_layer(at(layers[0]), std::span(stack).subspan(1), monitor_));
    EXPECT_TRUE(report.good());
    EXPECT_EQ(report.unchecked_files, 0U);
    EXPECT_EQ(report.parent_bytes, summary_.parent_bytes);
  }

  ScratchDirectory scratch_;
  RememberingMonitor monitor_;
  LayerWriter::Summary summary_;
  unsigned jobs_ = 2;
  std::uint32_t frame_bytes_ = 65536;
};

TEST_F(ChunksTest, FindWhatWasShifted) {
  const std::string text = noise(5'000'000, 1);
  build({{"f", text}}, "old.layer", {});
  // Under its own name, where it is a delta file without an equal block, and under another.
  const Files files = {{"f", std::string(100, 'x') + text}, {"d/other", std::string(77, 'y') + text}};
  EXPECT_LT(build(files, "new.layer", {"old.layer"}), 60'000U);
  EXPECT_GT(summary_.parent_bytes, 2 * text.size() - 60'000);
  expect_files({"new.layer", "old.layer"}, files);
  // The frames of the parent are one run, whatever the offset in the first: an extent for each file, and one for its head.
  const auto stack = must(layer::open_stack(paths_of({"new.layer", "old.layer"}), {}));
  EXPECT_LE(static_cast<const layer::LayerFile&>(*stack[0]).tables().extents.size(), 8U);
}

TEST_F(ChunksTest, FindWhatWasCutAndJoined) {
  const std::string one = noise(2'000'000, 1);
  const std::string two = noise(1'500'000, 2);
  const std::string small = noise(50'000, 3);  // in a packed frame
  build({{"one", one}, {"two", two}, {"small", small}}, "old.layer", {});
  const Files files = {{"joined", two.substr(123'456, 900'000) + "between" + one.substr(777, 1'100'001)},
                       {"packed", std::string(9, 'z') + small}};
  EXPECT_LT(build(files, "new.layer", {"old.layer"}), 90'000U);
  expect_files({"new.layer", "old.layer"}, files);
}

TEST_F(ChunksTest, HelpDeltaFilesAndLieInTheLayersBelowTheParent) {
  const std::string text = noise(3'000'000, 1);
  build({{"f", text}}, "0.layer", {});
  // The same but for one block, and a part of it moved: a delta file that has chunks.
  std::string moved = text;
  moved.replace(2'000'000, 500'000, text.substr(12'345, 500'000));
  EXPECT_LT(build({{"f", moved}}, "1.layer", {"0.layer"}), 40'000U);
  expect_files({"1.layer", "0.layer"}, {{"f", moved}});
  // What the second parent shows lies in the first.
  const Files files = {{"g", "front" + moved}};
  EXPECT_LT(build(files, "2.layer", {"1.layer", "0.layer"}), 60'000U);
  expect_files({"2.layer", "1.layer", "0.layer"}, files);
}

TEST_F(ChunksTest, CountAsBlocksThatHoldData) {
  const std::string text = noise(1'000'000, 1);
  build({{"f", text}}, "old.layer", {});
  std::string changed = text;
  changed.replace(500'000, 100'000, text.substr(0, 100'000));
  build({{"f", changed}, {"moved", "front" + text}}, "new.layer", {"old.layer"});
  const auto stack = must(layer::open_stack(paths_of({"new.layer", "old.layer"}), {}));
  for (const std::string name : {"f", "moved"}) {
    const Attributes attributes = *stack[0]->attributes(must(find_in_layer(*stack[0], name)));
    EXPECT_GE(attributes.blocks_512 * 512, attributes.size_bytes) << name;
    EXPECT_LT(attributes.blocks_512 * 512, attributes.size_bytes + 4096) << name;
  }
}

TEST_F(ChunksTest, AreRefusedWithoutTheParent) {
  const std::string text = noise(1'000'000, 1);
  build({{"f", text}}, "old.layer", {});
  build({{"g", "front" + text}}, "new.layer", {"old.layer"});
  const auto stack = layer::open_stack(paths_of({"new.layer"}), {});
  ASSERT_FALSE(stack.ok());
  EXPECT_EQ(stack.error().error_number, ENOENT);
  const auto report = must(verify_layer(at("new.layer"), {}, monitor_));
  EXPECT_TRUE(report.good());
  EXPECT_EQ(report.unchecked_files, 1U);
  const auto alone = must(layer::LayerFile::open(at("new.layer"), {}));
  EXPECT_EQ(alone->open_file(must(find_in_layer(*alone, "g"))).error(), Errno{EIO});
}

TEST_F(ChunksTest, DoNotFragmentReads) {
  const std::string text = noise(8 << 20, 1);
  build({{"f", text}}, "old.layer", {});
  // Every 24 KiB from elsewhere: 42 pieces a MiB.
  std::string shuffled;
  for (std::size_t i = 0; i < 300; ++i) shuffled += text.substr((i * 7919 + 13) % 340 * 24'576, 24'576);
  const Files files = {{"g", shuffled}};
  build(files, "new.layer", {"old.layer"});
  expect_files({"new.layer", "old.layer"}, files);
  const auto stack = must(layer::open_stack(paths_of({"new.layer", "old.layer"}), {}));
  std::vector<unsigned> pieces(9);
  for (const format::Extent& extent : static_cast<const layer::LayerFile&>(*stack[0]).tables().extents) {
    if (format::extent_source(extent.source_word) == 0) continue;
    EXPECT_GE(extent.length, kLeastHeldBytes);
    ++pieces[extent.file_offset >> 20];
  }
  EXPECT_GT(std::accumulate(pieces.begin(), pieces.end(), 0U), 20U);
  for (const unsigned count : pieces) EXPECT_LE(count, ChunkedContent::kMostHeld);
}

TEST_F(ChunksTest, BeyondTheTableAreStored) {
  Files old;
  for (std::uint32_t i = 0; i < 40; ++i) old.emplace_back("f" + std::to_string(i), noise(1'000'000, i));
  build(old, "old.layer", {});
  const Files files = {{"first", "x" + old[0].second}, {"last", "x" + old[39].second}};
  const std::uint64_t all = build(files, "new.layer", {"old.layer"});
  EXPECT_LT(all, 60'000U);
  // 768 chunks of about 2,500.
  EXPECT_GT(build(files, "less.layer", {"old.layer"}, 1024 * 16), 1'000'000U);
  EXPECT_GT(summary_.parent_bytes, 900'000U);
  expect_files({"less.layer", "old.layer"}, files);
}

TEST_F(ChunksTest, ComeOutRightAfterAnyEdits) {
  for (std::uint32_t seed = 0; seed < 12; ++seed) {
    std::mt19937 random(seed);
    frame_bytes_ = 4096U << random() % 9;
    Files old;
    for (std::uint32_t i = 0; i < 4; ++i) {
      old.emplace_back("f" + std::to_string(i), noise(1 + random() % 1'500'000, seed * 10 + i));
      // Repeated content, and zeros.
      std::string& text = old.back().second;
      if (random() % 2 == 0) text += text.substr(random() % text.size());
      text.insert(random() % text.size(), std::string(random() % 50'000, '\0'));
    }
    build(old, "old.layer", {});
    Files files;
    for (std::uint32_t i = 0; i < 6; ++i) {
      std::string text;
      for (unsigned part = 0; part < 1 + random() % 6; ++part) {
        const std::string& from = old[random() % old.size()].second;
        const std::size_t start = random() % 3 == 0 ? text.size() % from.size() : random() % from.size();
        text += from.substr(start, random() % 700'000);
        if (random() % 2 == 0) text += noise(random() % 30'000, random());
      }
      files.emplace_back("f" + std::to_string(i), text);
    }
    build(files, "new.layer", {"old.layer"});
    EXPECT_GT(summary_.parent_bytes, 0U) << seed;
    SCOPED_TRACE(seed);
    expect_files({"new.layer", "old.layer"}, files);
  }
}

TEST_F(ChunksTest, GiveTheSameLayerForAnyNumberOfJobs) {
  const std::string text = noise(2'000'000, 1);
  build({{"f", text}, {"g", text.substr(5, 300'000)}}, "old.layer", {});
  const Files files = {
      {"a", "x" + text}, {"b", text.substr(1'000'001) + text.substr(7, 500'000)}, {"f", "y" + text}};
  std::string first;
  for (const unsigned jobs : {1U, 2U, 5U}) {
    jobs_ = jobs;
    build(files, "new.layer", {"old.layer"});
    const std::string bytes = read_file(at("new.layer"));
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << jobs;
  }
}

}  // namespace
}  // namespace varve::image
