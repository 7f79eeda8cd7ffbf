// --ulimit, --sysctl, --umask, and the paths that are masked.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/masked_paths.h"
#include "launcher/options/setting_options.h"

namespace varve::launcher {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

template <class T>
std::string complaint(const ResultOrFailure<T>& result) {
  return result.ok() ? "" : result.error().message;
}

TEST(Limits, AreReadAsPodmanWritesThem) {
  const auto limits = choose_limits({"nofile=10:20", "core=0", "stack=-1", "cpu=5:unlimited", "host"});
  ASSERT_TRUE(limits.ok()) << complaint(limits);
  EXPECT_EQ(to_text(*limits),
            "limit:        nofile 10, at most 20\nlimit:        core 0, at most 0\n"
            "limit:        stack unlimited, at most unlimited\nlimit:        cpu 5, at most unlimited\n");
  EXPECT_EQ((*limits)[0].resource, RLIMIT_NOFILE);
}

TEST(Limits, EveryNameOfPodmanIsKnown) {
  for (const char* name : {"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
                           "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"}) {
    EXPECT_TRUE(choose_limits({std::string(name) + "=1"}).ok()) << name;
  }
}

TEST(Limits, WhatIsNoneIsRefused) {
  EXPECT_THAT(complaint(choose_limits({"nofile"})), HasSubstr("NAME=SOFT[:HARD]"));
  EXPECT_THAT(complaint(choose_limits({"files=1"})), HasSubstr("no such limit"));
  EXPECT_THAT(complaint(choose_limits({"nofile=2:1"})), HasSubstr("above the hard one"));
  for (const char* word : {"nofile=", "nofile=x", "nofile=1:", "nofile=1k", "nofile=-2"}) {
    EXPECT_THAT(complaint(choose_limits({word})), HasSubstr("is a number")) << word;
  }
}

TEST(Sysctls, ThoseOfOwnNamespacesAreTaken) {
  const auto sysctls = choose_sysctls(
      {"net.ipv4.ip_forward=1", "kernel.sem=250 32000 100 128", "net/ipv4/conf/eth0.1/forwarding=1",
       "fs.mqueue.msg_max=5", "kernel.shmmax=1", "kernel.msgmax=1"},
      NamespaceSet::all());
  ASSERT_TRUE(sysctls.ok()) << complaint(sysctls);
  EXPECT_THAT(to_text(*sysctls), HasSubstr("sysctl:       net/ipv4/ip_forward = 1\n"));
  EXPECT_THAT(to_text(*sysctls), HasSubstr("sysctl:       net/ipv4/conf/eth0.1/forwarding = 1\n"));
  EXPECT_THAT(to_text(*sysctls), HasSubstr("sysctl:       kernel/sem = 250 32000 100 128\n"));
}

TEST(Sysctls, ThoseOfTheHostAreRefused) {
  for (const char* word : {"kernel.core_pattern=x", "vm.swappiness=1", "fs.file-max=1",
                           "user.max_user_namespaces=1", "kernel.hostname=x", "kernel.semaphore=1"}) {
    EXPECT_THAT(complaint(choose_sysctls({word}, NamespaceSet::all())), HasSubstr("whole host's")) << word;
  }
  for (const char* word :
       {"net/../kernel/core_pattern=x", "net/./x=1", "net//x=1", "net/=1", "=1", "net..x=1"}) {
    EXPECT_THAT(complaint(choose_sysctls({word}, NamespaceSet::all())), HasSubstr("no name")) << word;
  }
  EXPECT_THAT(complaint(choose_sysctls({"net.x="}, NamespaceSet::all())), HasSubstr("NAME=VALUE"));
}

TEST(Sysctls, ThoseOfSharedNamespacesAreRefused) {
  const auto shared = [](Namespace which) {
    NamespaceSet set;
    set.add(which);
    return NamespaceSet::all().without(set);
  };
  EXPECT_THAT(complaint(choose_sysctls({"net.core.somaxconn=1"}, shared(Namespace::kNet))),
              HasSubstr("own network namespace"));
  EXPECT_THAT(complaint(choose_sysctls({"kernel.shmmax=1"}, shared(Namespace::kIpc))),
              HasSubstr("own ipc namespace"));
  EXPECT_THAT(complaint(choose_sysctls({"kernel.shmmax=1"}, shared(Namespace::kMount))),
              HasSubstr("--share"));
}

TEST(Umask, IsOctal) {
  EXPECT_EQ(*choose_umask(""), mode_t{022});
  EXPECT_EQ(*choose_umask("0077"), mode_t{077});
  for (const char* text : {"8", "1000", "x", "-1", "07 "}) EXPECT_FALSE(choose_umask(text).ok()) << text;
}

TEST(MaskedPaths, WordsTakeOffAndAdd) {
  const auto paths = choose_masked_paths({"/etc/secret:/proc/version"}, {"/proc/keys:/proc/sys"});
  ASSERT_TRUE(paths.ok()) << complaint(paths);
  EXPECT_THAT(paths->hidden, Contains("/etc/secret"));
  EXPECT_THAT(paths->hidden, Contains("/proc/kcore"));
  EXPECT_THAT(paths->hidden, Not(Contains("/proc/keys")));
  EXPECT_THAT(paths->read_only, Not(Contains("/proc/sys")));
  EXPECT_EQ(to_text(*paths),
            "as usual, and /etc/secret /proc/version, but not /proc/keys, writable /proc/sys");
}

TEST(MaskedPaths, PatternsAndAllTakeOffMany) {
  const auto by_pattern = choose_masked_paths({}, {"/proc/*"});
  ASSERT_TRUE(by_pattern.ok());
  EXPECT_THAT(by_pattern->read_only, IsEmpty());
  EXPECT_THAT(by_pattern->hidden, Contains("/sys/firmware"));
  const auto all = choose_masked_paths({"/proc/kcore"}, {"ALL"});
  ASSERT_TRUE(all.ok());
  EXPECT_THAT(all->hidden, ::testing::ElementsAre("/proc/kcore"));
}

TEST(MaskedPaths, WordsThatDoNothingAreRefused) {
  EXPECT_THAT(complaint(choose_masked_paths({}, {"/proc/kcorn"})), HasSubstr("fits no path"));
  EXPECT_THAT(complaint(choose_masked_paths({}, {"proc/kcore"})), HasSubstr("no absolute path"));
  EXPECT_THAT(complaint(choose_masked_paths({"etc"}, {})), HasSubstr("no absolute path"));
  EXPECT_THAT(complaint(choose_masked_paths({"/"}, {})), HasSubstr("below the root"));
}

}  // namespace
}  // namespace varve::launcher
