#include "launcher/options/setting_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "launcher/explain.h"
#include "launcher/options/option_list.h"

namespace varve::launcher {
namespace {

constexpr const char* kReadingLimit = "reading --ulimit";
constexpr const char* kReadingSysctl = "reading --sysctl";

struct KnownLimit {
  std::string_view name;
  int resource;
};
constexpr std::array<KnownLimit, 15> kLimits = {{{"core", RLIMIT_CORE},
                                                 {"cpu", RLIMIT_CPU},
                                                 {"data", RLIMIT_DATA},
                                                 {"fsize", RLIMIT_FSIZE},
                                                 {"locks", RLIMIT_LOCKS},
                                                 {"memlock", RLIMIT_MEMLOCK},
                                                 {"msgqueue", RLIMIT_MSGQUEUE},
                                                 {"nice", RLIMIT_NICE},
                                                 {"nofile", RLIMIT_NOFILE},
                                                 {"nproc", RLIMIT_NPROC},
                                                 {"rss", RLIMIT_RSS},
                                                 {"rtprio", RLIMIT_RTPRIO},
                                                 {"rttime", RLIMIT_RTTIME},
                                                 {"sigpending", RLIMIT_SIGPENDING},
                                                 {"stack", RLIMIT_STACK}}};

std::optional<rlim_t> parse_limit(std::string_view text) {
  if (text == "-1" || text == "unlimited") return RLIM_INFINITY;
  rlim_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

ResultOrFailure<ResourceLimit> choose_limit(const std::string& word) {
  const std::size_t equals = word.find('=');
  if (equals == std::string::npos) return refuse(kReadingLimit, word, "it has the form NAME=SOFT[:HARD]");
  ResourceLimit limit;
  limit.name = word.substr(0, equals);
  const auto* known = std::find_if(kLimits.begin(), kLimits.end(),
                                   [&limit](const KnownLimit& one) { return one.name == limit.name; });
  if (known == kLimits.end()) {
    return refuse(
        kReadingLimit, word, "there is no such limit",
        "known are core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, "
        "rttime, sigpending, stack");
  }
  limit.resource = known->resource;
  const std::string values = word.substr(equals + 1);
  const std::size_t colon = values.find(':');
  const std::optional<rlim_t> soft = parse_limit(values.substr(0, colon));
  const std::optional<rlim_t> hard =
      colon == std::string::npos ? soft : parse_limit(values.substr(colon + 1));
  if (!soft || !hard) return refuse(kReadingLimit, word, "a limit is a number, or -1 for none");
  if (*soft > *hard) return refuse(kReadingLimit, word, "the soft limit is above the hard one");
  limit.value = {*soft, *hard};
  return limit;
}

bool begins_with(const std::string& text, std::string_view beginning) {
  return text.rfind(beginning, 0) == 0;
}

// The namespace that a value belongs to, if it is one of those that can be set.
std::optional<Namespace> namespace_of(const std::string& path) {
  if (begins_with(path, "net/")) return Namespace::kNet;
  if (path == "kernel/sem" || begins_with(path, "kernel/shm") || begins_with(path, "kernel/msg") ||
      begins_with(path, "fs/mqueue/")) {
    return Namespace::kIpc;
  }
  return std::nullopt;
}

bool is_plain_path(const std::string& path) {
  const std::string bounded = "/" + path + "/";
  return !path.empty() && bounded.find("//") == std::string::npos &&
         bounded.find("/../") == std::string::npos && bounded.find("/./") == std::string::npos;
}

ResultOrFailure<Sysctl> choose_sysctl(const std::string& word, NamespaceSet own) {
  const std::size_t equals = word.find('=');
  if (equals == std::string::npos || equals + 1 == word.size()) {
    return refuse(kReadingSysctl, word, "it has the form NAME=VALUE");
  }
  Sysctl sysctl{word.substr(0, equals), word.substr(equals + 1)};
  // With a slash anywhere, slashes separate and dots belong to the names, of interfaces above all (sysctl(8)).
  if (sysctl.path.find('/') == std::string::npos) {
    std::replace(sysctl.path.begin(), sysctl.path.end(), '.', '/');
  }
  if (!is_plain_path(sysctl.path)) return refuse(kReadingSysctl, word, "it is no name of a value");
  const std::optional<Namespace> owner = namespace_of(sysctl.path);
  if (!owner) {
    return refuse(kReadingSysctl, word, "this value is the whole host's",
                  "a container has kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* and net.* of its own");
  }
  if (!own.contains(*owner)) {
    return refuse(
        kReadingSysctl, word, "the container shares this value with the host, or with the container it joins",
        *owner == Namespace::kNet ? "it needs an own network namespace" : "it needs an own ipc namespace");
  }
  return sysctl;
}

std::string limit_text(rlim_t value) {
  return value == RLIM_INFINITY ? "unlimited" : std::to_string(value);
}

}  // namespace

void declare_setting_options(OptionList& list, SettingOptions& options) {
  list.add_repeated("--ulimit", options.limits, "Resource limit NAME=SOFT[:HARD], as nofile=1024:4096",
                    {.type = "NAME=SOFT[:HARD]"});
  list.add_repeated("--sysctl", options.sysctls,
                    "NAME=VALUE of the kernel for this container, as net.ipv4.ip_forward=1",
                    {.type = "NAME=VALUE"});
  list.add_option("--umask", options.umask, "Umask of the command, octal (default: 0022)", {.type = "MODE"});
}

ResultOrFailure<std::vector<ResourceLimit>> choose_limits(const std::vector<std::string>& words) {
  std::vector<ResourceLimit> limits;
  for (const std::string& word : words) {
    if (word == "host") continue;
    VARVE_ASSIGN(ResourceLimit limit, choose_limit(word));
    limits.push_back(std::move(limit));
  }
  return limits;
}

ResultOrFailure<std::vector<Sysctl>> choose_sysctls(const std::vector<std::string>& words, NamespaceSet own) {
  std::vector<Sysctl> sysctls;
  for (const std::string& word : words) {
    VARVE_ASSIGN(Sysctl sysctl, choose_sysctl(word, own));
    sysctls.push_back(std::move(sysctl));
  }
  if (!sysctls.empty() && !own.contains(Namespace::kMount)) {
    return refuse(kReadingSysctl, words[0], "it is set through the container's own /proc",
                  "leave mnt out of --share");
  }
  return sysctls;
}

ResultOrFailure<mode_t> choose_umask(const std::string& text) {
  constexpr mode_t kUsual = 022;
  if (text.empty()) return kUsual;
  mode_t mask = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mask, 8);
  if (error != std::errc() || end != text.data() + text.size() || mask > 0777) {
    return refuse("reading --umask", text, "it is no octal number up to 0777");
  }
  return mask;
}

std::string to_text(const std::vector<ResourceLimit>& limits) {
  std::string text;
  for (const ResourceLimit& limit : limits) {
    text += fmt::format("limit:        {} {}, at most {}\n", limit.name, limit_text(limit.value.rlim_cur),
                        limit_text(limit.value.rlim_max));
  }
  return text;
}

std::string to_text(const std::vector<Sysctl>& sysctls) {
  std::string text;
  for (const Sysctl& sysctl : sysctls)
    text += fmt::format("sysctl:       {} = {}\n", sysctl.path, sysctl.value);
  return text;
}

}  // namespace varve::launcher
