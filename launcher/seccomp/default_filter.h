#pragma once

// The default profile (default_profile.json) and filters compiled from it, as generate_default.cc put them into the
// program when it was built: compiling takes several times as long as starting a container. Immutable.

#include <linux/filter.h>

#include <span>
#include <string_view>

#include "launcher/capabilities.h"

namespace varve::launcher {

std::string_view default_profile_text();

// The filter for the architecture of the build and these capabilities; empty when none was made for them.
std::span<const struct sock_filter> built_in_filter(CapabilitySet capabilities);

}  // namespace varve::launcher
