#pragma once

// The ProcessPlan of a container, kept beside its state (STORE/containers/NAME/process.json), so that `varve exec` starts commands
// with the same environment, user, capabilities and limits. Thread rule: stateless.

#include <string>

#include "fs/base/result.h"
#include "launcher/plan.h"

namespace varve::launcher {

struct ProcessRecord {
  ProcessPlan process;
  bool setgroups_denied = false;  // IdMap::deny_setgroups of the container
};

// `directory`: of the container in the store.
StatusOrFailure write_process_record(const std::string& directory, const ProcessRecord& record);
// The file is not trusted: broken text is one clear message.
ResultOrFailure<ProcessRecord> read_process_record(const std::string& directory);

}  // namespace varve::launcher
