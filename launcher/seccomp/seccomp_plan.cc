#include "launcher/seccomp/seccomp_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>

#include "fs/base/log.h"
#include "launcher/explain.h"
#include "launcher/seccomp/default_filter.h"
#include "launcher/seccomp/filter.h"
#include "launcher/seccomp/profile.h"

namespace varve::launcher {
namespace {

ResultOrFailure<std::string> read_profile(const std::string& path) {
  constexpr const char* kReading = "reading a seccomp profile";
  std::ifstream file(path, std::ios::binary);
  if (!file) return explain(Errno::last(), kReading, path, "seccomp= takes a file, unconfined or default");
  // One byte more than is allowed tells a file that is too long.
  std::string text(kMaxProfileBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return explain(Errno::last(), kReading, path);
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

// A list of what is forbidden has a hole where a name is not known; a list of what is allowed has none.
void warn_of_holes(const SeccompProfile& profile, const SeccompFilter& filter, const std::string& name) {
  const bool allows_by_default =
      profile.default_action == SCMP_ACT_ALLOW || profile.default_action == SCMP_ACT_LOG;
  if (!allows_by_default || filter.unknown_calls.empty()) return;
  log_warning("reading a seccomp profile: {}: this libseccomp does not know {}: they stay allowed", name,
              fmt::join(filter.unknown_calls, ", "));
}

ResultOrFailure<SeccompPlan> compile(const std::string& text, const std::string& name,
                                     CapabilitySet capabilities) {
  VARVE_ASSIGN(const SeccompProfile profile, parse_seccomp_profile(text, name));
  const SeccompTarget target{
      .capabilities = capabilities, .architecture = ::seccomp_arch_native(), .kernel = running_kernel()};
  VARVE_ASSIGN(SeccompFilter filter, compile_seccomp_filter(profile, target, name));
  warn_of_holes(profile, filter, name);
  return SeccompPlan{name, std::move(filter.program), profile.flags};
}

}  // namespace

ResultOrFailure<SeccompPlan> plan_seccomp(const std::optional<std::string>& chosen,
                                          CapabilitySet capabilities) {
  if (chosen == "unconfined") return SeccompPlan();
  if (chosen && *chosen != "default") {
    VARVE_ASSIGN(const std::string text, read_profile(*chosen));
    return compile(text, *chosen, capabilities);
  }
  const std::span<const struct sock_filter> made = built_in_filter(capabilities);
  if (!made.empty()) return SeccompPlan{"default", {made.begin(), made.end()}, 0};
  return compile(std::string(default_profile_text()), "default", capabilities);
}

std::string to_text(const SeccompPlan& plan) {
  if (plan.program.empty()) return plan.profile;
  return fmt::format("{} profile, {} steps", plan.profile, plan.program.size());
}

Status install_filter(const SeccompPlan& plan) {
  if (plan.program.empty()) return {};
  struct sock_fprog program = {};
  program.len = static_cast<unsigned short>(plan.program.size());
  // The kernel takes a copy and writes nothing; its structure just lacks the const.
  program.filter = const_cast<struct sock_filter*>(plan.program.data());
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, plan.flags, &program) != 0) return Errno::last();
  return {};
}

}  // namespace varve::launcher
