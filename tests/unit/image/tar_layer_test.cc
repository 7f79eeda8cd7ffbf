// A tar archive that is a layer: what it leaves to the layers below it.

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "fs/layer/open_layer.h"
#include "imagetool/image/layer_builder.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/source/tar_source.h"
#include "tests/unit/image/scratch_directory.h"
#include "tests/unit/image/tar_bytes.h"

namespace varve::image {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TarLayerTest : public ::testing::Test {
 protected:
  // Builds the archive over the layers so far, and puts it on top of them.
  StatusOrFailure add(const TarBytes& tar) {
    const std::string number = std::to_string(stack_.size());
    write_file(scratch_ / ("tar" + number), tar.finished());
    VARVE_ASSIGN(const auto parents, ParentFiles::make(stack_, {}));
    VARVE_ASSIGN(const auto source,
                 TarSource::open(scratch_ / ("tar" + number),
                                 {.name = "layer " + number, .below = &parents->as_union()}, monitor_));
    BuildOptions options;
    options.writer.output_path = scratch_ / ("layer" + number);
    options.parents = parents.get();
    VARVE_ASSIGN(summary_, build_layer(*source, options, monitor_));
    VARVE_ASSIGN(const auto opened, layer::open_layer(options.writer.output_path, {}, {.layers = stack_}));
    stack_.insert(stack_.begin(), opened);
    return {};
  }
  // Of the topmost layer alone.
  InodeSpec object(const std::string& path) {
    return must(read_object(*stack_.front(), must(find_in_layer(*stack_.front(), path)), path));
  }
  bool has(const std::string& path) { return find_in_layer(*stack_.front(), path).ok(); }
  std::string content(const std::string& path) {
    const auto file = *stack_.front()->open_file(must(find_in_layer(*stack_.front(), path)));
    std::string bytes(file->size_bytes(), '?');
    EXPECT_EQ(*file->read(0, std::as_writable_bytes(std::span(bytes))), bytes.size());
    return bytes;
  }

  ScratchDirectory scratch_;
  RememberingMonitor monitor_;
  std::vector<std::shared_ptr<layer::Layer>> stack_;
  LayerWriter::Summary summary_;
};

TEST_F(TarLayerTest, DirectoriesWithoutAMemberAreThoseBelow) {
  must(add(
      TarBytes().directory("./", 0700).directory("a", 0711).directory("a/b", 01777).file("a/b/old", "x")));
  must(add(TarBytes().file("a/b/new", "y").file("new/x", "z")));
  EXPECT_EQ(object("/").attributes.mode, S_IFDIR | 0700U);
  EXPECT_EQ(object("/a").attributes.mode, S_IFDIR | 0711U);
  EXPECT_EQ(object("/a/b").attributes.mode, S_IFDIR | 01777U);
  EXPECT_EQ(object("/a/b").attributes.uid, 1000U);
  EXPECT_EQ(object("/new").attributes.mode, S_IFDIR | 0755U);
  EXPECT_EQ(object("/new").attributes.uid, 0U);
  // One that has a member is what that says, also when it comes late.
  must(add(TarBytes().file("a/b/newer", "y").directory("a", 0750)));
  EXPECT_EQ(object("/a").attributes.mode, S_IFDIR | 0750U);
}

TEST_F(TarLayerTest, OpaqueDirectoriesKeepTheirAttributesAndNothingElse) {
  must(add(TarBytes().directory("a", 0711).directory("a/b", 0700)));
  must(add(TarBytes().file("a/.wh..wh..opq", "").file("a/b/new", "y")));
  EXPECT_TRUE(object("/a").opaque);
  EXPECT_EQ(object("/a").attributes.mode, S_IFDIR | 0711U);
  EXPECT_EQ(object("/a/b").attributes.mode, S_IFDIR | 0755U);
}

TEST_F(TarLayerTest, HardLinksToFilesBelowCopyThemUp) {
  const std::string text(100'000, 'v');
  must(add(TarBytes()
               .directory("bin", 0711)
               .file("bin/tool", text)
               .add({.path = "bin/lead", .type = '2', .link = "tool"})));
  must(add(TarBytes().link("sbin/tool", "bin/tool").link("again", "/bin/tool").link("lead", "bin/lead")));
  EXPECT_EQ(content("/sbin/tool"), text);
  EXPECT_EQ(content("/bin/tool"), text);
  const layer::Layer& top = *stack_.front();
  const auto number = [&](const char* path) { return *top.inode_number(must(find_in_layer(top, path))); };
  EXPECT_EQ(number("/sbin/tool"), number("/bin/tool"));
  EXPECT_EQ(number("/again"), number("/bin/tool"));
  EXPECT_EQ(number("/lead"), number("/bin/lead"));
  EXPECT_EQ(object("/bin").attributes.mode, S_IFDIR | 0711U);
  EXPECT_EQ(object("/lead").symlink_target, "tool");
  EXPECT_EQ(object("/bin/tool").attributes.uid, 1000U);
  EXPECT_LT(summary_.file_bytes, 20'000U) << "the content is stored again";
  EXPECT_THAT(monitor_.warnings, ElementsAre(HasSubstr("leading '/'")))
      << "of again's target, and of nothing else";
}

TEST_F(TarLayerTest, HardLinksDoNotReachWhatTheLayerHides) {
  must(add(TarBytes().file("a/file", "x").file("b/file", "x").file("c/file", "x")));
  for (const TarBytes& tar :
       {TarBytes().link("new", "a/file").file("a/.wh.file", ""),
        TarBytes().link("new", "a/file").file(".wh.a", ""),
        TarBytes().link("new", "b/file").file("b/.wh..wh..opq", ""),
        TarBytes().link("new", "c/file").file("c", "now a file"), TarBytes().link("new", "a").file("x", ""),
        TarBytes().link("new", "nowhere").file("x", ""),
        TarBytes().link("new", "a/file").file(".wh..wh..opq", "")}) {
    const auto added = add(tar);
    ASSERT_FALSE(added.ok());
    EXPECT_EQ(added.error().error_number, EINVAL);
    EXPECT_THAT(added.error().message, HasSubstr("layer 1: member \"new\": a hard link to"));
  }
}

}  // namespace
}  // namespace varve::image
