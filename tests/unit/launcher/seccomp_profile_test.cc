#include "launcher/seccomp/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>

#include "launcher/seccomp/filter.h"
#include "tests/unit/launcher/bpf_interpreter.h"

namespace varve::launcher {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint32_t kMachine = AUDIT_ARCH_X86_64;

std::string complaint(const std::string& text) {
  const auto profile = parse_seccomp_profile(text, "p.json");
  return profile.ok() ? "" : profile.error().message;
}

// What a profile in which all is allowed but `rules` answers to call 39 (getpid) with `first` as its first argument.
std::uint32_t answer(const std::string& rules, std::uint64_t first = 0, SeccompTarget target = {}) {
  const auto profile =
      parse_seccomp_profile(R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [)" + rules + "]}", "p.json");
  EXPECT_TRUE(profile.ok()) << profile.error().message;
  target.architecture = SCMP_ARCH_X86_64;
  const auto filter = compile_seccomp_filter(*profile, target, "p.json");
  EXPECT_TRUE(filter.ok()) << filter.error().message;
  return run_filter(filter->program, {.nr = 39, .arch = kMachine, .args = {first}});
}
std::uint32_t refused_with(int error) {
  return SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error);
}

TEST(SeccompProfile, WhatIsWrongIsSaidInOneSentence) {
  EXPECT_EQ(complaint("{"), "reading a seccomp profile: p.json: it is no JSON");
  EXPECT_THAT(complaint(std::string(kMaxProfileBytes + 1, ' ')), HasSubstr("longer than 1048576 bytes"));
  EXPECT_THAT(complaint("[]"), HasSubstr("no JSON object"));
  EXPECT_THAT(complaint("{}"), HasSubstr("\"defaultAction\" is \"\", which is no action"));
  EXPECT_THAT(complaint(R"({"defaultAction": 1})"), HasSubstr("\"defaultAction\" is no string"));
  EXPECT_THAT(complaint(R"({"defaultAction": "SCMP_ACT_NOTIFY"})"), HasSubstr("listener"));
  EXPECT_THAT(complaint(R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": -1})"),
              HasSubstr("no number from 0 to 4095"));
  EXPECT_THAT(complaint(R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOTHING"})"),
              HasSubstr("no errno"));
  EXPECT_THAT(complaint(R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}})"),
              HasSubstr("no array of objects"));
  EXPECT_THAT(complaint(R"({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]})"), HasSubstr("no flag"));
  EXPECT_THAT(complaint(R"({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"]})"),
              HasSubstr("\"SCMP_ARCH_PDP11\" is no architecture"));
}

TEST(SeccompProfile, TheRuleThatIsWrongIsNamed) {
  const auto in_rule = [](const std::string& rule) {
    return complaint(R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_LOG"}, )" +
                     rule + "]}");
  };
  EXPECT_EQ(in_rule(R"({"names": [], "action": "SCMP_ACT_LOG"})"),
            "reading a seccomp profile: p.json: syscalls[1]: it names no system call");
  EXPECT_THAT(in_rule(R"({"names": [1], "action": "SCMP_ACT_LOG"})"),
              HasSubstr("[1]: \"names\" is no array of strings"));
  EXPECT_THAT(in_rule(R"({"names": ["a"], "action": "KILL"})"), HasSubstr("\"KILL\", which is no action"));
  EXPECT_THAT(in_rule(R"({"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"op": "SCMP_CMP_EQ"}]})"),
              HasSubstr("no \"index\""));
  EXPECT_THAT(
      in_rule(R"({"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]})"),
      HasSubstr("no number from 0 to 5"));
  EXPECT_THAT(in_rule(R"({"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "op": "=="}]})"),
              HasSubstr("\"==\", which is no comparison"));
  EXPECT_THAT(in_rule(R"({"names": ["a"], "action": "SCMP_ACT_LOG", "includes": {"minKernel": "new"}})"),
              HasSubstr("no version"));
}

TEST(SeccompProfile, BothWaysToListArchitecturesAreRead) {
  const auto list = parse_seccomp_profile(
      R"({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_ARM", "SCMP_ARCH_X86"]})",
      "p.json");
  ASSERT_TRUE(list.ok()) << list.error().message;
  ASSERT_EQ(list->architectures.size(), 1U);
  EXPECT_EQ(list->architectures[0].token, ::seccomp_arch_native());
  EXPECT_THAT(list->architectures[0].run_by_it, ElementsAre(SCMP_ARCH_ARM, SCMP_ARCH_X86));
  const auto map = parse_seccomp_profile(R"({"defaultAction": "SCMP_ACT_ALLOW", "archMap": [
      {"architecture": "SCMP_ARCH_PDP11", "subArchitectures": ["SCMP_ARCH_X86"]},
      {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]})",
                                         "p.json");
  ASSERT_TRUE(map.ok()) << map.error().message;
  ASSERT_EQ(map->architectures.size(), 1U);
  EXPECT_EQ(map->architectures[0].token, std::uint32_t{SCMP_ARCH_X86_64});
}

TEST(SeccompProfile, ErrnosAreNumbersOrNamesOrEperm) {
  const std::string rule = R"({"names": ["getpid"], "action": "SCMP_ACT_ERRNO")";
  EXPECT_EQ(answer(rule + "}"), refused_with(EPERM));
  EXPECT_EQ(answer(rule + R"(, "errnoRet": 38})"), refused_with(ENOSYS));
  EXPECT_EQ(answer(rule + R"(, "errno": "EINVAL"})"), refused_with(EINVAL));
}

TEST(SeccompProfile, EveryComparisonIsRead) {
  const auto with = [](const std::string& comparison, std::uint64_t value) {
    return answer(
               R"({"name": "getpid", "action": "SCMP_ACT_TRAP", "args": [{"index": 0, )" + comparison + "}]}",
               value) == SECCOMP_RET_TRAP;
  };
  EXPECT_TRUE(with(R"("op": "SCMP_CMP_EQ", "value": 5)", 5));
  EXPECT_FALSE(with(R"("op": "SCMP_CMP_NE", "value": 5)", 5));
  EXPECT_TRUE(with(R"("op": "SCMP_CMP_LT", "value": 5)", 4));
  EXPECT_FALSE(with(R"("op": "SCMP_CMP_LT", "value": 5)", 5));
  EXPECT_TRUE(with(R"("op": "SCMP_CMP_LE", "value": 5)", 5));
  EXPECT_FALSE(with(R"("op": "SCMP_CMP_GT", "value": 5)", 5));
  EXPECT_TRUE(with(R"("op": "SCMP_CMP_GE", "value": 5)", 5));
  EXPECT_TRUE(with(R"("op": "SCMP_CMP_MASKED_EQ", "value": 6, "valueTwo": 2)", 11));
  EXPECT_FALSE(with(R"("op": "SCMP_CMP_MASKED_EQ", "value": 6, "valueTwo": 2)", 4));
  EXPECT_TRUE(with(R"("op": "SCMP_CMP_EQ", "value": 18446744073709551615)", UINT64_MAX));
}

TEST(SeccompProfile, ComparisonsOfOneArgumentAreAlternatives) {
  const std::string rule = R"({"names": ["getpid"], "action": "SCMP_ACT_TRAP", "args": [
      {"index": 0, "op": "SCMP_CMP_EQ", "value": 3}, {"index": 0, "op": "SCMP_CMP_EQ", "value": 7}]})";
  EXPECT_EQ(answer(rule, 3), SECCOMP_RET_TRAP);
  EXPECT_EQ(answer(rule, 7), SECCOMP_RET_TRAP);
  EXPECT_EQ(answer(rule, 5), SECCOMP_RET_ALLOW);
}

TEST(SeccompProfile, RulesCountAsTheirPredicatesSay) {
  const auto with = [](const std::string& predicates, std::uint64_t capabilities) {
    return answer(R"({"names": ["getpid"], "action": "SCMP_ACT_TRAP", )" + predicates + "}", 0,
                  {.capabilities = CapabilitySet(capabilities), .kernel = {5, 10}}) == SECCOMP_RET_TRAP;
  };
  constexpr std::uint64_t kChown = 1;
  constexpr std::uint64_t kKill = 1 << 5;
  EXPECT_TRUE(with(R"("includes": {"caps": ["CAP_CHOWN", "CAP_KILL"]})", kChown | kKill));
  EXPECT_FALSE(with(R"("includes": {"caps": ["CAP_CHOWN", "CAP_KILL"]})", kChown));
  EXPECT_FALSE(with(R"("includes": {"caps": ["CAP_OF_TOMORROW"]})", ~std::uint64_t{0}));
  EXPECT_FALSE(with(R"("excludes": {"caps": ["CAP_CHOWN", "CAP_KILL"]})", kChown));
  EXPECT_TRUE(with(R"("excludes": {"caps": ["CAP_CHOWN"]})", kKill));
  EXPECT_TRUE(with(R"("excludes": {"caps": ["CAP_OF_TOMORROW"]})", ~std::uint64_t{0}));
  EXPECT_TRUE(with(R"("includes": {"arches": ["arm64", "amd64"]})", 0));
  EXPECT_FALSE(with(R"("includes": {"arches": ["arm64"]})", 0));
  EXPECT_FALSE(with(R"("excludes": {"arches": ["amd64"]})", 0));
  EXPECT_TRUE(with(R"("includes": {"minKernel": "5.10"})", 0));
  EXPECT_FALSE(with(R"("includes": {"minKernel": "5.11.3"})", 0));
  EXPECT_FALSE(with(R"("excludes": {"minKernel": "4.8"})", 0));
}

TEST(SeccompProfile, CallsThatLibseccompDoesNotKnowAreLeftOutAndTold) {
  const auto profile = parse_seccomp_profile(
      R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["call_of_tomorrow"], "action": "SCMP_ACT_LOG"}]})",
      "p.json");
  ASSERT_TRUE(profile.ok());
  const auto filter = compile_seccomp_filter(*profile, {.architecture = SCMP_ARCH_X86_64}, "p.json");
  ASSERT_TRUE(filter.ok());
  EXPECT_THAT(filter->unknown_calls, ElementsAre("call_of_tomorrow"));
}

}  // namespace
}  // namespace varve::launcher
