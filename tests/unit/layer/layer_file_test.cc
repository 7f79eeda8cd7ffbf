#include "fs/layer/layer_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <map>

#include "fs/layer/open_layer.h"
#include "tests/unit/layer/layer_builder.h"
#include "tests/unit/layer/temporary_directory.h"

namespace varve::layer {
namespace {

using test::LayerBuilder;
using test::must;
using test::sample_text;
using test::spec;
using testing::ElementsAre;
using Kind = Entry::Kind;

class LayerFileTest : public testing::Test {
 protected:
  std::unique_ptr<LayerFile> open(LayerBuilder& builder) {
    builder.finish();
    return must(LayerFile::open(builder.path(), context_));
  }
  test::TemporaryDirectory directory_;
  LayerContext context_;
  LayerBuilder builder_{directory_.file("a.layer")};
};

TEST_F(LayerFileTest, KeepsEveryKindOfObject) {
  image::InodeSpec link = spec(S_IFLNK | 0777);
  link.symlink_target = "../else/where";
  image::InodeSpec block = spec(S_IFBLK | 0660);
  block.attributes.rdev = makedev(259, 1048575);
  image::InodeSpec character = spec(S_IFCHR | 0666);
  character.attributes.rdev = makedev(0, 0);
  builder_.file("file", "content");
  builder_.directory("directory");
  builder_.add("link", link);
  builder_.add("block", block);
  builder_.add("character", character);
  builder_.add("fifo", spec(S_IFIFO | 0600));
  builder_.add("socket", spec(S_IFSOCK | 04755));
  const auto layer = open(builder_);

  std::map<std::string, std::uint32_t> modes;
  std::map<std::string, std::uint32_t> types;
  const Status listed = layer->for_each_entry(layer->root(), [&](std::string_view name, const Entry& entry) {
    modes[std::string(name)] = must(layer->attributes(entry.id)).mode;
    types[std::string(name)] = entry.type;
    return true;
  });
  ASSERT_TRUE(listed.ok());
  const std::map<std::string, std::uint32_t> wanted = {
      {"file", S_IFREG | 0644},    {"directory", S_IFDIR | 0755}, {"link", S_IFLNK | 0777},
      {"block", S_IFBLK | 0660},   {"character", S_IFCHR | 0666}, {"fifo", S_IFIFO | 0600},
      {"socket", S_IFSOCK | 04755}};
  EXPECT_EQ(modes, wanted);
  for (const auto& [name, mode] : wanted) EXPECT_EQ(types[name], mode & S_IFMT) << name;
  EXPECT_EQ(must(layer->read_link(test::find(*layer, "link").id)), "../else/where");
  EXPECT_EQ(must(layer->attributes(test::find(*layer, "block").id)).rdev, makedev(259, 1048575));
  EXPECT_EQ(must(layer->attributes(test::find(*layer, "character").id)).rdev, makedev(0, 0));
  EXPECT_EQ(must(test::content(*layer, "file")), "content");
}

TEST_F(LayerFileTest, KeepsOwnersAndTimes) {
  image::InodeSpec old = spec(S_IFREG | 0640);
  old.attributes.uid = 4'000'000'000U;
  old.attributes.gid = 12;
  old.attributes.mtime = {-86'400 * 365 * 200LL, 999'999'999};
  image::InodeSpec young = spec(S_IFREG | 0640);
  young.attributes.mtime = {1LL << 40, 1};
  builder_.add("old", old);
  builder_.add("young", young);
  const auto layer = open(builder_);
  const Attributes read = must(layer->attributes(test::find(*layer, "old").id));
  EXPECT_EQ(read.uid, 4'000'000'000U);
  EXPECT_EQ(read.gid, 12U);
  EXPECT_EQ(read.mtime, old.attributes.mtime);
  EXPECT_EQ(must(layer->attributes(test::find(*layer, "young").id)).mtime, young.attributes.mtime);
}

TEST_F(LayerFileTest, KeepsXattrsByteForByte) {
  const std::string acl("\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff", 12);
  const std::string large(64 * 1024, 'v');
  image::InodeSpec with = spec(S_IFREG | 0644);
  with.xattrs = {{"user.b", "2"}, {"user.a", ""}, {"system.posix_acl_access", acl}, {"user.large", large}};
  builder_.add("with", with);
  builder_.add("same", with);
  builder_.add("without", spec(S_IFREG | 0644));
  const auto layer = open(builder_);
  for (const char* name : {"with", "same"}) {
    const LowerId id = test::find(*layer, name).id;
    EXPECT_THAT(must(layer->xattr_names(id)),
                ElementsAre("system.posix_acl_access", "user.a", "user.b", "user.large"));
    EXPECT_EQ(must(layer->xattr(id, "system.posix_acl_access")), acl);
    EXPECT_EQ(must(layer->xattr(id, "user.a")), "");
    EXPECT_EQ(must(layer->xattr(id, "user.large")), large);
    EXPECT_EQ(layer->xattr(id, "user.c").error(), Errno{ENODATA});
  }
  const LowerId without = test::find(*layer, "without").id;
  EXPECT_TRUE(must(layer->xattr_names(without)).empty());
  EXPECT_EQ(layer->xattr(without, "security.capability").error(), Errno{ENODATA});
}

TEST_F(LayerFileTest, HidesTheMarksOfUnionFileSystems) {
  image::InodeSpec marked = spec(S_IFDIR | 0755);
  marked.xattrs = {{"trusted.overlay.origin", "x"}, {"user.kept", "1"}, {"user.varve.block_map", "y"}};
  builder_.add("marked", marked);
  const auto layer = open(builder_);
  const LowerId id = test::find(*layer, "marked").id;
  EXPECT_THAT(must(layer->xattr_names(id)), ElementsAre("user.kept"));
  EXPECT_EQ(layer->xattr(id, "trusted.overlay.origin").error(), Errno{ENODATA});
}

TEST_F(LayerFileTest, GivesHardLinksOneInode) {
  const std::uint32_t inode = builder_.file("first", "shared");
  must(builder_.writer().add_name(builder_.directory("d"), "second", inode));
  const auto layer = open(builder_);
  const Entry first = test::find(*layer, "first");
  const Entry second = test::find(*layer, "d/second");
  EXPECT_EQ(first.id, second.id);
  EXPECT_EQ(must(layer->attributes(first.id)).nlink, 2U);
  EXPECT_EQ(must(layer->inode_number(first.id)), must(layer->inode_number(second.id)));
}

TEST_F(LayerFileTest, CountsSubdirectoriesInLinks) {
  builder_.directory("inner", builder_.directory("outer"));
  const auto layer = open(builder_);
  EXPECT_EQ(must(layer->attributes(test::find(*layer, "outer").id)).nlink, 3U);
  EXPECT_EQ(must(layer->attributes(test::find(*layer, "outer/inner").id)).nlink, 2U);
}

TEST_F(LayerFileTest, FindsNamesOf255Bytes) {
  const std::string longest(255, 'n');
  const std::string odd = "\xff\xfe \n*";
  builder_.file(longest, "long");
  builder_.file(odd, "odd");
  const auto layer = open(builder_);
  EXPECT_EQ(must(test::content(*layer, longest)), "long");
  EXPECT_EQ(must(test::content(*layer, odd)), "odd");
  EXPECT_EQ(test::find(*layer, std::string(254, 'n')).kind, Kind::kAbsent);
}

// 32 bits: among a hundred thousand names a few pairs collide.
TEST_F(LayerFileTest, FindsNamesWhoseHashesCollide) {
  std::map<std::uint32_t, std::string> seen;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (int i = 0; pairs.size() < 2; ++i) {
    const std::string name = "n" + std::to_string(i);
    const auto [place, added] = seen.try_emplace(format::name_hash(name), name);
    if (!added) pairs.emplace_back(place->second, name);
  }
  for (const auto& [one, other] : pairs) {
    builder_.file(other, other);
    builder_.file(one, one);
  }
  const auto layer = open(builder_);
  for (const auto& [one, other] : pairs) {
    EXPECT_EQ(must(test::content(*layer, one)), one);
    EXPECT_EQ(must(test::content(*layer, other)), other);
  }
}

TEST_F(LayerFileTest, FindsEachOfManyNames) {
  constexpr int kCount = 3000;
  for (int i = 0; i < kCount; ++i) builder_.add("file" + std::to_string(i), spec(S_IFREG | 0644));
  const auto layer = open(builder_);
  for (int i = 0; i < kCount; ++i) {
    ASSERT_EQ(test::find(*layer, "file" + std::to_string(i)).kind, Kind::kObject) << i;
    ASSERT_EQ(test::find(*layer, "none" + std::to_string(i)).kind, Kind::kAbsent) << i;
  }
}

TEST_F(LayerFileTest, ListsNothingInAnEmptyDirectory) {
  builder_.directory("empty");
  const auto layer = open(builder_);
  int entries = 0;
  EXPECT_TRUE(
      layer->for_each_entry(test::find(*layer, "empty").id, [&](auto, const auto&) { return ++entries > 0; })
          .ok());
  EXPECT_EQ(entries, 0);
}

TEST_F(LayerFileTest, StopsListingWhenTold) {
  builder_.file("a", "1");
  builder_.file("b", "2");
  const auto layer = open(builder_);
  int entries = 0;
  EXPECT_TRUE(layer->for_each_entry(layer->root(), [&](auto, const auto&) { return ++entries < 1; }).ok());
  EXPECT_EQ(entries, 1);
}

TEST_F(LayerFileTest, TellsWhiteoutsOpaqueMarksAndRedirects) {
  image::InodeSpec opaque = spec(S_IFDIR | 0755);
  opaque.opaque = true;
  image::InodeSpec moved = spec(S_IFDIR | 0755);
  moved.redirect = "/was/here";
  const std::uint32_t opaque_directory = builder_.add("opaque", opaque);
  builder_.add("moved", moved);
  must(builder_.writer().add_whiteout(1, "gone"));
  must(builder_.writer().add_whiteout(opaque_directory, "says nothing"));
  const auto layer = open(builder_);
  EXPECT_EQ(test::find(*layer, "gone").kind, Kind::kWhiteout);
  EXPECT_EQ(test::find(*layer, "opaque/says nothing").kind, Kind::kAbsent);
  EXPECT_TRUE(must(layer->directory_mark(test::find(*layer, "opaque").id)).opaque);
  EXPECT_FALSE(must(layer->directory_mark(layer->root())).opaque);
  EXPECT_EQ(must(layer->directory_mark(test::find(*layer, "moved").id)).redirect, "/was/here");
  EXPECT_EQ(must(layer->directory_mark(layer->root())).redirect, std::nullopt);
}

TEST_F(LayerFileTest, TellsPathsThatLeadBack) {
  const std::uint32_t empty = builder_.directory("empty");
  const std::uint32_t deep = builder_.directory("c", builder_.directory("b", builder_.directory("a")));
  const std::uint32_t file = builder_.file("file", "x", deep);
  const auto layer = open(builder_);
  EXPECT_EQ(must(layer->path_of(layer->root())), "/");
  EXPECT_EQ(must(layer->path_of(LowerId{empty})), "/empty");
  EXPECT_EQ(must(layer->path_of(LowerId{file})), "/a/b/c/file");
}

TEST_F(LayerFileTest, FindsObjectsByTheirNumbers) {
  const std::uint32_t file = builder_.file("file", "x", builder_.directory("a"));
  const auto layer = open(builder_);
  const std::uint64_t number = must(layer->inode_number(LowerId{file}));
  EXPECT_EQ(must(layer->find_by_number(number)), LowerId{file});
  EXPECT_EQ(layer->find_by_number(0).error().value, ENOENT);
  EXPECT_EQ(layer->find_by_number(number + 1).error().value, ENOENT);
  EXPECT_EQ(layer->find_by_number((1ULL << 32) + number).error().value, ENOENT);
}

TEST_F(LayerFileTest, IsIdentifiedByItsRootHash) {
  builder_.file("a", "1");
  const auto summary = builder_.finish();
  const auto layer = must(LayerFile::open(builder_.path(), context_));
  EXPECT_EQ(layer->identity(), (Identity{Identity::Kind::kLayerFile, summary.root_hash}));
  EXPECT_EQ(summary.root_hash.size(), 32U);
  EXPECT_EQ(layer->name(), builder_.path());
}

TEST_F(LayerFileTest, KeepsDigestsOfContent) {
  const std::string text = sample_text(100'000);
  builder_.file("file", text);
  builder_.sparse("sparse", 1 << 20, {{8192, "x"}});
  const auto layer = open(builder_);
  std::string sparse(1 << 20, '\0');
  sparse[8192] = 'x';
  EXPECT_EQ(layer->content_digest(test::find(*layer, "file").id), format::xxh3_128(test::as_bytes(text)));
  EXPECT_EQ(layer->content_digest(test::find(*layer, "sparse").id), format::xxh3_128(test::as_bytes(sparse)));
}

}  // namespace
}  // namespace varve::layer
