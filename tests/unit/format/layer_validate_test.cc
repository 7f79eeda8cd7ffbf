// validate(): tables whose checksums are good and that still must not be believed. Each test breaks one thing
// in tables that are good, and asks for the sentence that names it.

#include "fs/format/layer_validate.h"

#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fs/format/hash.h"

namespace varve::format {
namespace {

using testing::HasSubstr;

constexpr std::uint32_t kRunFrameBytes = 8192;
constexpr std::uint64_t kDataEnd = kDataOffset + 3 * 100;

// 1 root { 2 dir/ { 3 link -> "t", whiteout "w" }, 4 file (inline), 5 run, 6 sparse, "hard" = 4 }
class ValidateTest : public testing::Test {
 protected:
  void SetUp() override {
    inodes.resize(7);
    for (const std::uint32_t content : {8192U, 8192U, 5000U}) {
      Frame frame{};
      frame.offset_and_flags = (kDataOffset + frames.size() * 100) << 16;
      frame.stored_size = 100;
      frame.content_size = content;
      frames.push_back(frame);
    }
    set_directory(1, 1, 0, 5, 3);
    set_directory(2, 1, 5, 2, 2);
    add_entries(1, {{"dir", 2}, {"file", 4}, {"hard", 4}, {"run", 5}, {"sparse", 6}});
    add_entries(2, {{"link", 3}, {"w", 0}});
    set_file(4, 4096, make_extent_source(2, 0, ExtentKind::kData), 2);
    set_file(5, 8192 * 2 + 4000, make_extent_source(0, 0, ExtentKind::kDataRun), 1);
    set_file(6, 40960, 0, 1);
    inodes[6].flags = 0;
    inodes[6].payload_a = 0;
    inodes[6].payload_b = 2;
    extents.resize(2);
    for (std::size_t i = 0; i < 2; ++i) {
      extents[i].file_offset = i * 8192;
      extents[i].length = 4096;
      extents[i].source_word = make_extent_source(i, 0, ExtentKind::kData);
    }
    inodes[3].mode = S_IFLNK | 0777;
    inodes[3].nlink = 1;
    inodes[3].size = 1;
    inodes[3].payload_a = names.size();
    inodes[3].payload_b = 1;
    names += "t";
    add_xattrs();
  }

  void set_directory(std::uint32_t index, std::uint32_t parent, std::uint64_t first, std::uint32_t count,
                     std::uint32_t nlink) {
    Inode& inode = inodes[index];
    inode.mode = S_IFDIR | 0755;
    inode.nlink = nlink;
    inode.size = count;
    inode.payload_a = first;
    inode.payload_b = count;
    inode.payload_c = parent;
  }

  void set_file(std::uint32_t index, std::uint64_t size, std::uint64_t source, std::uint32_t nlink) {
    Inode& inode = inodes[index];
    inode.mode = S_IFREG | 0644;
    inode.flags = kInodeInlineExtent;
    inode.nlink = nlink;
    inode.size = size;
    inode.payload_a = source;
    content_bytes += size;
  }

  void add_entries(std::uint32_t directory, std::vector<std::pair<std::string, std::uint32_t>> children) {
    std::sort(children.begin(), children.end(),
              [](const auto& a, const auto& b) { return name_hash(a.first) < name_hash(b.first); });
    for (const auto& [name, inode] : children) {
      Dirent entry{};
      entry.hash = name_hash(name);
      entry.inode = inode;
      entry.name_offset_low = static_cast<std::uint32_t>(names.size());
      entry.name_size = static_cast<std::uint8_t>(name.size());
      entry.flags = inode == 0 ? kDirentWhiteout : std::uint8_t{0};
      entry.type = inode == 0 ? 0 : inode == 2 ? DT_DIR : inode == 3 ? DT_LNK : DT_REG;
      dirents.push_back(entry);
      names += name;
    }
    EXPECT_EQ(inodes[directory].payload_b.get(), children.size());
  }

  void add_xattrs() {
    sets.resize(2);
    sets[1].entry_count = 2;
    for (const char* name : {"user.a", "user.b"}) {
      XattrEntry entry{};
      entry.name_offset = names.size();
      entry.name_size = 6;
      entry.value_size = 3;
      entries.push_back(entry);
      names += name;
    }
    values = "val";
    inodes[4].xattr_set = 1;
  }

  // The directory continues at "/x" in the layers below.
  void add_redirect(std::uint32_t directory) {
    origins.resize(2);
    origins[1].path_offset = names.size();
    origins[1].path_size = 2;
    names += "/x";
    incompat = kIncompatRedirect;
    inodes[directory].flags = kInodeRedirect;
    inodes[directory].origin = 1;
  }

  Dirent& entry_named(const std::string& name) {
    return *std::find_if(dirents.begin(), dirents.end(), [&](const Dirent& entry) {
      return names.substr(dirent_name_offset(entry), entry.name_size) == name;
    });
  }

  LayerTables tables() const {
    LayerTables t;
    t.run_frame_bytes = kRunFrameBytes;
    t.data_end = kDataEnd;
    t.incompat = incompat;
    t.content_bytes = content_bytes;
    t.inodes = inodes;
    t.dirents = dirents;
    t.names = names;
    t.extents = extents;
    t.frames = frames;
    t.digests = digests;
    t.xattr_sets = sets;
    t.xattr_entries = entries;
    t.xattr_values = values;
    t.parents = parents;
    t.origins = origins;
    return t;
  }

  std::string verdict() const {
    const FormatStatus status = validate(tables());
    return status.ok() ? "good" : status.error().message;
  }

  std::vector<Inode> inodes;
  std::vector<Dirent> dirents;
  std::string names;
  std::vector<Extent> extents;
  std::vector<Frame> frames;
  std::vector<Digest> digests;
  std::vector<XattrSet> sets;
  std::vector<XattrEntry> entries;
  std::string values;
  std::vector<Parent> parents;
  std::vector<Origin> origins;
  std::uint64_t content_bytes = 0;
  std::uint64_t incompat = 0;
};

TEST_F(ValidateTest, AcceptsAGoodTree) {
  EXPECT_EQ(verdict(), "good");
}

TEST_F(ValidateTest, RefusesEmptyTables) {
  EXPECT_FALSE(validate(LayerTables()).ok());
}

TEST_F(ValidateTest, RefusesADirectoryThatIsOpaqueAndRedirected) {
  add_redirect(2);
  EXPECT_EQ(verdict(), "good");
  inodes[2].flags = kInodeRedirect | kInodeOpaque;
  EXPECT_THAT(verdict(), HasSubstr("opaque and redirected at once"));
}

TEST_F(ValidateTest, RefusesARedirectedRoot) {
  add_redirect(1);
  EXPECT_THAT(verdict(), HasSubstr("inode 1 is not a root directory"));
}

TEST_F(ValidateTest, RefusesInlineExtentsThatAreNoDataOfTheLayer) {
  incompat = kIncompatParentFrames;
  parents.resize(2);
  inodes[4].payload_a = make_extent_source(2, 1, ExtentKind::kData);
  EXPECT_THAT(verdict(), HasSubstr("no data of this layer"));
  inodes[4].payload_a = make_extent_source(0, 0, ExtentKind::kHole);
  EXPECT_THAT(verdict(), HasSubstr("no data of this layer"));
}

TEST_F(ValidateTest, RefusesUnusedRecordsThatAreNotZero) {
  digests.resize(1);
  parents.resize(1);
  origins.resize(1);
  EXPECT_EQ(verdict(), "good");
  digests[0].xxh3_128[7] = 1;
  EXPECT_THAT(verdict(), HasSubstr("digest 0"));
  digests[0].xxh3_128[7] = 0;
  parents[0].sha256[0] = 1;
  EXPECT_THAT(verdict(), HasSubstr("parent 0"));
  parents[0].sha256[0] = 0;
  origins[0].inode = 1;
  EXPECT_THAT(verdict(), HasSubstr("origin 0"));
}

TEST_F(ValidateTest, RefusesAnEntryWithoutInode) {
  entry_named("file").inode = 7;
  EXPECT_THAT(verdict(), HasSubstr("an entry without inode"));
}

TEST_F(ValidateTest, RefusesAnEntryOfWrongType) {
  entry_named("file").type = DT_DIR;
  EXPECT_THAT(verdict(), HasSubstr("an entry of wrong type"));
}

TEST_F(ValidateTest, RefusesUnsortedEntries) {
  std::swap(dirents[0], dirents[1]);
  EXPECT_THAT(verdict(), HasSubstr("entries are not sorted"));
}

TEST_F(ValidateTest, RefusesANameTwice) {
  dirents[1] = dirents[0];
  EXPECT_THAT(verdict(), HasSubstr("not sorted"));
}

TEST_F(ValidateTest, RefusesIllegalNames) {
  for (const std::string& bad :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("a\0b", 3)}) {
    Dirent& entry = dirents[6];  // the last of its directory, so that its hash does not matter for the order
    entry.name_offset_low = static_cast<std::uint32_t>(names.size());
    entry.name_size = static_cast<std::uint8_t>(bad.size());
    entry.hash = name_hash(bad);
    names += bad;
    EXPECT_THAT(verdict(), HasSubstr("an illegal name")) << bad;
  }
}

TEST_F(ValidateTest, RefusesANameOutsideOfItsSection) {
  entry_named("w").name_offset_high = 200;
  EXPECT_THAT(verdict(), HasSubstr("a name outside of its section"));
}

TEST_F(ValidateTest, RefusesAWrongHash) {
  entry_named("w").hash = entry_named("w").hash + 1;
  EXPECT_THAT(verdict(), HasSubstr("a name with a wrong hash"));
}

TEST_F(ValidateTest, RefusesAWhiteoutOfAnInode) {
  entry_named("w").inode = 3;
  EXPECT_THAT(verdict(), HasSubstr("a whiteout of an inode"));
}

TEST_F(ValidateTest, RefusesWrongLinkCounts) {
  inodes[4].nlink = 3;
  EXPECT_THAT(verdict(), HasSubstr("has 2 names where 3 are due"));
  inodes[4].nlink = 2;
  inodes[1].nlink = 2;
  EXPECT_THAT(verdict(), HasSubstr("inode 1: wrong link count"));
}

TEST_F(ValidateTest, RefusesAWrongParent) {
  inodes[2].payload_c = 2;
  EXPECT_THAT(verdict(), HasSubstr("is not its child's parent"));
}

// 2 names itself: it has one parent and one name, and the root does not lead to it.
TEST_F(ValidateTest, RefusesDirectoriesInALoop) {
  const std::string name = "link";
  Dirent& in_root = entry_named("dir");
  in_root.inode = 3;
  in_root.type = DT_LNK;
  Dirent& in_directory = entry_named(name);
  in_directory.inode = 2;
  in_directory.type = DT_DIR;
  inodes[2].payload_c = 2;
  inodes[2].nlink = 3;
  inodes[1].nlink = 2;
  EXPECT_THAT(verdict(), HasSubstr("cannot be reached from the root"));
}

TEST_F(ValidateTest, RefusesARootThatIsNoDirectory) {
  inodes[1].mode = S_IFREG | 0644;
  EXPECT_THAT(verdict(), HasSubstr("not a root directory"));
}

TEST_F(ValidateTest, RefusesDirectoriesThatShareEntries) {
  inodes[2].payload_a = 4;
  EXPECT_THAT(verdict(), HasSubstr("wrong range of entries"));
}

TEST_F(ValidateTest, RefusesExtentsThatOverlap) {
  extents[1].file_offset = 0;
  EXPECT_THAT(verdict(), HasSubstr("extents overlap or lie outside"));
}

TEST_F(ValidateTest, RefusesExtentsPastTheEndOfTheFile) {
  extents[1].file_offset = 40960;
  EXPECT_THAT(verdict(), HasSubstr("extents overlap or lie outside"));
  extents[1].file_offset = UINT64_MAX - 4095;
  EXPECT_THAT(verdict(), HasSubstr("extents overlap or lie outside"));
}

TEST_F(ValidateTest, RefusesExtentsOffTheBlocks) {
  extents[0].length = 100;
  EXPECT_THAT(verdict(), HasSubstr("an extent ends within a block"));
  extents[0].length = 4096;
  extents[1].file_offset = 8000;
  EXPECT_THAT(verdict(), HasSubstr("extents overlap or lie outside"));
}

TEST_F(ValidateTest, RefusesExtentsThatLeaveTheirFrame) {
  extents[0].in_frame_offset = 4097;
  EXPECT_THAT(verdict(), HasSubstr("an extent leaves its frame"));
  extents[0].in_frame_offset = 0;
  extents[0].source_word = make_extent_source(3, 0, ExtentKind::kData);
  EXPECT_THAT(verdict(), HasSubstr("an extent leaves its frame"));
}

TEST_F(ValidateTest, RefusesRunsThatTheirFramesDoNotHold) {
  inodes[5].size = 8192 * 2 + 5001;
  ++content_bytes;
  EXPECT_THAT(verdict(), HasSubstr("a run of frames does not hold its extent"));
}

TEST_F(ValidateTest, RefusesRunsOverShortFrames) {
  frames[1].content_size = 8191;
  EXPECT_THAT(verdict(), HasSubstr("a run of frames does not hold its extent"));
}

TEST_F(ValidateTest, RefusesUnknownKindsOfExtents) {
  extents[0].source_word = 9;
  EXPECT_THAT(verdict(), HasSubstr("unknown kind of extent"));
}

TEST_F(ValidateTest, TakesFramesOfAParentThatIsThere) {
  extents[0].source_word = make_extent_source(99, 1, ExtentKind::kData);
  EXPECT_THAT(verdict(), HasSubstr("an extent with an impossible source"));
  parents.resize(2);
  EXPECT_THAT(verdict(), HasSubstr("an extent with an impossible source"));
  incompat = kIncompatParentFrames;
  EXPECT_EQ(verdict(), "good");
  // What of them is there is seen beside the parent, when the file is opened.
  extents[0].source_word = make_extent_source(99, 1, ExtentKind::kDataRun);
  extents[0].in_frame_offset = kMaxFrameBytes - 1;
  EXPECT_EQ(verdict(), "good");
  extents[0].in_frame_offset = kMaxFrameBytes;
  EXPECT_THAT(verdict(), HasSubstr("an extent with an impossible source"));
  extents[0].in_frame_offset = 0;
  extents[0].source_word = make_extent_source(0, 1, ExtentKind::kHole);
  EXPECT_THAT(verdict(), HasSubstr("an extent with an impossible source"));
}

class DeltaTest : public ValidateTest {
 protected:
  void SetUp() override {
    ValidateTest::SetUp();
    parents.resize(2);
    origins.resize(2);
    origins[1].parent = 1;
    origins[1].inode = 77;
    inodes[6].flags = kInodeDelta;
    inodes[6].origin = 1;
    inodes[6].payload_c = 5;
    incompat = kIncompatDelta;
  }
};

TEST_F(DeltaTest, AcceptsAFileOfAParent) {
  EXPECT_EQ(verdict(), "good");
  inodes[6].payload_a = 0;
  inodes[6].payload_b = 0;
  extents.clear();
  EXPECT_EQ(verdict(), "good");
}

TEST_F(DeltaTest, RefusesWhatHasNoBase) {
  incompat = 0;
  EXPECT_THAT(verdict(), HasSubstr("its feature bit is missing"));
  incompat = kIncompatDelta;
  origins[1].inode = 0;
  EXPECT_THAT(verdict(), HasSubstr("origin 1: unused fields"));
  origins[1].parent = 0;
  EXPECT_THAT(verdict(), HasSubstr("an origin that is not of its kind"));
  origins[1].parent = 2;
  EXPECT_THAT(verdict(), HasSubstr("no such parent"));
  inodes[6].origin = 0;
  origins[1].parent = 1;
  origins[1].inode = 77;
  EXPECT_THAT(verdict(), HasSubstr("origin without a redirect or a delta"));
}

TEST_F(DeltaTest, RefusesOtherThanRegularFilesAndInlineExtents) {
  inodes[6].flags = kInodeDelta | kInodeInlineExtent;
  EXPECT_THAT(verdict(), HasSubstr("unknown flags"));
  inodes[6].flags = kInodeDelta;
  inodes[2].flags = kInodeDelta;
  EXPECT_THAT(verdict(), HasSubstr("unknown flags"));
}

TEST_F(ValidateTest, RefusesFramesOutsideOfTheData) {
  frames[0].offset_and_flags = 0;
  EXPECT_THAT(verdict(), HasSubstr("frame 0: lies outside"));
  frames[0].offset_and_flags = kDataOffset << 16;
  frames[2].stored_size = 101;
  EXPECT_THAT(verdict(), HasSubstr("frame 2: lies outside"));
}

TEST_F(ValidateTest, RefusesFramesOverEachOther) {
  frames[1].offset_and_flags = (kDataOffset + 99) << 16;
  EXPECT_THAT(verdict(), HasSubstr("frame 1: lies outside of the data or over another frame"));
}

TEST_F(ValidateTest, RefusesFramesOfImpossibleSize) {
  frames[2].content_size = kMaxFrameBytes + 1;
  EXPECT_THAT(verdict(), HasSubstr("frame 2: impossible size"));
  frames[2].content_size = 0;
  EXPECT_THAT(verdict(), HasSubstr("frame 2: impossible size"));
}

TEST_F(ValidateTest, RefusesXattrsOutsideOfTheirSections) {
  entries[0].value_offset = 1;
  EXPECT_THAT(verdict(), HasSubstr("name or value outside of its section"));
  entries[0].value_offset = 0;
  inodes[4].xattr_set = 2;
  EXPECT_THAT(verdict(), HasSubstr("no such xattr set"));
}

TEST_F(ValidateTest, RefusesUnsortedXattrs) {
  std::swap(entries[0], entries[1]);
  EXPECT_THAT(verdict(), HasSubstr("names are not sorted"));
}

TEST_F(ValidateTest, RefusesImpossibleTimes) {
  inodes[4].mtime_nanoseconds = 1'000'000'000;
  EXPECT_THAT(verdict(), HasSubstr("impossible time"));
}

TEST_F(ValidateTest, RefusesLinkTargetsOutsideOfTheirSection) {
  inodes[3].payload_a = names.size();
  EXPECT_THAT(verdict(), HasSubstr("link target outside of its section"));
}

TEST_F(ValidateTest, RefusesAnUnknownType) {
  inodes[4].mode = 0644;
  for (const char* name : {"file", "hard"}) entry_named(name).type = 0;
  EXPECT_THAT(verdict(), HasSubstr("unknown type"));
}

TEST_F(ValidateTest, RefusesADigestThatIsNotThere) {
  inodes[4].digest = 1;
  EXPECT_THAT(verdict(), HasSubstr("no such digest"));
}

class RedirectTest : public ValidateTest {
 protected:
  void redirect(const std::string& path) {
    origins.assign(2, Origin{});
    origins[1].path_offset = names.size();
    origins[1].path_size = static_cast<std::uint32_t>(path.size());
    names += path;
    inodes[2].flags = kInodeRedirect;
    inodes[2].origin = 1;
    incompat = kIncompatRedirect;
  }
};

TEST_F(RedirectTest, AcceptsAnAbsolutePath) {
  redirect("/a/b");
  EXPECT_EQ(verdict(), "good");
}

TEST_F(RedirectTest, RefusesPathsThatLeadElsewhere) {
  for (const char* path : {"a", "/a/../b", "/a//b", "/a/", "/", "/.."}) {
    redirect(path);
    EXPECT_NE(verdict(), "good") << path;
  }
}

TEST_F(RedirectTest, RefusesARedirectWithoutItsFeatureBit) {
  redirect("/a");
  incompat = 0;
  EXPECT_THAT(verdict(), HasSubstr("its feature bit is missing"));
}

}  // namespace
}  // namespace varve::format
