#include "launcher/options/namespace_options.h"

#include <array>

#include "launcher/explain.h"
#include "launcher/options/option_list.h"

namespace varve::launcher {
namespace {

struct Word {
  const char* option;
  Namespace which;
  const std::string& value;
};

StatusOrFailure apply(const Word& word, NamespaceSet& shared) {
  const std::string doing = std::string("reading ") + word.option;
  const bool is_private =
      word.value == "private" || (word.which == Namespace::kIpc && word.value == "shareable");
  if (word.value == "host") {
    shared.add(word.which);
  } else if (is_private && shared.contains(word.which)) {
    return refuse(doing, word.value, "--share names this namespace");
  } else if (!is_private && !word.value.empty()) {
    return refuse(doing, word.value, "varve knows host and private (the default)");
  }
  return {};
}

}  // namespace

void declare_namespace_options(OptionList& list, NamespaceOptions& options) {
  list.add_option("--share", options.list,
                  "Namespaces to keep in common with the host: mnt,pid,net,ipc,uts,user,cgroup,time");
  list.add_option("--pid", options.pid, "host: as --share pid; private (default)");
  list.add_option("--ipc", options.ipc, "host: as --share ipc; private (default)");
  list.add_option("--uts", options.uts, "host: as --share uts; private (default)");
  list.add_option("--cgroupns", options.cgroup, "host: as --share cgroup; private (default)");
}

ResultOrFailure<NamespaceSet> choose_shared(const NamespaceOptions& options) {
  VARVE_ASSIGN(NamespaceSet shared, NamespaceSet::parse(options.list));
  const std::array<Word, 4> words = {{{"--pid", Namespace::kPid, options.pid},
                                      {"--ipc", Namespace::kIpc, options.ipc},
                                      {"--uts", Namespace::kUts, options.uts},
                                      {"--cgroupns", Namespace::kCgroup, options.cgroup}}};
  for (const Word& word : words) VARVE_RETURN_IF_ERROR(apply(word, shared));
  return shared;
}

}  // namespace varve::launcher
