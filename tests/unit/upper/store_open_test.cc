// Opening an upper: what is refused, and what a mount leaves to the next one.

#include <gmock/gmock.h>

#include "fs/format/posix_acl.h"
#include "fs/upper/mount_note.h"
#include "tests/unit/upper/upper_fixture.h"

namespace varve::upper {
namespace {

using ::testing::HasSubstr;
using StoreOpen = upper::testing::UpperFixture;
namespace fs = std::filesystem;

TEST_F(StoreOpen, RefusesASecondUserAndNamesTheFirst) {
  open_store();
  EXPECT_THAT(refusal(), HasSubstr("in use by process " + std::to_string(::getpid())));
}

TEST_F(StoreOpen, RefusesTheSameWorkDirectoryForAnotherUpper) {
  open_store();
  fs::create_directory(top_ + "/other");
  options_.upper_path = top_ + "/other";
  EXPECT_THAT(refusal(), HasSubstr(work() + ": in use by process"));
  EXPECT_EQ(::getxattr(options_.upper_path.c_str(), "trusted.varve.id", nullptr, 0), -1);
}

TEST_F(StoreOpen, AllowsTheNextUserAfterTheFirstWasKilled) {
  open_store();
  store_.reset();
  EXPECT_EQ(refusal(), "");
}

TEST_F(StoreOpen, NotesItsMountUntilItIsClosed) {
  const MountNote note{makedev(0, 55), "sha256:00"};
  open_store();
  EXPECT_EQ(read_mount_note(store_->root_fd()).error().value, ENODATA);
  ASSERT_TRUE(store_->note_mount(note).ok());
  const auto found = read_mount_note(store_->root_fd());
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(*found, note);
  ASSERT_TRUE(store_->close().ok());
  EXPECT_EQ(read_mount_note(store_->root_fd()).error().value, ENODATA);
}

TEST_F(StoreOpen, ForgetsTheMountOfOneThatWasKilled) {
  open_store();
  ASSERT_TRUE(store_->note_mount({makedev(0, 55), ""}).ok());
  open_store();
  EXPECT_EQ(read_mount_note(store_->root_fd()).error().value, ENODATA);
}

TEST(MountNote, IsReadAsItWasWritten) {
  for (const MountNote& note :
       {MountNote{makedev(0, 55), "sha256:00"}, MountNote{makedev(259, 1048575), ""}}) {
    const auto read = parse_mount_note(format_mount_note(note));
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(*read, note);
  }
}

TEST(MountNote, IsRefusedWhenItIsNone) {
  for (const char* text : {"", "0", "0:", ":5", "0:x", "0:5x", "-1:5", "0: 5", "99999999999:1"}) {
    EXPECT_FALSE(parse_mount_note(text).ok()) << text;
  }
}

// Where all that is made in a directory inherits an access control list, the work directory does, and what is made in it would.
TEST_F(StoreOpen, AnAccessControlListOfTheWorkDirectoryReachesNothing) {
  using Tag = format::AclEntry::Tag;
  const std::string acl = format::format_acl({{Tag::kOwner, 7, 0},
                                              {Tag::kUser, 7, 77},
                                              {Tag::kOwningGroup, 5, 0},
                                              {Tag::kMask, 7, 0},
                                              {Tag::kOther, 5, 0}});
  ASSERT_EQ(::setxattr(work().c_str(), format::kDefaultAclXattr, acl.data(), acl.size(), 0), 0);
  open_store();
  for (const std::uint32_t uid : {0u, 9u}) {
    const std::string name = "f" + std::to_string(uid);
    CopyUp source = lower_file(10000);
    source.attributes.uid = uid;
    ASSERT_TRUE(store_->copy_up(root(name), source).ok());
    EXPECT_EQ(look(name).attributes.mode, S_IFREG | 0644u);
    EXPECT_EQ(::getxattr(in_upper(name).c_str(), format::kAccessAclXattr, nullptr, 0), -1) << uid;
  }
}

TEST_F(StoreOpen, RefusesADirectoryThatIsNotThere) {
  options_.upper_path = top_ + "/none";
  EXPECT_THAT(refusal(), HasSubstr(top_ + "/none: there is no such upper directory (create it)"));
  options_.upper_path = upper();
  options_.work_path = top_ + "/none";
  EXPECT_THAT(refusal(), HasSubstr("there is no such work directory"));
}

TEST_F(StoreOpen, RefusesAFileAsUpper) {
  std::ofstream(top_ + "/file") << "x";
  options_.upper_path = top_ + "/file";
  EXPECT_THAT(refusal(), HasSubstr("is no directory"));
}

TEST_F(StoreOpen, RefusesWorkWithinUpper) {
  fs::create_directory(upper() + "/work");
  options_.work_path = upper() + "/work";
  EXPECT_THAT(refusal(), HasSubstr("lie within each other"));
  options_.work_path = upper();
  EXPECT_THAT(refusal(), HasSubstr("lie within each other"));
}

TEST_F(StoreOpen, RefusesTwoFileSystems) {
  if (!fs::is_directory("/dev/shm")) GTEST_SKIP() << "no second file system at /dev/shm";
  std::string other = "/dev/shm/varve-upper-XXXXXX";
  ASSERT_NE(::mkdtemp(other.data()), nullptr);
  options_.work_path = other;
  EXPECT_THAT(refusal(), HasSubstr("on another file system"));
  EXPECT_TRUE(fs::is_empty(other));
  fs::remove_all(other);
}

TEST_F(StoreOpen, RefusesAnotherBaseStack) {
  open_store();
  ASSERT_TRUE(store_->close().ok());
  store_.reset();
  options_.base_stack.push_back("file ffffffffffffffffffffffffffffffff");
  EXPECT_THAT(refusal(), HasSubstr("written over other layers"));
}

TEST_F(StoreOpen, RefusesTheWorkDirectoryOfAnotherUpper) {
  open_store();
  store_.reset();
  fs::create_directory(top_ + "/other");
  options_.upper_path = top_ + "/other";
  EXPECT_THAT(refusal(), HasSubstr("belongs to another upper"));
}

TEST_F(StoreOpen, RefusesAnUpperWhoseMapsLieElsewhere) {
  open_store();
  ASSERT_TRUE(store_->copy_up(root("f"), lower_file(10000)).ok());
  ASSERT_TRUE(open_cow("f")->write(0, std::vector<std::byte>(1)).ok());
  store_.reset();
  fs::create_directory(top_ + "/work2");
  options_.work_path = top_ + "/work2";
  EXPECT_THAT(refusal(), HasSubstr("parts of this upper lie in the work directory of its last mount"));
  EXPECT_TRUE(fs::is_empty(top_ + "/work2"));
}

TEST_F(StoreOpen, AcceptsANewWorkDirectoryForAPlainUpper) {
  open_store();
  make("f", S_IFREG | 0644);
  store_.reset();
  fs::create_directory(top_ + "/work2");
  options_.work_path = top_ + "/work2";
  EXPECT_EQ(refusal(), "");
}

TEST_F(StoreOpen, RefusesAVolatileUpperAfterAKill) {
  options_.volatile_upper = true;
  open_store();
  store_.reset();
  EXPECT_THAT(refusal(), HasSubstr("volatile upper that was not unmounted cleanly"));
}

TEST_F(StoreOpen, AcceptsAVolatileUpperAfterACleanUnmount) {
  options_.volatile_upper = true;
  open_store();
  ASSERT_TRUE(store_->close().ok());
  store_.reset();
  EXPECT_EQ(refusal(), "");
}

TEST_F(StoreOpen, RefusesAnUpperThatWasToBeThrownAway) {
  options_.thrown_away = true;
  open_store();
  make("f", S_IFREG | 0644);
  ASSERT_TRUE(store_->close().ok());
  store_.reset();
  for (const bool thrown_away : {false, true}) {
    options_.thrown_away = thrown_away;
    EXPECT_THAT(refusal(), HasSubstr("fsync=never"));
  }
  options_.work_path = top_ + "/work2";
  fs::create_directory(options_.work_path);
  EXPECT_THAT(refusal(), HasSubstr("fsync=never"));
  EXPECT_TRUE(fs::is_empty(options_.work_path));
}

TEST_F(StoreOpen, RefusesAnUpperThatLaterWasToBeThrownAway) {
  open_store();
  ASSERT_TRUE(store_->close().ok());
  options_.thrown_away = true;
  open_store();
  ASSERT_TRUE(store_->close().ok());
  store_.reset();
  options_.thrown_away = false;
  EXPECT_THAT(refusal(), HasSubstr("fsync=never"));
}

TEST_F(StoreOpen, MakesTheRestOfAWorkDirectoryThatIsThrownAwayWhenItIsNeeded) {
  options_.thrown_away = true;
  open_store();
  EXPECT_TRUE(fs::is_empty(work()));
  CopyUp source = lower_file(10000);
  source.indexed = true;
  source.attributes.nlink = 2;
  ASSERT_TRUE(store_->copy_up(root("f"), source).ok());
  ASSERT_TRUE(open_cow("f")->write(0, std::vector<std::byte>(1)).ok());
  EXPECT_EQ(count_entries(work() + "/maps"), 1u);
  EXPECT_EQ(count_entries(work() + "/index"), 1u);
  ASSERT_TRUE(store_->remove(root("f"), true).ok());
  EXPECT_TRUE(is_whiteout("f"));
  store_->drop_index(source.origin);
  EXPECT_EQ(count_entries(work() + "/maps"), 0u);
  EXPECT_EQ(count_entries(work() + "/index"), 0u);
  EXPECT_EQ(count_entries(work()), 3u)
      << "but for the device that whiteouts are links to nothing is left in it";
}

TEST_F(StoreOpen, LeavesAloneWhatLiesInAWorkDirectoryThatIsThrownAway) {
  options_.thrown_away = true;
  std::ofstream(work() + "/0") << "mine";
  open_store();
  CopyUp source = lower_file(10000);
  ASSERT_TRUE(store_->copy_up(root("f"), source).ok());
  ASSERT_TRUE(store_->remove(root("f"), true).ok());
  EXPECT_TRUE(is_whiteout("f"));
  EXPECT_EQ(staged(), 0u);
  EXPECT_EQ(fs::file_size(work() + "/0"), 4u);
}

TEST_F(StoreOpen, OpensAWorkDirectoryThatLacksEmptyParts) {
  open_store();
  ASSERT_TRUE(store_->close().ok());
  for (const char* part : {"stage", "maps", "index"}) fs::remove(work() + "/varve/" + part);
  open_store();
  make("f", S_IFREG | 0644);
  EXPECT_EQ(look("f").kind, UpperEntry::Kind::kObject);
}

TEST_F(StoreOpen, RefusesAStateThatCannotBeRead) {
  open_store();
  store_.reset();
  std::ofstream(work() + "/varve/state") << "varve-upper 9\n";
  EXPECT_THAT(refusal(), HasSubstr("varve/state in it cannot be read"));
}

TEST_F(StoreOpen, ARefusalLeavesNothingBehind) {
  ASSERT_EQ(::setxattr(upper().c_str(), "trusted.varve.id", "x", 1, 0), 0);
  ASSERT_EQ(::setxattr(upper().c_str(), "trusted.varve.needs-work", "1", 1, 0), 0);
  EXPECT_NE(refusal(), "");
  EXPECT_TRUE(fs::is_empty(work()));
  EXPECT_TRUE(fs::is_empty(upper()));
  EXPECT_EQ(::getxattr(upper().c_str(), "trusted.varve.holder", nullptr, 0), -1);
  EXPECT_EQ(::getxattr(work().c_str(), "trusted.varve.holder", nullptr, 0), -1);
}

TEST_F(StoreOpen, LeavesTimesAndContentOfTheUpperAlone) {
  const struct timespec times[2] = {{100, 1}, {200, 2}};
  ASSERT_EQ(::utimensat(AT_FDCWD, upper().c_str(), times, 0), 0);
  open_store();
  struct stat status {};
  ASSERT_EQ(::stat(upper().c_str(), &status), 0);
  EXPECT_EQ(status.st_mtim.tv_sec, 200);
  EXPECT_TRUE(fs::is_empty(upper()));
}

TEST_F(StoreOpen, ClearsWhatAKillLeftInTheStage) {
  open_store();
  store_.reset();
  fs::create_directories(work() + "/varve/stage/7/inner");
  std::ofstream(work() + "/varve/stage/7/inner/file") << "x";
  open_store();
  EXPECT_EQ(staged(), 0u);
}

class StoreIndex : public StoreOpen {
 protected:
  // Copies one of two lower links up as "f", partly written.
  void copy_link_up() {
    CopyUp source = lower_file(10000);
    source.indexed = true;
    source.attributes.nlink = 2;
    ASSERT_TRUE(store_->copy_up(root("f"), source).ok());
    ASSERT_TRUE(open_cow("f")->write(0, std::vector<std::byte>(1)).ok());
    ASSERT_EQ(maps(), 1u);
  }
  std::size_t entries() const { return count_entries(work() + "/varve/index"); }
};

TEST_F(StoreIndex, KeepsAnObjectThatOnlyLowerNamesLeadTo) {
  open_store();
  copy_link_up();
  ASSERT_TRUE(store_->remove(root("f"), true).ok());
  open_store();
  const auto found = store_->find_indexed({LayerSlot(1), 42});
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ(store_->look_up({(*found)->get(), ""})->marks.nlink_delta, 1);
  EXPECT_EQ(maps(), 1u);
}

TEST_F(StoreIndex, SweepsAnObjectThatNoNameLeadsTo) {
  open_store();
  copy_link_up();
  ASSERT_TRUE(store_->link_lower_name(root("f"), root("g")).ok());
  ASSERT_TRUE(store_->remove(root("g"), true).ok());
  ASSERT_TRUE(store_->remove(root("f"), true).ok());  // and a kill before drop_index
  open_store();
  EXPECT_EQ(entries(), 0u);
  EXPECT_EQ(maps(), 0u);
}

TEST_F(StoreIndex, SweepsAnObjectThatWasNeverPublished) {
  open_store();
  copy_link_up();
  store_.reset();
  fs::remove(in_upper("f"));
  fs::rename(work() + "/varve/index/1-42", work() + "/varve/index/1-42.new");
  open_store();
  EXPECT_EQ(entries(), 0u);
  EXPECT_FALSE(store_->find_indexed({LayerSlot(1), 42})->has_value());
}

TEST_F(StoreIndex, ConfirmsAnObjectThatWasPublished) {
  open_store();
  copy_link_up();
  store_.reset();
  fs::rename(work() + "/varve/index/1-42", work() + "/varve/index/1-42.new");
  open_store();
  EXPECT_TRUE(fs::exists(work() + "/varve/index/1-42"));
  EXPECT_TRUE(store_->find_indexed({LayerSlot(1), 42})->has_value());
}

TEST_F(StoreOpen, KeepsLiveClaimsOfAKillEvenIfNobodyOpensTheFileBeforeAReboot) {
  open_store();
  ASSERT_TRUE(store_->copy_up(root("f"), lower_file(10000)).ok());
  ASSERT_TRUE(open_cow("f")->write(4096, std::vector<std::byte>(1)).ok());
  open_store();  // after a kill, same boot
  ASSERT_TRUE(store_->close().ok());
  options_.boot_id = upper::testing::kBootB;
  open_store();
  std::byte byte{1};
  ASSERT_TRUE(open_cow("f")->read(4096, {&byte, 1}).ok());
  EXPECT_EQ(byte, std::byte{0});
}

TEST_F(StoreOpen, CloseMakesClaimsOfClosedFilesDurable) {
  for (const bool is_volatile : {false, true}) {
    const std::string name = is_volatile ? "v" : "f";
    options_.boot_id = upper::testing::kBootA;
    options_.volatile_upper = is_volatile;
    open_store();
    ASSERT_TRUE(store_->copy_up(root(name), lower_file(10000)).ok());
    ASSERT_TRUE(open_cow(name)->write(4096, std::vector<std::byte>(1)).ok());
    ASSERT_TRUE(store_->close().ok());
    options_.boot_id = upper::testing::kBootB;
    open_store();
    std::byte byte{1};
    ASSERT_TRUE(open_cow(name)->read(4096, {&byte, 1}).ok());
    EXPECT_EQ(byte, std::byte{0}) << is_volatile;
    ASSERT_TRUE(store_->close().ok());
  }
}

TEST_F(StoreOpen, SyncMakesClaimsDurable) {
  open_store();
  ASSERT_TRUE(store_->copy_up(root("open"), lower_file(10000)).ok());
  ASSERT_TRUE(store_->copy_up(root("closed"), lower_file(10000)).ok());
  auto file = open_cow("open");
  ASSERT_TRUE(file->write(0, std::vector<std::byte>(1)).ok());
  ASSERT_TRUE(open_cow("closed")->write(0, std::vector<std::byte>(1)).ok());
  ASSERT_TRUE(store_->sync().ok());
  file.reset();
  options_.boot_id = upper::testing::kBootB;
  open_store();
  for (const char* name : {"open", "closed"}) {
    std::byte byte{1};
    ASSERT_TRUE(open_cow(name)->read(0, {&byte, 1}).ok());
    EXPECT_EQ(byte, std::byte{0}) << name;
  }
}

}  // namespace
}  // namespace varve::upper
