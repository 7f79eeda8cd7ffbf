#include "launcher/idmap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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

std::string text_of_file(const std::string& path) {
  const std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Of lines "inside outside count". Returns: EINVAL for other text.
Result<std::vector<IdRange>> parse_map(std::string_view map_text) {
  std::vector<IdRange> ranges;
  std::istringstream lines{std::string(map_text)};
  IdRange range;
  while (lines >> range.inside >> range.outside >> range.count) ranges.push_back(range);
  if (ranges.empty() || !lines.eof()) return Errno{EINVAL};
  return ranges;
}

ResultOrFailure<std::vector<IdRange>> identity_from_file(const std::string& path) {
  const Result<std::vector<IdRange>> ranges = identity_over(text_of_file(path));
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

// An ordinary user's own id and ranges.
ResultOrFailure<IdMap> map_of_ranges(const IdSources& sources, std::uint32_t uid, std::uint32_t gid) {
  VARVE_ASSIGN(SubordinateIds ids, find_subordinate_ids(sources));
  return IdMap{.uids = map_over(sources.uid, uid, ids.uids),
               .gids = map_over(sources.gid, gid, ids.gids),
               .deny_setgroups = false,
               .uid_helper = std::move(ids.newuidmap),
               .gid_helper = std::move(ids.newgidmap)};
}

IdMap single_id(const IdSources& sources) {
  return IdMap{.uids = {{0, sources.uid, 1}}, .gids = {{0, sources.gid, 1}}, .deny_setgroups = true};
}

ResultOrFailure<std::uint32_t> parse_id(const std::string& text, const std::string& word) {
  std::uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id == UINT32_MAX) {
    return refuse("reading --userns", word, "it has no such id", "write keep-id:uid=N,gid=N");
  }
  return id;
}

// keep-id[:uid=N,gid=N]
ResultOrFailure<IdChoice> keep_id(const std::string& word, const IdSources& sources) {
  std::uint32_t uid = sources.uid;
  std::uint32_t gid = sources.gid;
  std::istringstream pairs(word.size() > sizeof "keep-id" ? word.substr(sizeof "keep-id") : "");
  for (std::string pair; std::getline(pairs, pair, ',');) {
    if (pair.rfind("uid=", 0) != 0 && pair.rfind("gid=", 0) != 0) {
      return refuse("reading --userns", word, pair + " is neither uid= nor gid=");
    }
    VARVE_ASSIGN(const std::uint32_t id, parse_id(pair.substr(4), word));
    (pair[0] == 'u' ? uid : gid) = id;
  }
  IdChoice choice;
  VARVE_ASSIGN(choice.map, map_of_ranges(sources, uid, gid));
  if (!choice.map.maps_uid(0) || !choice.map.maps_gid(0)) {
    return refuse("reading --userns", word, "nobody is left to be root inside");
  }
  choice.process_user = fmt::format("{}:{}", uid, gid);
  return choice;
}

// As podman: root's containers take their ids from those of a user "containers".
ResultOrFailure<IdChoice> ids_of_containers(IdSources sources) {
  constexpr std::uint32_t kWanted = 65536;
  sources.user_name = "containers";
  sources.uid = UINT32_MAX - 1;  // nobody's: the lines are for the name alone
  sources.gid = UINT32_MAX - 1;
  VARVE_ASSIGN(const SubordinateIds ids, find_subordinate_ids(sources));
  const auto first_of = [&](const SubordinateRange& range) {
    return std::vector<IdRange>{{0, range.first, std::min(range.count, kWanted)}};
  };
  return IdChoice{.map = IdMap{.uids = first_of(ids.uids.front()), .gids = first_of(ids.gids.front())}};
}

// newuidmap(1): PROGRAM PID INSIDE OUTSIDE COUNT...
std::vector<std::string> helper_words(const std::string& program, pid_t pid,
                                      const std::vector<IdRange>& ranges) {
  std::vector<std::string> words = {program, std::to_string(pid)};
  for (const IdRange& range : ranges) {
    for (const std::uint32_t number : {range.inside, range.outside, range.count})
      words.push_back(std::to_string(number));
  }
  return words;
}

ResultOrFailure<pid_t> start_helper(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, arguments[0], nullptr, nullptr, arguments.data(), environ);
  if (failed != 0) return explain(Errno{failed}, "mapping ids into the user namespace", words[0]);
  return pid;
}

StatusOrFailure end_of_helper(pid_t pid, const std::string& program) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return explain(Errno::last(), "mapping ids into the user namespace", program);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return refuse("mapping ids into the user namespace", program, "it failed and said why above",
                "it must be set-user-id, or --userns single does without it");
}

StatusOrFailure run_helpers(pid_t pid, const IdMap& map) {
  VARVE_ASSIGN(const pid_t uids, start_helper(helper_words(map.uid_helper, pid, map.uids)));
  const ResultOrFailure<pid_t> gids = start_helper(helper_words(map.gid_helper, pid, map.gids));
  const StatusOrFailure uids_done = end_of_helper(uids, map.uid_helper);
  if (!gids.ok()) return gids.error();
  const StatusOrFailure gids_done = end_of_helper(*gids, map.gid_helper);
  return uids_done.ok() ? gids_done : uids_done;
}

}  // namespace

std::vector<IdRange> map_over(std::uint32_t own, std::uint32_t inside,
                              const std::vector<SubordinateRange>& ranges) {
  std::vector<IdRange> map;
  std::uint64_t next = 0;
  for (const SubordinateRange& range : ranges) {
    std::uint64_t taken = 0;
    while (taken < range.count && next < UINT32_MAX) {
      if (next == inside) ++next;
      // Up to the user's own place, then past it.
      const std::uint64_t limit = next < inside ? inside : UINT32_MAX;
      const std::uint64_t count = std::min<std::uint64_t>(range.count - taken, limit - next);
      if (count == 0) break;
      map.push_back({static_cast<std::uint32_t>(next), static_cast<std::uint32_t>(range.first + taken),
                     static_cast<std::uint32_t>(count)});
      taken += count;
      next += count;
    }
  }
  const auto place =
      std::find_if(map.begin(), map.end(), [&](const IdRange& range) { return range.inside > inside; });
  map.insert(place, {inside, own, 1});
  return map;
}

ResultOrFailure<IdChoice> choose_ids(const IdOptions& options, const IdSources& sources) {
  const std::string& word = options.user_namespace;
  const bool is_root = sources.uid == 0;
  if (is_root && word == "host") return IdChoice{.shares_host = true};
  if (is_root && word == "auto") return ids_of_containers(sources);
  if (is_root && word.empty()) {
    IdChoice choice;
    VARVE_ASSIGN(choice.map, id_map_of_caller());
    return choice;
  }
  if (!is_root && word == "single") return IdChoice{.map = single_id(sources)};
  if (!is_root && (word == "keep-id" || word.rfind("keep-id:", 0) == 0)) return keep_id(word, sources);
  if (is_root || (!word.empty() && word != "host")) {
    return refuse("reading --userns", word,
                  is_root ? "root has host and auto" : "a user has host, keep-id and single",
                  "without --userns root keeps its ids, and a user gets the ranges of /etc/subuid");
  }
  IdChoice choice;
  ResultOrFailure<IdMap> ranges = map_of_ranges(sources, 0, 0);
  choice.map = ranges.ok() ? std::move(ranges).value() : single_id(sources);
  if (!ranges.ok()) choice.note = ranges.error().message;
  return choice;
}

bool IdMap::maps_uid(std::uint32_t inside) const {
  return covers(uids, inside);
}
bool IdMap::maps_gid(std::uint32_t inside) const {
  return covers(gids, inside);
}

bool IdMap::maps_several() const {
  return uids.size() > 1 || (uids.size() == 1 && uids[0].count > 1);
}

Result<std::vector<IdRange>> identity_over(std::string_view map_text) {
  VARVE_ASSIGN(std::vector<IdRange> ranges, parse_map(map_text));
  for (IdRange& range : ranges) range.outside = range.inside;
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

ResultOrFailure<IdMap> id_map_of(pid_t pid) {
  const std::string directory = fmt::format("/proc/{}/", pid);
  Result<std::vector<IdRange>> uids = parse_map(text_of_file(directory + "uid_map"));
  Result<std::vector<IdRange>> gids = parse_map(text_of_file(directory + "gid_map"));
  if (!uids.ok() || !gids.ok()) {
    return explain(Errno{EINVAL}, "reading the ids of a process", directory, "is /proc mounted?");
  }
  return IdMap{.uids = std::move(uids).value(),
               .gids = std::move(gids).value(),
               .deny_setgroups = text_of_file(directory + "setgroups") == "deny\n"};
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
  if (!map.uid_helper.empty()) return run_helpers(pid, map);
  if (map.deny_setgroups) VARVE_RETURN_IF_ERROR(write_proc_file(pid, "setgroups", "deny"));
  VARVE_RETURN_IF_ERROR(write_proc_file(pid, "uid_map", file_text(map.uids)));
  return write_proc_file(pid, "gid_map", file_text(map.gids));
}

}  // namespace varve::launcher
