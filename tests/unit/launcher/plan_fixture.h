#pragma once

// PlanFixture: a host whose environment is empty, a root directory and a place for a store, to make plans of. Thread rule: one thread.

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "launcher/plan.h"
#include "tests/unit/launcher/scratch_directory.h"

namespace varve::launcher {

class PlanFixture : public ::testing::Test {
 protected:
  PlanFixture() {
    host_.variable = [](const std::string&) { return std::nullopt; };
  }
  ResultOrFailure<Plan> plan_of(const RunOptions& options) const { return make_plan(options, host_); }
  // Empty when there is a plan.
  std::string complaint(const RunOptions& options) const {
    const auto plan = plan_of(options);
    return plan.ok() ? "" : plan.error().message;
  }

  ScratchDirectory scratch_;
  std::string root_ = scratch_.make_directory("root");
  std::string store_ = scratch_.path() + "/store";
  HostFacts host_;
};

}  // namespace varve::launcher
