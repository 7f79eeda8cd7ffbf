#include "launcher/namespaces.h"

#include <sched.h>

#include <array>

#include "launcher/explain.h"

namespace varve::launcher {
namespace {

struct Known {
  Namespace which;
  std::string_view word;
  std::uint64_t clone_flag;
};

constexpr std::array<Known, 8> kKnown = {{
    {Namespace::kMount, "mnt", CLONE_NEWNS},
    {Namespace::kPid, "pid", CLONE_NEWPID},
    {Namespace::kNet, "net", CLONE_NEWNET},
    {Namespace::kIpc, "ipc", CLONE_NEWIPC},
    {Namespace::kUts, "uts", CLONE_NEWUTS},
    {Namespace::kUser, "user", CLONE_NEWUSER},
    {Namespace::kCgroup, "cgroup", CLONE_NEWCGROUP},
    {Namespace::kTime, "time", CLONE_NEWTIME},
}};

const Known* find_known(std::string_view word) {
  for (const Known& known : kKnown) {
    if (known.word == word) return &known;
  }
  return nullptr;
}

}  // namespace

ResultOrFailure<NamespaceSet> NamespaceSet::parse(std::string_view list) {
  NamespaceSet set;
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    const std::string_view word = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    if (word.empty()) continue;
    const Known* known = find_known(word);
    if (known == nullptr) {
      return refuse("reading a list of namespaces", word, "there is no such namespace",
                    "known are mnt, pid, net, ipc, uts, user, cgroup, time");
    }
    set.add(known->which);
  }
  return set;
}

std::uint64_t NamespaceSet::clone_flags() const {
  std::uint64_t flags = 0;
  for (const Known& known : kKnown) {
    if (contains(known.which)) flags |= known.clone_flag;
  }
  return flags;
}

std::string NamespaceSet::text() const {
  std::string words;
  for (const Known& known : kKnown) {
    if (!contains(known.which)) continue;
    if (!words.empty()) words += ',';
    words += known.word;
  }
  return words;
}

}  // namespace varve::launcher
