#pragma once

// execute: carries a Plan out: starts the container, serves it until its command ends, and leaves nothing behind but what
// the plan says. Thread rule: the calling process has one thread, and this is it.

#include <functional>

#include "launcher/outside/supervisor.h"
#include "launcher/plan.h"
#include "launcher/process_title.h"

namespace varve::launcher {

// `on_started`, when it is one, is called once the container's command runs; it returns false when that is wanted no longer, and the
// container is killed.
Outcome execute(const Plan& plan, ArgumentArea area, const std::function<bool()>& on_started = {});

}  // namespace varve::launcher
