#include "launcher/subordinate_ids.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>

#include "launcher/explain.h"
#include "launcher/inside/process.h"

namespace varve::launcher {
namespace {

constexpr const char* kLooking = "looking for subordinate ids";
// Of the kernel's map; one is the user's own (UID_GID_MAP_MAX_EXTENTS of linux/user_namespace.h).
constexpr std::size_t kMaxRanges = 339;

std::optional<std::uint32_t> number_of(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

struct Line {
  std::string_view owner;
  SubordinateRange range;
};
std::optional<Line> parse_line(std::string_view text) {
  const std::size_t one = text.find(':');
  const std::size_t two = one == std::string_view::npos ? one : text.find(':', one + 1);
  if (two == std::string_view::npos) return std::nullopt;
  const std::optional<std::uint32_t> first = number_of(text.substr(one + 1, two - one - 1));
  const std::optional<std::uint32_t> count = number_of(text.substr(two + 1));
  // The last id, 2^32 - 1, means "none" and is never mapped.
  if (!first || !count || *count == 0 || *count > UINT32_MAX - *first) return std::nullopt;
  return Line{text.substr(0, one), {*first, *count}};
}

bool overlap(const SubordinateRange& one, const SubordinateRange& other) {
  return one.first < other.first + other.count && other.first < one.first + one.count;
}

// Returns: empty when the user has no name.
std::string name_of_user(uid_t uid) {
  std::array<char, 16384> buffer{};
  struct passwd entry = {};
  struct passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) return {};
  return found->pw_name;
}

ResultOrFailure<std::vector<SubordinateRange>> ranges_in(const std::string& path, const std::string& name,
                                                         const IdSources& sources, std::uint32_t own) {
  std::ifstream file(path);
  std::stringstream text;
  if (file.is_open()) text << file.rdbuf();
  std::vector<SubordinateRange> ranges = subordinate_ranges(text.str(), name, sources.uid);
  const auto is_own = [own](const SubordinateRange& range) { return overlap(range, {own, 1}); };
  ranges.erase(std::remove_if(ranges.begin(), ranges.end(), is_own), ranges.end());
  if (!ranges.empty()) return ranges;
  const std::string user = name.empty() ? std::to_string(sources.uid) : name;
  return refuse(
      kLooking, path, "no line is for " + user,
      fmt::format("root gives some: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {}",
                  user));
}

ResultOrFailure<std::string> find_helper(const std::string& name, const std::string& path) {
  Result<std::string> found = find_program(name, path);
  if (!found.ok()) return explain(found.error(), kLooking, name, "install the package uidmap");
  return std::move(found).value();
}

}  // namespace

std::vector<SubordinateRange> subordinate_ranges(std::string_view file_text, std::string_view name,
                                                 std::uint32_t id) {
  const std::string number = std::to_string(id);
  std::vector<SubordinateRange> ranges;
  for (std::size_t begin = 0; begin < file_text.size() && ranges.size() < kMaxRanges;) {
    const std::size_t end = std::min(file_text.find('\n', begin), file_text.size());
    const std::optional<Line> line = parse_line(file_text.substr(begin, end - begin));
    begin = end + 1;
    if (!line || line->owner.empty() || (line->owner != name && line->owner != number)) continue;
    const auto is_taken = [&](const SubordinateRange& range) { return overlap(range, line->range); };
    if (std::none_of(ranges.begin(), ranges.end(), is_taken)) ranges.push_back(line->range);
  }
  return ranges;
}

IdSources id_sources_of_this_process() {
  IdSources sources;
  sources.uid = ::geteuid();
  sources.gid = ::getegid();
  const char* path = std::getenv("PATH");
  sources.program_path = std::string(path == nullptr ? "" : path) + ":/usr/bin:/bin";
  return sources;
}

ResultOrFailure<SubordinateIds> find_subordinate_ids(const IdSources& sources) {
  SubordinateIds ids;
  const std::string name = sources.user_name ? *sources.user_name : name_of_user(sources.uid);
  VARVE_ASSIGN(ids.uids, ranges_in(sources.subuid_file, name, sources, sources.uid));
  VARVE_ASSIGN(ids.gids, ranges_in(sources.subgid_file, name, sources, sources.gid));
  VARVE_ASSIGN(ids.newuidmap, find_helper("newuidmap", sources.program_path));
  VARVE_ASSIGN(ids.newgidmap, find_helper("newgidmap", sources.program_path));
  return ids;
}

}  // namespace varve::launcher
