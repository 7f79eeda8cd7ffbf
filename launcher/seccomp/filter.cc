#include "launcher/seccomp/filter.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>

#include "fs/base/unique_fd.h"
#include "launcher/explain.h"
#include "launcher/seccomp/range_tree.h"

namespace varve::launcher {
namespace {

constexpr const char* kCompiling = "compiling a seccomp profile";

struct Release {
  void operator()(void* context) const { ::seccomp_release(context); }
};
using Context = std::unique_ptr<void, Release>;

// libseccomp answers with a negative errno.
Failure explain_seccomp(int result, const std::string& name, const std::string& what) {
  return explain(Errno{result < 0 ? -result : EIO}, kCompiling, name + ": " + what);
}

// As Go calls it, which profiles follow.
std::string_view go_name(std::uint32_t architecture) {
  switch (architecture) {
    case SCMP_ARCH_X86_64:
      return "amd64";
    case SCMP_ARCH_X86:
      return "x86";
    case SCMP_ARCH_X32:
      return "x32";
    case SCMP_ARCH_AARCH64:
      return "arm64";
    case SCMP_ARCH_ARM:
      return "arm";
    case SCMP_ARCH_PPC64LE:
      return "ppc64le";
    case SCMP_ARCH_S390X:
      return "s390x";
    case SCMP_ARCH_RISCV64:
      return "riscv64";
    default:
      return "";
  }
}

bool names_architecture(const SeccompPredicate& predicate, std::uint32_t architecture) {
  return std::find(predicate.architectures.begin(), predicate.architectures.end(), go_name(architecture)) !=
         predicate.architectures.end();
}

bool counts(const SeccompRule& rule, const SeccompTarget& target) {
  const SeccompPredicate& in = rule.includes;
  if (in.names_unknown_capability || !target.capabilities.contains(in.capabilities)) return false;
  if (!in.architectures.empty() && !names_architecture(in, target.architecture)) return false;
  if (in.minimum_kernel && target.kernel < *in.minimum_kernel) return false;

  const SeccompPredicate& out = rule.excludes;
  // One of them is enough.
  if (target.capabilities.without(out.capabilities) != target.capabilities) return false;
  if (names_architecture(out, target.architecture)) return false;
  return !out.minimum_kernel || target.kernel < *out.minimum_kernel;
}

StatusOrFailure add_architectures(void* context, const SeccompProfile& profile, const SeccompTarget& target,
                                  const std::string& name) {
  const auto add = [&](std::uint32_t token) -> StatusOrFailure {
    const int result = ::seccomp_arch_add(context, token);
    if (result != 0 && result != -EEXIST) return explain_seccomp(result, name, "adding an architecture");
    return {};
  };
  VARVE_RETURN_IF_ERROR(add(target.architecture));
  for (const SeccompArchitecture& architecture : profile.architectures) {
    if (architecture.token != target.architecture) continue;
    for (const std::uint32_t other : architecture.run_by_it) VARVE_RETURN_IF_ERROR(add(other));
  }
  if (::seccomp_arch_native() == target.architecture) return {};
  const int result = ::seccomp_arch_remove(context, ::seccomp_arch_native());
  if (result != 0) return explain_seccomp(result, name, "leaving out the architecture of this machine");
  return {};
}

// A rule compares each argument once at most; where a profile has several comparisons of one, engines take any of them
// that holds (runc libcontainer/seccomp), as a rule each.
bool compares_twice(const std::vector<struct scmp_arg_cmp>& arguments) {
  std::array<int, 6> seen{};
  return std::any_of(arguments.begin(), arguments.end(),
                     [&seen](const struct scmp_arg_cmp& one) { return seen.at(one.arg)++ > 0; });
}

int add_rule(void* context, std::uint32_t action, int number,
             const std::vector<struct scmp_arg_cmp>& arguments) {
  if (!compares_twice(arguments)) {
    return ::seccomp_rule_add_array(context, action, number, static_cast<unsigned>(arguments.size()),
                                    arguments.data());
  }
  int result = 0;
  for (const struct scmp_arg_cmp& one : arguments) {
    if (result == 0) result = ::seccomp_rule_add_array(context, action, number, 1, &one);
  }
  return result;
}

StatusOrFailure add_rules(void* context, const SeccompProfile& profile, const SeccompTarget& target,
                          const std::string& name, std::vector<std::string>& unknown) {
  for (const SeccompRule& rule : profile.rules) {
    // libseccomp refuses rules that say what is said already.
    if (rule.action == profile.default_action || !counts(rule, target)) continue;
    for (const std::string& call : rule.names) {
      const int number = ::seccomp_syscall_resolve_name(call.c_str());
      if (number == __NR_SCMP_ERROR) {
        unknown.push_back(call);
        continue;
      }
      const int result = add_rule(context, rule.action, number, rule.arguments);
      if (result != 0) return explain_seccomp(result, name, call);
    }
  }
  return {};
}

ResultOrFailure<std::vector<struct sock_filter>> export_program(void* context, const std::string& name) {
  const UniqueFd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file.valid()) return explain(Errno::last(), kCompiling, name);
  const int result = ::seccomp_export_bpf(context, file.get());
  if (result != 0) return explain_seccomp(result, name, "making the program");
  struct stat about = {};
  if (::fstat(file.get(), &about) != 0) return explain(Errno::last(), kCompiling, name);
  const auto size = static_cast<std::size_t>(about.st_size);
  if (size == 0 || size % sizeof(struct sock_filter) != 0 ||
      size / sizeof(struct sock_filter) > BPF_MAXINSNS) {
    return refuse(kCompiling, name, fmt::format("a program of {} bytes is more than the kernel takes", size));
  }
  std::vector<struct sock_filter> program(size / sizeof(struct sock_filter));
  if (::pread(file.get(), program.data(), size, 0) != about.st_size) {
    return explain(Errno::last(), kCompiling, name);
  }
  return program;
}

}  // namespace

ResultOrFailure<SeccompFilter> compile_with_libseccomp(const SeccompProfile& profile,
                                                       const SeccompTarget& target, const std::string& name) {
  const Context context(::seccomp_init(profile.default_action));
  if (context == nullptr) return refuse(kCompiling, name, "libseccomp does not take its default action");
  VARVE_RETURN_IF_ERROR(add_architectures(context.get(), profile, target, name));
  SeccompFilter filter;
  VARVE_RETURN_IF_ERROR(add_rules(context.get(), profile, target, name, filter.unknown_calls));
  VARVE_ASSIGN(filter.program, export_program(context.get(), name));
  return filter;
}

ResultOrFailure<SeccompFilter> compile_seccomp_filter(const SeccompProfile& profile,
                                                      const SeccompTarget& target, const std::string& name) {
  VARVE_ASSIGN(SeccompFilter filter, compile_with_libseccomp(profile, target, name));
  filter.program = as_range_tree(filter.program);
  return filter;
}

CapabilitySet capabilities_named_by(const SeccompProfile& profile) {
  CapabilitySet named;
  for (const SeccompRule& rule : profile.rules) {
    named = named.with(rule.includes.capabilities).with(rule.excludes.capabilities);
  }
  return named;
}

KernelVersion running_kernel() {
  struct utsname names = {};
  KernelVersion version;
  ::uname(&names);
  // What does not read as a version is older than any.
  if (std::sscanf(names.release, "%d.%d", &version.major_number, &version.minor_number) != 2) return {};
  return version;
}

}  // namespace varve::launcher
