// soak_files: random operations on a few files of a mount against a model of their bytes. See FilesSoak, and docs/testing.md.

#include <gtest/gtest.h>

#include "tests/soak/files_soak.h"

int main(int argc, char** argv) {
  using namespace varve::test;
  return run_soak(argc, argv, [](const RoundPlan& plan) {
    FilesSoak soak(plan);
    std::string fault;
    try {
      soak.run();
    } catch (const Fault& broken) {
      fault = std::string("The last operations:\n") + soak.last_operations() + broken.what();
      ADD_FAILURE() << broken.what();  // the log of the daemon is shown, too
    }
    return RoundResult{.fault = fault, .operations = soak.operations()};
  });
}
