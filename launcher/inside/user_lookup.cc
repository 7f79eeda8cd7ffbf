#include "launcher/inside/user_lookup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "fs/base/unique_fd.h"
#include "launcher/explain.h"
#include "launcher/kernel/mount_calls.h"

namespace varve::launcher {
namespace {

constexpr std::size_t kMaxFileBytes = 1 << 20;

std::string read_regular_file(int root_fd, const char* path) {
  const Result<UniqueFd> file = open_beneath(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  struct stat about = {};
  if (!file.ok() || ::fstat(file->get(), &about) != 0 || !S_ISREG(about.st_mode)) return {};
  if (about.st_size < 0 || static_cast<std::size_t>(about.st_size) > kMaxFileBytes) return {};
  std::string bytes(static_cast<std::size_t>(about.st_size), '\0');
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got = ::read(file->get(), bytes.data() + filled, bytes.size() - filled);
    if (got <= 0) break;
    filled += static_cast<std::size_t>(got);
  }
  bytes.resize(filled);
  return bytes;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<std::uint32_t> parse_id(std::string_view text) {
  std::uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  // (uid_t)-1 means "leave it as it is" to setresuid(2).
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || id == UINT32_MAX)
    return std::nullopt;
  return id;
}

struct PasswdEntry {
  std::string_view name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string_view home;
};

std::optional<PasswdEntry> parse_passwd_line(std::string_view line) {
  const std::vector<std::string_view> fields = split(line, ':');
  if (fields.size() < 6) return std::nullopt;
  const std::optional<std::uint32_t> uid = parse_id(fields[2]);
  const std::optional<std::uint32_t> gid = parse_id(fields[3]);
  if (!uid || !gid) return std::nullopt;
  return PasswdEntry{fields[0], *uid, *gid, fields[5]};
}

// By name; by number when no name fits.
std::optional<PasswdEntry> find_passwd_entry(std::string_view passwd, std::string_view user) {
  const std::optional<std::uint32_t> id = parse_id(user);
  std::optional<PasswdEntry> by_number;
  for (const std::string_view line : split(passwd, '\n')) {
    const std::optional<PasswdEntry> entry = parse_passwd_line(line);
    if (!entry) continue;
    if (entry->name == user) return entry;
    if (!by_number && id && entry->uid == *id) by_number = entry;
  }
  return by_number;
}

ResultOrFailure<gid_t> find_group(std::string_view group, std::string_view group_file) {
  for (const std::string_view line : split(group_file, '\n')) {
    const std::vector<std::string_view> fields = split(line, ':');
    if (fields.size() < 3 || fields[0] != group) continue;
    if (const std::optional<std::uint32_t> gid = parse_id(fields[2])) return gid_t{*gid};
  }
  if (const std::optional<std::uint32_t> gid = parse_id(group)) return gid_t{*gid};
  return refuse("finding the group", group, "the image's /etc/group does not name it",
                "a number needs no entry");
}

std::vector<gid_t> groups_with_member(std::string_view user, std::string_view group_file) {
  std::vector<gid_t> groups;
  for (const std::string_view line : split(group_file, '\n')) {
    const std::vector<std::string_view> fields = split(line, ':');
    if (fields.size() < 4) continue;
    const std::vector<std::string_view> members = split(fields[3], ',');
    const std::optional<std::uint32_t> gid = parse_id(fields[2]);
    if (gid && std::find(members.begin(), members.end(), user) != members.end()) groups.push_back(*gid);
  }
  return groups;
}

}  // namespace

UserFiles read_user_files(int root_fd) {
  return UserFiles{read_regular_file(root_fd, "/etc/passwd"), read_regular_file(root_fd, "/etc/group")};
}

ResultOrFailure<User> find_user(std::string_view specification, const UserFiles& files) {
  const std::size_t colon = specification.find(':');
  std::string_view name = specification.substr(0, colon);
  if (name.empty()) name = "0";
  User user;
  const std::optional<PasswdEntry> entry = find_passwd_entry(files.passwd, name);
  if (entry) {
    user.uid = entry->uid;
    user.gid = entry->gid;
    user.groups = groups_with_member(entry->name, files.group);
    if (!entry->home.empty()) user.home = std::string(entry->home);
  } else if (const std::optional<std::uint32_t> uid = parse_id(name)) {
    user.uid = *uid;
    if (*uid == 0) user.home = "/root";
  } else {
    return refuse("finding the user", name, "the image's /etc/passwd does not name it",
                  "a number needs no entry");
  }
  if (colon != std::string_view::npos) {
    VARVE_ASSIGN(user.gid, find_group(specification.substr(colon + 1), files.group));
    user.groups.clear();
  }
  return user;
}

}  // namespace varve::launcher
