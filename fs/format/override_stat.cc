#include "fs/format/override_stat.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>
#include <charconv>

namespace varve::format {
namespace {

struct NamedType {
  std::string_view name;
  std::uint32_t type;
};
constexpr std::array<NamedType, 5> kNamedTypes = {NamedType{"file", S_IFREG}, NamedType{"dir", S_IFDIR},
                                                  NamedType{"symlink", S_IFLNK}, NamedType{"pipe", S_IFIFO},
                                                  NamedType{"socket", S_IFSOCK}};

// All of `text` as one number.
std::optional<std::uint32_t> parse_number(std::string_view text, int base) {
  std::uint32_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number, base);
  if (error != std::errc{} || stopped != end) return std::nullopt;
  return number;
}

// Takes the text up to the next `separator`, or all, from the front of `rest`.
std::string_view take_field(std::string_view& rest, char separator) {
  const std::size_t end = rest.find(separator);
  const std::string_view field = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return field;
}

bool parse_device(std::string_view text, OverrideStat& stat) {
  const std::string_view kind = take_field(text, '-');
  if (kind != "char" && kind != "block") return false;
  const auto major_number = parse_number(take_field(text, '-'), 10);
  const auto minor_number = parse_number(text, 10);
  if (!major_number || !minor_number) return false;
  stat.type = kind == "char" ? S_IFCHR : S_IFBLK;
  stat.rdev = makedev(*major_number, *minor_number);
  return true;
}

bool parse_type(std::string_view text, OverrideStat& stat) {
  for (const NamedType& named : kNamedTypes) {
    if (text != named.name) continue;
    stat.type = named.type;
    return true;
  }
  return parse_device(text, stat);
}

}  // namespace

std::optional<OverrideStat> parse_override_stat(std::string_view text) {
  const auto uid = parse_number(take_field(text, ':'), 10);
  const auto gid = parse_number(take_field(text, ':'), 10);
  const bool has_type = text.find(':') != std::string_view::npos;
  const auto mode = parse_number(take_field(text, ':'), 8);
  if (!uid || !gid || !mode || (*mode & ~(S_IFMT | 07777u)) != 0) return std::nullopt;
  OverrideStat stat{.uid = *uid, .gid = *gid, .permissions = *mode & 07777u};
  const std::uint32_t type_bits = *mode & S_IFMT;
  if (has_type) {
    if (!parse_type(text, stat) || (type_bits != 0 && type_bits != stat.type)) return std::nullopt;
    return stat;
  }
  if (type_bits == S_IFCHR || type_bits == S_IFBLK) return std::nullopt;  // which device?
  stat.type = type_bits;
  return stat;
}

std::string format_override_stat(const OverrideStat& stat) {
  std::string text = fmt::format("{}:{}:{:04o}", stat.uid, stat.gid, stat.permissions & 07777u);
  if (stat.type == 0 || stat.type == S_IFREG || stat.type == S_IFDIR) return text;
  if (stat.type == S_IFCHR || stat.type == S_IFBLK) {
    return text.append(fmt::format(":{}-{}-{}", stat.type == S_IFCHR ? "char" : "block", major(stat.rdev),
                                   minor(stat.rdev)));
  }
  for (const NamedType& named : kNamedTypes) {
    if (stat.type == named.type) text.append(":").append(named.name);
  }
  return text;
}

bool apply_override_stat(const OverrideStat& stat, Attributes& attributes) {
  const std::uint32_t stored = attributes.mode & S_IFMT;
  const std::uint32_t type = stat.type == 0 ? stored : stat.type;
  if (type != stored && (stored != S_IFREG || type == S_IFDIR)) return false;
  attributes.uid = stat.uid;
  attributes.gid = stat.gid;
  attributes.mode = type | stat.permissions;
  if (type == stored) return true;
  attributes.rdev = stat.rdev;
  if (type != S_IFLNK) {
    attributes.size_bytes = 0;
    attributes.blocks_512 = 0;
  }
  return true;
}

}  // namespace varve::format
