#pragma once

// The lines of an Imagefile (Dockerfile syntax): directives, comments, continued lines, here-documents; and the words of a line.
// Thread rule: plain values, stateless. The text is not trusted: sizes are bounded, every byte is taken.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/base/result.h"

namespace varve::recipe {

inline constexpr std::size_t kMaxFileBytes = 4 << 20;
inline constexpr std::size_t kMaxInstructions = 10000;

struct HereDocument {
  std::string word;  // as it stands in the instruction: "<<EOF"
  std::string name;
  std::string content;      // whole lines
  bool expand = true;       // variables are put in; not when the name was quoted
  bool strip_tabs = false;  // "<<-": done already
};

struct Instruction {
  std::size_t line = 0;  // where it begins, from 1
  std::string keyword;   // upper case
  std::vector<std::pair<std::string, std::string>>
      flags;                            // "--from=a" -> {"from", "a"}; {"link", ""} without '='
  std::string text;                     // all that follows the flags, continued lines joined
  std::vector<HereDocument> documents;  // of RUN, COPY and ADD

  // The value of a flag; empty when it was not given.
  std::optional<std::string> flag(std::string_view name) const;
  // As a person would write it in one line.
  std::string shown() const;
};

struct LexedFile {
  char escape = '\\';
  std::vector<Instruction> instructions;
};

// `file`: what messages call it. Returns: EINVAL "FILE:LINE: what is wrong".
ResultOrFailure<LexedFile> lex(std::string_view text, const std::string& file);

// Parts a text at blanks outside of quotes; quotes and escapes stay as they are.
std::vector<std::string> split_words(std::string_view text, char escape);

// The exec form: a JSON array of strings. Empty when `text` is none.
std::optional<std::vector<std::string>> exec_form(std::string_view text);

// "A=1 B=two" or "A all the rest", names and values not expanded. Returns: a Failure that says what was expected.
ResultOrFailure<std::vector<std::pair<std::string, std::string>>> split_assignments(std::string_view text,
                                                                                    char escape);

}  // namespace varve::recipe
