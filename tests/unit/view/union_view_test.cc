// The union driven without a mount: layers in memory under a real upper directory.

#include "fs/view/union_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <set>
#include <thread>

#include "tests/unit/view/view_fixture.h"

namespace varve::view {
namespace {

using ::testing::ElementsAre;

TEST_F(UnionViewTest, ReadsThroughToTheLayers) {
  bottom_->add_file("/d/a", "lower a");
  mount();
  EXPECT_EQ(read("/d/a"), "lower a");
  EXPECT_EQ(error_of("/d/missing"), ENOENT);
  EXPECT_EQ(error_of("/d/a/b"), ENOTDIR);
}

TEST_F(UnionViewTest, CreatedFileReadsBack) {
  mount();
  create("/new", "hello");
  EXPECT_EQ(read("/new"), "hello");
  remount();
  EXPECT_EQ(read("/new"), "hello");
}

TEST_F(UnionViewTest, CreatingAnExistingLowerNameFails) {
  bottom_->add_file("/a", "x");
  mount();
  EXPECT_EQ(view_->create(UnionView::kRoot, "a", 0644, kRootCaller).error().value, EEXIST);
  EXPECT_EQ(mkdir("/a"), EEXIST);
}

TEST_F(UnionViewTest, WriteMergesIntoTheLowerContent) {
  bottom_->add_file("/d/a", "0123456789");
  mount();
  write("/d/a", 3, "XYZ");
  EXPECT_EQ(read("/d/a"), "012XYZ6789");
  remount();
  EXPECT_EQ(read("/d/a"), "012XYZ6789");
}

TEST_F(UnionViewTest, OpenFileSeesTheWriteOfAnother) {
  bottom_->add_file("/a", "old content");
  mount();
  const HandleId reader = view_->open(find("/a").value().id, O_RDONLY).value();
  EXPECT_EQ(read_handle(reader), "old content");
  write("/a", 0, "new");
  EXPECT_EQ(read_handle(reader), "new content");
  view_->release(reader);
}

TEST_F(UnionViewTest, InodeNumberSurvivesCopyUpRenameAndRemount) {
  bottom_->add_file("/d/a", "x");
  mount();
  const std::uint64_t number = inode("/d/a");
  const std::uint64_t directory = inode("/d");
  write("/d/a", 0, "y");
  EXPECT_EQ(inode("/d/a"), number);
  ASSERT_EQ(rename("/d/a", "/b"), 0);
  EXPECT_EQ(inode("/b"), number);
  remount();
  EXPECT_EQ(inode("/b"), number);
  EXPECT_EQ(inode("/d"), directory);
}

TEST_F(UnionViewTest, ModeChangeCopiesNoData) {
  bottom_->add_file("/a", std::string(1 << 20, 'x'));
  mount();
  ASSERT_TRUE(view_->setattr(find("/a").value().id, {.permissions = 0600}).ok());
  EXPECT_EQ(attributes("/a").mode & 07777, 0600u);
  struct stat stat {};
  ASSERT_EQ(::stat((upper() + "/a").c_str(), &stat), 0);
  EXPECT_LE(stat.st_blocks * 512, 4096);
  EXPECT_EQ(stat.st_size, 1 << 20);
  EXPECT_EQ(attributes("/a").mtime, (Timestamp{1000000000, 123456789}));
}

// A sync of the whole file system may settle a file while stat has it open for a moment: done here by hand.
TEST_F(UnionViewTest, BlocksOfAFileThatWasSettledUnseenAreItsOwn) {
  bottom_->add_file("/f", std::string(16384, 'f'));
  mount();
  write("/f", 0, std::string(4096, 'n'));
  const NodeId id = find("/f").value().id;
  ASSERT_EQ(view_->getattr(id)->attributes.blocks_512, 32u);
  const std::string file = upper() + "/f";
  ASSERT_EQ(::removexattr(file.c_str(), "trusted.varve.base"), 0);
  std::filesystem::remove_all(work() + "/varve/maps");
  struct stat status {};
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  ASSERT_LT(status.st_blocks, 32);
  for (int time = 0; time < 2; ++time) {
    EXPECT_EQ(view_->getattr(id)->attributes.blocks_512, static_cast<std::uint64_t>(status.st_blocks));
  }
}

TEST_F(UnionViewTest, HardLinksOfALayerStayOneFile) {
  const std::uint64_t number = bottom_->add_file("/a", "shared content");
  bottom_->add_hard_link("/d/b", number);
  mount();
  EXPECT_EQ(attributes("/a").nlink, 2u);
  write("/a", 0, "WRITE");
  EXPECT_EQ(read("/d/b"), "WRITEd content");
  EXPECT_EQ(inode("/a"), inode("/d/b"));
  EXPECT_EQ(attributes("/d/b").nlink, 2u);
  remount();
  EXPECT_EQ(read("/d/b"), "WRITEd content");
  EXPECT_EQ(attributes("/d/b").nlink, 2u);
  EXPECT_EQ(inode("/a"), inode("/d/b"));
}

TEST_F(UnionViewTest, HardLinkWithoutANameInTheUpperKeepsItsContentOverARemount) {
  bottom_->add_hard_link("/d/b", bottom_->add_file("/a", "shared content"));
  mount();
  write("/a", 0, "SHARED");
  ASSERT_EQ(unlink("/a"), 0);
  remount();
  EXPECT_EQ(read("/d/b"), "SHARED content");
  EXPECT_EQ(attributes("/d/b").nlink, 1u);
}

TEST_F(UnionViewTest, LinkCountFollowsRemovedNamesOfALayer) {
  const std::uint64_t number = bottom_->add_file("/a", "x");
  bottom_->add_hard_link("/b", number);
  bottom_->add_hard_link("/c", number);
  mount();
  ASSERT_EQ(unlink("/a"), 0);
  EXPECT_EQ(attributes("/b").nlink, 2u);
  ASSERT_EQ(link("/b", "/e"), 0);
  EXPECT_EQ(attributes("/c").nlink, 3u);
  remount();
  EXPECT_EQ(error_of("/a"), ENOENT);
  EXPECT_EQ(attributes("/e").nlink, 3u);
  ASSERT_EQ(rename("/c", "/f"), 0);
  EXPECT_EQ(attributes("/f").nlink, 3u);
  EXPECT_EQ(error_of("/c"), ENOENT);
  ASSERT_EQ(unlink("/b"), 0);
  ASSERT_EQ(unlink("/e"), 0);
  EXPECT_EQ(attributes("/f").nlink, 1u);
  ASSERT_EQ(unlink("/f"), 0);
  EXPECT_EQ(list("/"), std::set<std::string>());
}

TEST_F(UnionViewTest, UnlinkedOpenFileLivesOn) {
  bottom_->add_file("/a", "content");
  mount();
  const EntryReply entry = find("/a").value();
  const HandleId handle = view_->open(entry.id, O_RDWR).value();
  ASSERT_EQ(unlink("/a"), 0);
  EXPECT_EQ(error_of("/a"), ENOENT);
  EXPECT_EQ(read_handle(handle), "content");
  EXPECT_EQ(view_->getattr(entry.id).value().attributes.nlink, 0u);
  EXPECT_TRUE(view_->setattr(entry.id, {.permissions = 0600}).ok());
  EXPECT_EQ(view_->getattr(entry.id).value().attributes.mode & 07777, 0600u);
  EXPECT_TRUE(write_handle(handle, 0, "CON").ok());
  EXPECT_EQ(read_handle(handle), "CONtent");
  view_->release(handle);
}

// The kernel looks a name up, and opens the file a moment later.
TEST_F(UnionViewTest, FileUnlinkedBeforeItIsOpenedIsStillTheFile) {
  bottom_->add_file("/f", "content");
  mount();
  const EntryReply entry = find("/f").value();
  ASSERT_TRUE(view_->unlink(UnionView::kRoot, "f").ok());
  const HandleId reading = view_->open(entry.id, O_RDONLY).value();
  EXPECT_EQ(read_handle(reading), "content");
  const HandleId writing = view_->open(entry.id, O_RDWR).value();
  EXPECT_TRUE(write_handle(writing, 0, "CON").ok());
  EXPECT_EQ(read_handle(reading), "CONtent");
  EXPECT_TRUE(view_->setattr(entry.id, {.permissions = 0600}).ok());
  const EntryReply now = view_->getattr(entry.id).value();
  EXPECT_EQ(now.attributes.mode & 07777, 0600u);
  EXPECT_EQ(now.attributes.nlink, 0u);
  EXPECT_EQ(now.inode_number, entry.inode_number);
  EXPECT_EQ(error_of("/f"), ENOENT);
  view_->release(reading);
  view_->release(writing);
  remount();
  EXPECT_EQ(list("/"), std::set<std::string>());
}

TEST_F(UnionViewTest, FileUnlinkedBeforeItIsTruncatedIsStillTheFile) {
  bottom_->add_file("/f", "content");
  bottom_->add_symlink("/l", "target");
  mount();
  const NodeId file = find("/f").value().id;
  const NodeId link = find("/l").value().id;
  ASSERT_EQ(unlink("/f"), 0);
  ASSERT_EQ(unlink("/l"), 0);
  AttributeChange change;
  change.size_bytes = 3;
  EXPECT_EQ(view_->setattr(file, change).value().attributes.size_bytes, 3u);
  const HandleId handle = view_->open(file, O_RDONLY | O_TRUNC).value();
  EXPECT_EQ(read_handle(handle), "");
  view_->release(handle);
  change = {};
  change.uid = 7;
  EXPECT_EQ(view_->setattr(link, change).value().attributes.uid, 7u);
}

// Its block map goes with the last name.
TEST_F(UnionViewTest, PartlyCopiedFileUnlinkedBeforeItIsOpenedIsStillTheFile) {
  bottom_->add_file("/f", "content");
  bottom_->add_file("/g", "content");
  mount();
  write("/f", 0, "CON");
  write("/g", 0, "CON");
  const NodeId unlinked = find("/f").value().id;
  const NodeId replaced = find("/g").value().id;
  ASSERT_EQ(unlink("/f"), 0);
  create("/new", "new");
  ASSERT_EQ(rename("/new", "/g"), 0);
  for (const NodeId id : {unlinked, replaced}) {
    EXPECT_EQ(view_->getattr(id).value().attributes.nlink, 0u);
    const HandleId handle = view_->open(id, O_RDWR).value();
    EXPECT_EQ(read_handle(handle), "CONtent");
    EXPECT_TRUE(write_handle(handle, 3, "T").ok());
    EXPECT_EQ(read_handle(handle), "CONTent");
    view_->release(handle);
  }
}

TEST_F(UnionViewTest, UnnamedFileLivesUntilItIsClosedOrGetsAName) {
  mount();
  const auto made = view_->create_unnamed(UnionView::kRoot, 0640, kRootCaller).value();
  EXPECT_EQ(made.entry.attributes.nlink, 0u);
  EXPECT_EQ(made.entry.attributes.mode, S_IFREG | 0640u);
  EXPECT_TRUE(write_handle(made.handle, 0, "text").ok());
  EXPECT_EQ(list("/"), std::set<std::string>());
  const EntryReply named = view_->link(made.entry.id, UnionView::kRoot, "name").value();
  EXPECT_EQ(named.inode_number, made.entry.inode_number);
  EXPECT_EQ(named.attributes.nlink, 1u);
  EXPECT_EQ(find("/name").value().id, made.entry.id);
  view_->release(made.handle);
  EXPECT_EQ(read("/name"), "text");
  const auto other = view_->create_unnamed(UnionView::kRoot, 0600, kRootCaller).value();
  view_->release(other.handle);
  remount();
  EXPECT_EQ(list("/"), std::set<std::string>{"name"});
  EXPECT_EQ(read("/name"), "text");
}

TEST_F(UnionViewTest, FileOpenedForWritingBesideItsUnlinkCanBeWritten) {
  constexpr int kFiles = 200;
  for (int i = 0; i < kFiles; ++i) bottom_->add_file("/" + std::to_string(i), "content");
  mount();
  for (int i = 0; i < kFiles; ++i) {
    const std::string name = std::to_string(i);
    const NodeId file = find("/" + name).value().id;
    std::thread remover([&] { EXPECT_TRUE(view_->unlink(UnionView::kRoot, name).ok()); });
    const auto opened = view_->open(file, O_RDWR);
    remover.join();
    ASSERT_TRUE(opened.ok()) << opened.error().value;
    const std::string data = "C";
    EXPECT_TRUE(view_->write(*opened, 0, std::as_bytes(std::span(data))).ok()) << name;
    EXPECT_EQ(read_handle(*opened), "Content");
    view_->release(*opened);
  }
}

TEST_F(UnionViewTest, RemovedLowerNameCanBeMadeAnew) {
  bottom_->add_file("/d/a", "old");
  bottom_->add_file("/d/b", "old");
  mount();
  ASSERT_EQ(unlink("/d/a"), 0);
  create("/d/a", "new");
  EXPECT_EQ(read("/d/a"), "new");
  EXPECT_EQ(list("/d"), (std::set<std::string>{"a", "b"}));
  remount();
  EXPECT_EQ(read("/d/a"), "new");
}

TEST_F(UnionViewTest, DirectoryMadeAnewIsEmpty) {
  bottom_->add_file("/d/a", "old");
  mount();
  EXPECT_EQ(rmdir("/d"), ENOTEMPTY);
  ASSERT_EQ(unlink("/d/a"), 0);
  ASSERT_EQ(rmdir("/d"), 0);
  EXPECT_EQ(error_of("/d"), ENOENT);
  ASSERT_EQ(mkdir("/d"), 0);
  EXPECT_EQ(list("/d"), std::set<std::string>());
  remount();
  EXPECT_EQ(list("/d"), std::set<std::string>());
}

TEST_F(UnionViewTest, ListingsMergeAllLevels) {
  bottom_->add_file("/d/bottom", "");
  bottom_->add_file("/d/gone", "");
  top_->add_file("/d/top", "");
  mount();
  create("/d/upper", "");
  write("/d/top", 0, "copied up");
  ASSERT_EQ(unlink("/d/gone"), 0);
  EXPECT_EQ(list("/d"), (std::set<std::string>{"bottom", "top", "upper"}));
}

TEST_F(UnionViewTest, LowerDirectoryMovesWithEverythingInIt) {
  bottom_->add_file("/d/sub/a", "bottom a");
  top_->add_file("/d/sub/b", "top b");
  mount();
  const std::uint64_t number = inode("/d/sub/a");
  ASSERT_EQ(mkdir("/elsewhere"), 0);
  ASSERT_EQ(rename("/d", "/elsewhere/moved"), 0);
  EXPECT_EQ(error_of("/d"), ENOENT);
  EXPECT_EQ(read("/elsewhere/moved/sub/a"), "bottom a");
  EXPECT_EQ(read("/elsewhere/moved/sub/b"), "top b");
  EXPECT_EQ(inode("/elsewhere/moved/sub/a"), number);
  remount();
  EXPECT_EQ(read("/elsewhere/moved/sub/b"), "top b");
  write("/elsewhere/moved/sub/b", 0, "new");
  ASSERT_EQ(rename("/elsewhere/moved/sub", "/sub"), 0);
  ASSERT_EQ(rename("/elsewhere/moved", "/d"), 0);
  remount();
  EXPECT_EQ(read("/sub/b"), "new b");
  EXPECT_EQ(read("/sub/a"), "bottom a");
  EXPECT_EQ(list("/d"), std::set<std::string>());
}

TEST_F(UnionViewTest, NewDirectoryMovedOverALowerNameDoesNotMergeWithIt) {
  bottom_->add_file("/d/old", "");
  mount();
  ASSERT_EQ(unlink("/d/old"), 0);
  ASSERT_EQ(mkdir("/fresh"), 0);
  create("/fresh/new", "");
  ASSERT_EQ(rename("/fresh", "/d"), 0);
  EXPECT_EQ(list("/d"), std::set<std::string>{"new"});
  remount();
  EXPECT_EQ(list("/d"), std::set<std::string>{"new"});
}

TEST_F(UnionViewTest, RenameOverAFileReplacesIt) {
  bottom_->add_file("/a", "a");
  bottom_->add_file("/b", "b");
  mount();
  EXPECT_EQ(rename("/a", "/b", RENAME_NOREPLACE), EEXIST);
  ASSERT_EQ(rename("/a", "/b"), 0);
  EXPECT_EQ(read("/b"), "a");
  EXPECT_EQ(error_of("/a"), ENOENT);
  remount();
  EXPECT_EQ(read("/b"), "a");
  EXPECT_EQ(error_of("/a"), ENOENT);
}

TEST_F(UnionViewTest, ExchangeSwapsLowerWithUpper) {
  bottom_->add_file("/d/a", "lower");
  mount();
  create("/file", "upper");
  ASSERT_EQ(rename("/d", "/file", RENAME_EXCHANGE), 0);
  EXPECT_EQ(read("/d"), "upper");
  EXPECT_EQ(read("/file/a"), "lower");
  remount();
  EXPECT_EQ(read("/d"), "upper");
  EXPECT_EQ(read("/file/a"), "lower");
}

TEST_F(UnionViewTest, TruncateDownAndUpShowsZeros) {
  bottom_->add_file("/a", std::string(10000, 'x'));
  mount();
  const NodeId id = find("/a").value().id;
  ASSERT_TRUE(view_->setattr(id, {.size_bytes = 5000}).ok());
  ASSERT_TRUE(view_->setattr(id, {.size_bytes = 10000}).ok());
  EXPECT_EQ(read("/a"), std::string(5000, 'x') + std::string(5000, '\0'));
  remount();
  EXPECT_EQ(read("/a"), std::string(5000, 'x') + std::string(5000, '\0'));
}

TEST_F(UnionViewTest, OpenWithTruncateEmptiesALowerFile) {
  bottom_->add_file("/a", std::string(100000, 'x'));
  mount();
  write("/a", 0, "short", O_WRONLY | O_TRUNC);
  EXPECT_EQ(read("/a"), "short");
  remount();
  EXPECT_EQ(read("/a"), "short");
}

TEST_F(UnionViewTest, XattrsOfALayerSurviveCopyUp) {
  bottom_->set_xattr(bottom_->add_file("/a", "x"), "user.note", "kept");
  mount();
  const NodeId id = find("/a").value().id;
  EXPECT_EQ(view_->getxattr(id, "user.note").value(), "kept");
  ASSERT_TRUE(view_->setxattr(id, "user.more", "added", 0).ok());
  EXPECT_EQ(view_->getxattr(id, "user.note").value(), "kept");
  EXPECT_THAT(view_->listxattr(id).value(), ::testing::UnorderedElementsAre("user.note", "user.more"));
  ASSERT_TRUE(view_->removexattr(id, "user.note").ok());
  EXPECT_EQ(view_->getxattr(id, "user.note").error().value, ENODATA);
}

TEST_F(UnionViewTest, SymlinksAreReadAndCopiedUp) {
  bottom_->add_symlink("/s", "target");
  mount();
  EXPECT_EQ(view_->readlink(find("/s").value().id).value(), "target");
  ASSERT_TRUE(view_->setattr(find("/s").value().id, {.uid = 7}).ok());
  EXPECT_EQ(view_->readlink(find("/s").value().id).value(), "target");
  EXPECT_EQ(attributes("/s").uid, 7u);
  EXPECT_EQ(attributes("/s").mtime, (Timestamp{1000000000, 123456789}));
}

// Kernels before 6.6 ask for that.
TEST_F(UnionViewTest, SymlinksKeepTheirMode) {
  bottom_->add_symlink("/s", "target");
  for (const upper::OverrideUse use : {upper::OverrideUse::kNever, upper::OverrideUse::kAlways}) {
    mount(use);
    for (int time = 0; time < 2; ++time) {
      const auto changed = view_->setattr(find("/s").value().id, {.permissions = 0600});
      ASSERT_FALSE(changed.ok());
      EXPECT_EQ(changed.error().value, EOPNOTSUPP);
      EXPECT_EQ(attributes("/s").mode, S_IFLNK | 0777u);
    }
    ASSERT_EQ(unlink("/s"), 0);
    std::filesystem::remove_all(upper() + "/s");
  }
}

TEST_F(UnionViewTest, ForgottenNodesAreGivenBack) {
  for (int i = 0; i < 100; ++i) bottom_->add_file("/d/f" + std::to_string(i), "");
  mount();
  std::vector<NodeId> ids;
  const NodeId directory = find("/d").value().id;
  for (int i = 0; i < 100; ++i) ids.push_back(view_->lookup(directory, "f" + std::to_string(i)).value().id);
  EXPECT_EQ(view_->node_count(), 102u);
  for (const NodeId id : ids) view_->forget(id, 1);
  EXPECT_EQ(view_->node_count(), 2u);
  EXPECT_EQ(view_->getattr(ids[0]).error().value, ESTALE);
}

TEST_F(UnionViewTest, NodeNumbersAreNotReusedForOtherObjects) {
  mount();
  create("/a", "");
  const NodeId first = find("/a").value().id;
  ASSERT_EQ(unlink("/a"), 0);
  view_->forget(first, 2);
  create("/a", "");
  EXPECT_NE(find("/a").value().id, first);
}

TEST_F(UnionViewTest, NothingIsMadeInARemovedDirectory) {
  mount();
  ASSERT_EQ(mkdir("/d"), 0);
  const NodeId id = find("/d").value().id;
  ASSERT_EQ(rmdir("/d"), 0);
  EXPECT_EQ(view_->create(id, "x", 0644, kRootCaller).error().value, ENOENT);
  EXPECT_EQ(view_->getattr(id).value().attributes.nlink, 0u);
}

TEST_F(UnionViewTest, ConcurrentWritersOfOneLowerFileLoseNothing) {
  constexpr int kThreads = 4;
  constexpr std::size_t kPart = 3000;  // not a multiple of the block size: neighbours meet within blocks
  bottom_->add_file("/a", std::string(kThreads * kPart, '.'));
  mount();
  const NodeId id = find("/a").value().id;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const HandleId handle = view_->open(id, O_RDWR).value();
      for (std::size_t at = 0; at < kPart; at += 100) {
        EXPECT_TRUE(write_handle(handle, t * kPart + at, std::string(100, static_cast<char>('A' + t))).ok());
      }
      view_->release(handle);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::string expected;
  for (int t = 0; t < kThreads; ++t) expected += std::string(kPart, static_cast<char>('A' + t));
  EXPECT_EQ(read("/a"), expected);
}

// The kernel may have got the entries before a place from another reader.
TEST_F(UnionViewTest, PlacesInAListingAreTheSameForEveryReaderWhateverComesAndGoes) {
  for (const char* name : {"/l1", "/l2", "/l3"}) bottom_->add_file(name, "x");
  mount();
  for (int i = 0; i < 200; ++i) create("/u" + std::to_string(i), "");
  const auto places = [&](std::uint64_t from) {
    std::vector<std::pair<std::string, std::uint64_t>> seen;
    const auto add = [&](const DirectoryEntry& entry) {
      seen.emplace_back(entry.name, entry.next_cookie);
      return true;
    };
    EXPECT_TRUE(view_->readdir(UnionView::kRoot, from, add).ok());
    return seen;
  };
  auto all = places(0);
  ASSERT_EQ(all.size(), 205U);
  for (std::size_t at = 0; at < all.size(); ++at) {
    EXPECT_EQ(all[at].second > (at == 0 ? 0 : all[at - 1].second), true) << all[at].first;
    EXPECT_LT(all[at].second, std::uint64_t{1} << 31);
  }
  // From the middle on, after the entry that was read last is gone, and another one from either side of it; and once more when
  // nothing is known of the listing that was begun.
  const auto [last, place] = all[100];
  const std::vector<std::string> gone = {last, all[50].first, all[150].first};
  std::vector<std::pair<std::string, std::uint64_t>> expected(all.begin() + 101, all.end());
  std::erase_if(expected, [&](const auto& entry) { return entry.first == gone[2]; });
  for (const std::string& name : gone) ASSERT_EQ(unlink("/" + name), 0);
  EXPECT_EQ(places(place), expected);
  EXPECT_THAT(places(expected.back().second), testing::IsEmpty());
  EXPECT_EQ(places(place), expected);
}

// Reads `directory` to its end, some entries at a time. Returns: what the end was.
UnionView::Listed read_to_the_end(UnionView& view, NodeId directory) {
  std::uint64_t cookie = 0;
  for (;;) {
    int taken = 0;
    const auto take = [&](const DirectoryEntry& entry) {
      if (taken == 5) return false;
      ++taken;
      cookie = entry.next_cookie;
      return true;
    };
    const Result<UnionView::Listed> listed = view.readdir(directory, cookie, take);
    EXPECT_TRUE(listed.ok());
    if (!listed.ok() || *listed != UnionView::Listed::kMore) return listed.value();
  }
}

TEST_F(UnionViewTest, TheKernelKeepsAListingOfOneStateOnly) {
  using Listed = UnionView::Listed;
  bottom_->add_directory("/d");
  mount();
  const NodeId directory = find("/d").value().id;
  for (int i = 0; i < 20; ++i) create("/d/" + std::to_string(i), "");
  EXPECT_EQ(read_to_the_end(*view_, directory), Listed::kEnd);
  EXPECT_EQ(read_to_the_end(*view_, directory), Listed::kEnd);
  const auto is_not_kept_at_first = [&](const char* after) {
    EXPECT_EQ(read_to_the_end(*view_, directory), Listed::kEndAndNotToBeKept) << after;
    EXPECT_EQ(read_to_the_end(*view_, directory), Listed::kEnd) << after;
  };
  create("/d/more", "");
  is_not_kept_at_first("create");
  ASSERT_EQ(link("/d/more", "/d/other"), 0);
  is_not_kept_at_first("link");
  ASSERT_EQ(unlink("/d/other"), 0);
  is_not_kept_at_first("unlink");
  ASSERT_EQ(rename("/d/more", "/d/moved"), 0);
  is_not_kept_at_first("rename within");
  ASSERT_EQ(rename("/d/moved", "/moved"), 0);
  is_not_kept_at_first("rename out of it");
  ASSERT_EQ(rename("/moved", "/d/moved"), 0);
  is_not_kept_at_first("rename into it");
}

TEST_F(UnionViewTest, TheKernelKeepsNoListingThatChangesBeforeItsEnd) {
  mount();
  create("/a", "");
  const auto take = [](const DirectoryEntry&) { return true; };
  ASSERT_EQ(view_->readdir(UnionView::kRoot, 0, take).value(), UnionView::Listed::kMore);
  create("/b", "");
  constexpr std::uint64_t kLast = (std::uint64_t{1} << 31) - 1;
  EXPECT_EQ(view_->readdir(UnionView::kRoot, kLast, take).value(), UnionView::Listed::kEndAndNotToBeKept);
}

}  // namespace
}  // namespace varve::view
