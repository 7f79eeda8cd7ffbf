#pragma once

// --share, and podman's words for single namespaces: --pid, --ipc, --uts, --cgroupns, with the words "container:NAME" of --network
// and --userns, which belong to the same question (the rest of those two: network_options.h, id_options.h). Thread rule: stateless.

#include <string>

#include "fs/base/result.h"
#include "launcher/namespaces.h"

namespace varve::launcher {

class OptionList;

// What was typed.
struct NamespaceOptions {
  std::string list;  // --share
  std::string pid;   // "host", "private", "container:NAME" or nothing; --ipc also "shareable"
  std::string ipc;
  std::string uts;
  std::string cgroup;  // not "container:NAME"
};
void declare_namespace_options(OptionList& list, NamespaceOptions& options);

// Namespaces of another container to live in.
struct JoinWords {
  std::string container;    // its name; empty: none
  NamespaceSet namespaces;  // those that were typed
};

struct NamespaceChoice {
  NamespaceSet shared;  // to keep in common with the host
  JoinWords joined;
};
// `network`, `user`: what was typed after --network and --userns; other words of theirs than container:NAME are left to their own
// rooms. Returns: a Failure for a word that varve does not know, for a namespace that is in --share and something else at once,
// and for names of two containers.
ResultOrFailure<NamespaceChoice> choose_namespaces(const NamespaceOptions& options,
                                                   const std::string& network = {},
                                                   const std::string& user = {});

// The NAME of "container:NAME"; empty for other words and for an empty name.
std::string joined_container(const std::string& word);
bool is_container_word(const std::string& word);

}  // namespace varve::launcher
