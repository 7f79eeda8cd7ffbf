#include "imagetool/image/source/upper_source.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "fs/layer/open_layer.h"
#include "fs/upper/cow/cow_file.h"
#include "imagetool/image/layer_builder.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/source/directory_source.h"
#include "tests/unit/image/scratch_directory.h"

namespace varve::image {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::size_t kBlock = 4096;

// A directory as the layer below, and an upper that is changed as the view of a mount would change it.
class UpperSourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "whiteouts and trusted xattrs need root";
    for (const char* name : {"low", "low/d", "upper", "work"})
      ASSERT_EQ(::mkdir((scratch_ / name).c_str(), 0755), 0);
    write_file(scratch_ / "low/f", std::string(3 * kBlock, 'L'));
    write_file(scratch_ / "low/d/a", "shared");
    ASSERT_EQ(::link((scratch_ / "low/d/a").c_str(), (scratch_ / "low/b").c_str()), 0);
    ASSERT_EQ(::link((scratch_ / "low/d/a").c_str(), (scratch_ / "low/c").c_str()), 0);
    layer_ = must(layer::open_layer(scratch_ / "low", {}));
    open_store("upper", "work");
  }
  void open_store(const std::string& upper, const std::string& work) {
    upper_ = scratch_ / upper;
    work_ = scratch_ / work;
    store_ = must(upper::UpperStore::open({.upper_path = upper_,
                                           .work_path = work_,
                                           .base_stack = {base_line(layer_->identity())},
                                           .volatile_upper = false,
                                           .boot_id = ""}));
  }
  UpperSource::Options options() const { return {upper_, work_, {layer_}}; }
  // With the mount stopped, or as killed.
  std::unique_ptr<UpperSource> open(bool cleanly = true) {
    const Status closed = cleanly ? store_->close() : Status();
    EXPECT_TRUE(closed.ok());
    store_.reset();
    return must(UpperSource::open(options(), monitor_));
  }
  LowerId lower(const std::string& path) const { return must(find_in_layer(*layer_, path)); }

  // Copies `path` of the layer up to `name` in the upper's root, without its data.
  upper::UpperStore::Copied copy_up(const std::string& path, const std::string& name, bool indexed) {
    upper::CopyUp copy;
    copy.attributes = *layer_->attributes(lower(path));
    copy.origin = {LayerSlot{1}, *layer_->inode_number(lower(path))};
    const bool by_number = layer_->find_by_number(copy.origin.inode_number).ok();
    copy.base = upper::Base{LayerSlot{1}, by_number ? "" : path, copy.origin.inode_number,
                            copy.attributes.size_bytes};
    copy.indexed = indexed;
    const auto entry = store_->copy_up({store_->root_fd(), name}, copy);
    EXPECT_TRUE(entry.ok());
    return *entry;
  }
  void write(const std::string& name, const std::string& path, std::uint64_t offset,
             const std::string& bytes) {
    const upper::ObjectRef object{store_->root_fd(), name};
    const auto file = upper::CowFile::open(*store_, object, store_->look_up(object)->marks,
                                           std::move(layer_->open_file(lower(path))).value());
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->write(offset, std::as_bytes(std::span(bytes))).ok());
  }
  // Builds a layer of `source` and opens it.
  std::shared_ptr<layer::Layer> built(UpperSource& source) {
    BuildOptions build;
    build.writer.output_path = scratch_ / "top.layer";
    must(build_layer(source, build, monitor_));
    must(source.close());
    return must(layer::open_layer(scratch_ / "top.layer", {}));
  }
  static std::string content(const layer::Layer& layer, const std::string& path) {
    const auto file = std::move(layer.open_file(must(find_in_layer(layer, path)))).value();
    std::string bytes(file->size_bytes(), '\0');
    EXPECT_EQ(*file->read(0, std::as_writable_bytes(std::span(bytes))), bytes.size());
    return bytes;
  }
  static std::vector<std::string> paths(const layer::Layer& layer) {
    std::vector<std::string> found;
    must(walk_layer(layer, [&](const LayerVisit& visit) -> ResultOrFailure<bool> {
      found.push_back(visit.path + (visit.entry.kind == layer::Entry::Kind::kWhiteout ? " deleted" : ""));
      return true;
    }));
    return found;
  }

  ScratchDirectory scratch_;
  RememberingMonitor monitor_;
  std::string upper_;
  std::string work_;
  std::shared_ptr<layer::Layer> layer_;
  std::unique_ptr<upper::UpperStore> store_;
};

TEST_F(UpperSourceTest, PartlyCopiedFileComesOutWhole) {
  copy_up("/f", "f", false);
  write("f", "/f", kBlock, std::string(kBlock, 'U'));
  const auto layer = built(*open());
  EXPECT_EQ(content(*layer, "f"),
            std::string(kBlock, 'L') + std::string(kBlock, 'U') + std::string(kBlock, 'L'));
}

TEST_F(UpperSourceTest, TheBaseInALayerFileIsFoundByItsNumber) {
  BuildOptions build;
  build.writer.output_path = scratch_ / "low.layer";
  must(build_layer(*must(DirectorySource::open(scratch_ / "low", {}, monitor_)), build, monitor_));
  layer_ = must(layer::open_layer(build.writer.output_path, {}));
  for (const char* name : {"other-upper", "other-work"})
    ASSERT_EQ(::mkdir((scratch_ / name).c_str(), 0755), 0);
  store_.reset();
  open_store("other-upper", "other-work");
  copy_up("/f", "f", false);
  EXPECT_EQ(store_->look_up({store_->root_fd(), "f"})->marks.base->path, "");
  write("f", "/f", kBlock, std::string(kBlock, 'U'));
  const auto layer = built(*open());
  EXPECT_EQ(content(*layer, "f"),
            std::string(kBlock, 'L') + std::string(kBlock, 'U') + std::string(kBlock, 'L'));
}

TEST_F(UpperSourceTest, FileWithOnlyItsMetadataCopiedComesOutWhole) {
  copy_up("/f", "f", false);
  ASSERT_TRUE(store_->change_mode({store_->root_fd(), "f"}, 0600).ok());
  const auto layer = built(*open());
  EXPECT_EQ(content(*layer, "f"), std::string(3 * kBlock, 'L'));
  EXPECT_EQ(layer->attributes(must(find_in_layer(*layer, "f")))->mode & 07777, 0600U);
}

TEST_F(UpperSourceTest, HolesStayHoles) {
  copy_up("/f", "f", false);
  write("f", "/f", 100 * kBlock, std::string(kBlock, 'E'));
  const auto layer = built(*open());
  const auto file = std::move(layer->open_file(must(find_in_layer(*layer, "f")))).value();
  const auto range = *file->next_data(3 * kBlock);
  ASSERT_TRUE(range.has_value());
  EXPECT_EQ(range->offset_bytes, 100 * kBlock);
}

TEST_F(UpperSourceTest, AKilledMountLosesNothing) {
  copy_up("/f", "f", false);
  write("f", "/f", 0, std::string(kBlock, 'U'));
  const auto layer = built(*open(false));
  EXPECT_EQ(content(*layer, "f").substr(0, kBlock), std::string(kBlock, 'U'));
}

TEST_F(UpperSourceTest, WhiteoutsAndOpaqueDirectoriesAreKept) {
  ASSERT_TRUE(store_->whiteout({store_->root_fd(), "gone"}).ok());
  upper::NewObject directory;
  directory.mode = S_IFDIR | 0755;
  directory.opaque = true;
  ASSERT_TRUE(store_->create({store_->root_fd(), "d"}, directory, false).ok());
  const auto layer = built(*open());
  EXPECT_THAT(paths(*layer), ElementsAre("", "d", "gone deleted"));
  EXPECT_TRUE(layer->directory_mark(must(find_in_layer(*layer, "d")))->opaque);
}

TEST_F(UpperSourceTest, OtherNamesOfACopiedHardLinkJoinIt) {
  copy_up("/d/a", "b", true);
  write("b", "/d/a", 0, "SHARED");
  ASSERT_TRUE(store_->whiteout({store_->root_fd(), "c"}).ok());
  const auto layer = built(*open());
  EXPECT_THAT(paths(*layer), ElementsAre("", "b", "c deleted", "d", "d/a"));
  EXPECT_EQ(content(*layer, "d/a"), "SHARED");
  EXPECT_EQ(must(find_in_layer(*layer, "d/a")), must(find_in_layer(*layer, "b")));
}

TEST_F(UpperSourceTest, HiddenNamesOfACopiedHardLinkStayHidden) {
  copy_up("/d/a", "b", true);
  upper::NewObject directory;
  directory.mode = S_IFDIR | 0755;
  directory.opaque = true;
  ASSERT_TRUE(store_->create({store_->root_fd(), "d"}, directory, false).ok());
  const auto layer = built(*open());
  EXPECT_THAT(paths(*layer), ElementsAre("", "b", "c", "d"));
}

TEST_F(UpperSourceTest, AMountInUseIsRefused) {
  const auto refused = UpperSource::open(options(), monitor_);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("in use"));
}

TEST_F(UpperSourceTest, OtherLayersAreRefused) {
  ASSERT_TRUE(store_->close().ok());
  store_.reset();
  ASSERT_EQ(::mkdir((scratch_ / "other").c_str(), 0755), 0);
  auto wrong = options();
  wrong.layers = {must(layer::open_layer(scratch_ / "other", {}))};
  EXPECT_FALSE(UpperSource::open(wrong, monitor_).ok());
}

}  // namespace
}  // namespace varve::image
