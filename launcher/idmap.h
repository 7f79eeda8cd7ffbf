#pragma once

// IdMap: how user and group ids inside a container's user namespace stand for ids outside (user_namespaces(7)).
// Two forms: root maps every id it has to itself, so that the owners of an image's files are right; an ordinary user
// has only one id to give, which is root inside. (Ranges of subordinate ids: issue 5.)
// Thread rule: plain values.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

struct IdRange {
  std::uint32_t inside = 0;
  std::uint32_t outside = 0;
  std::uint32_t count = 0;
  friend bool operator==(const IdRange&, const IdRange&) = default;
};

struct IdMap {
  std::vector<IdRange> uids;
  std::vector<IdRange> gids;
  // setgroups(2) is denied inside: the kernel's condition for an ordinary user's group map.
  bool deny_setgroups = false;

  bool maps_uid(std::uint32_t inside) const;
  bool maps_gid(std::uint32_t inside) const;
};

// The identity over the inside ids of this /proc/self/uid_map text ("inside outside count" lines): all that the
// calling process can give. Returns: EINVAL for other text.
Result<std::vector<IdRange>> identity_over(std::string_view map_text);

// The map that the calling process can give to a child: identity for root, its one id otherwise.
ResultOrFailure<IdMap> id_map_of_caller();

// "0 0 4294967295", ranges separated by ", ".
std::string to_text(const std::vector<IdRange>& ranges);

// Gives the map to the process `pid`, which has just been made in a new user namespace and waits.
StatusOrFailure write_id_map(pid_t pid, const IdMap& map);

}  // namespace varve::launcher
