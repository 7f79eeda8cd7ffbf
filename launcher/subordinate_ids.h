#pragma once

// subordinate_ids: the user and group ids that an ordinary user may give to containers besides the own one: what
// /etc/subuid and /etc/subgid say (subuid(5), subgid(5)) and the set-user-id programs newuidmap(1) and newgidmap(1) allow.
// Ids from other sources of nsswitch.conf are not asked for. Thread rule: stateless.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

struct SubordinateRange {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  friend bool operator==(const SubordinateRange&, const SubordinateRange&) = default;
};

// The ranges of lines "OWNER:FIRST:COUNT" whose owner is the user, by name or by number, in the order of the file, as
// getsubids(1) tells them. Lines that are none are passed over, as shadow's own reader does; so is what overlaps an earlier
// range, or the user's own id, since the kernel takes no map with that.
std::vector<SubordinateRange> subordinate_ranges(std::string_view file_text, std::string_view name,
                                                 std::uint32_t id);

// Where subordinate ids are looked for.
struct IdSources {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::optional<std::string> user_name;  // unset: that of `uid` is looked up; empty: there is none
  std::string subuid_file = "/etc/subuid";
  std::string subgid_file = "/etc/subgid";
  std::string program_path;  // directories with newuidmap and newgidmap, separated by ':'
};
IdSources id_sources_of_this_process();

struct SubordinateIds {
  std::vector<SubordinateRange> uids;
  std::vector<SubordinateRange> gids;
  std::string newuidmap;  // absolute paths
  std::string newgidmap;
};
// Returns: a Failure that says what is missing and how to get it.
ResultOrFailure<SubordinateIds> find_subordinate_ids(const IdSources& sources);

}  // namespace varve::launcher
