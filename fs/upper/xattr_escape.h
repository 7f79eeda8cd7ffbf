#pragma once

// How a user's xattr whose name looks like one of our marks is stored: "trusted.overlay.x" as
// "trusted.varve.escaped.overlay.x", so that it neither becomes a mark nor gets lost. Pure functions.

#include <optional>
#include <string>
#include <string_view>

namespace varve::upper {

// Name under which an xattr that callers of the mount call `name` is stored.
std::string stored_xattr_name(std::string_view name);
// The reverse; empty for our own marks, which callers never see.
std::optional<std::string> shown_xattr_name(std::string_view stored);

}  // namespace varve::upper
