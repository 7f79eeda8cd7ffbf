#pragma once

// execute: carries a Plan out: starts the container, serves it until its command ends, and leaves nothing behind but what
// the plan says. Thread rule: the calling process has one thread, and this is it.

#include "fs/base/result.h"
#include "launcher/plan.h"
#include "launcher/process_title.h"

namespace varve::launcher {

struct Outcome {
  int exit_status = 0;  // what the launcher exits with
  Failure failure;      // why, when the launcher itself failed; its message is empty otherwise
};

Outcome execute(const Plan& plan, ArgumentArea area);

}  // namespace varve::launcher
