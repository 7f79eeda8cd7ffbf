#include "launcher/masked_paths.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>

#include "launcher/explain.h"

namespace varve::launcher {
namespace {

std::vector<std::string> split_paths(const std::string& word) {
  std::vector<std::string> paths;
  for (std::size_t begin = 0; begin <= word.size();) {
    const std::size_t end = std::min(word.find(':', begin), word.size());
    if (end > begin) paths.push_back(word.substr(begin, end - begin));
    begin = end + 1;
  }
  return paths;
}

bool remove_matching(std::vector<std::string>& paths, const std::string& pattern) {
  const auto fits = [&pattern](const std::string& path) {
    return ::fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME) == 0;
  };
  const auto kept = std::remove_if(paths.begin(), paths.end(), fits);
  const bool any = kept != paths.end();
  paths.erase(kept, paths.end());
  return any;
}

std::vector<std::string> missing_from(const std::vector<std::string>& paths,
                                      const std::vector<std::string>& all) {
  std::vector<std::string> missing;
  for (const std::string& path : all) {
    if (std::find(paths.begin(), paths.end(), path) == paths.end()) missing.push_back(path);
  }
  return missing;
}

}  // namespace

MaskedPaths MaskedPaths::defaults() {
  return {
      .hidden = {"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                 "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
                 "/proc/timer_stats", "/sys/firmware", "/sys/fs/selinux", "/sys/devices/virtual/powercap"},
      .read_only = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}};
}

ResultOrFailure<MaskedPaths> choose_masked_paths(const std::vector<std::string>& masked,
                                                 const std::vector<std::string>& unmasked) {
  constexpr const char* kUnmasking = "unmasking a path";
  MaskedPaths paths = MaskedPaths::defaults();
  for (const std::string& word : unmasked) {
    for (const std::string& pattern : split_paths(word)) {
      if (pattern == "ALL") {
        paths = {};
        continue;
      }
      if (pattern[0] != '/') return refuse(kUnmasking, pattern, "it is no absolute path");
      // Both, whichever is first.
      const bool was_hidden = remove_matching(paths.hidden, pattern);
      const bool was_read_only = remove_matching(paths.read_only, pattern);
      if (!was_hidden && !was_read_only) {
        return refuse(kUnmasking, pattern, "it fits no path that is still masked",
                      "docs/security.md has the list");
      }
    }
  }
  for (const std::string& word : masked) {
    for (const std::string& path : split_paths(word)) {
      if (path[0] != '/' || path.find_first_not_of('/') == std::string::npos) {
        return refuse("masking a path", path, "it is no absolute path of something below the root");
      }
      paths.hidden.push_back(path);
    }
  }
  return paths;
}

std::string to_text(const MaskedPaths& paths) {
  const MaskedPaths usual = MaskedPaths::defaults();
  std::string text = "as usual";
  const auto add = [&text](const char* what, const std::vector<std::string>& which) {
    if (!which.empty()) text += fmt::format(", {} {}", what, fmt::join(which, " "));
  };
  add("and", missing_from(usual.hidden, paths.hidden));
  add("but not", missing_from(paths.hidden, usual.hidden));
  add("writable", missing_from(paths.read_only, usual.read_only));
  return text;
}

}  // namespace varve::launcher
