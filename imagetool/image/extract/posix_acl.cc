#include "imagetool/image/extract/posix_acl.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "fs/base/endian.h"

namespace varve::image {
namespace {

constexpr std::uint32_t kVersion = 2;

struct RawEntry {
  Le16 tag;
  Le16 permissions;
  Le32 id;
};
static_assert(sizeof(RawEntry) == 8);

}  // namespace

std::string encode_acl(std::vector<AclEntry> entries) {
  std::sort(entries.begin(), entries.end(), [](const AclEntry& a, const AclEntry& b) {
    return std::tie(a.tag, a.id) < std::tie(b.tag, b.id);
  });
  const Le32 version = kVersion;
  std::string value(sizeof version + entries.size() * sizeof(RawEntry), '\0');
  std::memcpy(value.data(), &version, sizeof version);
  std::size_t at = sizeof version;
  for (const AclEntry& entry : entries) {
    const RawEntry raw{entry.tag, entry.permissions, entry.id};
    std::memcpy(value.data() + at, &raw, sizeof raw);
    at += sizeof raw;
  }
  return value;
}

std::optional<std::vector<AclEntry>> decode_acl(std::string_view value) {
  Le32 version;
  if (value.size() < sizeof version || (value.size() - sizeof version) % sizeof(RawEntry) != 0)
    return std::nullopt;
  std::memcpy(&version, value.data(), sizeof version);
  if (version != kVersion) return std::nullopt;
  std::vector<AclEntry> entries;
  for (std::size_t at = sizeof version; at < value.size(); at += sizeof(RawEntry)) {
    RawEntry raw;
    std::memcpy(&raw, value.data() + at, sizeof raw);
    entries.push_back({raw.tag, raw.permissions, raw.id});
  }
  return entries;
}

}  // namespace varve::image
