#pragma once

// containers: `varve ps`, `rm` and `inspect`: what is told of containers, and done to them, without entering them.
// Thread rule: stateless.

#include <string>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

struct ListOptions {
  std::string store;  // empty: image::default_store_path()
  bool all = false;   // stopped ones too
  bool json = false;
  bool quiet = false;  // names only
};
// Returns: the text for standard output.
ResultOrFailure<std::string> list_containers(const ListOptions& options);

// Returns: a JSON array, one object for each name. A Failure, ENOENT, for a name that there is none of.
ResultOrFailure<std::string> inspect_containers(const std::string& store,
                                                const std::vector<std::string>& names);

struct RemoveOptions {
  std::string store;
  std::vector<std::string> names;
  bool force = false;  // running ones are killed
};
// Removes stopped containers with all that was written in them. Returns: a Failure for the first that runs or is none.
StatusOrFailure remove_containers(const RemoveOptions& options);

// Removes all that do not run, and what killed ones have left. Returns: the names, one on each line.
ResultOrFailure<std::string> prune_containers(const std::string& store);

}  // namespace varve::launcher
