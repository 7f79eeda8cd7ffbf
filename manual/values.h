#pragma once

// values: what a shell may offer for an argument. It follows from the shape that --help shows: words in small letters are meant as they
// stand, words in capitals say what kind of thing is asked for. Thread rule: stateless.

#include <string>
#include <vector>

#include "manual/command.h"

namespace varve::manual {

enum class Kind {
  kWord,       // `text` as it stands
  kBeginning,  // `text`, and something behind it that is not known: "seccomp="
  kFiles,
  kDirectories,
  kImages,        // names of the store
  kContainers,    // names of all
  kRunning,       // names of those that run
  kJoined,        // "container:NAME" of one that runs
  kVariables,     // of the environment
  kMountOptions,  // those of varvefs, separated by commas
};

struct Value {
  Kind kind;
  std::string text;
  friend bool operator==(const Value&, const Value&) = default;
};

// Empty: nothing is known of it.
std::vector<Value> values_of(const Argument& argument, const Command& command);

}  // namespace varve::manual
