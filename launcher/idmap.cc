#include "launcher/idmap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "fs/base/unique_fd.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

bool covers(const std::vector<IdRange>& ranges, std::uint32_t inside) {
  return std::any_of(ranges.begin(), ranges.end(), [inside](const IdRange& range) {
    return inside >= range.inside && inside - range.inside < range.count;
  });
}

ResultOrFailure<std::vector<IdRange>> identity_from_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  const Result<std::vector<IdRange>> ranges = identity_over(text.str());
  if (!ranges.ok())
    return explain(ranges.error(), "reading the ids that can be mapped", path, "is /proc mounted?");
  return *ranges;
}

// The kernel takes a map in one write, once.
StatusOrFailure write_proc_file(pid_t pid, const char* name, const std::string& text) {
  const std::string path = fmt::format("/proc/{}/{}", pid, name);
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid() || ::write(file.get(), text.data(), text.size()) < 0) {
    return explain(Errno::last(), "mapping ids into the user namespace", fmt::format("{} <- {}", path, text),
                   "root needs CAP_SETUID and CAP_SETGID for this; --share user does without");
  }
  return {};
}

std::string file_text(const std::vector<IdRange>& ranges) {
  std::string text;
  for (const IdRange& range : ranges)
    text += fmt::format("{} {} {}\n", range.inside, range.outside, range.count);
  return text;
}

}  // namespace

bool IdMap::maps_uid(std::uint32_t inside) const {
  return covers(uids, inside);
}
bool IdMap::maps_gid(std::uint32_t inside) const {
  return covers(gids, inside);
}

Result<std::vector<IdRange>> identity_over(std::string_view map_text) {
  std::vector<IdRange> ranges;
  std::istringstream lines{std::string(map_text)};
  std::uint32_t inside = 0;
  std::uint32_t outside = 0;
  std::uint32_t count = 0;
  while (lines >> inside >> outside >> count) ranges.push_back({inside, inside, count});
  if (ranges.empty() || !lines.eof()) return Errno{EINVAL};
  return ranges;
}

ResultOrFailure<IdMap> id_map_of_caller() {
  if (::geteuid() != 0) {
    return IdMap{.uids = {{0, ::geteuid(), 1}}, .gids = {{0, ::getegid(), 1}}, .deny_setgroups = true};
  }
  VARVE_ASSIGN(std::vector<IdRange> uids, identity_from_file("/proc/self/uid_map"));
  VARVE_ASSIGN(std::vector<IdRange> gids, identity_from_file("/proc/self/gid_map"));
  return IdMap{.uids = std::move(uids), .gids = std::move(gids), .deny_setgroups = false};
}

std::string to_text(const std::vector<IdRange>& ranges) {
  std::string text;
  for (const IdRange& range : ranges) {
    if (!text.empty()) text += ", ";
    text += fmt::format("{} {} {}", range.inside, range.outside, range.count);
  }
  return text;
}

StatusOrFailure write_id_map(pid_t pid, const IdMap& map) {
  if (map.deny_setgroups) VARVE_RETURN_IF_ERROR(write_proc_file(pid, "setgroups", "deny"));
  VARVE_RETURN_IF_ERROR(write_proc_file(pid, "uid_map", file_text(map.uids)));
  return write_proc_file(pid, "gid_map", file_text(map.gids));
}

}  // namespace varve::launcher
