#include "manual/values.h"

#include <linux/capability.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "launcher/capabilities.h"

namespace varve::manual {
namespace {

// The alternatives of "[HOST|NAME:]TARGET|none": at bars outside of brackets.
std::vector<std::string> alternatives(std::string_view shape) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : shape) {
    depth += (c == '[') - (c == ']');
    if (c == '|' && depth == 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

bool is_capital(char c) {
  return c >= 'A' && c <= 'Z';
}

std::vector<Value> capability_names() {
  std::vector<Value> names = {{Kind::kWord, "ALL"}};
  for (unsigned bit = 0; bit <= CAP_LAST_CAP; ++bit) {
    std::string name = launcher::CapabilitySet(std::uint64_t{1} << bit).text();
    std::transform(name.begin(), name.end(), name.begin(), ::toupper);
    names.push_back({Kind::kWord, name});
  }
  return names;
}

std::vector<Value> signal_names() {
  constexpr int kLastUsualSignal = 31;
  std::vector<Value> names;
  for (int number = 1; number <= kLastUsualSignal; ++number) {
    if (const char* name = ::sigabbrev_np(number)) names.push_back({Kind::kWord, name});
  }
  return names;
}

// Commands whose containers must run.
bool wants_running(const Command& command) {
  constexpr std::array<std::string_view, 6> kNames = {"varve exec",  "varve stop",    "varve kill",
                                                      "varve pause", "varve unpause", "varve stats"};
  return std::find(kNames.begin(), kNames.end(), command.name) != kNames.end();
}

// A word in capitals at the beginning of a shape, and what follows it.
std::vector<Value> values_of_word(std::string_view word, std::string_view rest, const Command& command) {
  constexpr std::array<std::string_view, 7> kFiles = {"FILE",   "SRC",       "DEST",  "LAYER",
                                                      "DEVICE", "HOST-PATH", "OUTPUT"};
  constexpr std::array<std::string_view, 5> kDirectories = {"DIR", "CONTEXT", "MOUNTPOINT", "UPPER",
                                                            "ROOTFS-DIR"};
  constexpr std::array<std::string_view, 8> kImages = {"IMAGE", "NAME",   "NEW",         "A",
                                                       "B",     "SOURCE", "DESTINATION", "DIGEST"};
  const auto is_in = [word](const auto& words) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  if (word == "CONTAINER") return {{wants_running(command) ? Kind::kRunning : Kind::kContainers, ""}};
  if (word == "CAPABILITY") return capability_names();
  if (word == "SIGNAL") return signal_names();
  if (word == "OPT") return {{Kind::kMountOptions, ""}};
  if (word == "NAME" && rest == "[=VALUE]") return {{Kind::kVariables, ""}};
  if (word == "NAME" && (rest.starts_with('=') || command.name.starts_with("varve "))) return {};
  if (is_in(kFiles)) return {{Kind::kFiles, ""}};
  if (is_in(kDirectories)) return {{Kind::kDirectories, ""}};
  if (is_in(kImages)) return {{Kind::kImages, ""}};
  return {};
}

std::vector<Value> values_of_alternative(std::string_view shape, const Command& command) {
  const std::size_t end =
      std::find_if(shape.begin(), shape.end(), [](char c) { return is_capital(c) || c == '['; }) -
      shape.begin();
  const std::string text(shape.substr(0, end));
  if (text == "container:") return {{Kind::kJoined, ""}};
  if (end == shape.size() || (shape[end] == '[' && !text.empty())) return {{Kind::kWord, text}};
  if (!text.empty()) return {{Kind::kBeginning, text}};
  shape.remove_prefix(shape.starts_with('['));
  const std::size_t word_end =
      std::find_if(shape.begin(), shape.end(), [](char c) { return !is_capital(c) && c != '-'; }) -
      shape.begin();
  return values_of_word(shape.substr(0, word_end), shape.substr(word_end), command);
}

}  // namespace

std::vector<Value> values_of(const Argument& argument, const Command& command) {
  std::vector<Value> values;
  if (argument.shape.empty()) return values;
  for (const std::string& alternative : alternatives(argument.shape)) {
    for (Value& value : values_of_alternative(alternative, command)) {
      if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(std::move(value));
    }
  }
  return values;
}

}  // namespace varve::manual
