#pragma once

// Variables in the words of an Imagefile: $X ${X} ${X:-d} ${X-d} ${X:+a} ${X+a} ${X:?e} ${X?e}, quotes and the escape character, as
// the Dockerfile reference says under "Environment replacement". Thread rule: stateless. What is expanded is not trusted: results
// and nesting are bounded.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace varve::recipe {

// The value of a variable; empty when it is not set.
using Variables = std::function<std::optional<std::string>(std::string_view name)>;

// No word grows beyond this: a process takes no longer argument or variable (execve(2), MAX_ARG_STRLEN).
inline constexpr std::size_t kMaxWordBytes = 128 << 10;

class Expansion {
 public:
  // `escape`: '\\' or '`'.
  Expansion(Variables variables, char escape) : variables_(std::move(variables)), escape_(escape) {}

  // One word: variables are put in, quotes and escapes go. Returns: EINVAL for an unfinished quote or ${, an unknown modifier, a
  // variable that ${X:?e} wants, a result that is too long.
  ResultOrFailure<std::string> word(std::string_view text) const;
  // The same, but blanks outside of quotes part words, those that came out of variables too.
  ResultOrFailure<std::vector<std::string>> words(std::string_view text) const;
  // A here-document: quotes are ordinary characters; the escape character stands before '$' and itself alone.
  ResultOrFailure<std::string> document(std::string_view text) const;

 private:
  Variables variables_;
  char escape_;
};

}  // namespace varve::recipe
