// How containers end: signals by name, the plan of a lifetime, processes that are found again, and what exec needs.

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "launcher/kernel/process_identity.h"
#include "launcher/kernel/quick_fork.h"
#include "launcher/lifetime_plan.h"
#include "launcher/outside/process_record.h"
#include "launcher/signal_names.h"
#include "tests/unit/launcher/scratch_directory.h"

namespace varve::launcher {
namespace {

TEST(SignalNames, AreReadInEveryForm) {
  for (const char* word : {"TERM", "SIGTERM", "term", "sigterm", "15"})
    EXPECT_EQ(*parse_signal(word), SIGTERM) << word;
  EXPECT_EQ(*parse_signal("RTMIN"), SIGRTMIN);
  EXPECT_EQ(*parse_signal("SIGRTMIN+3"), SIGRTMIN + 3);
  EXPECT_EQ(*parse_signal("RTMAX-1"), SIGRTMAX - 1);
  for (const char* word :
       {"", "0", "-1", "65", "NONE", "SIG", "RTMIN-1", "RTMIN+99", "RTMAX+1", "15x", "TERM "}) {
    EXPECT_FALSE(parse_signal(word).ok()) << word;
  }
}

TEST(LifetimePlan, TakesTheImagesStopSignalUnlessOneIsTyped) {
  image::ImageConfig config;
  config.stop_signal = "SIGQUIT";
  EXPECT_EQ(plan_lifetime({}, config)->stop_signal, "SIGQUIT");
  LifetimeOptions options;
  options.stop_signal = "HUP";
  EXPECT_EQ(plan_lifetime(options, config)->stop_signal, "HUP");
  config.stop_signal = "SIGNONE";
  EXPECT_FALSE(plan_lifetime({}, config).ok());
}

TEST(LifetimePlan, LogOptionsAreSizesAndCountsOfADetachedOne) {
  LifetimeOptions options;
  options.detached = true;
  options.log_options = {"max-size=2k", "max-file=5"};
  const ResultOrFailure<LifetimePlan> plan = plan_lifetime(options, {});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->log.max_bytes, 2048U);
  EXPECT_EQ(plan->log.max_files, 5U);
  for (const char* bad :
       {"max-size", "max-size=", "max-size=0", "max-size=1x", "max-file=0", "max-file=1m", "other=1"}) {
    options.log_options = {bad};
    EXPECT_FALSE(plan_lifetime(options, {}).ok()) << bad;
  }
  options.log_options = {"max-size=1m"};
  options.detached = false;
  EXPECT_FALSE(plan_lifetime(options, {}).ok());
}

TEST(QuickFork, TheCallerGoesOnOnceTheChildHasExecutedOrEnded) {
  int seen = 0;
  auto ends = [&seen]() {
    seen = 7;  // in the memory that the two share
    ::_exit(3);
  };
  const Result<pid_t> ended = quick_fork(ends);
  ASSERT_TRUE(ended.ok());
  EXPECT_EQ(seen, 7);
  int wait_status = 0;
  ASSERT_EQ(::waitpid(*ended, &wait_status, 0), *ended);
  EXPECT_EQ(WEXITSTATUS(wait_status), 3);

  auto executes = []() {
    ::execl("/bin/sleep", "sleep", "100", nullptr);
    ::_exit(127);
  };
  const Result<pid_t> executed = quick_fork(executes);
  ASSERT_TRUE(executed.ok());
  EXPECT_EQ(::waitpid(*executed, &wait_status, WNOHANG), 0);
  ASSERT_EQ(::kill(*executed, SIGKILL), 0);
  ASSERT_EQ(::waitpid(*executed, &wait_status, 0), *executed);
  EXPECT_TRUE(WIFSIGNALED(wait_status));
}

TEST(ProcessIdentity, IsOfOneProcessOnly) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  const Result<ProcessIdentity> identity = identify_process(child);
  ASSERT_TRUE(identity.ok());
  EXPECT_TRUE(open_identified(*identity).ok());
  // Its number in the hands of another.
  EXPECT_EQ(open_identified({child, identity->started_ticks + 1}).error().value, ESRCH);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(open_identified(*identity).error().value, ESRCH);
  EXPECT_EQ(identify_process(child).error().value, ESRCH);
  EXPECT_EQ(open_identified({}).error().value, ESRCH);
}

TEST(ProcessRecord, ComesBackAsItWasWritten) {
  ProcessRecord record;
  record.process.arguments = {"sh", "-c", "a b"};
  record.process.environment.set("A", "1=2");
  record.process.working_directory = "/srv";
  record.process.user = "bob:wheel";
  record.process.capabilities = CapabilitySet::defaults();
  record.process.user_capabilities = CapabilitySet(1);
  record.process.no_new_privileges = false;
  record.process.seccomp.profile = "/some/profile.json";
  record.process.seccomp.program = {{.code = 6, .jt = 1, .jf = 2, .k = 0x7fff0000}};
  record.process.seccomp.flags = 4;
  record.process.limits = {
      {.resource = RLIMIT_CORE, .name = "core", .value = {.rlim_cur = 0, .rlim_max = RLIM_INFINITY}}};
  record.process.umask = 077;
  record.setgroups_denied = true;
  const std::string text = text_of(record);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  const ResultOrFailure<ProcessRecord> back = parse_process_record(text, "web");
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->process.arguments, record.process.arguments);
  EXPECT_EQ(back->process.environment.entries(), record.process.environment.entries());
  EXPECT_EQ(back->process.working_directory, "/srv");
  EXPECT_EQ(back->process.user, "bob:wheel");
  EXPECT_EQ(back->process.capabilities, record.process.capabilities);
  EXPECT_EQ(back->process.user_capabilities, record.process.user_capabilities);
  EXPECT_FALSE(back->process.no_new_privileges);
  EXPECT_EQ(back->process.seccomp.profile, "/some/profile.json");
  ASSERT_EQ(back->process.seccomp.program.size(), 1U);
  EXPECT_EQ(back->process.seccomp.program[0].k, 0x7fff0000U);
  EXPECT_EQ(back->process.seccomp.program[0].jf, 2);
  EXPECT_EQ(back->process.seccomp.flags, 4U);
  ASSERT_EQ(back->process.limits.size(), 1U);
  EXPECT_EQ(back->process.limits[0].resource, RLIMIT_CORE);
  EXPECT_EQ(back->process.limits[0].value.rlim_max, RLIM_INFINITY);
  EXPECT_EQ(back->process.umask, 077U);
  EXPECT_TRUE(back->setgroups_denied);
}

TEST(ProcessRecord, TheDefaultProfileIsMadeAgain) {
  ProcessRecord record;
  record.process.capabilities = CapabilitySet::defaults();
  record.process.seccomp = *plan_seccomp(std::nullopt, CapabilitySet::defaults());
  const ResultOrFailure<ProcessRecord> back = parse_process_record(text_of(record), "web");
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->process.seccomp.program.size(), record.process.seccomp.program.size());
  EXPECT_GT(back->process.seccomp.program.size(), 0U);
}

TEST(ProcessRecord, BrokenTextIsOneMessage) {
  for (const char* bad :
       {"", "[]", R"({"arguments":1})", R"({"environment":["A"]})", R"({"environment":["=1"]})"}) {
    const ResultOrFailure<ProcessRecord> read = parse_process_record(bad, "web");
    ASSERT_FALSE(read.ok()) << bad;
    EXPECT_NE(read.error().message.find("how the container was started"), std::string::npos);
    EXPECT_EQ(read.error().message.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace varve::launcher
