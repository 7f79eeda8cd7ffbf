// Files whose bytes lie in frames of a parent layer (the feature parent_frames), which this writer does not make: a layer is
// built with frames of its own, and its extents are then pointed at the parent's.

#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "fs/layer/layer_file.h"
#include "fs/layer/open_layer.h"
#include "tests/fuzz/packed_layer.h"
#include "tests/unit/layer/layer_builder.h"
#include "tests/unit/layer/temporary_directory.h"

namespace varve::layer {
namespace {

using format::Extent;
using format::ExtentKind;
using test::LayerBuilder;
using test::must;
using ::testing::HasSubstr;

constexpr std::uint64_t kBlock = 4096;
constexpr std::uint32_t kParentFrame = 65536;

// The parts of a layer file, to be changed and put together with good checksums.
class Parts {
 public:
  explicit Parts(const std::string& path) : path_(path) {
    std::ostringstream file;
    file << std::ifstream(path, std::ios::binary).rdbuf();
    packed_ = fuzz::pack_layer(file.str());
  }
  // The records of a part, to be written to.
  template <class T>
  std::span<T> records(std::uint8_t kind) {
    for (std::size_t at = 1; at < packed_.size();) {
      const std::size_t size = static_cast<unsigned char>(packed_[at + 1]) |
                               static_cast<std::size_t>(static_cast<unsigned char>(packed_[at + 2])) << 8;
      if (static_cast<std::uint8_t>(packed_[at]) == kind) {
        return {reinterpret_cast<T*>(packed_.data() + at + 3), size / sizeof(T)};
      }
      at += 3 + size;
    }
    return {};
  }
  std::span<Extent> extents() {
    return records<Extent>(static_cast<std::uint8_t>(format::SectionType::kExtent));
  }
  void write() {
    for (auto& header : records<format::LayerHeader>(static_cast<std::uint8_t>(fuzz::PieceKind::kHeader))) {
      header.incompat = header.incompat | format::kIncompatParentFrames;
    }
    for (auto& footer : records<format::LayerFooter>(static_cast<std::uint8_t>(fuzz::PieceKind::kFooter))) {
      footer.incompat = footer.incompat | format::kIncompatParentFrames;
    }
    const std::string file =
        fuzz::unpack_layer({reinterpret_cast<const std::uint8_t*>(packed_.data()), packed_.size()});
    std::ofstream(path_, std::ios::binary) << file;
  }

 private:
  const std::string path_;
  std::string packed_;
};

class ParentFramesTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kGap = 64 * kBlock;  // between the two extents of "file"

  ParentFramesTest()
      : large_(test::sample_text(3 * kParentFrame + 5 * kBlock, 3)), small_(test::sample_text(kBlock, 4)) {
    LayerBuilder parent(
        image::LayerWriter::Options{.output_path = path("parent"), .frame_bytes = kParentFrame});
    parent.file("before", test::sample_text(500, 1));
    parent.file("large", large_);
    parent.file("small", small_);
    parent.finish();
    const auto opened = must(LayerFile::open(path("parent"), context_));
    const format::LayerTables& tables = opened->tables();
    const format::Inode& small = **tables.inode(test::find(*opened, "small").id.value());
    small_frame_ = format::extent_frame(small.payload_a);
    small_offset_ = small.payload_b;
    const format::Inode& large = **tables.inode(test::find(*opened, "large").id.value());
    const auto extents = *tables.file_extents(large);
    EXPECT_EQ(format::extent_kind(extents[0].source_word), ExtentKind::kDataRun);
    run_frame_ = format::extent_frame(extents[0].source_word);
    build_child(opened->footer().root_hash);
  }

  // "file": one block, a gap, and a run of three frames of the parent's size; frames of the child are smaller.
  void build_child(const format::Hash128& root_hash) {
    image::LayerWriter::Options options{.output_path = path("child"), .frame_bytes = 16384};
    options.parents.push_back({.sha256 = {}, .root_hash = root_hash});
    LayerBuilder child(options);
    // Frames that differ, so that they are a run, and shrink, since Parts takes no more than 64 KiB.
    std::string run;
    for (char c = 'a'; run.size() < 3 * kParentFrame; ++c) run.append(16384, c);
    child.sparse("file", kGap + 3 * kParentFrame, {{0, std::string(kBlock, 'x')}, {kGap, run}});
    child.file("own", "its own content");
    child.finish();
  }

  // Points "file" at the parent.
  Parts pointed() {
    Parts parts(path("child"));
    const auto extents = parts.extents();
    EXPECT_EQ(extents.size(), 2U);
    extents[0].source_word = format::make_extent_source(small_frame_, 1, ExtentKind::kData);
    extents[0].in_frame_offset = small_offset_;
    extents[1].source_word = format::make_extent_source(run_frame_, 1, ExtentKind::kDataRun);
    extents[1].in_frame_offset = 0;
    return parts;
  }

  std::string path(const std::string& name) const { return directory_.file(name); }
  std::vector<std::shared_ptr<Layer>> open() {
    const std::vector<std::string> paths = {path("child"), path("parent")};
    return must(open_stack(paths, context_));
  }

  test::TemporaryDirectory directory_;
  LayerContext context_;
  const std::string large_;
  const std::string small_;
  std::uint64_t small_frame_ = 0;
  std::uint32_t small_offset_ = 0;
  std::uint64_t run_frame_ = 0;
};

TEST_F(ParentFramesTest, AreReadAsTheFilesOwn) {
  pointed().write();
  const auto stack = open();
  const auto& child = *stack[0];
  const std::string wanted = small_ + std::string(kGap - kBlock, '\0') + large_.substr(0, 3 * kParentFrame);
  EXPECT_NE(small_offset_, 0U);
  EXPECT_TRUE(must(test::content(child, "file")) == wanted);
  EXPECT_EQ(must(test::content(child, "own")), "its own content");
  // From within the run, over the bounds of its frames.
  const auto file = must(child.open_file(test::find(child, "file").id));
  std::string part(kParentFrame + 2, '?');
  ASSERT_EQ(must(file->read(kGap + kParentFrame - 1, std::as_writable_bytes(std::span(part)))), part.size());
  EXPECT_TRUE(part == large_.substr(kParentFrame - 1, part.size()));
  EXPECT_EQ(must(file->next_data(kBlock))->offset_bytes, kGap);
}

TEST_F(ParentFramesTest, NeedTheParentInTheStack) {
  pointed().write();
  LayerBuilder(path("another")).finish();
  const std::vector<std::string> paths = {path("child"), path("another")};
  const auto refused = open_stack(paths, context_);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("is not below it"));
  const auto alone = must(LayerFile::open(path("child"), context_));
  const LowerId file = test::find(*alone, "file").id;
  EXPECT_FALSE(alone->has_all_parents(file));
  EXPECT_TRUE(alone->has_all_parents(test::find(*alone, "own").id));
  testing::internal::CaptureStderr();
  EXPECT_EQ(alone->open_file(file).error(), Errno{EIO});
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("file /file: it continues in the layer with root hash"));
  EXPECT_EQ(must(test::content(*alone, "own")), "its own content");
}

TEST_F(ParentFramesTest, ThatTheParentHasNotAreNeverRead) {
  Parts parts = pointed();
  // The last frame of the run is a shorter one, then one that there is not.
  for (const std::uint64_t frame : {run_frame_ + 1, run_frame_ + 100}) {
    parts.extents()[1].source_word = format::make_extent_source(frame, 1, ExtentKind::kDataRun);
    parts.write();
    const auto stack = open();
    testing::internal::CaptureStderr();
    EXPECT_EQ(test::content(*stack[0], "file").error(), Errno{EIO}) << frame;
    EXPECT_NE(testing::internal::GetCapturedStderr(), "");
    EXPECT_EQ(must(test::content(*stack[0], "own")), "its own content");
  }
}

}  // namespace
}  // namespace varve::layer
