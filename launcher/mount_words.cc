#include "launcher/mount_words.h"

#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>

#include "imagetool/image/store/container_state.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr std::uint64_t kTmpfsDefaults = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == separator) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

struct AttributeWord {
  std::string_view word;
  std::uint64_t attribute;
  bool is_set;
};
constexpr std::array<AttributeWord, 10> kAttributeWords = {{{"ro", MOUNT_ATTR_RDONLY, true},
                                                            {"readonly", MOUNT_ATTR_RDONLY, true},
                                                            {"rw", MOUNT_ATTR_RDONLY, false},
                                                            {"nosuid", MOUNT_ATTR_NOSUID, true},
                                                            {"suid", MOUNT_ATTR_NOSUID, false},
                                                            {"nodev", MOUNT_ATTR_NODEV, true},
                                                            {"dev", MOUNT_ATTR_NODEV, false},
                                                            {"noexec", MOUNT_ATTR_NOEXEC, true},
                                                            {"exec", MOUNT_ATTR_NOEXEC, false},
                                                            {"noatime", MOUNT_ATTR_NOATIME, true}}};

bool is_number(std::string_view text, int base) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc() && end == text.data() + text.size();
}

// Values that tmpfs(5) takes; checked here so that what is wrong is named before anything is done.
bool is_tmpfs_parameter(const std::string& key, std::string value) {
  if (key == "mode") return is_number(value, 8) && value.size() <= 5;
  if (key == "uid" || key == "gid") return is_number(value, 10);
  if (key != "size" && key != "nr_inodes") return false;
  constexpr std::string_view kUnits = "kKmMgG";
  const bool has_unit = !value.empty() && (kUnits.find(value.back()) != std::string_view::npos ||
                                           (key == "size" && value.back() == '%'));
  if (has_unit) value.pop_back();
  return is_number(value, 10);
}

StatusOrFailure refuse_word(const std::string& text, const std::string& word, const char* why,
                            const char* advice = "see podman-run(1) for the words of a mount") {
  return refuse("reading a mount", text, word + ": " + why, advice);
}

// A word that only some kinds of mounts have. Returns: false when it is none of those.
bool apply_kind_word(const std::string& word, MountEntry& entry) {
  const bool is_bind = entry.kind == MountEntry::Kind::kBind;
  const bool is_volume = entry.kind == MountEntry::Kind::kVolume;
  const bool is_tmpfs = entry.kind == MountEntry::Kind::kTmpfs;
  if (is_bind && (word == "bind" || word == "rbind")) {
    entry.recursive = word == "rbind";
    return true;
  }
  if ((is_volume && (word == "copy" || word == "nocopy")) ||
      (is_tmpfs && (word == "tmpcopyup" || word == "notmpcopyup"))) {
    entry.copies_image = word[0] != 'n';
    return true;
  }
  return false;
}

StatusOrFailure apply_word(const std::string& word, const std::string& text, MountEntry& entry) {
  if (word.empty() || word == "private" || word == "rprivate") return {};
  for (const AttributeWord& known : kAttributeWords) {
    if (word != known.word) continue;
    entry.attributes =
        known.is_set ? entry.attributes | known.attribute : entry.attributes & ~known.attribute;
    return {};
  }
  if (apply_kind_word(word, entry)) return {};
  if (word == "z" || word == "Z") {
    entry.note = word + " is passed over: files get no SELinux labels";
    return {};
  }
  if (word == "U") {
    return refuse_word(text, word, "the launcher gives no host files to others",
                       "chown them, or choose ids with --userns");
  }
  if (word == "shared" || word == "rshared" || word == "slave" || word == "rslave") {
    return refuse_word(text, word, "a container's mounts are private", "leave it out");
  }
  const std::size_t equals = word.find('=');
  if (entry.kind == MountEntry::Kind::kTmpfs && equals != std::string::npos) {
    const std::string key = word.substr(0, equals);
    if (is_tmpfs_parameter(key, word.substr(equals + 1))) {
      entry.parameters.emplace_back(key, word.substr(equals + 1));
      return {};
    }
  }
  return refuse_word(text, word, "there is no such option for this kind of mount, or it has another value");
}

StatusOrFailure apply_words(const std::string& words, const std::string& text, MountEntry& entry) {
  for (const std::string& word : split(words, ',')) VARVE_RETURN_IF_ERROR(apply_word(word, text, entry));
  return {};
}

// SOURCE of -v: a path begins with '/' or '.', all else is the name of a volume.
StatusOrFailure take_volume_source(const std::string& source, const std::string& text, MountEntry& entry) {
  entry.source = source;
  const bool is_path = !source.empty() && (source[0] == '/' || source[0] == '.');
  entry.kind = is_path ? MountEntry::Kind::kBind : MountEntry::Kind::kVolume;
  if (is_path || image::is_container_name(source)) return {};
  return refuse("reading a mount", text, "the source is neither a path nor the name of a volume",
                "a path begins with '/' or './'");
}

// key=value of --mount that are not words of -v.
StatusOrFailure apply_mount_pair(const std::string& key, const std::string& value, const std::string& text,
                                 MountEntry& entry) {
  if (key == "ro" || key == "readonly" || key == "rw") {
    if (value != "true" && value != "false") return refuse_word(text, key, "it is true or false");
    return apply_word((key != "rw") == (value == "true") ? "ro" : "rw", text, entry);
  }
  if (key == "bind-propagation") return apply_word(value, text, entry);
  if (key == "bind-nonrecursive" && entry.kind == MountEntry::Kind::kBind) {
    return apply_word(value == "true" ? "bind" : "rbind", text, entry);
  }
  if (key == "tmpfs-size" || key == "tmpfs-mode") return apply_word(key.substr(6) + "=" + value, text, entry);
  return apply_word(key + "=" + value, text, entry);
}

StatusOrFailure take_mount_type(const std::string& type, const std::string& text, MountEntry& entry) {
  if (type == "bind") {
    entry.kind = MountEntry::Kind::kBind;
  } else if (type == "volume") {
    entry.kind = MountEntry::Kind::kVolume;
  } else if (type == "tmpfs") {
    entry.kind = MountEntry::Kind::kTmpfs;
    entry.attributes = kTmpfsDefaults;
  } else {
    return refuse_word(text, "type=" + type, "it is bind, volume or tmpfs");
  }
  return {};
}

StatusOrFailure check_mount_source(const std::string& text, const MountEntry& entry) {
  if (entry.kind == MountEntry::Kind::kBind && entry.source.empty()) {
    return refuse("reading a mount", text, "a bind needs a source", "add source=HOST-PATH");
  }
  if (entry.kind == MountEntry::Kind::kTmpfs && !entry.source.empty()) {
    return refuse("reading a mount", text, "a tmpfs has no source", "leave source= out");
  }
  if (entry.kind == MountEntry::Kind::kVolume && !entry.source.empty() &&
      !image::is_container_name(entry.source)) {
    return refuse("reading a mount", text, "the source is no name of a volume", "a path needs type=bind");
  }
  return {};
}

}  // namespace

bool lies_in(std::string_view path, std::string_view directory) {
  return path.substr(0, directory.size()) == directory &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

ResultOrFailure<std::string> parse_target(const std::string& path, const std::string& text) {
  if (path.empty() || path[0] != '/') {
    return refuse("reading a mount", text, "the path in the container is not absolute", "it begins with '/'");
  }
  std::string plain = std::filesystem::path(path).lexically_normal().string();
  while (plain.size() > 1 && plain.back() == '/') plain.pop_back();
  // A path may begin with two slashes (POSIX); to us that is one.
  plain.erase(0, std::min(plain.find_first_not_of('/'), plain.size()));
  plain.insert(0, "/");
  if (plain == "/") return refuse("reading a mount", text, "nothing is mounted over the container's root");
  if (lies_in(plain, "/proc") || lies_in(plain, "/sys")) {
    return refuse("reading a mount", text, "nothing is mounted in /proc and /sys",
                  "what is hidden there must stay hidden");
  }
  return plain;
}

ResultOrFailure<MountEntry> parse_volume(const std::string& text) {
  const std::vector<std::string> parts = split(text, ':');
  if (parts.size() > 3) {
    return refuse("reading a mount", text, "it has more than three parts",
                  "write [SOURCE:]TARGET[:OPTIONS]; a path with a colon goes into --mount");
  }
  MountEntry entry;
  if (parts.size() == 1) {
    entry.kind = MountEntry::Kind::kVolume;
  } else {
    VARVE_RETURN_IF_ERROR(take_volume_source(parts[0], text, entry));
  }
  VARVE_ASSIGN(entry.target, parse_target(parts[parts.size() == 1 ? 0 : 1], text));
  if (parts.size() == 3) VARVE_RETURN_IF_ERROR(apply_words(parts[2], text, entry));
  return entry;
}

ResultOrFailure<MountEntry> parse_tmpfs(const std::string& text) {
  const std::size_t colon = text.find(':');
  MountEntry entry;
  entry.kind = MountEntry::Kind::kTmpfs;
  entry.attributes = kTmpfsDefaults;
  VARVE_ASSIGN(entry.target, parse_target(text.substr(0, colon), text));
  if (colon != std::string::npos) VARVE_RETURN_IF_ERROR(apply_words(text.substr(colon + 1), text, entry));
  return entry;
}

ResultOrFailure<MountEntry> parse_mount(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> pairs;
  MountEntry entry;
  VARVE_RETURN_IF_ERROR(take_mount_type("volume", text, entry));
  for (const std::string& word : split(text, ',')) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (key == "type") {
      VARVE_RETURN_IF_ERROR(take_mount_type(value, text, entry));
    } else if (key == "source" || key == "src") {
      entry.source = value;
    } else if (key == "target" || key == "dst" || key == "destination") {
      VARVE_ASSIGN(entry.target, parse_target(value, text));
    } else {
      pairs.emplace_back(word, value);
    }
  }
  // Afterwards: what a word means depends on the type, which may stand anywhere.
  for (const auto& [word, value] : pairs) {
    const std::size_t equals = word.find('=');
    VARVE_RETURN_IF_ERROR(equals == std::string::npos
                              ? apply_word(word, text, entry)
                              : apply_mount_pair(word.substr(0, equals), value, text, entry));
  }
  if (entry.target.empty()) return refuse("reading a mount", text, "it has no target", "add target=PATH");
  VARVE_RETURN_IF_ERROR(check_mount_source(text, entry));
  return entry;
}

ResultOrFailure<DeviceWords> parse_device(const std::string& text) {
  std::vector<std::string> parts = split(text, ':');
  const auto is_access = [](const std::string& word) {
    return !word.empty() && word.find_first_not_of("rwm") == std::string::npos;
  };
  DeviceWords device;
  device.access = "rwm";
  if (parts.size() > 1 && is_access(parts.back())) {
    device.access = parts.back();
    parts.pop_back();
  }
  device.host_path = parts[0];
  if (parts.size() > 2 || device.host_path.empty() || device.host_path[0] != '/') {
    return refuse("reading --device", text, "this is no device", "write /dev/NAME[:/dev/NAME-INSIDE][:rwm]");
  }
  VARVE_ASSIGN(device.container_path, parse_target(parts.back(), text));
  return device;
}

ResultOrFailure<std::uint64_t> parse_byte_size(const std::string& text, const char* option) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  constexpr std::string_view kUnits = "bkmg";
  const char letter = unit.empty() ? 'b' : static_cast<char>(unit[0] | 0x20);
  const std::size_t thousands = kUnits.find(letter);
  if (error != std::errc() || unit.size() > 1 || thousands == std::string_view::npos ||
      number > (UINT64_MAX >> (10 * thousands))) {
    return refuse(std::string("reading ") + option, text, "this is no size",
                  "write a number with b, k, m or g: 64m");
  }
  return number << (10 * thousands);
}

}  // namespace varve::launcher
