#pragma once

// --share, and podman's words for single namespaces: --pid, --ipc, --uts, --cgroupns (--userns: id_options.h). Thread rule: stateless.

#include <string>

#include "fs/base/result.h"
#include "launcher/namespaces.h"

namespace varve::launcher {

class OptionList;

// What was typed.
struct NamespaceOptions {
  std::string list;  // --share
  std::string pid;   // "host", "private" or nothing; --ipc also "shareable"
  std::string ipc;
  std::string uts;
  std::string cgroup;
};
void declare_namespace_options(OptionList& list, NamespaceOptions& options);

// The namespaces to keep in common with the host. Returns: a Failure for a word that varve does not know, and for a
// namespace that is in --share and private at once.
ResultOrFailure<NamespaceSet> choose_shared(const NamespaceOptions& options);

}  // namespace varve::launcher
