#pragma once

// IdMap: how user and group ids inside a container's user namespace stand for ids outside (user_namespaces(7)).
// Root maps every id it has to itself, so that the owners of an image's files are right. An ordinary user is root inside and
// gives the ids of /etc/subuid and /etc/subgid besides, which set-user-id programs write; without them the own id is all there
// is. docs/decisions/0015-user-ids.md says why.
// Thread rule: plain values.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "launcher/options/id_options.h"
#include "launcher/subordinate_ids.h"

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
  // newuidmap and newgidmap, which write the map; empty: the launcher writes it itself.
  std::string uid_helper;
  std::string gid_helper;

  bool maps_uid(std::uint32_t inside) const;
  bool maps_gid(std::uint32_t inside) const;
  // More than one user id.
  bool maps_several() const;
};

// The identity over the inside ids of this /proc/self/uid_map text ("inside outside count" lines): all that the
// calling process can give. Returns: EINVAL for other text.
Result<std::vector<IdRange>> identity_over(std::string_view map_text);

// The map that the calling process can give to a child: identity for root, its one id otherwise.
ResultOrFailure<IdMap> id_map_of_caller();

// The map of the user namespace in which a process lives. Requires: `pid` means that process until the end of the call.
ResultOrFailure<IdMap> id_map_of(pid_t pid);

// `own` becomes `inside`, all other ids inside, from 0 on, come from the ranges in their order.
std::vector<IdRange> map_over(std::uint32_t own, std::uint32_t inside,
                              const std::vector<SubordinateRange>& ranges);

struct IdChoice {
  IdMap map;
  bool shares_host = false;  // no user namespace of its own
  std::string process_user;  // who the command is unless someone says otherwise; empty: the image says it
  std::string note;          // for --dry-run: why ids that one might expect are missing
};
// What --userns says for the caller. Without it: root has the identity, an ordinary user the ranges where they can be had, else
// the own id alone.
ResultOrFailure<IdChoice> choose_ids(const IdOptions& options, const IdSources& sources);

// "0 0 4294967295", ranges separated by ", ".
std::string to_text(const std::vector<IdRange>& ranges);

// Gives the map to the process `pid`, which has just been made in a new user namespace and waits. Helpers run both at once.
StatusOrFailure write_id_map(pid_t pid, const IdMap& map);

}  // namespace varve::launcher
