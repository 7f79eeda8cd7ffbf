#include "imagetool/image/source/tar_source.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <thread>

#include "fs/base/unique_fd.h"
#include "tests/unit/image/scratch_directory.h"
#include "tests/unit/image/tar_bytes.h"

namespace varve::image {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

class TarSourceTest : public ::testing::Test {
 protected:
  std::unique_ptr<TarSource> open(const std::string& bytes) {
    write_file(scratch_ / "a.tar", bytes);
    return must(
        TarSource::open(scratch_ / "a.tar", {.filter = {}, .spool_directory = scratch_.path()}, monitor_));
  }
  Tree scan(const TarBytes& tar) { return must(open(tar.finished())->scan()); }
  std::string refusal(const TarBytes& tar) {
    const auto scanned = open(tar.finished())->scan();
    EXPECT_FALSE(scanned.ok());
    return scanned.ok() ? "" : scanned.error().message;
  }
  static std::vector<std::string> paths(const Tree& tree) {
    std::vector<std::string> found;
    must(tree.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
      found.push_back(visit.path + (visit.node == kWhiteoutNode     ? " deleted"
                                    : tree.is_directory(visit.node) ? "/"
                                                                    : ""));
      return {};
    }));
    return found;
  }
  static TreeIndex find(const Tree& tree, const std::string& path) {
    TreeIndex found = kWhiteoutNode;
    must(tree.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
      if (visit.path == path) found = visit.node;
      return {};
    }));
    EXPECT_NE(found, kWhiteoutNode) << path;
    return found;
  }
  static std::map<std::string, std::string> contents(TarSource& source, const Tree& tree) {
    std::map<TreeIndex, std::string> by_node;
    must(source.for_each_content(tree, [&](TreeIndex node, ContentSource& content) -> StatusOrFailure {
      std::string& bytes = by_node[node];
      bytes.resize(tree.node(node).spec.attributes.size_bytes);
      for (;;) {
        VARVE_ASSIGN(const std::optional<Chunk> chunk, content.next());
        if (!chunk) return {};
        std::copy_n(reinterpret_cast<const char*>(chunk->bytes.data()), chunk->bytes.size(),
                    bytes.begin() + static_cast<std::ptrdiff_t>(chunk->offset_bytes));
      }
    }));
    std::map<std::string, std::string> by_path;
    must(tree.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
      if (by_node.contains(visit.node)) by_path[visit.path] = by_node[visit.node];
      return {};
    }));
    return by_path;
  }

  ScratchDirectory scratch_;
  RememberingMonitor monitor_;
};

TEST_F(TarSourceTest, DotSlashAndMissingParentsMakeATree) {
  const Tree tree = scan(TarBytes().directory("./", 0700).file("./a/b/c", "x"));
  EXPECT_THAT(paths(tree), ElementsAre("/", "a/", "a/b/", "a/b/c"));
  EXPECT_EQ(tree.node(kTreeRoot).spec.attributes.mode & 07777, 0700U);
  EXPECT_EQ(tree.node(find(tree, "a/b")).spec.attributes.mode & 07777, 0755U);
  EXPECT_EQ(tree.node(find(tree, "a/b")).spec.attributes.uid, 0U);
  EXPECT_EQ(tree.node(find(tree, "a/b/c")).spec.attributes.uid, 1000U);
}

TEST_F(TarSourceTest, LastOfSeveralMembersHolds) {
  const auto source = open(TarBytes()
                               .file("a", "first")
                               .directory("d", 0700)
                               .file("d/kept", "k")
                               .file("a", "second!")
                               .directory("d", 0711)
                               .finished());
  const Tree tree = must(source->scan());
  EXPECT_THAT(paths(tree), ElementsAre("/", "a", "d/", "d/kept"));
  EXPECT_EQ(contents(*source, tree)["a"], "second!");
  EXPECT_EQ(tree.node(find(tree, "d")).spec.attributes.mode & 07777, 0711U);
}

TEST_F(TarSourceTest, AFileOverADirectoryReplacesAllOfIt) {
  const Tree tree = scan(TarBytes().directory("d").file("d/in", "x").file("d", "now a file"));
  EXPECT_THAT(paths(tree), ElementsAre("/", "d"));
}

TEST_F(TarSourceTest, ADirectoryOverAFileOrLinkIsTheDirectory) {
  const Tree tree = scan(TarBytes()
                             .file("d", "once a file")
                             .directory("d", 0711)
                             .file("d/in", "x")
                             .link("l", "d/in")
                             .directory("l", 0700)
                             .file("l/in", "y"));
  EXPECT_THAT(paths(tree), ElementsAre("/", "d/", "d/in", "l/", "l/in"));
  EXPECT_EQ(tree.node(find(tree, "d")).spec.attributes.mode, S_IFDIR | 0711U);
}

TEST_F(TarSourceTest, AHardLinkOverADirectoryReplacesAllOfIt) {
  const Tree tree = scan(TarBytes().file("f", "x").file("d/in", "y").link("d", "f"));
  EXPECT_THAT(paths(tree), ElementsAre("/", "d", "f"));
  EXPECT_EQ(find(tree, "d"), find(tree, "f"));
}

TEST_F(TarSourceTest, HardLinkOfAReplacedFileKeepsTheOldContent) {
  const auto source = open(TarBytes()
                               .file("a", "old")
                               .add({.path = "b", .type = '1', .content = "", .link = "./a"})
                               .file("a", "new")
                               .finished());
  const Tree tree = must(source->scan());
  auto found = contents(*source, tree);
  EXPECT_EQ(found["a"], "new");
  EXPECT_EQ(found["b"], "old");
}

TEST_F(TarSourceTest, HardLinksAreOneNode) {
  const Tree tree =
      scan(TarBytes().file("d/a", "x").add({.path = "b", .type = '1', .content = "", .link = "d/a"}));
  EXPECT_EQ(find(tree, "b"), find(tree, "d/a"));
}

TEST_F(TarSourceTest, AHardLinkMayComeBeforeItsTarget) {
  const auto source = open(TarBytes().link("d/b", "./a").link("c", "d/b").file("a", "x").finished());
  const Tree tree = must(source->scan());
  EXPECT_THAT(paths(tree), ElementsAre("/", "a", "c", "d/", "d/b"));
  EXPECT_EQ(find(tree, "d/b"), find(tree, "a"));
  EXPECT_EQ(find(tree, "c"), find(tree, "a"));
  EXPECT_EQ(contents(*source, tree)["c"], "x");
}

TEST_F(TarSourceTest, HardLinksBeforeTheirTargetsMayFormChains) {
  TarBytes tar;
  constexpr int kLinks = 20000;  // one look at each is quick, one at each pair is not
  for (int i = 0; i < kLinks; ++i) tar.link(std::to_string(i), std::to_string(i + 1));
  const Tree tree = scan(tar.file(std::to_string(kLinks), "x"));
  EXPECT_EQ(find(tree, "0"), find(tree, "20000"));
  EXPECT_EQ(find(tree, "19999"), find(tree, "20000"));
}

TEST_F(TarSourceTest, AHardLinkBeforeItsTargetLeadsToWhatThatIsInTheEnd) {
  const auto source =
      open(TarBytes().link("l", "t").file("t", "first").link("m", "l").file("t", "second!").finished());
  const Tree tree = must(source->scan());
  auto found = contents(*source, tree);
  EXPECT_EQ(found["l"], "second!");
  EXPECT_EQ(found["m"], "second!");
}

TEST_F(TarSourceTest, AHardLinkThatALaterMemberReplacesNeedsNoTarget) {
  const auto source = open(TarBytes().link("l", "missing").file("l", "x").finished());
  const Tree tree = must(source->scan());
  EXPECT_EQ(contents(*source, tree)["l"], "x");
}

TEST_F(TarSourceTest, HardLinksThatLeadNowhereAreRefusedByName) {
  EXPECT_THAT(refusal(TarBytes().link("a", "missing").file("b", "x")),
              AllOf(HasSubstr("member \"a\""), HasSubstr("\"missing\", which is not in the archive")));
  EXPECT_THAT(refusal(TarBytes().link("l", "l")), HasSubstr("leads to itself"));
  EXPECT_THAT(refusal(TarBytes().link("a", "b").link("b", "c").link("c", "a")), HasSubstr("leads to itself"));
  EXPECT_THAT(refusal(TarBytes().link("a", "d").directory("d")),
              HasSubstr("a hard link to a directory, \"d\""));
  EXPECT_THAT(refusal(TarBytes().link("a", "gone").file(".wh.gone", "")), HasSubstr("not in the archive"));
  EXPECT_THAT(refusal(TarBytes().link("./", "a").file("a", "x")), HasSubstr("the root"));
  EXPECT_THAT(refusal(TarBytes().link("a", "b").file("a/x", "").file("b", "")), HasSubstr("not a directory"));
}

TEST_F(TarSourceTest, AHardLinkToAFileItIsAlreadyChangesNothing) {
  const auto source = open(TarBytes().file("a", "x").link("a", "a").finished());
  const Tree tree = must(source->scan());
  EXPECT_EQ(contents(*source, tree)["a"], "x");
}

TEST_F(TarSourceTest, AHardLinkToASymbolicLinkIsAnotherNameOfIt) {
  const Tree tree =
      scan(TarBytes().link("b", "a").add({.path = "a", .type = '2', .content = "", .link = "/etc"}));
  EXPECT_EQ(find(tree, "b"), find(tree, "a"));
  EXPECT_EQ(tree.node(find(tree, "b")).spec.symlink_target, "/etc");
}

TEST_F(TarSourceTest, DirectoriesThatNoMemberNamesAreRationed) {
  const auto deep = [](int i) { return std::to_string(i) + "/" + repeated("a/", 1998); };
  TarBytes few;
  for (int i = 0; i < 30; ++i) few.pax({{"path", deep(i) + "f"}}).file("x", "");
  EXPECT_EQ(scan(few).node_count(), 1 + 30 * 2000U);
  TarBytes many;
  for (int i = 0; i < 60; ++i) many.pax({{"path", deep(i) + "f"}}).file("x", "");
  EXPECT_THAT(refusal(many),
              AllOf(HasSubstr("member \"33/a/a/a/"), HasSubstr("implies more than 66080 directories")));
}

TEST_F(TarSourceTest, PathsAreAtMostTwoThousandNamesDeep) {
  EXPECT_EQ(scan(TarBytes().pax({{"path", repeated("a/", 1999) + "f"}}).file("x", "")).node_count(), 2001U);
  EXPECT_THAT(refusal(TarBytes().pax({{"path", repeated("a/", 2000) + "f"}}).file("x", "")),
              HasSubstr("more than 2000 names deep"));
}

TEST_F(TarSourceTest, HostilePathsAreRefusedByName) {
  EXPECT_THAT(refusal(TarBytes().file("a/../../etc/passwd", "x")), HasSubstr("a/../../etc/passwd"));
  EXPECT_THAT(refusal(TarBytes().add({.path = "a", .type = '1', .content = "", .link = "../../etc/passwd"})),
              HasSubstr(".."));
  EXPECT_THAT(refusal(TarBytes().add({.path = "a", .type = '1', .content = "", .link = "missing"})),
              HasSubstr("missing"));
  EXPECT_THAT(refusal(TarBytes().directory("d").add({.path = "a", .type = '1', .content = "", .link = "d"})),
              HasSubstr("directory"));
  EXPECT_THAT(refusal(TarBytes().pax({{"path", std::string(256, 'n')}}).file("x", "")), HasSubstr("255"));
  EXPECT_THAT(refusal(TarBytes().pax({{"path", std::string(40000, 'n')}}).file("x", "")),
              HasSubstr("too long"));
}

TEST_F(TarSourceTest, NothingGoesThroughASymbolicLink) {
  const TarBytes tar =
      TarBytes().add({.path = "etc", .type = '2', .content = "", .link = "/etc"}).file("etc/passwd", "x");
  EXPECT_THAT(refusal(tar), HasSubstr("\"etc\" in its path is a file or link"));
}

TEST_F(TarSourceTest, AFileUsedAsADirectoryIsRefused) {
  EXPECT_THAT(refusal(TarBytes().file("a", "x").file("a/b", "y")), HasSubstr("not a directory"));
}

TEST_F(TarSourceTest, LeadingSlashesGoWithOneWarning) {
  EXPECT_THAT(paths(scan(TarBytes().file("/a", "").file("//b", ""))), ElementsAre("/", "a", "b"));
  EXPECT_THAT(monitor_.warnings, SizeIs(1));
}

TEST_F(TarSourceTest, WhiteoutsOfOciLayersBecomeWhiteouts) {
  const Tree tree =
      scan(TarBytes().file("d/.wh.gone", "").directory("o").file("o/.wh..wh..opq", "").file("o/new", ""));
  EXPECT_THAT(paths(tree), ElementsAre("/", "d/", "d/gone deleted", "o/", "o/new"));
  EXPECT_TRUE(tree.node(find(tree, "o")).spec.opaque);
  EXPECT_FALSE(tree.node(find(tree, "d")).spec.opaque);
}

TEST_F(TarSourceTest, WhiteoutBesideTheSameNameMakesADirectoryOpaqueInAnyOrder) {
  for (const bool first : {true, false}) {
    TarBytes tar;
    if (first) tar.file(".wh.d", "").file(".wh.f", "");
    tar.directory("d").file("f", "x");
    if (!first) tar.file(".wh.d", "").file(".wh.f", "");
    const Tree tree = scan(tar);
    EXPECT_THAT(paths(tree), ElementsAre("/", "d/", "f"));
    EXPECT_TRUE(tree.node(find(tree, "d")).spec.opaque);
  }
}

TEST_F(TarSourceTest, OpaqueMarkBeforeOrAfterTheDirectoryHolds) {
  for (const bool first : {true, false}) {
    TarBytes tar;
    if (first) tar.file("o/.wh..wh..opq", "");
    tar.directory("o", 0700);
    if (!first) tar.file("o/.wh..wh..opq", "");
    const Tree tree = scan(tar);
    EXPECT_TRUE(tree.node(find(tree, "o")).spec.opaque);
    EXPECT_EQ(tree.node(find(tree, "o")).spec.attributes.mode & 07777, 0700U);
  }
}

TEST_F(TarSourceTest, OverlayWhiteoutsAndDevicesAreToldApart) {
  const Tree tree = scan(TarBytes()
                             .add({.path = "gone", .type = '3'})
                             .add({.path = "null",
                                   .type = '3',
                                   .content = "",
                                   .link = "",
                                   .mode = 0666,
                                   .device_major = 1,
                                   .device_minor = 3}));
  EXPECT_THAT(paths(tree), ElementsAre("/", "gone deleted", "null"));
  EXPECT_EQ(tree.node(find(tree, "null")).spec.attributes.rdev, makedev(1, 3));
}

// As tar writes the upper of a mount, whose whiteouts are links to one device.
TEST_F(TarSourceTest, AHardLinkToAnOverlayWhiteoutIsAWhiteout) {
  const auto upper = [](const std::string& first) {
    return TarBytes().add({.path = first, .type = '3'}).link("d/b", "./" + first).link("c", first);
  };
  EXPECT_THAT(paths(scan(upper("d/a"))), ElementsAre("/", "c deleted", "d/", "d/a deleted", "d/b deleted"));
  write_file(scratch_ / "a.tar", upper("drop/a").finished());
  const auto source = must(TarSource::open(scratch_ / "a.tar", {.filter = PathFilter({"/drop"})}, monitor_));
  EXPECT_THAT(paths(must(source->scan())), ElementsAre("/", "c deleted", "d/", "d/b deleted"));
  // What has the name in the end is what the link leads to.
  const Tree tree = scan(TarBytes().add({.path = "a", .type = '3'}).file("a", "new").link("b", "a"));
  EXPECT_EQ(find(tree, "b"), find(tree, "a"));
}

TEST_F(TarSourceTest, WhiteoutOfNothingIsRefusedAndAufsLeftoversAreNamed) {
  EXPECT_THAT(refusal(TarBytes().file("d/.wh.", "")), HasSubstr("whiteout of nothing"));
  EXPECT_THAT(paths(scan(TarBytes().file(".wh..wh.plnk", "").file("a", ""))), ElementsAre("/", "a"));
  EXPECT_THAT(monitor_.warnings, ElementsAre(HasSubstr(".wh..wh.plnk")));
}

TEST_F(TarSourceTest, WhiteoutsThatAreMoreThanThatAreNamed) {
  EXPECT_THAT(refusal(TarBytes().file(".wh.d/x", "")), HasSubstr("lies in \".wh.d\""));
  EXPECT_THAT(
      paths(scan(TarBytes().file(".wh.a", "content").directory(".wh.b").link(".wh.c", ".wh..wh.aufs"))),
      ElementsAre("/", "a deleted", "b deleted", "c deleted"));
  EXPECT_THAT(monitor_.warnings,
              ElementsAre(HasSubstr("\".wh.a\" is a whiteout by its name; what else it is"),
                          HasSubstr("\".wh.b\" is a whiteout by its name")));
}

TEST_F(TarSourceTest, WhatLiesBeneathBookkeepingOfAufsIsNamed) {
  EXPECT_THAT(paths(scan(TarBytes().file(".wh..wh.plnk/12.34", "x").file("a", ""))), ElementsAre("/", "a"));
  EXPECT_THAT(monitor_.warnings, ElementsAre(HasSubstr(".wh..wh.plnk/12.34")));
}

TEST_F(TarSourceTest, AnArchiveThatChangesBetweenThePassesIsRefused) {
  const auto source = open(TarBytes().file("a", "one").finished());
  const Tree tree = must(source->scan());
  write_file(scratch_ / "a.tar", TarBytes().file("a", "two").file("b", "more").finished());
  const auto read =
      source->for_each_content(tree, [](TreeIndex, ContentSource&) { return StatusOrFailure(); });
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().message, HasSubstr("changed while it was read"));
}

TEST_F(TarSourceTest, PaxRecordsGiveTimeXattrsAndAcl) {
  const Tree tree =
      scan(TarBytes()
               .pax({{"mtime", "1700000000.123456789"},
                     {"SCHILY.xattr.user.plain", std::string("v\0w", 3)},
                     {"LIBARCHIVE.xattr.user.coded", "eA"},
                     {"SCHILY.acl.access", "user::rw-,user:root:r--:0,group::r--,mask::r--,other::---"}})
               .file("f", "x"));
  const InodeSpec& spec = tree.node(find(tree, "f")).spec;
  EXPECT_EQ(spec.attributes.mtime, (Timestamp{1700000000, 123456789}));
  std::map<std::string, std::string> xattrs(spec.xattrs.begin(), spec.xattrs.end());
  EXPECT_EQ(xattrs["user.plain"], std::string("v\0w", 3));
  EXPECT_EQ(xattrs["user.coded"], "x");
  EXPECT_EQ(xattrs["system.posix_acl_access"].size(), 4U + 5 * 8);
  EXPECT_THAT(monitor_.warnings, IsEmpty());
}

TEST_F(TarSourceTest, TimesBefore1970AreReadAsTarWritesThem) {
  const Tree tree =
      scan(TarBytes().pax({{"mtime", "-2.25"}}).file("f", "x").pax({{"mtime", "-2"}}).file("g", "x"));
  EXPECT_EQ(tree.node(find(tree, "f")).spec.attributes.mtime, (Timestamp{-3, 750000000}));
  EXPECT_EQ(tree.node(find(tree, "g")).spec.attributes.mtime, (Timestamp{-2, 0}));
}

TEST_F(TarSourceTest, TheMaskOfAnAclIsTheGroupsModeBits) {
  const Tree tree =
      scan(TarBytes()
               .pax({{"SCHILY.acl.access", "user::rw-,user:7:rw-:7,group::r--,mask::rwx,other::---"}})
               .file("f", "x"));
  EXPECT_EQ(tree.node(find(tree, "f")).spec.attributes.mode & 0777, 0670U);
}

TEST_F(TarSourceTest, SparseFilesKeepTheirHoles) {
  const std::string map = "2\n0\n512\n1048576\n512\n";
  const std::string padded = map + std::string(512 - map.size(), '\0');
  const auto source =
      open(TarBytes()
               .pax({{"GNU.sparse.major", "1"},
                     {"GNU.sparse.minor", "0"},
                     {"GNU.sparse.name", "s"},
                     {"GNU.sparse.realsize", "2097152"}})
               .file("GNUSparseFile.0/s", padded + std::string(512, 'a') + std::string(512, 'b'))
               .finished());
  const Tree tree = must(source->scan());
  EXPECT_EQ(tree.node(find(tree, "s")).spec.attributes.size_bytes, 2097152U);
  std::vector<std::pair<std::uint64_t, std::size_t>> chunks;
  must(source->for_each_content(tree, [&](TreeIndex, ContentSource& content) -> StatusOrFailure {
    for (;;) {
      VARVE_ASSIGN(const std::optional<Chunk> chunk, content.next());
      if (!chunk) return {};
      chunks.emplace_back(chunk->offset_bytes, chunk->bytes.size());
    }
  }));
  EXPECT_THAT(chunks, ElementsAre(std::pair(0U, 512U), std::pair(1048576U, 512U)));
}

TEST_F(TarSourceTest, TruncatedArchivesAreRefused) {
  const std::string whole = TarBytes().file("a", std::string(3000, 'x')).finished();
  for (const std::size_t size : {513U, 1000U, 3400U}) {
    const auto scanned = open(whole.substr(0, size))->scan();
    EXPECT_FALSE(scanned.ok()) << size;
  }
}

TEST_F(TarSourceTest, ADamagedHeaderIsNotPassedOver) {
  const std::string tar = TarBytes().file("a", "").finished();
  EXPECT_THAT(open(tar.substr(0, 512) + std::string(512, 'q') + tar)->scan().error().message,
              HasSubstr("Damaged tar archive"));
}

TEST_F(TarSourceTest, WhatFollowsTheEndIsNamed) {
  const std::string tar = TarBytes().file("a", "x").finished();
  for (const std::string& more : {tar, std::string(5000, 'q')}) {
    const auto source = open(tar + more);
    const Tree tree = must(source->scan());
    EXPECT_THAT(paths(tree), ElementsAre("/", "a"));
    EXPECT_EQ(contents(*source, tree)["a"], "x");
    EXPECT_EQ(contents(*source, tree)["a"], "x") << "as for --diff, and still warned of once";
    EXPECT_THAT(monitor_.warnings, ElementsAre(HasSubstr("something follows the archive's end")));
    monitor_.warnings.clear();
  }
  const auto source = open(tar + std::string(9000, '\0'));
  EXPECT_THAT(contents(*source, must(source->scan())), SizeIs(1));
  EXPECT_THAT(monitor_.warnings, IsEmpty());
}

TEST_F(TarSourceTest, AnArchiveThatEndsBetweenMembersIsNamed) {
  const std::string tar = TarBytes().file("a", std::string(1000, 'x')).file("b", "y").finished();
  EXPECT_THAT(paths(must(open(tar.substr(0, 1536))->scan())), ElementsAre("/", "a"));
  EXPECT_THAT(monitor_.warnings, ElementsAre(HasSubstr("ends without the mark of an archive's end")));
}

TEST_F(TarSourceTest, NamesAndNumbersOfAllKindsAreKept) {
  const Tree tree = scan(TarBytes()
                             .pax({{"uid", "2097152"},
                                   {"gid", "4294967294"},
                                   {"hdrcharset", "BINARY"},
                                   {"path", "not-\xff-utf8"}})
                             .file("x", ""));
  const Attributes attributes = tree.node(find(tree, "not-\xff-utf8")).spec.attributes;
  EXPECT_EQ(attributes.uid, 2097152U);
  EXPECT_EQ(attributes.gid, 4294967294U);
  EXPECT_THAT(refusal(TarBytes().pax({{"uid", "4294967295"}}).file("x", "")),
              HasSubstr("no number that Linux knows"));
}

TEST_F(TarSourceTest, AclEntriesWhoseNumbersAreCutAreNamed) {
  scan(TarBytes()
           .pax({{"SCHILY.acl.access", "user::rw-,user:3000000000:rwx,group::r--,mask::rwx,other::---"}})
           .file("f", ""));
  EXPECT_THAT(monitor_.warnings,
              ElementsAre(HasSubstr("\"3000000000\", whose number is 2^31 - 1 or larger")));
}

TEST_F(TarSourceTest, OtherFilesAreNoArchives) {
  EXPECT_THAT(open("hello\n")->scan().error().message, HasSubstr("not a tar archive"));
  EXPECT_THAT(open("")->scan().error().message, HasSubstr("not a tar archive"));
  EXPECT_FALSE(TarSource::open(scratch_ / "missing", {}, monitor_).ok());
  EXPECT_FALSE(TarSource::open(scratch_.path(), {}, monitor_).ok());
}

TEST_F(TarSourceTest, ExcludedMembersAreLeftOut) {
  write_file(scratch_ / "a.tar",
             TarBytes().file("keep/a", "1").file("drop/b", "2").file("x.o", "3").finished());
  const auto source =
      must(TarSource::open(scratch_ / "a.tar", {.filter = PathFilter({"/drop", "*.o"})}, monitor_));
  const Tree tree = must(source->scan());
  EXPECT_THAT(paths(tree), ElementsAre("/", "keep/", "keep/a"));
  EXPECT_THAT(contents(*source, tree), SizeIs(1));
}

TEST_F(TarSourceTest, AHardLinkToAnExcludedFileIsThatFile) {
  for (const bool first : {true, false}) {
    TarBytes tar;
    if (first) tar.file("drop/a", "content");
    tar.link("keep", "./drop/a").link("drop/b", "keep");
    if (!first) tar.file("drop/a", "content");
    write_file(scratch_ / "a.tar", tar.finished());
    const auto source =
        must(TarSource::open(scratch_ / "a.tar", {.filter = PathFilter({"/drop"})}, monitor_));
    const Tree tree = must(source->scan());
    EXPECT_THAT(paths(tree), ElementsAre("/", "keep"));
    EXPECT_EQ(contents(*source, tree)["keep"], "content");
  }
}

TEST_F(TarSourceTest, AnotherRootOrFileAsRootIsRefused) {
  EXPECT_THAT(
      refusal(TarBytes().file("./", "").add({.path = "/", .type = '2', .content = "", .link = "/etc"})),
      HasSubstr("root"));
}

TEST_F(TarSourceTest, APipeIsReadLikeAFile) {
  // Standard input is replaced for the length of the test.
  const std::string bytes =
      TarBytes().file("a", std::string(300000, 'q')).file("b", "x").finished() + std::string(9000, '\0');
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd saved(::dup(STDIN_FILENO));
  ASSERT_EQ(::dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
  ::close(ends[0]);
  bool written = false;
  std::thread writer([&] {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t put = ::write(ends[1], bytes.data() + done, bytes.size() - done);
      if (put <= 0) break;
      done += static_cast<std::size_t>(put);
    }
    written = done == bytes.size();
    ::close(ends[1]);
  });
  const auto source =
      must(TarSource::open("-", {.filter = {}, .spool_directory = scratch_.path()}, monitor_));
  const Tree tree = must(source->scan());
  writer.join();
  EXPECT_TRUE(written) << "the writer got no SIGPIPE";
  EXPECT_EQ(contents(*source, tree)["a"], std::string(300000, 'q'));
  if (saved.valid()) ::dup2(saved.get(), STDIN_FILENO);
}

}  // namespace
}  // namespace varve::image
