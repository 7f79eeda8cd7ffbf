// Attributes, extended attributes, access control lists and permissions, seen through the mount and natively.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "tests/support/mounted/placed_tree.h"

namespace varve::test {
namespace {

constexpr uid_t kUser = 54321;
constexpr gid_t kGroup = 54322;

class Metadata : public EverywhereTest {
 protected:
  mode_t mode(const std::string& path) { return stat_of(tree.at(path)).st_mode & 07777U; }
  std::string set_xattr(const std::string& path, const char* name, std::string_view value, int flags = 0) {
    return outcome(::lsetxattr(tree.at(path).c_str(), name, value.data(), value.size(), flags));
  }
  std::string get_xattr(const std::string& path, const char* name) {
    std::string value(70'000, '\0');
    ssize_t size = ::lgetxattr(tree.at(path).c_str(), name, value.data(), value.size());
    return size < 0 ? "<" + outcome(-1) + ">" : value.substr(0, static_cast<std::size_t>(size));
  }
  std::vector<std::string> xattr_names(const std::string& path) {
    std::string list(70'000, '\0');
    ssize_t size = ::llistxattr(tree.at(path).c_str(), list.data(), list.size());
    std::vector<std::string> names;
    for (std::size_t at = 0; size > 0 && at < static_cast<std::size_t>(size); at += names.back().size() + 1) {
      names.emplace_back(&list[at]);
    }
    return names;
  }
};
VARVE_EVERYWHERE(Metadata);

TEST_P(Metadata, ChangesLastAndLeaveTheDataAlone) {
  VARVE_NEEDS(kOtherOwners);
  std::string content = noise(20'000, 1);
  write_file(tree.seed("f"), content);
  make_directories(tree.seed("d"));
  ASSERT_TRUE(tree.begin());
  for (const char* name : {"f", "d"}) {
    ASSERT_EQ(outcome(::chmod(tree.at(name).c_str(), 0711)), "ok");
    ASSERT_EQ(outcome(::lchown(tree.at(name).c_str(), kUser, kGroup)), "ok");
    struct timespec times[2] = {{-1'000'000, 123}, {-2'000'000, 987'654'321}};
    ASSERT_EQ(outcome(::utimensat(AT_FDCWD, tree.at(name).c_str(), times, 0)), "ok");
  }
  for (int round = 0; round < 2; ++round) {
    for (const char* name : {"f", "d"}) {
      struct stat status = stat_of(tree.at(name));
      EXPECT_EQ(status.st_mode & 07777U, 0711U);
      EXPECT_EQ(status.st_uid, kUser);
      EXPECT_EQ(status.st_gid, kGroup);
      EXPECT_EQ(status.st_mtim.tv_sec, -2'000'000);
      EXPECT_EQ(status.st_mtim.tv_nsec, 987'654'321);
    }
    EXPECT_EQ(read_file(tree.at("f")), content);
    ASSERT_TRUE(tree.again());
  }
}

TEST_P(Metadata, TimesOfTheSeedAreExact) {
  write_file(tree.seed("f"), "x");
  struct timespec times[2] = {{5, 6}, {-86'400, 999'999'999}};
  ASSERT_EQ(outcome(::utimensat(AT_FDCWD, tree.seed("f").c_str(), times, 0)), "ok");
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(stat_of(tree.at("f")).st_mtim.tv_sec, -86'400);
  EXPECT_EQ(stat_of(tree.at("f")).st_mtim.tv_nsec, 999'999'999);
}

TEST_P(Metadata, ModeChangeKeepsModificationTimeAndMovesChangeTime) {
  write_file(tree.seed("f"), "x");
  ASSERT_EQ(run({"touch", "-d", "2001-02-03", tree.seed("f")}).exit_status, 0);
  ASSERT_TRUE(tree.begin());
  struct stat before = stat_of(tree.at("f"));
  ::usleep(20'000);
  ASSERT_EQ(outcome(::chmod(tree.at("f").c_str(), 0600)), "ok");
  struct stat after = stat_of(tree.at("f"));
  EXPECT_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
  EXPECT_GT(after.st_ctim.tv_sec * 1'000'000'000LL + after.st_ctim.tv_nsec,
            before.st_ctim.tv_sec * 1'000'000'000LL + before.st_ctim.tv_nsec);
}

TEST_P(Metadata, WritingMovesModificationTime) {
  write_file(tree.seed("f"), "x");
  ASSERT_EQ(run({"touch", "-d", "2001-02-03", tree.seed("f")}).exit_status, 0);
  ASSERT_TRUE(tree.begin());
  std::int64_t old = mtime_ns(tree.at("f"));
  write_at(tree.at("f"), 0, "y");
  EXPECT_GT(mtime_ns(tree.at("f")), old);
}

TEST_P(Metadata, TimesAreSetThroughADescriptorForReading) {
  write_file(tree.seed("f"), "x");
  ASSERT_TRUE(tree.begin());
  UniqueFd fd = open_file(tree.at("f"), O_RDONLY);
  struct timespec times[2] = {{0, UTIME_OMIT}, {77, 88}};
  ASSERT_EQ(outcome(::futimens(fd.get(), times)), "ok");
  EXPECT_EQ(stat_of(tree.at("f")).st_mtim.tv_sec, 77);
  EXPECT_EQ(stat_of(fd.get()).st_mtim.tv_nsec, 88);
}

TEST_P(Metadata, OwnerOfASymbolicLinkChangesWithoutItsTime) {
  VARVE_NEEDS(kOtherOwners);
  ASSERT_EQ(outcome(::symlink("nowhere", tree.seed("link").c_str())), "ok");
  struct timespec times[2] = {{5, 6}, {700, 8}};
  ASSERT_EQ(outcome(::utimensat(AT_FDCWD, tree.seed("link").c_str(), times, AT_SYMLINK_NOFOLLOW)), "ok");
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(outcome(::lchown(tree.at("link").c_str(), kUser, kGroup)), "ok");
  ASSERT_TRUE(tree.again());
  struct stat status = stat_of(tree.at("link"));
  EXPECT_EQ(status.st_uid, kUser);
  EXPECT_EQ(status.st_mtim.tv_sec, 700);
  EXPECT_EQ(status.st_mtim.tv_nsec, 8);
}

TEST_P(Metadata, ExtendedAttributesAreSetListedAndRemoved) {
  VARVE_NEEDS(kRootOfHost);
  write_file(tree.seed("f"), "x");
  ASSERT_EQ(outcome(::lsetxattr(tree.seed("f").c_str(), "user.old", "value", 5, 0)), "ok");
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(get_xattr("f", "user.old"), "value");
  EXPECT_EQ(get_xattr("f", "user.absent"), "<ENODATA>");
  EXPECT_EQ(set_xattr("f", "user.old", "x", XATTR_CREATE), "EEXIST");
  EXPECT_EQ(set_xattr("f", "user.absent", "x", XATTR_REPLACE), "ENODATA");
  EXPECT_EQ(set_xattr("f", "user.empty", ""), "ok");
  EXPECT_EQ(set_xattr("f", "trusted.mine", std::string(2000, 't')), "ok");
  EXPECT_EQ(set_xattr("f", "no-namespace", "x"), "EOPNOTSUPP");
  char tiny[2];
  EXPECT_EQ(outcome(::lgetxattr(tree.at("f").c_str(), "user.old", tiny, sizeof tiny)), "ERANGE");
  EXPECT_EQ(::lgetxattr(tree.at("f").c_str(), "user.old", nullptr, 0), 5);
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(get_xattr("f", "trusted.mine"), std::string(2000, 't'));
  EXPECT_EQ(get_xattr("f", "user.empty"), "");
  EXPECT_THAT(xattr_names("f"), testing::UnorderedElementsAre("trusted.mine", "user.empty", "user.old"));
  EXPECT_EQ(outcome(::lremovexattr(tree.at("f").c_str(), "user.old")), "ok");
  EXPECT_EQ(outcome(::lremovexattr(tree.at("f").c_str(), "user.old")), "ENODATA");
  EXPECT_THAT(xattr_names("f"), testing::UnorderedElementsAre("trusted.mine", "user.empty"));
}

TEST_P(Metadata, MarksOfUnionsAreOrdinaryAttributesForUsers) {
  VARVE_NEEDS(kRootOfHost);
  write_file(tree.seed("d/f"), "x");
  ASSERT_TRUE(tree.begin());
  const std::vector<const char*> names = {"trusted.overlay.opaque", "trusted.overlay.redirect",
                                          "trusted.varve.base", "trusted.varve.redirect"};
  for (const char* name : names) EXPECT_EQ(set_xattr("d", name, "y"), "ok") << name;
  EXPECT_EQ(set_xattr("d/f", "trusted.varve.base", "forged"), "ok");
  ASSERT_TRUE(tree.again());
  for (const char* name : names) EXPECT_EQ(get_xattr("d", name), "y") << name;
  EXPECT_EQ(xattr_names("d").size(), names.size());
  EXPECT_EQ(names_in(tree.at("d")), std::vector<std::string>{"f"});
  EXPECT_EQ(read_file(tree.at("d/f")), "x");
  EXPECT_EQ(get_xattr("d/f", "trusted.varve.base"), "forged");
}

TEST_P(Metadata, OwnMarksAreNotVisible) {
  write_file(tree.seed("d/f"), "content");
  write_file(tree.seed("d/g"), "content");
  ASSERT_TRUE(tree.begin());
  write_at(tree.at("d/f"), 0, "C");
  ASSERT_EQ(outcome(::rename(tree.at("d").c_str(), tree.at("e").c_str())), "ok");
  ASSERT_EQ(outcome(::unlink(tree.at("e/g").c_str())), "ok");
  EXPECT_EQ(xattr_names("e"), std::vector<std::string>{});
  EXPECT_EQ(xattr_names("e/f"), std::vector<std::string>{});
  EXPECT_EQ(get_xattr("e/f", "trusted.varve.origin"), "<ENODATA>");
}

TEST_P(Metadata, DefaultAccessControlListsAreInherited) {
  VARVE_NEEDS(kOtherOwners);
  make_directories(tree.seed("d"));
  ASSERT_EQ(run({"setfacl", "-d", "-m", "u:54321:rwx,g::r-x,o::---", tree.seed("d")}).err, "");
  ASSERT_TRUE(tree.begin());
  UniqueFd file = open_file(tree.at("d/file"), O_CREAT | O_WRONLY, 0666);
  ASSERT_EQ(outcome(::mkdir(tree.at("d/sub").c_str(), 0777)), "ok");
  EXPECT_EQ(outcome(::mkdir(tree.at("plain").c_str(), 0777)), "ok");
  ASSERT_TRUE((file.reset(), tree.again()));
  std::string file_acl =
      run({"getfacl", "--omit-header", "--absolute-names", "--numeric", tree.at("d/file")}).out;
  EXPECT_EQ(
      file_acl,
      "user::rw-\nuser:54321:rwx\t#effective:rw-\ngroup::r-x\t#effective:r--\nmask::rw-\nother::---\n\n");
  std::string sub_acl =
      run({"getfacl", "--omit-header", "--absolute-names", "--numeric", tree.at("d/sub")}).out;
  EXPECT_EQ(sub_acl,
            "user::rwx\nuser:54321:rwx\ngroup::r-x\nmask::rwx\nother::---\ndefault:user::rwx\ndefault:user:"
            "54321:rwx\n"
            "default:group::r-x\ndefault:mask::rwx\ndefault:other::---\n\n");
  EXPECT_EQ(mode("plain"), 0755U) << "the umask applies where no list does";
}

TEST_P(Metadata, AccessControlListsAdmitAndShowInTheMode) {
  VARVE_NEEDS(kOtherOwners);
  write_file(tree.seed("f"), "secret");
  ASSERT_EQ(outcome(::chmod(tree.seed("f").c_str(), 0600)), "ok");
  ASSERT_TRUE(tree.begin());
  auto can_read = [this] {
    return run_as(kUser, kGroup, [this] { return ::open(tree.at("f").c_str(), O_RDONLY) >= 0 ? 0 : errno; });
  };
  EXPECT_EQ(can_read(), EACCES);
  ASSERT_EQ(run({"setfacl", "-m", "u:54321:r--", tree.at("f")}).err, "");
  EXPECT_EQ(can_read(), 0);
  EXPECT_EQ(mode("f"), 0640U);
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(can_read(), 0);
}

TEST_P(Metadata, UmaskAppliesToNewObjects) {
  ASSERT_TRUE(tree.begin());
  mode_t before = ::umask(027);
  UniqueFd file = open_file(tree.at("f"), O_CREAT | O_WRONLY, 0666);
  EXPECT_EQ(outcome(::mkdir(tree.at("d").c_str(), 0777)), "ok");
  EXPECT_EQ(outcome(::mkfifo(tree.at("p").c_str(), 0666)), "ok");
  ::umask(before);
  EXPECT_EQ(mode("f"), 0640U);
  EXPECT_EQ(mode("d"), 0750U);
  EXPECT_EQ(mode("p"), 0640U);
}

TEST_P(Metadata, SetgidDirectoriesHandDownGroupAndBit) {
  VARVE_NEEDS(kOtherOwners);
  make_directories(tree.seed("d"));
  ASSERT_EQ(outcome(::chown(tree.seed("d").c_str(), kUser, kGroup)), "ok");
  ASSERT_EQ(outcome(::chmod(tree.seed("d").c_str(), 02777)), "ok");
  ASSERT_TRUE(tree.begin());
  write_file(tree.at("d/f"), "");
  ASSERT_EQ(outcome(::mkdir(tree.at("d/sub").c_str(), 0755)), "ok");
  ASSERT_EQ(outcome(::symlink("f", tree.at("d/link").c_str())), "ok");
  for (const char* name : {"d/f", "d/sub", "d/link"})
    EXPECT_EQ(stat_of(tree.at(name)).st_gid, kGroup) << name;
  EXPECT_EQ(mode("d/f"), 0644U);
  EXPECT_EQ(mode("d/sub"), 02755U);
}

TEST_P(Metadata, NewObjectsBelongToTheirMaker) {
  VARVE_NEEDS(kOtherOwners);
  make_directories(tree.seed("d"));
  ASSERT_EQ(outcome(::chmod(tree.seed("d").c_str(), 0777)), "ok");
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(run_as(kUser, kGroup,
                   [this] {
                     if (::open(tree.at("d/f").c_str(), O_CREAT | O_EXCL | O_WRONLY, 0400) < 0) return errno;
                     return ::mkdir(tree.at("d/sub").c_str(), 0700) == 0 ? 0 : errno;
                   }),
            0);
  for (const char* name : {"d/f", "d/sub"}) {
    EXPECT_EQ(stat_of(tree.at(name)).st_uid, kUser) << name;
    EXPECT_EQ(stat_of(tree.at(name)).st_gid, kGroup) << name;
  }
  EXPECT_EQ(mode("d/f"), 0400U);
}

TEST_P(Metadata, PermissionsHold) {
  VARVE_NEEDS(kOtherOwners);
  write_file(tree.seed("closed/f"), "x");
  write_file(tree.seed("readable"), "x");
  ASSERT_EQ(outcome(::chmod(tree.seed("closed").c_str(), 0700)), "ok");
  ASSERT_TRUE(tree.begin());
  auto as_user = [](const std::function<long()>& call) {
    return run_as(kUser, kGroup, [&call] { return call() >= 0 ? 0 : errno; });
  };
  EXPECT_EQ(as_user([this] { return ::open(tree.at("closed/f").c_str(), O_RDONLY); }), EACCES);
  EXPECT_EQ(as_user([this] { return ::open(tree.at("readable").c_str(), O_RDONLY); }), 0);
  EXPECT_EQ(as_user([this] { return ::open(tree.at("readable").c_str(), O_WRONLY); }), EACCES);
  EXPECT_EQ(as_user([this] { return ::truncate(tree.at("readable").c_str(), 0); }), EACCES);
  EXPECT_EQ(as_user([this] { return ::chmod(tree.at("readable").c_str(), 0777); }), EPERM);
  EXPECT_EQ(as_user([this] { return ::unlink(tree.at("readable").c_str()); }), EACCES);
  EXPECT_EQ(as_user([this] { return ::mkdir(tree.at("new").c_str(), 0777); }), EACCES);
  EXPECT_EQ(as_user([this] { return ::rename(tree.at("readable").c_str(), tree.at("x").c_str()); }), EACCES);
  EXPECT_EQ(as_user([this] { return ::setxattr(tree.at("readable").c_str(), "user.x", "y", 1, 0); }), EACCES);
  EXPECT_EQ(as_user([this] { return ::access(tree.at("readable").c_str(), X_OK); }), EACCES);
}

TEST_P(Metadata, StickyDirectoriesProtect) {
  VARVE_NEEDS(kOtherOwners);
  write_file(tree.seed("tmp/f"), "x");
  ASSERT_EQ(outcome(::chmod(tree.seed("tmp").c_str(), 01777)), "ok");
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(run_as(kUser, kGroup, [this] { return ::unlink(tree.at("tmp/f").c_str()) == 0 ? 0 : errno; }),
            EPERM);
  EXPECT_EQ(run_as(kUser, kGroup,
                   [this] {
                     int fd = ::open(tree.at("tmp/own").c_str(), O_CREAT | O_WRONLY, 0600);
                     return fd >= 0 && ::unlink(tree.at("tmp/own").c_str()) == 0 ? 0 : errno;
                   }),
            0);
}

TEST_P(Metadata, WritesByOthersClearSetuidForGood) {
  VARVE_NEEDS(kOtherOwners);
  for (const char* name : {"written", "truncated", "given"}) {
    write_file(tree.seed(name), "program");
    ASSERT_EQ(outcome(::chmod(tree.seed(name).c_str(), 06777)), "ok");
  }
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(run_as(kUser, kGroup,
                   [this] {
                     int fd = ::open(tree.at("written").c_str(), O_WRONLY);
                     if (fd < 0 || ::write(fd, "P", 1) != 1) return errno;
                     return ::truncate(tree.at("truncated").c_str(), 3) == 0 ? 0 : errno;
                   }),
            0);
  ASSERT_EQ(outcome(::chown(tree.at("given").c_str(), kUser, kGroup)), "ok");
  for (int round = 0; round < 2; ++round) {
    for (const char* name : {"written", "truncated", "given"}) EXPECT_EQ(mode(name), 0777U) << name;
    ASSERT_TRUE(tree.again());
  }
}

TEST_P(Metadata, WritesClearFileCapabilities) {
  write_file(tree.seed("f"), "program");
  ASSERT_EQ(run({"setcap", "cap_net_raw=ep", tree.seed("f")}).exit_status, 0);
  ASSERT_TRUE(tree.begin());
  EXPECT_THAT(run({"getcap", tree.at("f")}).out, testing::HasSubstr("cap_net_raw=ep"));
  write_at(tree.at("f"), 0, "P");
  EXPECT_EQ(get_xattr("f", "security.capability"), "<ENODATA>");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(get_xattr("f", "security.capability"), "<ENODATA>");
}

TEST_P(Metadata, OpeningWithTruncationClearsFileCapabilities) {
  write_file(tree.seed("f"), "program");
  ASSERT_EQ(run({"setcap", "cap_net_raw=ep", tree.seed("f")}).exit_status, 0);
  ASSERT_TRUE(tree.begin());
  EXPECT_TRUE(open_file(tree.at("f"), O_WRONLY | O_TRUNC).valid());
  EXPECT_EQ(get_xattr("f", "security.capability"), "<ENODATA>");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(get_xattr("f", "security.capability"), "<ENODATA>");
}

TEST_P(Metadata, ExtendedAttributesHaveTheKernelsLimits) {
  write_file(tree.seed("f"), "x");
  ASSERT_EQ(outcome(::symlink("f", tree.seed("link").c_str())), "ok");
  ASSERT_EQ(outcome(::mkfifo(tree.seed("fifo").c_str(), 0600)), "ok");
  ASSERT_TRUE(tree.begin());
  const std::string longest = "user." + std::string(XATTR_NAME_MAX - 5, 'n');
  EXPECT_EQ(set_xattr("f", longest.c_str(), "v"), "ok");
  EXPECT_EQ(set_xattr("f", (longest + "n").c_str(), "v"), "ERANGE");
  EXPECT_EQ(set_xattr("f", "user.", "v"), "EINVAL");
  EXPECT_EQ(set_xattr("f", "", "v"), "ERANGE");
  EXPECT_EQ(set_xattr("f", "user.big", std::string(XATTR_SIZE_MAX + 1, 'v')), "E2BIG");
  EXPECT_EQ(set_xattr("f", "user.big", std::string(XATTR_SIZE_MAX, 'v')), "ENOSPC") << "as ext4 has it";
  EXPECT_EQ(set_xattr("f", "user.large", std::string(3000, 'l')), "ok");
  for (const char* name : {"link", "fifo"}) {
    EXPECT_EQ(set_xattr(name, "user.x", "v"), "EPERM") << name;
    EXPECT_EQ(get_xattr(name, "user.x"), "<ENODATA>") << name;
  }
  char tiny[3];
  EXPECT_EQ(outcome(::listxattr(tree.at("f").c_str(), tiny, sizeof tiny)), "ERANGE");
  EXPECT_EQ(::listxattr(tree.at("f").c_str(), nullptr, 0),
            static_cast<ssize_t>(longest.size() + 1 + sizeof "user.large"));
  ASSERT_TRUE(tree.again());
  EXPECT_THAT(xattr_names("f"), testing::UnorderedElementsAre(longest, "user.large"));
  EXPECT_EQ(get_xattr("f", longest.c_str()), "v");
  EXPECT_EQ(get_xattr("f", "user.large"), std::string(3000, 'l'));
}

TEST_P(Metadata, TimeOfBirthDoesNotJump) {
  write_file(tree.seed("d/f"), "content");
  ASSERT_TRUE(tree.begin());
  const auto birth = [this](const char* name) {
    struct statx status {};
    EXPECT_EQ(outcome(::statx(AT_FDCWD, tree.at(name).c_str(), 0, STATX_BASIC_STATS | STATX_BTIME, &status)),
              "ok");
    const bool told = (status.stx_mask & STATX_BTIME) != 0;
    return told ? status.stx_btime.tv_sec * 1'000'000'000LL + status.stx_btime.tv_nsec : -1;
  };
  const auto file = birth("d/f");
  const auto directory = birth("d");
  write_at(tree.at("d/f"), 0, "C");
  EXPECT_EQ(birth("d/f"), file) << "copied up";
  ASSERT_EQ(outcome(::rename(tree.at("d").c_str(), tree.at("e").c_str())), "ok");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(birth("e/f"), file);
  EXPECT_EQ(birth("e"), directory);
}

TEST_P(Metadata, InodeNumbersLast) {
  write_file(tree.seed("d/f"), "content");
  ASSERT_TRUE(tree.begin());
  ino_t file = stat_of(tree.at("d/f")).st_ino;
  ino_t directory = stat_of(tree.at("d")).st_ino;
  dev_t device = stat_of(tree.root()).st_dev;
  write_at(tree.at("d/f"), 0, "C");
  EXPECT_EQ(stat_of(tree.at("d/f")).st_ino, file);
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(stat_of(tree.at("d/f")).st_ino, file);
  EXPECT_EQ(stat_of(tree.at("d")).st_ino, directory);
  ASSERT_EQ(outcome(::rename(tree.at("d/f").c_str(), tree.at("g").c_str())), "ok");
  write_file(tree.at("new"), "n");
  ino_t fresh = stat_of(tree.at("new")).st_ino;
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(stat_of(tree.at("g")).st_ino, file);
  EXPECT_EQ(stat_of(tree.at("new")).st_ino, fresh);
  device = stat_of(tree.root()).st_dev;
  for (const char* name : {"g", "new", "d"}) EXPECT_EQ(stat_of(tree.at(name)).st_dev, device) << name;
}

}  // namespace
}  // namespace varve::test
