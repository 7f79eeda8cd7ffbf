#pragma once

// IgnorePatterns: what a .dockerignore or .containerignore leaves out of the context. A pattern is compared with the path and with
// each directory above it; '*', '?' and [a-z] stay within one component, "**" stands for any number of them; '!' takes back what an
// earlier line left out; the last line that fits holds. Thread rule: immutable.
// What is compared costs time in the product of both lengths at most, whatever the pattern.

#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace varve::recipe {

// One pattern of paths.
class PathPattern {
 public:
  explicit PathPattern(std::string_view pattern);
  // The whole of `path`, without a leading '/'.
  bool matches(std::string_view path) const;
  // Whether something in the directory `path` may match.
  bool may_match_below(std::string_view path) const;

 private:
  struct Token {
    // "**/" is two: kDirectories, from which both may be passed over, and kWithinDirectories, which a '/' may end.
    enum class Kind {
      kByte,
      kAny,
      kAnyRun,
      kEverything,
      kDirectories,
      kWithinDirectories,
      kClass
    } kind = Kind::kByte;
    char byte = 0;
    bool negated = false;
    std::vector<std::pair<unsigned char, unsigned char>> ranges;  // kClass
  };
  bool fits(const Token& token, char c) const;
  std::size_t read_class(std::string_view pattern, std::size_t at);

  std::vector<Token> tokens_;
  std::string literal_;  // the bytes before the first wildcard
};

class IgnorePatterns {
 public:
  IgnorePatterns() = default;
  // The text of such a file. Returns: EFBIG for more than 10000 lines or a line of more than 4096 bytes.
  static ResultOrFailure<IgnorePatterns> parse(std::string_view text);

  // `path` from the context, without a leading '/'.
  bool ignores(std::string_view path) const;
  // Whether what lies in a directory that is left out may be taken all the same.
  bool may_take_below(std::string_view path) const;
  bool empty() const { return lines_.empty(); }

 private:
  struct Line {
    PathPattern pattern;
    bool takes = false;  // with '!'
  };
  std::vector<Line> lines_;
};

}  // namespace varve::recipe
