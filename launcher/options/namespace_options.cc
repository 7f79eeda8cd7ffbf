#include "launcher/options/namespace_options.h"

#include <array>
#include <string_view>

#include "launcher/explain.h"
#include "launcher/options/option_list.h"

namespace varve::launcher {
namespace {

constexpr std::string_view kContainer = "container:";

struct Word {
  const char* option;
  Namespace which;
  const std::string& value;
  bool other_words = false;  // that are not for us to judge
};

StatusOrFailure join(const Word& word, NamespaceChoice& choice) {
  const std::string doing = std::string("reading ") + word.option;
  const std::string container = joined_container(word.value);
  if (container.empty()) return refuse(doing, word.value, "it names no container", "write container:NAME");
  if (word.which == Namespace::kCgroup) {
    return refuse(doing, word.value, "varve knows host and private (the default)");
  }
  if (choice.shared.contains(word.which)) {
    return refuse(doing, word.value, "--share names this namespace", "leave one of the two out");
  }
  if (!choice.joined.container.empty() && choice.joined.container != container) {
    return refuse(doing, word.value, "another option names " + choice.joined.container,
                  "all namespaces that are joined must be of one container");
  }
  choice.joined.container = container;
  choice.joined.namespaces.add(word.which);
  return {};
}

StatusOrFailure apply(const Word& word, NamespaceChoice& choice) {
  if (is_container_word(word.value)) return join(word, choice);
  if (word.other_words) return {};
  const std::string doing = std::string("reading ") + word.option;
  const bool is_private =
      word.value == "private" || (word.which == Namespace::kIpc && word.value == "shareable");
  if (word.value == "host") {
    choice.shared.add(word.which);
  } else if (is_private && choice.shared.contains(word.which)) {
    return refuse(doing, word.value, "--share names this namespace");
  } else if (!is_private && !word.value.empty()) {
    return refuse(doing, word.value,
                  word.which == Namespace::kCgroup
                      ? "varve knows host and private (the default)"
                      : "varve knows host, container:NAME and private (the default)");
  }
  return {};
}

}  // namespace

void declare_namespace_options(OptionList& list, NamespaceOptions& options) {
  list.add_option("--share", options.list,
                  "Namespaces to keep in common with the host: mnt,pid,net,ipc,uts,user,cgroup,time",
                  {.type = "LIST"});
  list.add_option("--pid", options.pid,
                  "host: as --share pid; container:NAME: that of a running container; private (default)",
                  {.type = "host|private|container:NAME"});
  list.add_option("--ipc", options.ipc, "host, container:NAME or private, as --pid",
                  {.type = "host|private|container:NAME"});
  list.add_option("--uts", options.uts, "host, container:NAME or private, as --pid",
                  {.type = "host|private|container:NAME"});
  list.add_option("--cgroupns", options.cgroup, "host: as --share cgroup; private (default)",
                  {.type = "host|private"});
}

bool is_container_word(const std::string& word) {
  return word.rfind(kContainer, 0) == 0;
}

std::string joined_container(const std::string& word) {
  return is_container_word(word) ? word.substr(kContainer.size()) : std::string();
}

ResultOrFailure<NamespaceChoice> choose_namespaces(const NamespaceOptions& options,
                                                   const std::string& network, const std::string& user) {
  NamespaceChoice choice;
  VARVE_ASSIGN(choice.shared, NamespaceSet::parse(options.list));
  const std::array<Word, 6> words = {{{"--pid", Namespace::kPid, options.pid},
                                      {"--ipc", Namespace::kIpc, options.ipc},
                                      {"--uts", Namespace::kUts, options.uts},
                                      {"--cgroupns", Namespace::kCgroup, options.cgroup},
                                      {"--network", Namespace::kNet, network, true},
                                      {"--userns", Namespace::kUser, user, true}}};
  for (const Word& word : words) VARVE_RETURN_IF_ERROR(apply(word, choice));
  if (!choice.joined.container.empty() && options.cgroup == "private") {
    return refuse("reading --cgroupns", options.cgroup,
                  "who joins namespaces of a container has its cgroup namespace, too", "leave it out");
  }
  return choice;
}

}  // namespace varve::launcher
