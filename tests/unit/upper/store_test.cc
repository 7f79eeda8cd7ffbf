// The upper store on a real file system: making, removing and moving objects.

#include <dirent.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "tests/unit/upper/upper_fixture.h"

namespace varve::upper {
namespace {

using ::testing::IsEmpty;
namespace fs = std::filesystem;

using Store = upper::testing::OpenUpperFixture;

// --- create ---

TEST_F(Store, MakesEachKindWithItsOwnerAndMode) {
  const std::map<std::string, std::uint32_t> kinds = {{"file", S_IFREG},  {"dir", S_IFDIR},
                                                      {"fifo", S_IFIFO},  {"sock", S_IFSOCK},
                                                      {"block", S_IFBLK}, {"char", S_IFCHR}};
  for (const auto& [name, type] : kinds) {
    for (const std::uint32_t uid : {0u, 1234u}) {
      const std::string full = name + std::to_string(uid);
      const NewObject object{.mode = type | 06757,
                             .umask = 022,
                             .uid = uid,
                             .gid = uid,
                             .rdev = makedev(1, 3),
                             .symlink_target = {}};
      const auto made = store_->create(root(full), object, false);
      ASSERT_TRUE(made.ok()) << full;
      EXPECT_EQ(made->attributes.mode, type | 06755) << full;
      EXPECT_EQ(made->attributes.uid, uid);
      EXPECT_EQ(made->attributes.gid, uid);
      if (type == S_IFCHR || type == S_IFBLK) {
        EXPECT_EQ(made->attributes.rdev, makedev(1, 3));
      }
    }
  }
}

TEST_F(Store, MakesSymbolicLinksOfTheirOwner) {
  const auto made = store_->create(
      root("link"), {.mode = S_IFLNK | 0777, .uid = 7, .gid = 8, .symlink_target = "a/b"}, false);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->attributes.uid, 7u);
  EXPECT_EQ(*store_->read_link(root("link")), "a/b");
}

TEST_F(Store, DoesNotDependOnTheUmaskOfTheProcess) {
  ::umask(077);
  EXPECT_EQ(make("file", S_IFREG | 0666).attributes.mode, S_IFREG | 0666u);
  EXPECT_EQ(make("dir", S_IFDIR | 0777).attributes.mode, S_IFDIR | 0777u);
}

TEST_F(Store, TellsThatANameIsTaken) {
  make("f", S_IFREG | 0644);
  for (const std::uint32_t uid : {0u, 5u}) {
    const auto again =
        store_->create(root("f"), {.mode = S_IFREG | 0600, .uid = uid, .symlink_target = {}}, false);
    ASSERT_FALSE(again.ok());
    EXPECT_EQ(again.error().value, EEXIST);
  }
}

TEST_F(Store, HandsDownTheGroupOfASetgidParent) {
  make("dir", S_IFDIR | 0755);
  ASSERT_TRUE(store_->change_owner(root("dir"), -1, 50).ok());
  ASSERT_TRUE(store_->change_mode(root("dir"), 02755).ok());
  const auto fd = store_->open_path(root("dir"));
  for (const std::uint32_t uid : {0u, 9u}) {
    const std::string suffix = std::to_string(uid);
    const std::string file = "f" + suffix;
    const std::string directory = "d" + suffix;
    const auto made_file = store_->create(
        {fd->get(), file}, {.mode = S_IFREG | 0644, .uid = uid, .gid = uid, .symlink_target = {}}, false);
    const auto made_dir =
        store_->create({fd->get(), directory},
                       {.mode = S_IFDIR | 0755, .uid = uid, .gid = uid, .symlink_target = {}}, false);
    EXPECT_EQ(made_file->attributes.gid, 50u);
    EXPECT_EQ(made_dir->attributes.gid, 50u);
    EXPECT_EQ(made_dir->attributes.mode, S_IFDIR | 02755u);
  }
}

// POSIX 1003.1e default ACL as an xattr: user::rwx, user:77:r--, group::r-x, mask::rwx, other::---
std::string default_acl() {
  struct Entry {
    std::uint16_t tag, permissions;
    std::uint32_t id;
  };
  const std::uint32_t version = 2;
  const Entry entries[] = {{1, 7, ~0u}, {2, 4, 77}, {4, 5, ~0u}, {0x10, 7, ~0u}, {0x20, 0, ~0u}};
  std::string value(reinterpret_cast<const char*>(&version), sizeof version);
  value.append(reinterpret_cast<const char*>(entries), sizeof entries);
  return value;
}

TEST_F(Store, InheritsADefaultAclAsThePlainFileSystemDoes) {
  make("dir", S_IFDIR | 0755);
  ASSERT_TRUE(store_->set_xattr(root("dir"), "system.posix_acl_default", default_acl(), 0).ok());
  const auto parent = store_->open_path(root("dir"));
  const std::string plain = in_upper("dir") + "/plain";
  ASSERT_GE(::close(::open(plain.c_str(), O_CREAT | O_WRONLY, 0664)), 0);
  for (const std::uint32_t uid : {0u, 9u}) {
    const std::string name = "f" + std::to_string(uid);
    // The umask does not apply where there is a default ACL.
    const auto made =
        store_->create({parent->get(), name},
                       {.mode = S_IFREG | 0664, .umask = 077, .uid = uid, .symlink_target = {}}, false);
    ASSERT_TRUE(made.ok());
    struct stat expected {};
    ASSERT_EQ(::stat(plain.c_str(), &expected), 0);
    EXPECT_EQ(made->attributes.mode, expected.st_mode);
    char wanted[128];
    const ssize_t size = ::getxattr(plain.c_str(), "system.posix_acl_access", wanted, sizeof wanted);
    ASSERT_GT(size, 0);
    EXPECT_EQ(*store_->xattr({parent->get(), name}, "system.posix_acl_access"),
              std::string(wanted, static_cast<std::size_t>(size)));
  }
  const auto directory =
      store_->create({parent->get(), "d"}, {.mode = S_IFDIR | 0775, .uid = 9, .symlink_target = {}}, false);
  ASSERT_TRUE(directory.ok());
  EXPECT_EQ(*store_->xattr({parent->get(), "d"}, "system.posix_acl_default"), default_acl());
}

// --- whiteouts ---

TEST_F(Store, AWhiteoutIsADeviceThatKernelOverlayfsKnows) {
  ASSERT_TRUE(store_->whiteout(root("gone")).ok());
  const struct stat status = stat_of("gone");
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  EXPECT_EQ(status.st_rdev, 0u);
  EXPECT_TRUE(is_whiteout("gone"));
}

TEST_F(Store, AUsersDeviceZeroIsNoWhiteout) {
  const UpperEntry made = make("device", S_IFCHR | 0600);
  EXPECT_EQ(made.kind, UpperEntry::Kind::kObject);
  const auto listed = store_->list(root(""));
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_FALSE(listed->front().whiteout);
  EXPECT_THAT(*store_->xattr_names(root("device")), IsEmpty());
}

TEST_F(Store, ReplacesAWhiteoutByAnyKind) {
  for (const std::uint32_t type : {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR}) {
    const std::string name = "n" + std::to_string(type);
    ASSERT_TRUE(store_->whiteout(root(name)).ok());
    const auto made = store_->create(
        root(name), {.mode = type | 0700, .symlink_target = "x", .opaque = type == S_IFDIR}, true);
    ASSERT_TRUE(made.ok()) << type;
    EXPECT_EQ(made->attributes.mode & S_IFMT, type);
    EXPECT_EQ(made->marks.opaque, type == S_IFDIR);
  }
}

TEST_F(Store, NeverReplacesAnObjectAsIfItWereAWhiteout) {
  make("f", S_IFREG | 0644);
  const auto made = store_->create(root("f"), {.mode = S_IFREG | 0600, .symlink_target = {}}, true);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().value, EEXIST);
  EXPECT_EQ(error_number(store_->link(root("f"), root("f"), true)), EEXIST);
}

TEST_F(Store, AnOpaqueDirectoryIsMarkedAsKernelOverlayfsMarksIt) {
  const auto made =
      store_->create(root("d"), {.mode = S_IFDIR | 0755, .symlink_target = {}, .opaque = true}, false);
  ASSERT_TRUE(made.ok());
  char value[4];
  ASSERT_EQ(::getxattr(in_upper("d").c_str(), "trusted.overlay.opaque", value, sizeof value), 1);
  EXPECT_EQ(value[0], 'y');
}

// --- listing ---

TEST_F(Store, ListsNamesWithTypesAndTellsWhiteoutsApart) {
  make("file", S_IFREG | 0644);
  make("dir", S_IFDIR | 0755);
  ASSERT_TRUE(store_->whiteout(root("gone")).ok());
  std::map<std::string, std::pair<int, bool>> found;
  const auto listed = store_->list(root(""));
  ASSERT_TRUE(listed.ok());
  for (const auto& entry : *listed) found[entry.name] = {entry.type, entry.whiteout};
  const std::map<std::string, std::pair<int, bool>> expected = {
      {"file", {DT_REG, false}}, {"dir", {DT_DIR, false}}, {"gone", {DT_CHR, true}}};
  EXPECT_EQ(found, expected);
}

TEST_F(Store, ANameThatIsNotThereIsAbsent) {
  EXPECT_EQ(look("none").kind, UpperEntry::Kind::kAbsent);
}

// --- copy-up ---

TEST_F(Store, CopyUpTakesAttributesXattrsAndMarks) {
  CopyUp source = lower_file(10000);
  source.attributes.mode = S_IFREG | 06755;
  source.attributes.uid = 11;
  source.attributes.gid = 12;
  const std::string capability("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  source.xattrs = {{"user.a", "1"}, {"security.capability", capability}, {"trusted.overlay.opaque", "y"}};
  const auto made = store_->copy_up(root("f"), source);
  ASSERT_TRUE(made.ok());
  const UpperEntry found = look("f");
  EXPECT_EQ(found.attributes.mode, S_IFREG | 06755u);
  EXPECT_EQ(found.attributes.uid, 11u);
  EXPECT_EQ(found.attributes.gid, 12u);
  EXPECT_EQ(found.attributes.size_bytes, 10000u);
  EXPECT_EQ(found.attributes.mtime, source.attributes.mtime);
  EXPECT_EQ(found.attributes.atime, source.attributes.atime);
  EXPECT_EQ(found.inode_number, made->inode_number);
  EXPECT_EQ(found.marks.origin, source.origin);
  EXPECT_EQ(found.marks.base->path, "/dir/file");
  EXPECT_EQ(found.marks.base->size_bytes, 10000u);
  EXPECT_NE(found.marks.map_id, 0u);
  EXPECT_EQ(found.marks.map_id, made->marks.map_id);
  EXPECT_EQ(made->marks.origin, source.origin);
  EXPECT_TRUE(made->marks.base.has_value());
  EXPECT_EQ(*store_->xattr(root("f"), "security.capability"), capability);
  EXPECT_LE(stat_of("f").st_blocks, 8);  // of its xattrs
}

TEST_F(Store, CopyUpLeavesTheTimesOfTheParentAlone) {
  make("dir", S_IFDIR | 0755);
  const struct timespec times[2] = {{100, 1}, {200, 2}};
  ASSERT_TRUE(store_->change_times(root("dir"), times).ok());
  const auto parent = store_->open_path(root("dir"));
  ASSERT_TRUE(store_->copy_up({parent->get(), "f"}, lower_file(1)).ok());
  EXPECT_EQ(stat_of("dir").st_atim.tv_sec, 100);
  EXPECT_EQ(stat_of("dir").st_mtim.tv_sec, 200);
  EXPECT_EQ(stat_of("dir").st_mtim.tv_nsec, 2);
}

TEST_F(Store, CopyUpOfOtherKinds) {
  CopyUp link = lower_file(0);
  link.attributes.mode = S_IFLNK | 0777;
  link.symlink_target = "there";
  const auto made_link = store_->copy_up(root("l"), link);
  ASSERT_TRUE(made_link.ok());
  EXPECT_EQ(look("l").attributes.mtime, link.attributes.mtime);
  EXPECT_EQ(made_link->marks.origin, link.origin);
  CopyUp directory = lower_file(0);
  directory.attributes.mode = S_IFDIR | 01777;
  ASSERT_TRUE(store_->copy_up(root("d"), directory).ok());
  EXPECT_EQ(look("d").attributes.mode, S_IFDIR | 01777u);
  CopyUp device = lower_file(0);
  device.attributes.mode = S_IFCHR | 0600;
  ASSERT_TRUE(store_->copy_up(root("c"), device).ok());
  EXPECT_EQ(look("c").kind, UpperEntry::Kind::kObject);
}

TEST_F(Store, CopyUpCopiesTheDataWhenTheBaseMarkDoesNotFit) {
  CopyUp source = lower_file(10000);
  source.base->path = "/" + std::string(200000, 'p');
  EXPECT_EQ(store_->copy_up(root("f"), source).error().value, ENOSPC);
  EXPECT_EQ(look("f").kind, UpperEntry::Kind::kAbsent);
  const varve::testing::MemoryLowerFile content(varve::testing::base_bytes(10000), {{4096, 4096}});
  source.content = &content;
  const auto made = store_->copy_up(root("f"), source);
  ASSERT_TRUE(made.ok());
  EXPECT_FALSE(made->marks.base);
  EXPECT_EQ(made->marks.origin, source.origin);
  EXPECT_FALSE(look("f").marks.base);
  EXPECT_EQ(look("f").marks.origin, source.origin);
  EXPECT_EQ(look("f").attributes.mtime, source.attributes.mtime);
  const std::string bytes = contents("f");
  ASSERT_EQ(bytes.size(), 10000u);
  const auto expected = varve::testing::base_bytes(10000);
  EXPECT_EQ(std::memcmp(bytes.data() + 4096, expected.data() + 4096, 4096), 0);
  EXPECT_EQ(bytes.find_first_not_of('\0'), 4096u);  // the hole stays one
}

TEST_F(Store, CopyUpOfAnIndexedLinkIsFoundByItsOrigin) {
  CopyUp source = lower_file(10000);
  source.indexed = true;
  source.attributes.nlink = 3;
  const auto made = store_->copy_up(root("f"), source);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(look("f").attributes.nlink, 1u);
  EXPECT_EQ(made->marks.nlink_delta, 2);
  EXPECT_EQ(look("f").marks.nlink_delta, 2);
  open_store();
  const auto found = store_->find_indexed(source.origin);
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ(store_->look_up({(*found)->get(), ""})->inode_number, made->inode_number);
  ASSERT_TRUE(store_->link_lower_name({(*found)->get(), ""}, root("g")).ok());
  EXPECT_EQ(look("g").attributes.nlink, 2u);
  EXPECT_EQ(store_->attributes(root("g"))->nlink, 2u);
  EXPECT_EQ(look("f").marks.nlink_delta, 1);
  store_->drop_index(source.origin);
  EXPECT_FALSE(store_->find_indexed(source.origin)->has_value());
  EXPECT_EQ(look("f").attributes.nlink, 2u);
  store_->drop_index(source.origin);  // nothing happens
}

// --- links, removing ---

TEST_F(Store, LinksSymbolicLinksThemselves) {
  make("l", S_IFLNK | 0777);
  const auto fd = store_->open_path(root("l"));
  ASSERT_TRUE(store_->link({fd->get(), ""}, root("m"), false).ok());
  ASSERT_TRUE(store_->whiteout(root("n")).ok());
  ASSERT_TRUE(store_->link(root("l"), root("n"), true).ok());
  EXPECT_EQ(look("n").inode_number, look("l").inode_number);
  EXPECT_EQ(look("m").attributes.nlink, 3u);
}

TEST_F(Store, RemovesWithAndWithoutAWhiteout) {
  make("f", S_IFREG | 0644);
  make("g", S_IFREG | 0644);
  ASSERT_TRUE(store_->remove(root("f"), true).ok());
  ASSERT_TRUE(store_->remove(root("g"), false).ok());
  EXPECT_TRUE(is_whiteout("f"));
  EXPECT_EQ(look("g").kind, UpperEntry::Kind::kAbsent);
}

TEST_F(Store, TheMapGoesWithTheLastName) {
  ASSERT_TRUE(store_->copy_up(root("f"), lower_file(10000)).ok());
  auto file = open_cow("f");
  ASSERT_TRUE(file->write(0, std::vector<std::byte>(10)).ok());
  ASSERT_TRUE(store_->link(root("f"), root("g"), false).ok());
  ASSERT_TRUE(store_->remove(root("f"), false).ok());
  EXPECT_EQ(maps(), 1u);
  ASSERT_TRUE(store_->remove(root("g"), true).ok());
  EXPECT_EQ(maps(), 0u);
  // The open file goes on as before.
  ASSERT_TRUE(file->write(5000, std::vector<std::byte>(10)).ok());
  EXPECT_TRUE(file->sync(false).ok());
  EXPECT_EQ(maps(), 0u);
}

TEST_F(Store, TheFirstWriteToAFileWithoutANameLeavesNoMap) {
  ASSERT_TRUE(store_->copy_up(root("f"), lower_file(10000)).ok());
  auto file = open_cow("f");
  ASSERT_TRUE(store_->remove(root("f"), false).ok());
  ASSERT_TRUE(file->write(0, std::vector<std::byte>(10)).ok());
  EXPECT_EQ(maps(), 0u);
}

TEST_F(Store, WhiteoutsAreLinksToOneDevice) {
  for (const char* name : {"w1", "w2"}) ASSERT_TRUE(store_->whiteout(root(name)).ok());
  make("f", S_IFREG | 0644);
  ASSERT_TRUE(store_->remove(root("f"), true).ok());
  EXPECT_EQ(stat_of("w1").st_ino, stat_of("w2").st_ino);
  EXPECT_EQ(stat_of("w1").st_ino, stat_of("f").st_ino);
  EXPECT_EQ(stat_of("w1").st_nlink, 4u);  // one of them in the stage
  make("device", S_IFCHR | 0600);         // 0:0, too
  open_store();                           // which knows of no device yet
  const struct stat before = stat_of("w1");
  ASSERT_TRUE(store_->whiteout(root("w3")).ok());
  EXPECT_NE(stat_of("w3").st_ino, before.st_ino);
  EXPECT_EQ(before.st_nlink, 3u);
  std::map<std::string, bool> whiteouts;
  const auto listed = store_->list({store_->root_fd(), ""});
  ASSERT_TRUE(listed.ok());
  for (const auto& entry : *listed) whiteouts[entry.name] = entry.whiteout;
  EXPECT_EQ(whiteouts, (std::map<std::string, bool>{
                           {"w1", true}, {"w2", true}, {"w3", true}, {"f", true}, {"device", false}}));
  EXPECT_EQ(look("device").kind, UpperEntry::Kind::kObject);
  for (const char* name : {"w1", "w3"}) EXPECT_EQ(look(name).kind, UpperEntry::Kind::kWhiteout);
}

TEST_F(Store, MakesWhiteoutsAlsoWhenSomebodyEmptiedTheStage) {
  ASSERT_TRUE(store_->whiteout(root("w1")).ok());
  fs::remove(work() + "/varve/stage/" + SharedWhiteout::kName);
  make("f", S_IFREG | 0644);
  ASSERT_TRUE(store_->remove(root("f"), true).ok());
  ASSERT_TRUE(store_->whiteout(root("w2")).ok());
  for (const char* name : {"w1", "w2", "f"}) EXPECT_TRUE(is_whiteout(name)) << name;
}

// Of ext4, 65,000; other file systems allow more.
TEST_F(Store, MakesMoreWhiteoutsThanADeviceMayHaveLinks) {
  make("d", S_IFDIR | 0755);
  const auto fd = store_->open_path(root("d"));
  constexpr std::size_t kMany = 65'010;
  for (std::size_t i = 0; i < kMany; ++i) {
    ASSERT_TRUE(store_->whiteout({fd->get(), std::to_string(i)}).ok()) << i;
  }
  const auto listed = store_->list({fd->get(), ""});
  ASSERT_TRUE(listed.ok());
  ASSERT_EQ(listed->size(), kMany);
  EXPECT_TRUE(std::all_of(listed->begin(), listed->end(), [](const auto& entry) { return entry.whiteout; }));
  EXPECT_TRUE(store_->remove_directory(root("d"), *listed, false).ok());
}

TEST_F(Store, RemovesDirectoriesThatHoldWhiteoutsOnly) {
  for (const bool leave_whiteout : {false, true}) {
    make("d", S_IFDIR | 0755);
    const auto fd = store_->open_path(root("d"));
    ASSERT_TRUE(store_->whiteout({fd->get(), "w1"}).ok());
    ASSERT_TRUE(store_->whiteout({fd->get(), "w2"}).ok());
    ASSERT_TRUE(store_->remove_directory(root("d"), *store_->list(root("d")), leave_whiteout).ok());
    EXPECT_EQ(look("d").kind, leave_whiteout ? UpperEntry::Kind::kWhiteout : UpperEntry::Kind::kAbsent);
  }
}

TEST_F(Store, DoesNotRemoveADirectoryThatHoldsMore) {
  make("d", S_IFDIR | 0755);
  const auto fd = store_->open_path(root("d"));
  make("d/f", S_IFREG | 0644);
  for (const bool leave_whiteout : {false, true}) {
    EXPECT_EQ(error_number(store_->remove_directory(root("d"), *store_->list(root("d")), leave_whiteout)),
              ENOTEMPTY);
  }
  EXPECT_TRUE(fs::exists(in_upper("d/f")));
}

// --- rename ---

TEST_F(Store, RenamesAFileOverAnother) {
  ASSERT_TRUE(store_->copy_up(root("to"), lower_file(10000)).ok());
  ASSERT_TRUE(open_cow("to")->write(0, std::vector<std::byte>(10)).ok());
  const UpperEntry from = make("from", S_IFREG | 0644);
  ASSERT_TRUE(store_->rename({.from = root("from"), .to = root("to")}).ok());
  EXPECT_EQ(look("to").inode_number, from.inode_number);
  EXPECT_EQ(look("from").kind, UpperEntry::Kind::kAbsent);
  EXPECT_EQ(maps(), 0u);  // of the file that was replaced
}

TEST_F(Store, RenameLeavesAWhiteoutWhereALowerNameWouldShow) {
  const UpperEntry file = make("f", S_IFREG | 0644);
  const UpperEntry directory = make("d", S_IFDIR | 0755);
  ASSERT_TRUE(store_->whiteout(root("g")).ok());
  ASSERT_TRUE(store_->whiteout(root("e")).ok());
  ASSERT_TRUE(store_->rename({.from = root("f"), .to = root("g"), .whiteout_source = true}).ok());
  ASSERT_TRUE(store_->rename({.from = root("d"), .to = root("e"), .whiteout_source = true}).ok());
  EXPECT_TRUE(is_whiteout("f"));
  EXPECT_TRUE(is_whiteout("d"));
  EXPECT_EQ(look("g").inode_number, file.inode_number);
  EXPECT_EQ(look("e").inode_number, directory.inode_number);
}

TEST_F(Store, RenamesADirectoryOverAWhiteout) {
  make("d", S_IFDIR | 0755);
  ASSERT_TRUE(store_->whiteout(root("e")).ok());
  ASSERT_TRUE(store_->rename({.from = root("d"), .to = root("e")}).ok());
  EXPECT_EQ(look("d").kind, UpperEntry::Kind::kAbsent);
  EXPECT_TRUE(look("e").attributes.is_directory());
}

TEST_F(Store, RenamesADirectoryOverOneOfWhiteouts) {
  for (const bool whiteout_source : {false, true}) {
    const UpperEntry from = make("from", S_IFDIR | 0755);
    if (look("to").kind == UpperEntry::Kind::kAbsent) make("to", S_IFDIR | 0700);
    const auto fd = store_->open_path(root("to"));
    ASSERT_TRUE(store_->whiteout({fd->get(), "w"}).ok());
    ASSERT_TRUE(store_
                    ->rename({.from = root("from"),
                              .to = root("to"),
                              .whiteout_source = whiteout_source,
                              .to_is_directory = true})
                    .ok());
    EXPECT_EQ(look("to").inode_number, from.inode_number);
    EXPECT_TRUE(fs::is_empty(in_upper("to")));
    EXPECT_EQ(look("from").kind, whiteout_source ? UpperEntry::Kind::kWhiteout : UpperEntry::Kind::kAbsent);
  }
}

TEST_F(Store, ExchangesTwoObjects) {
  const UpperEntry a = make("a", S_IFREG | 0644);
  const UpperEntry b = make("b", S_IFDIR | 0755);
  ASSERT_TRUE(store_->rename({.from = root("a"), .to = root("b"), .exchange = true}).ok());
  EXPECT_EQ(look("a").inode_number, b.inode_number);
  EXPECT_EQ(look("b").inode_number, a.inode_number);
}

}  // namespace
}  // namespace varve::upper
