// The upper store where owners, modes and kinds of object are kept in an override xattr.

#include <dirent.h>
#include <gmock/gmock.h>

#include <cstring>

#include "fs/format/posix_acl.h"
#include "tests/unit/upper/upper_fixture.h"

namespace varve::upper {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr const char* kOverride = "user.containers.override_stat";
constexpr uid_t kUser = 65534;

class OverrideFixture : public upper::testing::UpperFixture {
 protected:
  void TearDown() override {
    if (::geteuid() != 0) {
      ASSERT_EQ(::seteuid(0), 0);
      ASSERT_EQ(::setegid(0), 0);
    }
    UpperFixture::TearDown();
  }
  std::string override_of(const std::string& name) {
    char value[200];
    const ssize_t size = ::lgetxattr(in_upper(name).c_str(), kOverride, value, sizeof value);
    return size < 0 ? std::string() : std::string(value, static_cast<std::size_t>(size));
  }
  std::string state() {
    std::ostringstream text;
    text << std::ifstream(work() + "/varve/state").rdbuf();
    return text.str();
  }
  UpperEntry create(std::string_view name, const NewObject& object) {
    auto made = store_->create(root(name), object, false);
    EXPECT_TRUE(made.ok()) << name;
    return made.ok() ? *made : UpperEntry{};
  }
};

// Root's store, told to use overrides for everything.
class AlwaysOverride : public OverrideFixture {
 protected:
  void SetUp() override {
    OverrideFixture::SetUp();
    if (IsSkipped()) return;
    options_.overrides = OverrideUse::kAlways;
    open_store();
  }
};

// An ordinary user's store.
class UsersOverride : public OverrideFixture {
 protected:
  void SetUp() override {
    OverrideFixture::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(::chown(top_.c_str(), kUser, kUser), 0);
    ASSERT_EQ(::chown(upper().c_str(), kUser, kUser), 0);
    ASSERT_EQ(::chown(work().c_str(), kUser, kUser), 0);
    ASSERT_EQ(::setegid(kUser), 0);
    ASSERT_EQ(::seteuid(kUser), 0);
    open_store();
  }
};

TEST_F(OverrideFixture, RootOfTheHostNeedsNone) {
  open_store();
  EXPECT_NE(state().find("\noverrides never\n"), std::string::npos);
  make("f", S_IFREG | 0644);
  ASSERT_TRUE(store_->change_owner(root("f"), 5, 6).ok());
  EXPECT_EQ(stat_of("f").st_uid, 5u);
  EXPECT_EQ(override_of("f"), "");
}

TEST_F(UsersOverride, IsChosenWhereOwnersMayNotBeGiven) {
  EXPECT_NE(state().find("\nmarks user\n"), std::string::npos);
  EXPECT_NE(state().find("\noverrides needed\n"), std::string::npos);
}

TEST_F(UsersOverride, WhatTheUserMayHaveIsPlain) {
  create("f", {.mode = S_IFREG | 0644, .uid = kUser, .gid = kUser, .symlink_target = {}});
  create("d", {.mode = S_IFDIR | 0755, .uid = kUser, .gid = kUser, .symlink_target = {}});
  create("l", {.mode = S_IFLNK | 0777, .uid = kUser, .gid = kUser, .symlink_target = "t"});
  ASSERT_TRUE(store_->change_mode(root("f"), 0600).ok());
  EXPECT_EQ(override_of("f"), "");
  EXPECT_EQ(override_of("d"), "");
  EXPECT_EQ(stat_of("f").st_mode, S_IFREG | 0600u);
  EXPECT_TRUE(S_ISLNK(stat_of("l").st_mode));
}

TEST_F(UsersOverride, AnotherOwnerIsKeptAndShown) {
  create("f", {.mode = S_IFREG | 04755, .uid = 0, .gid = 7, .symlink_target = {}});
  EXPECT_EQ(override_of("f"), "0:7:4755");
  EXPECT_EQ(stat_of("f").st_mode, S_IFREG | 0600u);
  ASSERT_TRUE(store_->change_owner(root("f"), 1000, -1).ok());
  open_store();
  const UpperEntry now = look("f");
  EXPECT_EQ(now.attributes.uid, 1000u);
  EXPECT_EQ(now.attributes.gid, 7u);
  EXPECT_EQ(now.attributes.mode, S_IFREG | 0755u);
}

TEST_F(UsersOverride, TheDaemonIsNeverLockedOut) {
  create("f", {.mode = S_IFREG | 0, .uid = kUser, .gid = kUser, .symlink_target = {}});
  create("d", {.mode = S_IFDIR | 0, .uid = kUser, .gid = kUser, .symlink_target = {}});
  create("g", {.mode = S_IFREG | 0644, .uid = kUser, .gid = kUser, .symlink_target = {}});
  ASSERT_TRUE(store_->change_mode(root("g"), 0400).ok());
  EXPECT_EQ(look("f").attributes.mode, S_IFREG | 0u);
  EXPECT_EQ(look("g").attributes.mode, S_IFREG | 0400u);
  const auto directory = store_->open_path(root("d"));
  ASSERT_TRUE(directory.ok());
  EXPECT_TRUE(
      store_->create({directory->get(), "in"}, {.mode = S_IFREG | 0644, .symlink_target = {}}, false).ok());
  EXPECT_EQ(::access(in_upper("g").c_str(), R_OK | W_OK), 0);
}

TEST_F(UsersOverride, CopyUpKeepsOwnersAndOrigins) {
  CopyUp link;
  link.attributes.mode = S_IFLNK | 0777;
  link.attributes.uid = 3;
  link.attributes.gid = 4;
  link.symlink_target = "some/where";
  link.origin = {LayerSlot(1), 77};
  ASSERT_TRUE(store_->copy_up(root("l"), link).ok());
  CopyUp file = lower_file(10000);
  file.attributes.uid = 3;
  file.attributes.mode = S_IFREG | 02755;
  file.xattrs = {{"trusted.secret", "left out"}, {"user.kept", "v"}};
  ASSERT_TRUE(store_->copy_up(root("f"), file).ok());
  open_store();
  EXPECT_EQ(look("l").attributes.mode, S_IFLNK | 0777u);
  EXPECT_EQ(look("l").attributes.uid, 3u);
  EXPECT_EQ(look("l").attributes.size_bytes, 10u);
  EXPECT_EQ(look("l").marks.origin, link.origin);
  EXPECT_EQ(*store_->read_link(root("l")), "some/where");
  EXPECT_EQ(look("f").attributes.mode, S_IFREG | 02755u);
  EXPECT_EQ(look("f").attributes.uid, 3u);
  EXPECT_EQ(look("f").attributes.mtime, (Timestamp{1000, 5}));
  EXPECT_TRUE(look("f").marks.base);
  EXPECT_THAT(*store_->xattr_names(root("f")), UnorderedElementsAre("user.kept"));
}

TEST_F(UsersOverride, DevicesAreFilesThatLookLikeDevices) {
  create("null", {.mode = S_IFCHR | 0666, .uid = 0, .gid = 0, .rdev = makedev(1, 3), .symlink_target = {}});
  create("zero", {.mode = S_IFCHR | 0600, .uid = 0, .gid = 0, .rdev = 0, .symlink_target = {}});
  EXPECT_EQ(look("null").attributes.rdev, makedev(1, 3));
  EXPECT_EQ(look("null").attributes.mode, S_IFCHR | 0666u);
  EXPECT_EQ(look("zero").kind, UpperEntry::Kind::kObject);
  ASSERT_TRUE(store_->remove(root("null"), true).ok());
  EXPECT_TRUE(is_whiteout("null"));
  const auto listed = store_->list({store_->root_fd(), ""});
  ASSERT_EQ(listed->size(), 2u);
  for (const auto& entry : *listed) {
    EXPECT_EQ(entry.whiteout, entry.name == "null");
    EXPECT_EQ(entry.type, DT_CHR);
  }
}

TEST_F(AlwaysOverride, EveryKindOfObjectIsShownAsMade) {
  for (const std::uint32_t type : {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFBLK}) {
    const std::string name = std::to_string(type);
    create(name, {.mode = type | 0640,
                  .uid = 8,
                  .gid = 9,
                  .rdev = S_ISBLK(type) ? makedev(8, 1) : 0,
                  .symlink_target = "target"});
    EXPECT_EQ(look(name).attributes.mode, type | 0640u) << override_of(name);
    EXPECT_EQ(look(name).attributes.uid, 8u);
    EXPECT_EQ(stat_of(name).st_uid, 0u);
    ASSERT_TRUE(store_->change_owner(root(name), -1, 10).ok());
    EXPECT_EQ(look(name).attributes.gid, 10u);
  }
  const auto listed = store_->list({store_->root_fd(), ""});
  ASSERT_TRUE(listed.ok());
  for (const UpperStore::ListedEntry& entry : *listed) {
    EXPECT_EQ(std::to_string(DTTOIF(entry.type)), entry.name);
  }
}

TEST_F(AlwaysOverride, TheXattrIsNeitherVisibleNorForgeable) {
  create("f", {.mode = S_IFREG | 0644, .uid = 8, .gid = 9, .symlink_target = {}});
  EXPECT_THAT(*store_->xattr_names(root("f")), IsEmpty());
  EXPECT_EQ(store_->xattr(root("f"), kOverride).error().value, ENODATA);
  ASSERT_TRUE(store_->set_xattr(root("f"), kOverride, "0:0:4755", 0).ok());
  EXPECT_EQ(*store_->xattr(root("f"), kOverride), "0:0:4755");
  EXPECT_THAT(*store_->xattr_names(root("f")), UnorderedElementsAre(kOverride));
  EXPECT_EQ(look("f").attributes.uid, 8u);
  ASSERT_TRUE(store_->remove_xattr(root("f"), kOverride).ok());
  EXPECT_EQ(override_of("f"), "8:9:0644");
}

TEST_F(AlwaysOverride, ASetgidDirectoryHandsDownItsGroup) {
  create("d", {.mode = S_IFDIR | 02775, .uid = 8, .gid = 9, .symlink_target = {}});
  const auto directory = store_->open_path(root("d"));
  ASSERT_TRUE(directory.ok());
  const auto file = store_->create({directory->get(), "f"},
                                   {.mode = S_IFREG | 0644, .gid = 1, .symlink_target = {}}, false);
  const auto below = store_->create({directory->get(), "d"},
                                    {.mode = S_IFDIR | 0755, .gid = 1, .symlink_target = {}}, false);
  EXPECT_EQ(file->attributes.gid, 9u);
  EXPECT_EQ(below->attributes.gid, 9u);
  EXPECT_EQ(below->attributes.mode, S_IFDIR | 02755u);
}

TEST_F(AlwaysOverride, AccessListsAndModesGoTogether) {
  using Tag = format::AclEntry::Tag;
  create("d", {.mode = S_IFDIR | 0755, .uid = 8, .gid = 9, .symlink_target = {}});
  const format::Acl acl = {{Tag::kOwner, 7, 0},
                           {Tag::kUser, 6, 1000},
                           {Tag::kOwningGroup, 5, 0},
                           {Tag::kMask, 7, 0},
                           {Tag::kOther, 0, 0}};
  ASSERT_TRUE(store_->set_xattr(root("d"), "system.posix_acl_access", format::format_acl(acl), 0).ok());
  EXPECT_EQ(look("d").attributes.mode, S_IFDIR | 0770u);
  ASSERT_TRUE(store_->change_mode(root("d"), 0701).ok());
  EXPECT_EQ(format::permissions_of(*format::parse_acl(*store_->xattr(root("d"), "system.posix_acl_access"))),
            0701u);
  ASSERT_TRUE(store_->set_xattr(root("d"), "system.posix_acl_default", format::format_acl(acl), 0).ok());
  EXPECT_THAT(*store_->xattr_names(root("d")),
              UnorderedElementsAre("system.posix_acl_access", "system.posix_acl_default"));
  const auto directory = store_->open_path(root("d"));
  const ObjectRef below{directory->get(), "below"};
  const auto made =
      store_->create(below, {.mode = S_IFDIR | 0777, .umask = 077, .symlink_target = {}}, false);
  EXPECT_EQ(made->attributes.mode, S_IFDIR | 0770u);
  EXPECT_EQ(*store_->xattr(below, "system.posix_acl_default"), format::format_acl(acl));
  ASSERT_TRUE(store_->remove_xattr(root("d"), "system.posix_acl_access").ok());
  EXPECT_EQ(store_->xattr(root("d"), "system.posix_acl_access").error().value, ENODATA);
}

TEST_F(AlwaysOverride, ADamagedOverrideIsAnError) {
  create("f", {.mode = S_IFREG | 0644, .uid = 8, .gid = 9, .symlink_target = {}});
  for (const char* text : {"8:9:0644:door", "8:9:0755:dir", ""}) {
    ASSERT_EQ(::setxattr(in_upper("f").c_str(), kOverride, text, std::strlen(text), 0), 0);
    EXPECT_EQ(store_->look_up(root("f")).error().value, EIO) << text;
    EXPECT_EQ(error_number(store_->change_owner(root("f"), 1, 1)), EIO);
  }
}

TEST_F(AlwaysOverride, ALinkWithoutATargetIsAnError) {
  for (const std::string& target : {std::string(), std::string("a\0b", 3), std::string(5000, 'x')}) {
    std::ofstream(in_upper("l")) << target;
    ASSERT_EQ(::setxattr(in_upper("l").c_str(), kOverride, "0:0:777:symlink", 15, 0), 0);
    EXPECT_EQ(store_->read_link(root("l")).error().value, EIO);
  }
}

TEST_F(AlwaysOverride, StaysOnForTheUpper) {
  create("f", {.mode = S_IFREG | 0644, .uid = 8, .gid = 9, .symlink_target = {}});
  options_.overrides = {};
  open_store();
  EXPECT_EQ(look("f").attributes.uid, 8u);
  EXPECT_NE(state().find("\noverrides always\n"), std::string::npos);
}

}  // namespace
}  // namespace varve::upper
