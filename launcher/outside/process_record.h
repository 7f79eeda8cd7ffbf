#pragma once

// The ProcessPlan of a container, kept with its state (ContainerParts::process of the store), so that `varve exec` starts commands
// with the same environment, user, capabilities and limits. Thread rule: stateless.

#include <string>

#include "fs/base/result.h"
#include "launcher/plan.h"

namespace varve::launcher {

struct ProcessRecord {
  ProcessPlan process;
  bool setgroups_denied = false;  // IdMap::deny_setgroups of the container
};

// One line of JSON.
std::string text_of(const ProcessRecord& record);
// The text is not trusted: broken one is one clear message. `container`: named in it.
ResultOrFailure<ProcessRecord> parse_process_record(const std::string& text, const std::string& container);

}  // namespace varve::launcher
