// What supplementary groups and user namespaces allow and forbid, seen through the mount and natively.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/support/mounted/placed_tree.h"

namespace varve::test {
namespace {

constexpr uid_t kUser = 54321;
constexpr gid_t kOwn = 54322;     // the user's main group
constexpr gid_t kMember = 54323;  // one that the user is in besides
constexpr gid_t kOther = 54324;   // one that the user is not in

// Runs a call as the user, who is in kOwn and kMember.
std::string as_user(const std::function<long()>& call) {
  const int error = run_as(kUser, kOwn, {kMember}, [&call] { return call() >= 0 ? 0 : errno; });
  return error == 0 ? "ok" : strerrorname_np(error);
}

class Groups : public EverywhereTest {
 protected:
  void SetUp() override { VARVE_NEEDS(kOtherOwners); }
  void seed(const std::string& name, uid_t uid, gid_t gid, mode_t mode) {
    const std::string path = tree.seed(name);
    if (name.back() == '/') {
      make_directories(path.substr(0, path.size() - 1));
    } else {
      write_file(path, "content");
    }
    ASSERT_EQ(outcome(::chown(path.c_str(), uid, gid)), "ok");
    ASSERT_EQ(outcome(::chmod(path.c_str(), mode)), "ok");
  }
  std::string open_as_user(const std::string& name, int flags) {
    return as_user([&] { return ::open(tree.at(name).c_str(), flags); });
  }
  std::string chmod_as_user(const std::string& name, mode_t mode) {
    return as_user([&] { return ::chmod(tree.at(name).c_str(), mode); });
  }
  std::string chown_as_user(const std::string& name, uid_t uid, gid_t gid) {
    return as_user([&] { return ::chown(tree.at(name).c_str(), uid, gid); });
  }
  mode_t mode(const std::string& name) { return stat_of(tree.at(name)).st_mode & 07777U; }
  gid_t group(const std::string& name) { return stat_of(tree.at(name)).st_gid; }
};
VARVE_EVERYWHERE(Groups);

TEST_P(Groups, AdmitTheirMembers) {
  seed("member/", 0, kMember, 0770);
  seed("other/", 0, kOther, 0770);
  for (const char* name : {"member/f", "other/f"}) seed(name, 0, 0, 0644);
  seed("readable", 0, kMember, 0640);
  seed("writable", 0, kMember, 0660);
  seed("own", 0, kOwn, 0660);
  seed("closed", 0, kOther, 0660);
  seed("for-others-only", 0, kMember, 0604);
  seed("owner-only", kUser, kMember, 0060);
  ASSERT_TRUE(tree.begin());
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(open_as_user("member/f", O_RDONLY), "ok");
    EXPECT_EQ(open_as_user("other/f", O_RDONLY), "EACCES");
    EXPECT_EQ(open_as_user("readable", O_RDONLY), "ok");
    EXPECT_EQ(open_as_user("readable", O_RDWR), "EACCES");
    EXPECT_EQ(open_as_user("writable", O_RDWR), "ok");
    EXPECT_EQ(open_as_user("own", O_RDWR), "ok");
    EXPECT_EQ(open_as_user("closed", O_RDONLY), "EACCES");
    EXPECT_EQ(open_as_user("for-others-only", O_RDONLY), "EACCES") << "a member is no other";
    EXPECT_EQ(open_as_user("owner-only", O_RDONLY), "EACCES") << "an owner is no member";
    for (const char* name :
         {"member/f", "readable", "writable", "own", "closed", "for-others-only", "owner-only"}) {
      write_at(tree.at(name), 0, "C");  // copied up, the same holds
    }
    ASSERT_TRUE(tree.again());
  }
  EXPECT_EQ(as_user([this] { return ::unlink(tree.at("member/f").c_str()); }), "ok");
  EXPECT_EQ(as_user([this] { return ::mkdir(tree.at("member/new").c_str(), 0700); }), "ok");
  EXPECT_EQ(as_user([this] { return ::mkdir(tree.at("other/new").c_str(), 0700); }), "EACCES");
}

TEST_P(Groups, OfNonMembersTakeSetgidAwayAtChmod) {
  seed("member", kUser, kMember, 0755);
  seed("other", kUser, kOther, 0755);
  seed("member-dir/", kUser, kMember, 0755);
  seed("other-dir/", kUser, kOther, 0755);
  ASSERT_TRUE(tree.begin());
  for (const char* name : {"member", "other", "member-dir", "other-dir"})
    EXPECT_EQ(chmod_as_user(name, 02775), "ok");
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(mode("member"), 02775U);
    EXPECT_EQ(mode("other"), 0775U);
    EXPECT_EQ(mode("member-dir"), 02775U);
    EXPECT_EQ(mode("other-dir"), 0775U);
    ASSERT_TRUE(tree.again());
  }
}

TEST_P(Groups, AreGivenByOwnersToFilesOfTheirs) {
  for (const char* name : {"f", "set-id"}) seed(name, kUser, kOwn, 06755);
  seed("foreign", 0, kMember, 0666);
  ASSERT_TRUE(tree.begin());
  const auto same = static_cast<uid_t>(-1);
  EXPECT_EQ(chown_as_user("f", same, kMember), "ok");
  EXPECT_EQ(mode("f"), 0755U) << "the owner's chown takes set-id bits away";
  EXPECT_EQ(chown_as_user("f", kUser, kOwn), "ok");
  EXPECT_EQ(chown_as_user("f", same, kOther), "EPERM");
  EXPECT_EQ(chown_as_user("f", 0, kOwn), "EPERM");
  EXPECT_EQ(chown_as_user("foreign", same, kOwn), "EPERM");
  EXPECT_EQ(chown_as_user("set-id", same, same), "ok");
  EXPECT_EQ(chown_as_user("f", same, kMember), "ok");
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(group("f"), kMember);
    EXPECT_EQ(stat_of(tree.at("f")).st_uid, kUser);
    EXPECT_EQ(group("foreign"), kMember);
    ASSERT_TRUE(tree.again());
  }
}

TEST_P(Groups, OfSetgidDirectoriesAreInherited) {
  seed("member/", 0, kMember, 02777);
  seed("other/", 0, kOther, 02777);
  ASSERT_TRUE(tree.begin());
  for (const std::string directory : {"member", "other"}) {
    EXPECT_EQ(as_user([&] { return ::open(tree.at(directory + "/file").c_str(), O_CREAT | O_RDWR, 02775); }),
              "ok");
    EXPECT_EQ(
        as_user([&] { return ::open(tree.at(directory + "/locking").c_str(), O_CREAT | O_RDWR, 02744); }),
        "ok");
    EXPECT_EQ(as_user([&] { return ::mkdir(tree.at(directory + "/dir").c_str(), 0775); }), "ok");
    EXPECT_EQ(as_user([&] { return ::symlink("file", tree.at(directory + "/link").c_str()); }), "ok");
    EXPECT_EQ(as_user([&] { return ::mkfifo(tree.at(directory + "/fifo").c_str(), 0660); }), "ok");
  }
  for (int round = 0; round < 2; ++round) {
    for (const char* name : {"file", "locking", "dir", "link", "fifo"}) {
      EXPECT_EQ(group(std::string("member/") + name), kMember) << name;
      EXPECT_EQ(group(std::string("other/") + name), kOther) << name;
    }
    EXPECT_EQ(mode("member/file"), 02755U) << "a member's may act with the group";
    EXPECT_EQ(mode("other/file"), 0755U) << "a stranger's may not";
    EXPECT_EQ(mode("member/locking"), 02744U);
    EXPECT_EQ(mode("member/dir"), 02755U);
    EXPECT_EQ(mode("other/dir"), 02755U);
    ASSERT_TRUE(tree.again());
  }
}

TEST_P(Groups, LoseSetgidByTheirMembersWrites) {
  for (const char* name : {"written", "truncated", "appended"}) seed(name, 0, kMember, 06775);
  seed("not-executable", 0, kMember, 02664);
  ASSERT_TRUE(tree.begin());
  const auto write_as_user = [this](const char* name, int flags) {
    return as_user([&] { return ::write(::open(tree.at(name).c_str(), O_WRONLY | flags), "C", 1); });
  };
  EXPECT_EQ(write_as_user("written", 0), "ok");
  EXPECT_EQ(write_as_user("appended", O_APPEND), "ok");
  EXPECT_EQ(write_as_user("not-executable", 0), "ok");
  EXPECT_EQ(as_user([this] { return ::open(tree.at("truncated").c_str(), O_WRONLY | O_TRUNC); }), "ok");
  for (int round = 0; round < 2; ++round) {
    for (const char* name : {"written", "truncated", "appended"}) EXPECT_EQ(mode(name), 0775U) << name;
    EXPECT_EQ(mode("not-executable"), 02664U) << "that bit is no set-id where the group may not execute";
    ASSERT_TRUE(tree.again());
  }
}

constexpr uid_t kFirst = 20'000;  // id 0 of the namespaces here
constexpr unsigned kCount = 10;
constexpr uid_t kInside = kFirst + 5;  // one that they map
constexpr uid_t kOutside = 30'000;     // and one that they do not

// Runs a call as root of a user namespace.
std::string inside(const std::function<long()>& call) {
  const int error = run_in_user_namespace(kFirst, kCount, [&call] { return call() >= 0 ? 0 : errno; });
  return error == 0 ? "ok" : strerrorname_np(error);
}

class UserNamespaces : public Groups {
 protected:
  void SetUp() override {
    Groups::SetUp();
    if (IsSkipped()) return;
    seed("open/", 0, 0, 0777);
    seed("inside/", kInside, kInside, 0700);
    seed("outside/", kOutside, kOutside, 0755);
    for (const char* name : {"inside/f", "inside/set-id"}) seed(name, kInside, kInside, 0600);
    seed("outside/f", kOutside, kOutside, 0600);
    seed("outside/shared", kOutside, kOutside, 0666);
    seed("outside/group", kOutside, kInside, 0660);
    ASSERT_TRUE(tree.begin());
  }
  std::string path(const std::string& name) { return tree.at(name); }
};
VARVE_EVERYWHERE(UserNamespaces);

TEST_P(UserNamespaces, ShowOnlyTheIdsThatTheyMap) {
  EXPECT_EQ(inside([this] {
              const struct stat file = stat_of(path("inside/f"));
              return file.st_uid == 5 && file.st_gid == 5 ? 0 : -1;
            }),
            "ok");
  EXPECT_EQ(inside([this] {
              const struct stat file = stat_of(path("outside/group"));
              return file.st_uid == 65534 && file.st_gid == 5 ? 0 : -1;
            }),
            "ok");
}

TEST_P(UserNamespaces, HaveCapabilitiesOverTheirIdsOnly) {
  EXPECT_EQ(inside([this] { return ::open(path("inside/f").c_str(), O_RDWR); }), "ok");
  EXPECT_EQ(inside([this] { return ::open(path("outside/f").c_str(), O_RDONLY); }), "EACCES");
  EXPECT_EQ(inside([this] { return ::open(path("outside/group").c_str(), O_RDWR); }), "EACCES")
      << "both ids must be mapped";
  EXPECT_EQ(inside([this] { return ::open(path("outside/shared").c_str(), O_RDWR); }), "ok");
  EXPECT_EQ(inside([this] { return ::chmod(path("inside/f").c_str(), 0640); }), "ok");
  EXPECT_EQ(inside([this] { return ::chmod(path("outside/shared").c_str(), 0600); }), "EPERM");
  EXPECT_EQ(inside([this] { return ::chmod(path("outside/group").c_str(), 0600); }), "EPERM");
  EXPECT_EQ(inside([this] { return ::utimensat(AT_FDCWD, path("outside/shared").c_str(), nullptr, 0); }),
            "ok")
      << "who may write may touch";
  const struct timespec times[2] = {{1, 2}, {3, 4}};
  EXPECT_EQ(inside([&] { return ::utimensat(AT_FDCWD, path("outside/shared").c_str(), times, 0); }), "EPERM");
  EXPECT_EQ(inside([this] { return ::unlink(path("outside/shared").c_str()); }), "EACCES");
  EXPECT_EQ(inside([this] { return ::rename(path("outside/f").c_str(), path("open/f").c_str()); }), "EACCES");
  EXPECT_EQ(inside([this] { return ::rename(path("inside/f").c_str(), path("open/f").c_str()); }), "ok");
  EXPECT_EQ(mode("open/f"), 0640U);
}

TEST_P(UserNamespaces, GiveFilesToTheirIdsOnly) {
  EXPECT_EQ(inside([this] { return ::chown(path("inside/f").c_str(), 3, 4); }), "ok");
  EXPECT_EQ(inside([this] { return ::chown(path("inside/f").c_str(), kCount, 4); }), "EINVAL");
  EXPECT_EQ(inside([this] { return ::chown(path("outside/shared").c_str(), 3, 4); }), "EPERM");
  EXPECT_EQ(inside([this] { return ::chown(path("outside/group").c_str(), 3, 4); }), "EPERM");
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(stat_of(path("inside/f")).st_uid, kFirst + 3);
    EXPECT_EQ(stat_of(path("inside/f")).st_gid, kFirst + 4);
    EXPECT_EQ(stat_of(path("outside/shared")).st_uid, kOutside);
    ASSERT_TRUE(tree.again());
  }
}

TEST_P(UserNamespaces, OwnWhatIsMadeInThem) {
  EXPECT_EQ(inside([this] { return ::open(path("open/f").c_str(), O_CREAT | O_EXCL | O_RDWR, 0640); }), "ok");
  EXPECT_EQ(inside([this] { return ::mkdir(path("open/d").c_str(), 0750); }), "ok");
  EXPECT_EQ(inside([this] { return ::symlink("f", path("open/link").c_str()); }), "ok");
  EXPECT_EQ(inside([this] { return ::mkfifo(path("open/fifo").c_str(), 0600); }), "ok");
  EXPECT_EQ(inside([this] { return ::mknod(path("open/null").c_str(), S_IFCHR | 0666, makedev(1, 3)); }),
            "EPERM");
  EXPECT_EQ(inside([this] { return ::mkdir(path("outside/d").c_str(), 0750); }), "EACCES");
  for (int round = 0; round < 2; ++round) {
    for (const char* name : {"open/f", "open/d", "open/link", "open/fifo"}) {
      EXPECT_EQ(stat_of(path(name)).st_uid, kFirst) << name;
      EXPECT_EQ(stat_of(path(name)).st_gid, kFirst) << name;
    }
    EXPECT_EQ(mode("open/f"), 0640U);
    ASSERT_TRUE(tree.again());
  }
}

TEST_P(UserNamespaces, SetXattrsOfTheirFilesOnly) {
  const auto set = [this](const char* name, const char* xattr) {
    return inside([=, this] { return ::setxattr(path(name).c_str(), xattr, "v", 1, 0); });
  };
  EXPECT_EQ(set("inside/f", "user.mine"), "ok");
  EXPECT_EQ(set("outside/f", "user.mine"), "EACCES");
  EXPECT_EQ(set("outside/shared", "user.mine"), "ok") << "who may write may set";
  EXPECT_EQ(set("inside/f", "trusted.mine"), "EPERM");
  EXPECT_EQ(set("outside/shared", "security.mine"), "EPERM");
  char value[8] = {};
  EXPECT_EQ(::getxattr(path("inside/f").c_str(), "user.mine", value, sizeof value), 1);
}

// A capability that root of a namespace gives a file works in that namespace only, and says whose it is.
TEST_P(UserNamespaces, GiveCapabilitiesThatAreTheirsAlone) {
  const struct vfs_cap_data given {
    VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, {
      {1U << CAP_NET_RAW, 0}, {
        0, 0
      }
    }
  };
  const char* const xattr = "security.capability";
  EXPECT_EQ(inside([&] { return ::setxattr(path("inside/f").c_str(), xattr, &given, XATTR_CAPS_SZ_2, 0); }),
            "ok");
  EXPECT_EQ(
      inside([&] { return ::setxattr(path("outside/shared").c_str(), xattr, &given, XATTR_CAPS_SZ_2, 0); }),
      "EPERM");
  struct vfs_ns_cap_data kept {};
  ASSERT_EQ(::getxattr(path("inside/f").c_str(), xattr, &kept, sizeof kept), ssize_t{XATTR_CAPS_SZ_3})
      << outcome(-1);
  EXPECT_EQ(kept.rootid, kFirst);
  EXPECT_EQ(inside([&] {
              struct vfs_ns_cap_data seen {};
              return ::getxattr(path("inside/f").c_str(), xattr, &seen, sizeof seen) == XATTR_CAPS_SZ_2 ? 0
                                                                                                        : -1;
            }),
            "ok");
}

}  // namespace
}  // namespace varve::test
