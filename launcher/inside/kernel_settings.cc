#include "launcher/inside/kernel_settings.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <unistd.h>

#include <string>

#include "launcher/explain.h"
#include "launcher/kernel/mount_calls.h"

namespace varve::launcher {
namespace {

// `path`: below sys of the /proc at `proc_fd`.
StatusOrFailure write_setting(int proc_fd, const std::string& path, const std::string& value) {
  constexpr const char* kSetting = "setting a value of the kernel";
  const Result<UniqueFd> file = open_beneath(proc_fd, "sys/" + path, O_WRONLY | O_NOFOLLOW);
  if (!file.ok()) return explain(file.error(), kSetting, path);
  // Never into a file that something else put there.
  if (!is_on_file_system(file->get(), PROC_SUPER_MAGIC)) {
    return refuse(kSetting, path, "this is no file of the kernel's");
  }
  if (::write(file->get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    return explain(Errno::last(), kSetting, path + "=" + value);
  }
  return {};
}

}  // namespace

StatusOrFailure forbid_cgroup_namespaces(int proc_fd) {
  return write_setting(proc_fd, "user/max_cgroup_namespaces", "0");
}

StatusOrFailure write_sysctls(int proc_fd, const std::vector<Sysctl>& sysctls) {
  for (const Sysctl& sysctl : sysctls)
    VARVE_RETURN_IF_ERROR(write_setting(proc_fd, sysctl.path, sysctl.value));
  return {};
}

}  // namespace varve::launcher
