// Contents of files in layer files: frames, packing, holes, duplicates.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "fs/layer/layer_file.h"
#include "fs/layer/open_layer.h"
#include "tests/unit/layer/layer_builder.h"
#include "tests/unit/layer/temporary_directory.h"

namespace varve::layer {
namespace {

using test::LayerBuilder;
using test::must;
using test::sample_text;

class FileContentTest : public testing::Test {
 protected:
  std::unique_ptr<LayerFile> open() {
    summary_ = builder_.finish();
    return must(LayerFile::open(builder_.path(), context_));
  }
  static std::vector<std::pair<std::uint64_t, std::uint64_t>> data_ranges(const Layer& layer,
                                                                          std::string_view path) {
    const auto file = must(layer.open_file(test::find(layer, path).id));
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    for (std::uint64_t offset = 0;;) {
      const auto range = must(file->next_data(offset));
      if (!range) return ranges;
      ranges.emplace_back(range->offset_bytes, range->size_bytes);
      offset = range->offset_bytes + range->size_bytes;
    }
  }
  test::TemporaryDirectory directory_;
  LayerContext context_;
  LayerBuilder builder_{directory_.file("a.layer")};
  image::LayerWriter::Summary summary_;
};

TEST_F(FileContentTest, ComesBackAtEverySize) {
  const std::size_t sizes[] = {0,     1,      4095,   4096,   4097,    65535,         65536,
                               65537, 131072, 131073, 196608, 1000000, (3 << 20) + 17};
  std::uint32_t seed = 0;
  for (const std::size_t size : sizes) builder_.file("f" + std::to_string(size), sample_text(size, ++seed));
  const auto layer = open();
  seed = 0;
  for (const std::size_t size : sizes) {
    EXPECT_EQ(must(test::content(*layer, "f" + std::to_string(size))), sample_text(size, ++seed)) << size;
  }
}

TEST_F(FileContentTest, ComesBackWhenItDoesNotCompress) {
  builder_.file("small", test::noise(3000));
  builder_.file("large", test::noise(300'000));
  const auto layer = open();
  EXPECT_EQ(must(test::content(*layer, "small")), test::noise(3000));
  EXPECT_EQ(must(test::content(*layer, "large")), test::noise(300'000));
  // Stored frames: 8 bytes each above the content.
  EXPECT_LE(summary_.stored_bytes, 303'000U + 8 * layer->tables().frames.size());
}

TEST_F(FileContentTest, ReadsAnyPartOfIt) {
  const std::string text = sample_text(500'000);
  builder_.file("file", text);
  const auto layer = open();
  const auto file = must(layer->open_file(test::find(*layer, "file").id));
  std::mt19937 random(7);
  for (int i = 0; i < 500; ++i) {
    const std::size_t offset = random() % 510'000;
    std::string out(random() % 200'000, '?');
    const std::size_t count = must(file->read(offset, std::as_writable_bytes(std::span(out))));
    out.resize(count);
    ASSERT_EQ(out, offset < text.size() ? text.substr(offset, out.size()) : "") << offset;
    ASSERT_TRUE(count > 0 || out.empty());
  }
}

TEST_F(FileContentTest, ReadsNothingAtOrPastTheEnd) {
  builder_.file("file", "four");
  const auto layer = open();
  const auto file = must(layer->open_file(test::find(*layer, "file").id));
  std::string out(10, '?');
  EXPECT_EQ(must(file->read(4, std::as_writable_bytes(std::span(out)))), 0U);
  EXPECT_EQ(must(file->read(UINT64_MAX, std::as_writable_bytes(std::span(out)))), 0U);
  EXPECT_EQ(must(file->read(1, std::as_writable_bytes(std::span(out)))), 3U);
}

TEST_F(FileContentTest, KeepsHoles) {
  const std::string block = sample_text(4096);
  const std::string many = sample_text(200'000);
  builder_.sparse("sparse", 1 << 30, {{1 << 20, block}, {1 << 24, many}, {(1 << 30) - 10, "0123456789"}});
  builder_.sparse("hole", 123'456, {});
  const auto layer = open();
  EXPECT_EQ(data_ranges(*layer, "sparse"),
            (std::vector<std::pair<std::uint64_t, std::uint64_t>>{
                {1 << 20, 4096}, {1 << 24, (200'000 + 4095) / 4096 * 4096}, {(1 << 30) - 4096, 4096}}));
  EXPECT_TRUE(data_ranges(*layer, "hole").empty());
  EXPECT_EQ(must(test::content(*layer, "hole")), std::string(123'456, '\0'));
  EXPECT_EQ(must(layer->attributes(test::find(*layer, "hole").id)).blocks_512, 0U);

  const auto file = must(layer->open_file(test::find(*layer, "sparse").id));
  std::string out(300'000, '?');
  ASSERT_EQ(must(file->read((1 << 24) - 50'000, std::as_writable_bytes(std::span(out)))), out.size());
  EXPECT_EQ(out, std::string(50'000, '\0') + many + std::string(50'000, '\0'));
  ASSERT_EQ(must(file->read((1 << 30) - 20, std::as_writable_bytes(std::span(out)))), 20U);
  EXPECT_EQ(out.substr(0, 20), std::string(10, '\0') + "0123456789");
}

TEST_F(FileContentTest, RoundsHolesInwardsToBlocks) {
  builder_.sparse("file", 50'000, {{10, "a"}, {5000, "b"}, {20'000, "c"}, {20'001, "d"}});
  const auto layer = open();
  std::string wanted(50'000, '\0');
  wanted[10] = 'a';
  wanted[5000] = 'b';
  wanted.replace(20'000, 2, "cd");
  EXPECT_EQ(must(test::content(*layer, "file")), wanted);
  EXPECT_EQ(data_ranges(*layer, "file"),
            (std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0, 8192}, {16384, 4096}}));
}

TEST_F(FileContentTest, KeepsZerosThatAreNoHole) {
  const std::string zeros(300'000, '\0');
  builder_.file("zeros", zeros);
  const auto layer = open();
  EXPECT_EQ(must(test::content(*layer, "zeros")), zeros);
  EXPECT_EQ(data_ranges(*layer, "zeros"),
            (std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0, 300'000}}));
  EXPECT_LT(summary_.stored_bytes, 1000U);
}

TEST_F(FileContentTest, HoldsPetabytesOfHole) {
  builder_.sparse("huge", 1ULL << 60, {{1ULL << 59, "needle"}});
  const auto layer = open();
  const auto file = must(layer->open_file(test::find(*layer, "huge").id));
  std::string out(6, '?');
  ASSERT_EQ(must(file->read(1ULL << 59, std::as_writable_bytes(std::span(out)))), 6U);
  EXPECT_EQ(out, "needle");
  EXPECT_EQ(layer->content_digest(test::find(*layer, "huge").id), std::nullopt);
}

TEST_F(FileContentTest, IsStoredOnce) {
  const std::string small = sample_text(20'000, 3);
  const std::string large = test::noise(400'000);
  builder_.file("small", small);
  builder_.file("large", large);
  builder_.file("large again", large);
  builder_.file("small again", small);
  builder_.file("small, later", sample_text(120'000, 4));
  builder_.file("small for the third time", small);
  const auto layer = open();
  EXPECT_EQ(summary_.duplicate_bytes, 400'000U + 2 * 20'000U);
  EXPECT_EQ(must(test::content(*layer, "large again")), large);
  EXPECT_EQ(must(test::content(*layer, "small again")), small);
  EXPECT_EQ(must(test::content(*layer, "small for the third time")), small);
}

TEST_F(FileContentTest, SharesItsBeginningWithAnotherFile) {
  const std::string shared = test::noise(65'536 * 3);
  builder_.file("one", shared + test::noise(70'000, 2));
  builder_.file("two", shared + test::noise(70'000, 3));
  const auto layer = open();
  EXPECT_EQ(summary_.duplicate_bytes, shared.size());
  EXPECT_EQ(must(test::content(*layer, "two")), shared + test::noise(70'000, 3));
}

TEST_F(FileContentTest, NeedsOneExtentForAFileOfManyFrames) {
  builder_.file("large", test::noise(4 << 20));
  const auto layer = open();
  EXPECT_EQ(layer->tables().frames.size(), 64U);
  EXPECT_EQ(layer->tables().extents.size(), 0U);
}

}  // namespace
}  // namespace varve::layer
