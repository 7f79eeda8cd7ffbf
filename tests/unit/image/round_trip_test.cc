// directory -> layer -> directory, tar -> layer -> tar.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <random>
#include <regex>

#include "fs/format/posix_acl.h"
#include "fs/layer/open_layer.h"
#include "imagetool/image/extract/layer_extract.h"
#include "imagetool/image/layer_builder.h"
#include "imagetool/image/layer_verify.h"
#include "imagetool/image/source/directory_source.h"
#include "imagetool/image/source/tar_source.h"
#include "imagetool/image/writer/layer_output_file.h"
#include "tests/unit/image/scratch_directory.h"
#include "tests/unit/image/tree_snapshot.h"

namespace varve::image {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class RoundTripTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "owners, devices and trusted xattrs need root";
    ASSERT_EQ(::mkdir(tree().c_str(), 0755), 0);
  }
  std::string tree() const { return scratch_ / "tree"; }
  std::string at(const std::string& name) const { return tree() + "/" + name; }

  void set_time(const std::string& name, time_t seconds, long nanoseconds) {
    const struct timespec times[2] = {{seconds, nanoseconds}, {seconds, nanoseconds}};
    ASSERT_EQ(::utimensat(AT_FDCWD, at(name).c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
  }
  void set_xattr(const std::string& path, const std::string& name, const std::string& value) {
    ASSERT_EQ(::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0), 0) << name;
  }
  void set_xattr_in(const std::string& name, const std::string& xattr, const std::string& value) {
    set_xattr(at(name), xattr, value);
  }

  // One of everything.
  void fill() {
    std::mt19937 random(7);
    std::string noise(300000, '\0');
    for (char& c : noise) c = static_cast<char>(random());
    for (const char* name : {"dir", "dir/empty", "dir/with default acl", "deep"})
      ASSERT_EQ(::mkdir(at(name).c_str(), 0750), 0);
    write_file(at("small.txt"), "small");
    write_file(at("empty"), "");
    write_file(at("noise.bin"), noise);
    write_file(at("text.txt"), std::string(200000, 'a'));
    write_file(at(std::string(255, 'n')), "long name");
    write_file(at("deep/\xff\xfe not utf-8 \n"), "odd name");
    ASSERT_EQ(::link(at("small.txt").c_str(), at("dir/same").c_str()), 0);
    ASSERT_EQ(::symlink("../nowhere", at("dir/link").c_str()), 0);
    ASSERT_EQ(::link(at("dir/link").c_str(), at("dir/link2").c_str()), 0);
    ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0601), 0);
    ASSERT_EQ(::mknod(at("null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
    ASSERT_EQ(::mknod(at("disk").c_str(), S_IFBLK | 0660, makedev(259, 1048575)), 0);
    fill_sparse("sparse", {{0, 5000}, {1 << 20, 100}, {9 << 20, 4096}}, (10 << 20) + 1);
    fill_sparse("all hole", {}, 3 << 20);
    fill_sparse("hole first", {{1 << 20, 4096}}, (1 << 20) + 4096);
    fill_attributes();
  }
  void fill_sparse(const std::string& name, const std::vector<std::pair<off_t, std::size_t>>& data,
                   off_t size) {
    const UniqueFd file(::open(at(name).c_str(), O_WRONLY | O_CREAT, 0644));
    for (const auto& [offset, count] : data) {
      const std::string bytes(count, 'd');
      ASSERT_EQ(::pwrite(file.get(), bytes.data(), count, offset), static_cast<ssize_t>(count));
    }
    ASSERT_EQ(::ftruncate(file.get(), size), 0);
  }
  void fill_attributes() {
    using Tag = format::AclEntry::Tag;
    const std::string acl = format::format_acl({{Tag::kOwner, 7},
                                                {Tag::kUser, 5, 1234},
                                                {Tag::kOwningGroup, 5},
                                                {Tag::kGroup, 4, 4294967293},
                                                {Tag::kMask, 5},
                                                {Tag::kOther, 0}});
    set_xattr_in("text.txt", "system.posix_acl_access", acl);
    set_xattr_in("dir/with default acl", "system.posix_acl_default", acl);
    set_xattr_in("text.txt", "user.binary", std::string("\0\xff=\n", 4));
    set_xattr_in("text.txt", "user.empty", "");
    set_xattr_in("dir", "trusted.mine", "1");
    set_xattr_in("dir/link", "trusted.on-a-link", "2");
    ASSERT_EQ(::chown(at("noise.bin").c_str(), 70000, 4000000000U), 0);
    // VFS_CAP_REVISION_2, effective, cap_net_raw permitted (include/uapi/linux/capability.h).
    set_xattr_in("noise.bin", "security.capability",
                 std::string("\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20));
    ASSERT_EQ(::chmod(at("small.txt").c_str(), 06755), 0);
    ASSERT_EQ(::chmod(at("deep").c_str(), 01777), 0);
    ASSERT_EQ(::lchown(at("dir/link").c_str(), 5, 6), 0);
    set_time("dir/link", 1, 999999999);
    set_time("small.txt", -1000000, 5);
    set_time("empty", 0, 0);
    set_time("text.txt", 4294967296 + 17, 123456789);
    set_time("deep", 1600000000, 1);
    set_time("dir", 1500000000, 7);
  }

  void build(const std::string& source, const std::string& output, unsigned jobs = 2) {
    BuildOptions options;
    options.writer.output_path = output;
    options.writer.jobs = jobs;
    const auto from = must(DirectorySource::open(source, {}, monitor_));
    must(build_layer(*from, options, monitor_));
  }
  void build_tar(const std::string& source, const std::string& output) {
    BuildOptions options;
    options.writer.output_path = output;
    const auto from = must(TarSource::open(source, {}, monitor_));
    must(build_layer(*from, options, monitor_));
  }
  ExtractSummary extract(const std::string& layer_path, const std::string& to) {
    const auto layer = must(layer::open_layer(layer_path, {}));
    return must(extract_to_directory(*layer, to, monitor_));
  }
  void extract_tar(const std::string& layer_path, const std::string& to, TarStyle style = TarStyle::kForTar) {
    const auto layer = must(layer::open_layer(layer_path, {}));
    const auto file = must(LayerOutputFile::create(to));
    EXPECT_EQ(must(extract_to_tar(*layer, *file, monitor_, style)).losses, 0U);
    must(file->publish());
  }

  ScratchDirectory scratch_;
  RememberingMonitor monitor_;
};

TEST_F(RoundTripTest, DirectoryToLayerToDirectoryLosesNothing) {
  fill();
  build(tree(), scratch_ / "a.layer");
  EXPECT_EQ(extract(scratch_ / "a.layer", scratch_ / "back").losses, 0U);
  EXPECT_THAT(snapshot_of(scratch_ / "back"), ElementsAreArray(snapshot_of(tree())));
  EXPECT_THAT(monitor_.warnings, IsEmpty());
}

TEST_F(RoundTripTest, DirectoryToLayerToTarToLayerToDirectoryLosesNothing) {
  fill();
  build(tree(), scratch_ / "a.layer");
  extract_tar(scratch_ / "a.layer", scratch_ / "a.tar");
  build_tar(scratch_ / "a.tar", scratch_ / "b.layer");
  EXPECT_EQ(extract(scratch_ / "b.layer", scratch_ / "back").losses, 0U);
  EXPECT_THAT(snapshot_of(scratch_ / "back"), ElementsAreArray(snapshot_of(tree())));
  EXPECT_THAT(monitor_.warnings, IsEmpty());
}

// All but where the holes are.
std::vector<std::string> without_holes(std::vector<std::string> lines) {
  static const std::regex kData(" data( [0-9]+-[0-9]+)*");
  for (std::string& line : lines) line = std::regex_replace(line, kData, "");
  return lines;
}

TEST_F(RoundTripTest, TarForLayersLosesNothingButHoles) {
  fill();
  build(tree(), scratch_ / "a.layer");
  extract_tar(scratch_ / "a.layer", scratch_ / "a.tar", TarStyle::kForLayers);
  const std::string archive = read_file(scratch_ / "a.tar");
  EXPECT_THAT(archive, Not(HasSubstr("GNU.sparse")));
  EXPECT_THAT(archive, Not(HasSubstr("SCHILY.acl")));
  EXPECT_THAT(archive, HasSubstr("SCHILY.xattr.system.posix_acl_default="));
  build_tar(scratch_ / "a.tar", scratch_ / "b.layer");
  EXPECT_EQ(extract(scratch_ / "b.layer", scratch_ / "back").losses, 0U);
  EXPECT_THAT(without_holes(snapshot_of(scratch_ / "back")),
              ElementsAreArray(without_holes(snapshot_of(tree()))));
  EXPECT_THAT(monitor_.warnings, IsEmpty());
}

TEST_F(RoundTripTest, TarOfEqualLayersIsEqual) {
  fill();
  build(tree(), scratch_ / "a.layer");
  extract_tar(scratch_ / "a.layer", scratch_ / "a.tar");
  build_tar(scratch_ / "a.tar", scratch_ / "b.layer");
  extract_tar(scratch_ / "b.layer", scratch_ / "b.tar");
  EXPECT_TRUE(read_file(scratch_ / "a.tar") == read_file(scratch_ / "b.tar"));
}

TEST_F(RoundTripTest, NumberOfJobsDoesNotShowInTheLayer) {
  fill();
  build(tree(), scratch_ / "one.layer", 1);
  build(tree(), scratch_ / "two.layer", 2);
  build(tree(), scratch_ / "seven.layer", 7);
  EXPECT_TRUE(read_file(scratch_ / "one.layer") == read_file(scratch_ / "two.layer"));
  EXPECT_TRUE(read_file(scratch_ / "one.layer") == read_file(scratch_ / "seven.layer"));
}

TEST_F(RoundTripTest, OverlayMarksBecomeMarksOfTheLayerAndBack) {
  ASSERT_EQ(::mkdir(at("opaque").c_str(), 0755), 0);
  set_xattr_in("opaque", "trusted.overlay.opaque", "y");
  ASSERT_EQ(::mkdir(at("moved").c_str(), 0755), 0);
  set_xattr_in("moved", "trusted.overlay.redirect", "/was/here");
  ASSERT_EQ(::mknod(at("gone").c_str(), S_IFCHR, makedev(0, 0)), 0);
  set_xattr_in("moved", "trusted.overlay.impure", "y");
  build(tree(), scratch_ / "a.layer");
  const auto layer = must(layer::open_layer(scratch_ / "a.layer", {}));
  const auto look_up = [&](std::string_view name) {
    return *layer->look_up(layer->root(), *Name::parse(name));
  };
  EXPECT_EQ(look_up("gone").kind, layer::Entry::Kind::kWhiteout);
  EXPECT_TRUE(layer->directory_mark(look_up("opaque").id)->opaque);
  EXPECT_EQ(layer->directory_mark(look_up("moved").id)->redirect, "/was/here");
  EXPECT_THAT(*layer->xattr_names(look_up("moved").id), IsEmpty());
  ASSERT_EQ(::removexattr(at("moved").c_str(), "trusted.overlay.impure"), 0);
  extract(scratch_ / "a.layer", scratch_ / "back");
  EXPECT_EQ(snapshot_of(scratch_ / "back").size(), snapshot_of(tree()).size());
  EXPECT_THAT(snapshot_of(scratch_ / "back")[2], HasSubstr("trusted.overlay.redirect="));
}

TEST_F(RoundTripTest, ARelativeRedirectLeadsToASibling) {
  std::filesystem::create_directories(at("new/inner"));
  set_xattr_in("new", "trusted.overlay.redirect", "/old");
  set_xattr_in("new/inner", "trusted.overlay.redirect", "was");
  build(tree(), scratch_ / "a.layer");
  const auto layer = must(layer::open_layer(scratch_ / "a.layer", {}));
  const auto outer = *layer->look_up(layer->root(), *Name::parse("new"));
  const auto inner = *layer->look_up(outer.id, *Name::parse("inner"));
  EXPECT_EQ(layer->directory_mark(inner.id)->redirect, "/old/was");
}

TEST_F(RoundTripTest, LiteralTakesMarksForWhatTheyAre) {
  write_file(at(".wh.file"), "");
  DirectorySource::Options options;
  options.literal = true;
  const Tree literal = must(must(DirectorySource::open(tree(), options, monitor_))->scan());
  EXPECT_NE(literal.find(kTreeRoot, ".wh.file"), nullptr);
  const Tree marked = must(must(DirectorySource::open(tree(), {}, monitor_))->scan());
  ASSERT_NE(marked.find(kTreeRoot, "file"), nullptr);
  EXPECT_EQ(*marked.find(kTreeRoot, "file"), kWhiteoutNode);
}

TEST_F(RoundTripTest, PartlyCopiedFileOfAnUpperIsRefusedByName) {
  write_file(at("file"), "");
  set_xattr_in("file", "trusted.varve.base", "x");
  const auto scanned = must(DirectorySource::open(tree(), {}, monitor_))->scan();
  ASSERT_FALSE(scanned.ok());
  EXPECT_THAT(scanned.error().message, HasSubstr(at("file")));
}

TEST_F(RoundTripTest, ExcludedPathsAndWhatIsBeneathThemAreLeftOut) {
  std::filesystem::create_directories(at("var/cache/apt"));
  std::filesystem::create_directories(at("usr/cache"));
  write_file(at("usr/a.o"), "");
  write_file(at("usr/a.c"), "");
  DirectorySource::Options options;
  options.filter = PathFilter({"/var/cache", "*.o"});
  const Tree tree_of = must(must(DirectorySource::open(tree(), options, monitor_))->scan());
  std::vector<std::string> paths;
  must(tree_of.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    paths.push_back(visit.path);
    return {};
  }));
  EXPECT_THAT(paths, ElementsAreArray({"", "usr", "usr/a.c", "usr/cache", "var"}));
}

TEST_F(RoundTripTest, OwnerAndLatestTimeAreImposed) {
  write_file(at("new"), "x");
  write_file(at("old"), "x");
  set_time("old", 1000, 5);
  BuildOptions options;
  options.writer.output_path = scratch_ / "a.layer";
  options.owner = Owner{3, 4};
  options.latest_mtime_seconds = 2000;
  must(build_layer(*must(DirectorySource::open(tree(), {}, monitor_)), options, monitor_));
  extract(scratch_ / "a.layer", scratch_ / "back");
  struct stat status {};
  ASSERT_EQ(::stat((scratch_ / "back/new").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 3U);
  EXPECT_EQ(status.st_gid, 4U);
  EXPECT_EQ(status.st_mtim.tv_sec, 2000);
  EXPECT_EQ(status.st_mtim.tv_nsec, 0);
  ASSERT_EQ(::stat((scratch_ / "back/old").c_str(), &status), 0);
  EXPECT_EQ(status.st_mtim.tv_nsec, 5);
}

TEST_F(RoundTripTest, ExtractionIntoAFullDirectoryIsRefused) {
  build(tree(), scratch_ / "a.layer");
  ASSERT_EQ(::mkdir((scratch_ / "full").c_str(), 0755), 0);
  write_file(scratch_ / "full/mine", "");
  const auto refused =
      extract_to_directory(*must(layer::open_layer(scratch_ / "a.layer", {})), scratch_ / "full", monitor_);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().error_number, ENOTEMPTY);
}

TEST_F(RoundTripTest, CancelledBuildLeavesNothing) {
  fill();
  monitor_.stop = true;
  BuildOptions options;
  options.writer.output_path = scratch_ / "a.layer";
  const auto from = must(DirectorySource::open(tree(), {}, monitor_));
  EXPECT_EQ(build_layer(*from, options, monitor_).error().error_number, ECANCELED);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch_.path()), {}), 1);
}

TEST_F(RoundTripTest, AFileThatVanishesIsAnErrorThatNamesIt) {
  write_file(at("here"), "x");
  const auto from = must(DirectorySource::open(tree(), {}, monitor_));
  const Tree scanned = must(from->scan());
  ASSERT_EQ(::unlink(at("here").c_str()), 0);
  const auto failed =
      from->for_each_content(scanned, [](TreeIndex, ContentSource&) { return StatusOrFailure(); });
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message, HasSubstr(at("here")));
}

TEST_F(RoundTripTest, VerifyFindsTheFilesThatAFlippedByteDamages) {
  std::mt19937 random(3);
  std::string noise(200000, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  write_file(at("big.bin"), noise);
  ASSERT_EQ(::link(at("big.bin").c_str(), at("linked.bin").c_str()), 0);
  write_file(at("other.txt"), "untouched");
  build(tree(), scratch_ / "a.layer");
  EXPECT_TRUE(must(verify_layer(scratch_ / "a.layer", {}, monitor_)).good());

  std::string bytes = read_file(scratch_ / "a.layer");
  bytes[4096 + 70000] = static_cast<char>(bytes[4096 + 70000] ^ 1);
  write_file(scratch_ / "a.layer", bytes);
  const VerifyReport report = must(verify_layer(scratch_ / "a.layer", {}, monitor_));
  std::vector<std::string> paths;
  for (const auto& file : report.damaged_files) paths.push_back(file.path);
  EXPECT_THAT(paths, ElementsAreArray({"/big.bin", "/linked.bin"}));
  ASSERT_EQ(report.problems.size(), 1U);
  EXPECT_THAT(report.problems[0], HasSubstr("frame 1"));
}

TEST_F(RoundTripTest, VerifyTellsDamagedMetadataAndForeignFiles) {
  write_file(at("file"), "x");
  build(tree(), scratch_ / "a.layer");
  std::string bytes = read_file(scratch_ / "a.layer");
  bytes[bytes.size() - 300] = static_cast<char>(bytes[bytes.size() - 300] ^ 1);
  write_file(scratch_ / "a.layer", bytes);
  EXPECT_EQ(must(verify_layer(scratch_ / "a.layer", {}, monitor_)).problems.size(), 1U);
  write_file(scratch_ / "text", "hello");
  EXPECT_FALSE(verify_layer(scratch_ / "text", {}, monitor_).ok());
  EXPECT_FALSE(verify_layer(scratch_ / "missing", {}, monitor_).ok());
}

}  // namespace
}  // namespace varve::image
