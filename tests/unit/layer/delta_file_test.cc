// Files that store only what differs from a file of a layer below.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/layer/layer_file.h"
#include "fs/layer/open_layer.h"
#include "tests/unit/layer/layer_builder.h"
#include "tests/unit/layer/temporary_directory.h"

namespace varve::layer {
namespace {

using test::LayerBuilder;
using test::must;
using test::sample_text;
using testing::HasSubstr;

constexpr std::uint64_t kBlock = 4096;

class DeltaFileTest : public testing::Test {
 protected:
  // A delta file over `base_name` of `parent`; an empty piece is a hole up to the next multiple of a block given by its offset.
  struct Change {
    std::uint64_t offset_bytes = 0;
    std::string data;
    std::uint64_t hole_bytes = 0;
  };
  class Changes final : public image::ContentSource {
   public:
    explicit Changes(const std::vector<Change>& changes) : changes_(changes) {}
    ResultOrFailure<std::optional<image::Chunk>> next() override {
      if (next_ == changes_.size()) return std::optional<image::Chunk>();
      const Change& change = changes_[next_++];
      return std::optional(image::Chunk{.offset_bytes = change.offset_bytes,
                                        .bytes = test::as_bytes(change.data),
                                        .hole_bytes = change.hole_bytes});
    }

   private:
    const std::vector<Change>& changes_;
    std::size_t next_ = 0;
  };

  std::string path(int number) const { return directory_.file(std::to_string(number) + ".layer"); }

  void build_base(const std::string& content) {
    LayerBuilder builder(path(0));
    builder.file("other", "something else");
    builder.file("file", content);
    builder.finish();
  }

  // Layer `number`, whose file inherits from the file of the layer before it.
  StatusOrFailure build_delta(int number, std::uint64_t size_bytes, const std::vector<Change>& changes) {
    const auto parent = must(LayerFile::open(path(number - 1), context_));
    image::LayerWriter::Options options{.output_path = path(number)};
    options.parents.push_back({.sha256 = {}, .root_hash = parent->footer().root_hash});
    LayerBuilder builder(options);
    image::InodeSpec spec = test::spec(S_IFREG | 0600, size_bytes);
    const LowerId base = test::find(*parent, "file").id;
    spec.base = image::DeltaBase{.parent = 0,
                                 .inode = static_cast<std::uint32_t>(base.value()),
                                 .digest = parent->content_digest(base).value_or(format::Hash128{}),
                                 .size_bytes = must(parent->attributes(base)).size_bytes,
                                 .path = "/file",
                                 .data_blocks = 3};
    const std::uint32_t inode = builder.add("file", spec);
    if (!changes.empty()) {
      Changes source(changes);
      VARVE_RETURN_IF_ERROR(builder.writer().add_content(inode, source));
    }
    builder.finish();
    return {};
  }

  // The topmost of layers 0..number.
  std::shared_ptr<Layer> open(int number) {
    std::vector<std::string> paths;
    for (int i = number; i >= 0; --i) paths.push_back(path(i));
    stack_ = must(open_stack(paths, context_));
    return stack_.front();
  }

  test::TemporaryDirectory directory_;
  LayerContext context_;
  std::vector<std::shared_ptr<Layer>> stack_;
};

TEST_F(DeltaFileTest, InheritsAllOfItsBase) {
  const std::string base = sample_text(300'000);
  build_base(base);
  must(build_delta(1, base.size(), {}));
  const auto layer = open(1);
  EXPECT_EQ(must(test::content(*layer, "file")), base);
  const Attributes attributes = must(layer->attributes(test::find(*layer, "file").id));
  EXPECT_EQ(attributes.mode, S_IFREG | 0600U);
  EXPECT_EQ(attributes.blocks_512, 3 * kBlock / 512);
  const auto& file = static_cast<const LayerFile&>(*layer);
  EXPECT_EQ(file.content_digest(test::find(*layer, "file").id),
            static_cast<const LayerFile&>(*stack_[1]).content_digest(test::find(*stack_[1], "file").id));
  EXPECT_EQ(file.tables().frames.size(), 0U);
}

TEST_F(DeltaFileTest, ShowsItsOwnBlocksOverItsBase) {
  std::string wanted = sample_text(40 * kBlock + 100);
  build_base(wanted);
  const std::string one = sample_text(kBlock, 7);
  const std::string tail = sample_text(100, 8);
  must(build_delta(1, wanted.size(), {{3 * kBlock, one}, {5 * kBlock, "", 2 * kBlock}, {40 * kBlock, tail}}));
  wanted.replace(3 * kBlock, kBlock, one).replace(5 * kBlock, 2 * kBlock, 2 * kBlock, '\0');
  wanted.replace(40 * kBlock, 100, tail);
  const auto layer = open(1);
  EXPECT_EQ(must(test::content(*layer, "file")), wanted);
  const auto file = must(layer->open_file(test::find(*layer, "file").id));
  const auto first = must(file->next_data(0));
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->size_bytes, 5 * kBlock);
  EXPECT_EQ(must(file->next_data(5 * kBlock))->offset_bytes, 7 * kBlock);
}

TEST_F(DeltaFileTest, InheritsAcrossAnyDepth) {
  constexpr int kDepth = 40;
  std::string wanted = sample_text(64 * kBlock);
  build_base(wanted);
  for (int i = 1; i <= kDepth; ++i) {
    const std::string block = sample_text(kBlock, 100 + static_cast<std::uint32_t>(i));
    const std::uint64_t at = static_cast<std::uint64_t>(i) * 7 % 64 * kBlock;
    wanted.replace(at, kBlock, block);
    must(build_delta(i, wanted.size(), {{at, block}}));
  }
  EXPECT_EQ(must(test::content(*open(kDepth), "file")), wanted);
}

TEST_F(DeltaFileTest, IsCutAndLengthened) {
  const std::string base = sample_text(10 * kBlock + 5);
  build_base(base);
  must(build_delta(1, 2 * kBlock + 77, {}));
  EXPECT_EQ(must(test::content(*open(1), "file")), base.substr(0, 2 * kBlock + 77));
  // What was cut off does not come back.
  must(build_delta(2, 20 * kBlock, {}));
  EXPECT_EQ(must(test::content(*open(2), "file")),
            base.substr(0, 2 * kBlock + 77) + std::string(18 * kBlock - 77, '\0'));
}

TEST_F(DeltaFileTest, RefusesPiecesThatAreNoBlocks) {
  build_base(sample_text(10 * kBlock));
  for (const Change& change : {Change{1, "x"}, Change{0, "x"}, Change{kBlock, "", 5}}) {
    const StatusOrFailure built = build_delta(1, 10 * kBlock, {change});
    ASSERT_FALSE(built.ok());
    EXPECT_THAT(built.error().message, HasSubstr("not of whole 4 KiB blocks"));
  }
}

TEST_F(DeltaFileTest, NeedsItsParentInTheStack) {
  build_base("content");
  must(build_delta(1, 7, {}));
  LayerBuilder(path(5)).finish();
  const std::vector<std::string> paths = {path(1), path(5)};
  const auto refused = open_stack(paths, context_);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message,
              HasSubstr(path(1) + ": the layer that it was built on, with root hash"));
  // Alone it opens, for those who look into it, and only the content is missing.
  const auto alone = must(open_layer(path(1), context_));
  EXPECT_EQ(must(alone->attributes(test::find(*alone, "file").id)).size_bytes, 7U);
  testing::internal::CaptureStderr();
  EXPECT_EQ(test::content(*alone, "file").error(), Errno{EIO});
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("file /file: it continues in the layer with root hash"));
}

TEST_F(DeltaFileTest, StoresOnlyWhatChanged) {
  const std::string base = test::noise(4 << 20);
  build_base(base);
  must(build_delta(1, base.size(),
                   {{kBlock, base.substr(0, kBlock)}, {512 * kBlock, test::noise(2 * kBlock, 9)}}));
  const auto layer = open(1);
  EXPECT_LT(static_cast<const LayerFile&>(*layer).footer().file_size, 4 * kBlock);
}

}  // namespace
}  // namespace varve::layer
