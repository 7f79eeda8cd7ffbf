#include "fs/fuse/mount_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>

#include "fs/fuse/wake_latency.h"

namespace varve::fuse {
namespace {

// Splits at `separator` where no backslash stands before it; the backslashes stay. Empty fields are left out.
std::vector<std::string_view> split_unescaped(std::string_view text, char separator) {
  std::vector<std::string_view> fields;
  std::size_t start = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '\\') {
      ++i;
      continue;
    }
    if (i < text.size() && text[i] != separator) continue;
    const std::size_t end = std::min(i, text.size());
    if (end > start) fields.push_back(text.substr(start, end - start));
    start = i + 1;
  }
  return fields;
}

std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    plain.push_back(text[i]);
  }
  return plain;
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

template <std::size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Handed on to the kernel as they are.
constexpr std::array<std::string_view, 20> kKernelFlags = {"dev",
                                                           "nodev",
                                                           "suid",
                                                           "nosuid",
                                                           "exec",
                                                           "noexec",
                                                           "atime",
                                                           "noatime",
                                                           "relatime",
                                                           "norelatime",
                                                           "sync",
                                                           "async",
                                                           "dirsync",
                                                           "diratime",
                                                           "nodiratime",
                                                           "strictatime",
                                                           "nostrictatime",
                                                           "allow_other",
                                                           "default_permissions",
                                                           "lazytime"};
constexpr std::array<std::string_view, 4> kKernelValues = {"context", "fscontext", "defcontext",
                                                           "rootcontext"};

// Settings of overlayfs and fuse-overlayfs whose effect this file system has in any case, or never needs; and what
// mount(8) adds for itself.
constexpr std::array<std::string_view, 20> kAccepted = {
    "redirect_dir",     "metacopy", "index", "xino",     "userxattr",  "static_nlink", "noacl",
    "private",          "shared",   "auto",  "noauto",   "user",       "nofail",       "_netdev",
    "max_idle_threads", "threaded", "rw",    "clone_fd", "nolazytime", "default"};

// They change what owners the mount shows; ignoring them would show the wrong ones.
constexpr std::array<std::string_view, 3> kUnsupported = {"squash_to_root", "squash_to_uid", "squash_to_gid"};

StatusOrFailure read_lower_list(const std::string& path, MountOptions& options) {
  std::ifstream file(path);
  if (!file) return failure_from(Errno::last(), "lowerlist=" + path);
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) options.view.lower_paths.push_back(line);
  }
  return {};
}

struct Range {
  std::uint64_t least;
  std::uint64_t most;
};

StatusOrFailure set_number(std::string_view key, std::string_view value, Range range, std::uint64_t& number) {
  const std::optional<std::uint64_t> parsed = parse_number(value);
  if (!parsed || *parsed < range.least || *parsed > range.most) {
    return Failure{
        EINVAL, fmt::format("option {}={}: not a number from {} to {}", key, value, range.least, range.most)};
  }
  number = *parsed;
  return {};
}

StatusOrFailure set_durability(std::string_view value, MountOptions& options) {
  if (value == "volatile") {
    options.view.volatile_upper = true;
  } else if (value == "never") {
    options.view.thrown_away_upper = true;
  } else if (value != "strict" && value != "auto") {
    return Failure{EINVAL, fmt::format("option fsync={}: not one of strict, auto, volatile, never", value)};
  }
  return {};
}

StatusOrFailure set_id_map(std::string_view key, std::string_view value, IdMap& map) {
  auto parsed = IdMap::parse(value);
  if (!parsed.ok()) return Failure{EINVAL, fmt::format("option {}={}", key, parsed.error().message)};
  map = std::move(*parsed);
  return {};
}

// For options that are auto, on or off. Use: an enum with these three.
template <class Use>
StatusOrFailure set_use(std::string_view key, std::string_view value, Use& use) {
  if (value == "auto") {
    use = Use::kAuto;
  } else if (value == "on") {
    use = Use::kOn;
  } else if (value == "off") {
    use = Use::kOff;
  } else {
    return Failure{EINVAL, fmt::format("option {}={}: not one of auto, on, off", key, value)};
  }
  return {};
}

// The values that fuse-overlayfs knows.
StatusOrFailure set_override(std::string_view value, MountOptions& options) {
  if (value == "2") {
    options.view.override_owners = true;
  } else if (value == "1") {
    return Failure{
        ENOTSUP,
        "option xattr_permissions=1: owners in xattrs of the namespace security are not supported (use "
        "xattr_permissions=2)"};
  } else if (value != "0") {
    return Failure{EINVAL, fmt::format("option xattr_permissions={}: not one of 0, 2", value)};
  }
  return {};
}

StatusOrFailure set_cache(std::string_view key, std::string_view value, MountOptions& options) {
  std::uint64_t megabytes = 0;
  VARVE_RETURN_IF_ERROR(set_number(key, value, {1, std::uint64_t{1} << 20}, megabytes));
  options.view.cache_bytes = megabytes << 20;
  return {};
}

StatusOrFailure set_threads(std::string_view key, std::string_view value, MountOptions& options) {
  std::uint64_t threads = 0;
  VARVE_RETURN_IF_ERROR(set_number(key, value, {1, 1024}, threads));
  options.threads = static_cast<unsigned>(threads);
  return {};
}

StatusOrFailure set_wakeup(std::string_view key, std::string_view value, MountOptions& options) {
  std::uint64_t limit_us = 0;
  VARVE_RETURN_IF_ERROR(set_number(key, value, {0, WakeLatency::kMostUs}, limit_us));
  options.wakeup_us = static_cast<std::uint32_t>(limit_us);
  return {};
}

// Calls `with(key, shape of the value, what takes it)` for the options that have a value of their own, until it says true.
// Returns: whether it did. A row of calls and no table: nothing of it is there before it is asked for.
template <class With>
bool any_value_option(const With& with) {
  const auto add_layers = [](auto, std::string_view value, MountOptions& to) -> StatusOrFailure {
    for (const std::string_view path : split_unescaped(value, ':'))
      to.view.lower_paths.push_back(unescape(path));
    return {};
  };
  const auto path_to = [](auto member) {
    return [member](auto, std::string_view value, MountOptions& to) -> StatusOrFailure {
      member(to) = unescape(value);
      return {};
    };
  };
  const auto plain = [](auto set) {
    return [set](auto, std::string_view value, MountOptions& to) { return set(value, to); };
  };
  return with("lowerdir", "LAYER[:LAYER...]", add_layers) ||
         with("lowerlist", "FILE",
              plain([](auto value, MountOptions& to) { return read_lower_list(unescape(value), to); })) ||
         with("upperdir", "DIR", path_to([](MountOptions & to) -> auto& { return to.view.upper_path; })) ||
         with("workdir", "DIR", path_to([](MountOptions & to) -> auto& { return to.view.work_path; })) ||
         with("logfile", "FILE", path_to([](MountOptions & to) -> auto& { return to.log_file; })) ||
         with("fsync", "strict|auto|volatile|never", plain(set_durability)) ||
         with("uidmapping", "MAP",
              [](auto key, auto value, MountOptions& to) { return set_id_map(key, value, to.ids.users); }) ||
         with("gidmapping", "MAP",
              [](auto key, auto value, MountOptions& to) { return set_id_map(key, value, to.ids.groups); }) ||
         with("xattr_permissions", "0|2", plain(set_override)) ||
         with("passthrough", "auto|on|off",
              [](auto key, auto value, MountOptions& to) { return set_use(key, value, to.passthrough); }) ||
         with("uring", "auto|on|off",
              [](auto key, auto value, MountOptions& to) { return set_use(key, value, to.uring); }) ||
         with("cache_mb", "NUMBER", set_cache) || with("threads", "NUMBER", set_threads) ||
         with("wakeup_us", "NUMBER", set_wakeup);
}

// Returns: whether `key` is an option that has a value of its own.
ResultOrFailure<bool> set_value(std::string_view key, std::string_view value, MountOptions& options) {
  StatusOrFailure outcome;
  const bool known = any_value_option([&](std::string_view name, const char*, const auto& set) {
    if (name != key) return false;
    outcome = set(key, value, options);
    return true;
  });
  VARVE_RETURN_IF_ERROR(std::move(outcome));
  return known;
}

StatusOrFailure set_option(std::string_view field, MountOptions& options) {
  const std::size_t equals = field.find('=');
  const std::string_view key = field.substr(0, equals);
  const std::string_view value =
      equals == std::string_view::npos ? std::string_view{} : field.substr(equals + 1);
  if (is_one_of(key, kUnsupported)) {
    return Failure{
        ENOTSUP,
        fmt::format("option {}: showing one owner for all files is not supported (leave the option out)",
                    key)};
  }
  VARVE_ASSIGN(const bool known, set_value(key, value, options));
  if (known) return {};
  if (field == "ro") {
    options.read_only = true;
  } else if (field == "volatile") {
    options.view.volatile_upper = true;
  } else if (is_one_of(field, kKernelFlags) || is_one_of(key, kKernelValues)) {
    options.kernel_options.emplace_back(field);
    // The kernel leaves times of access to the daemon. The last one holds, as mount(8) has it.
    if (field == "noatime" || field == "relatime" || field == "strictatime" || field == "atime") {
      options.view.keep_access_times = field == "noatime";
    }
  } else if (!is_one_of(key, kAccepted)) {
    options.warnings.push_back(fmt::format("option {} is not known and is ignored", field));
  }
  return {};
}

}  // namespace

StatusOrFailure parse_mount_options(std::string_view text, MountOptions& options) {
  for (const std::string_view field : split_unescaped(text, ',')) {
    VARVE_RETURN_IF_ERROR(set_option(field, options));
  }
  return {};
}

std::vector<KnownMountOption> known_mount_options() {
  std::vector<KnownMountOption> known = {{"ro", ""}, {"volatile", ""}};
  any_value_option([&known](const char* name, const char* shape, const auto&) {
    known.push_back({name, shape});
    return false;
  });
  for (const std::string_view name : kKernelFlags) known.push_back({std::string(name), ""});
  for (const std::string_view name : kKernelValues) known.push_back({std::string(name), "CONTEXT"});
  for (const std::string_view name : kAccepted) known.push_back({std::string(name), "", true});
  for (const std::string_view name : kUnsupported) known.push_back({std::string(name), "", true});
  return known;
}

StatusOrFailure check_mount_options(const MountOptions& options) {
  const view::Options& view = options.view;
  if (view.lower_paths.empty() && view.upper_path.empty()) {
    return Failure{EINVAL, "nothing to mount (name layers with -o lowerdir=TOP:...:BOTTOM)"};
  }
  if (!view.upper_path.empty() && view.work_path.empty()) {
    return Failure{
        EINVAL,
        "upperdir= needs a work directory (add workdir=DIR, an empty directory on the same file system)"};
  }
  if (view.upper_path.empty() && !view.work_path.empty()) {
    return Failure{
        EINVAL, "workdir= without upperdir= (name both for a writable mount, neither for a read-only one)"};
  }
  return {};
}

}  // namespace varve::fuse
