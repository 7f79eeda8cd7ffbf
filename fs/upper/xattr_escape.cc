#include "fs/upper/xattr_escape.h"

#include "fs/format/override_stat.h"

namespace varve::upper {
namespace {

constexpr std::string_view kEscape = "varve.escaped.";

// Length of "trusted." or "user." when `name` lies in the part of that namespace which belongs to marks, else
// 0.
std::size_t reserved_namespace(std::string_view name) {
  for (const std::string_view space : {std::string_view("trusted."), std::string_view("user.")}) {
    if (!name.starts_with(space)) continue;
    const std::string_view rest = name.substr(space.size());
    if (rest.starts_with("varve.") || rest.starts_with("overlay.")) return space.size();
    if (name == format::kOverrideXattr) return space.size();
  }
  return 0;
}

}  // namespace

std::string stored_xattr_name(std::string_view name) {
  const std::size_t space = reserved_namespace(name);
  if (space == 0) return std::string(name);
  return std::string(name.substr(0, space)).append(kEscape).append(name.substr(space));
}

std::optional<std::string> shown_xattr_name(std::string_view stored) {
  const std::size_t space = reserved_namespace(stored);
  if (space == 0) return std::string(stored);
  const std::string_view rest = stored.substr(space);
  if (!rest.starts_with(kEscape)) return std::nullopt;
  return std::string(stored.substr(0, space)).append(rest.substr(kEscape.size()));
}

}  // namespace varve::upper
