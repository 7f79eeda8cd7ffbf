#include "launcher/cgroup/hierarchies.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "fs/base/user_namespace.h"
#include "launcher/cgroup/group_files.h"

namespace varve::launcher {
namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// Space, tab, newline and backslash of a path are "\040" and so on there (proc(5)).
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t index = 0; index < text.size(); ++index) {
    const bool is_escape = text[index] == '\\' && index + 3 < text.size();
    const auto digit = [&](std::size_t at) { return static_cast<unsigned>(text[index + at] - '0'); };
    if (is_escape && digit(1) < 4 && digit(2) < 8 && digit(3) < 8) {
      plain += static_cast<char>(digit(1) * 64 + digit(2) * 8 + digit(3));
      index += 3;
    } else {
      plain += text[index];
    }
  }
  return plain;
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// The names of one v1 tree as both files write them: "cpu,cpuacct", "name=systemd". In mountinfo they stand among the
// super block's options.
bool is_option_of_super_block(const std::string& word) {
  static constexpr std::array<std::string_view, 8> kOthers = {
      "rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods", "nofavordynmods"};
  return std::find(kOthers.begin(), kOthers.end(), word) != kOthers.end() ||
         word.starts_with("release_agent=");
}

struct MountLine {
  CgroupHierarchy hierarchy;
  std::string root;                // which part of the tree is mounted
  std::vector<std::string> names;  // v1: controllers, name=
};

// "36 35 0:28 ROOT MOUNTPOINT OPTIONS [TAGS...] - TYPE SOURCE SUPER-OPTIONS". Returns: false for other file systems.
bool parse_mount_line(std::string_view line, MountLine& to) {
  const std::size_t dash = line.find(" - ");
  if (dash == std::string_view::npos) return false;
  const std::string_view tail = line.substr(dash + 3);
  if (!tail.starts_with("cgroup")) return false;
  const std::vector<std::string> about = split(tail, ' ');
  const std::vector<std::string> place = split(line.substr(0, dash), ' ');
  if (about.size() < 3 || place.size() < 6 || (about[0] != "cgroup" && about[0] != "cgroup2")) return false;
  to.hierarchy.is_v2 = about[0] == "cgroup2";
  to.root = unescape(place[3]);
  to.hierarchy.mount_point = unescape(place[4]);
  to.hierarchy.read_only = contains(split(place[5], ','), "ro") || contains(split(about[2], ','), "ro");
  if (to.hierarchy.is_v2) return true;
  for (std::string& word : split(about[2], ',')) {
    if (is_option_of_super_block(word)) continue;
    if (!word.starts_with("name=")) to.hierarchy.controllers.push_back(word);
    to.names.push_back(std::move(word));
  }
  return true;
}

// "5:cpu,cpuacct:/path", "0::/path". Returns: the path in the tree of `mount`, empty when there is none.
std::string group_path(std::string_view groups, const MountLine& mount) {
  for (const std::string& line : split(groups, '\n')) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::vector<std::string> names = split(std::string_view(line).substr(first + 1, second - first - 1), ',');
    const bool is_same =
        mount.hierarchy.is_v2 ? names.empty() : !names.empty() && contains(mount.names, names[0]);
    if (is_same) return line.substr(second + 1);
  }
  return "";
}

std::string directory_of(const MountLine& mount, const std::string& path) {
  if (path.empty()) return "";
  std::string_view rest = path;
  if (mount.root != "/") {
    if (!rest.starts_with(mount.root)) return "";
    rest.remove_prefix(mount.root.size());
    if (!rest.empty() && rest[0] != '/') return "";
  }
  while (!rest.empty() && rest.back() == '/') rest.remove_suffix(1);
  // "/.." begins the path of a group outside our cgroup namespace.
  if (rest.starts_with("/..")) return "";
  return mount.hierarchy.mount_point + std::string(rest);
}

// capget(2) of our own effective set.
bool has_capability(unsigned capability) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<struct __user_cap_data_struct, 2> data = {};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return false;
  return (data.at(capability / 32).effective & (1U << (capability % 32))) != 0;
}

}  // namespace

bool CgroupHierarchy::has(std::string_view controller) const {
  return contains(controllers, controller);
}

const CgroupHierarchy* CgroupHost::find(std::string_view controller) const {
  for (const CgroupHierarchy& hierarchy : hierarchies) {
    if (hierarchy.has(controller)) return &hierarchy;
  }
  return nullptr;
}

const CgroupHierarchy* CgroupHost::find_v2() const {
  for (const CgroupHierarchy& hierarchy : hierarchies) {
    if (hierarchy.is_v2) return &hierarchy;
  }
  return nullptr;
}

std::vector<CgroupHierarchy> parse_hierarchies(std::string_view mountinfo, std::string_view groups) {
  std::vector<CgroupHierarchy> found;
  std::vector<std::vector<std::string>> names;
  for (const std::string& line : split(mountinfo, '\n')) {
    MountLine mount;
    if (!parse_mount_line(line, mount)) continue;
    if (std::find(names.begin(), names.end(), mount.names) != names.end()) continue;  // version 2 has none
    mount.hierarchy.own_group = directory_of(mount, group_path(groups, mount));
    if (mount.hierarchy.is_v2) {
      mount.hierarchy.controllers = read_words(mount.hierarchy.mount_point + "/cgroup.controllers");
    }
    names.push_back(std::move(mount.names));
    found.push_back(std::move(mount.hierarchy));
  }
  return found;
}

CgroupHost cgroups_of_this_host() {
  CgroupHost host;
  const Result<std::string> mountinfo = read_group_file("/proc/self/mountinfo");
  const Result<std::string> groups = read_group_file("/proc/self/cgroup");
  if (mountinfo.ok() && groups.ok()) host.hierarchies = parse_hierarchies(*mountinfo, *groups);
  host.may_write = [](const std::string& path) { return ::access(path.c_str(), W_OK) == 0; };
  host.may_filter_devices = has_capability(CAP_SYS_ADMIN) && in_initial_user_namespace();
  return host;
}

}  // namespace varve::launcher
