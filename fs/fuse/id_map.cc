#include "fs/fuse/id_map.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>

#include "fs/format/posix_acl.h"

namespace varve::fuse {
namespace {

constexpr std::uint64_t kEndOfIds = 0xFFFFFFFF;  // (uid_t)-1 is no id

// Takes a number and the colon behind it, if there is one, from the front of `rest`.
std::optional<std::uint32_t> take_number(std::string_view& rest) {
  std::uint32_t number = 0;
  const char* const end = rest.data() + rest.size();
  const auto [stopped, error] = std::from_chars(rest.data(), end, number);
  if (error != std::errc{} || (stopped != end && *stopped != ':')) return std::nullopt;
  rest.remove_prefix(static_cast<std::size_t>(stopped - rest.data()));
  if (rest.size() == 1) return std::nullopt;  // a colon, and nothing after it
  if (!rest.empty()) rest.remove_prefix(1);
  return number;
}

bool overlap(std::uint64_t a, std::uint64_t a_length, std::uint64_t b, std::uint64_t b_length) {
  return a < b + b_length && b < a + a_length;
}

// `to_shown` tells the direction; `map` is the one of the entries with this tag.
std::string mapped_acl(const IdMaps& maps, std::string_view bytes, bool to_shown) {
  std::optional<format::Acl> acl = format::parse_acl(bytes);
  if (!acl) return std::string(bytes);
  for (format::AclEntry& entry : *acl) {
    const bool is_user = entry.tag == format::AclEntry::Tag::kUser;
    if (!is_user && entry.tag != format::AclEntry::Tag::kGroup) continue;
    const IdMap& map = is_user ? maps.users : maps.groups;
    entry.id = to_shown ? map.shown(entry.id) : map.stored(entry.id);
  }
  return format::format_acl(*acl);
}

}  // namespace

ResultOrFailure<IdMap> IdMap::parse(std::string_view text) {
  IdMap map;
  std::string_view rest = text;
  do {
    const auto container = take_number(rest);
    const auto host = container && !rest.empty() ? take_number(rest) : std::nullopt;
    const auto length = host && !rest.empty() ? take_number(rest) : std::nullopt;
    if (!length) {
      return Failure{
          EINVAL, fmt::format("{}: not of the form CONTAINER:HOST:LENGTH[:CONTAINER:HOST:LENGTH...]", text)};
    }
    const bool fits = *length > 0 && std::uint64_t{*container} + *length <= kEndOfIds &&
                      std::uint64_t{*host} + *length <= kEndOfIds;
    if (!fits) {
      return Failure{EINVAL, fmt::format("{}: the range {}:{}:{} is empty or goes past the last id", text,
                                         *container, *host, *length)};
    }
    for (const Range& other : map.ranges_) {
      if (overlap(*container, *length, other.container, other.length) ||
          overlap(*host, *length, other.host, other.length)) {
        return Failure{EINVAL, fmt::format("{}: two ranges overlap", text)};
      }
    }
    map.ranges_.push_back({*container, *host, *length});
  } while (!rest.empty());
  return map;
}

std::uint32_t IdMap::shown(std::uint32_t stored) const {
  if (is_identity()) return stored;
  for (const Range& range : ranges_) {
    if (stored >= range.container && stored - range.container < range.length) {
      return range.host + (stored - range.container);
    }
  }
  return kOverflowId;
}

std::uint32_t IdMap::stored(std::uint32_t shown) const {
  if (is_identity()) return shown;
  for (const Range& range : ranges_) {
    if (shown >= range.host && shown - range.host < range.length) {
      return range.container + (shown - range.host);
    }
  }
  return kOverflowId;
}

std::string IdMaps::shown_acl(std::string_view stored) const {
  return mapped_acl(*this, stored, true);
}

std::string IdMaps::stored_acl(std::string_view shown) const {
  return mapped_acl(*this, shown, false);
}

bool is_acl(std::string_view xattr_name) {
  return xattr_name == format::kAccessAclXattr || xattr_name == format::kDefaultAclXattr;
}

}  // namespace varve::fuse
