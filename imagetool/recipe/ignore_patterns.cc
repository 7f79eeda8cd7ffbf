#include "imagetool/recipe/ignore_patterns.h"

#include <algorithm>

namespace varve::recipe {
namespace {

constexpr std::size_t kMaxLines = 10000;
constexpr std::size_t kMaxLineBytes = 4096;

// As Go's path.Clean, of a path from the root: no "//", ".", "..", nor '/' at either end.
std::string clean(std::string_view path) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    begin = end + 1;
  }
  std::string joined;
  for (const std::string_view part : parts) joined += (joined.empty() ? "" : "/") + std::string(part);
  return joined;
}

}  // namespace

PathPattern::PathPattern(std::string_view pattern) {
  using Kind = Token::Kind;
  for (std::size_t at = 0; at < pattern.size();) {
    const char c = pattern[at];
    if (pattern.substr(at).starts_with("**")) {
      at += 2;
      const bool directories = at < pattern.size() && pattern[at] == '/';
      if (directories) ++at;
      tokens_.push_back({.kind = directories ? Kind::kDirectories : Kind::kEverything});
      if (directories) tokens_.push_back({.kind = Kind::kWithinDirectories});
      continue;
    }
    if (c == '[') {
      if (const std::size_t end = read_class(pattern, at); end != at) {
        at = end;
        continue;
      }
    }
    ++at;
    if (c == '*' || c == '?') {
      tokens_.push_back({.kind = c == '*' ? Kind::kAnyRun : Kind::kAny});
    } else {
      const bool escaped = c == '\\' && at < pattern.size();
      tokens_.push_back({.kind = Kind::kByte, .byte = escaped ? pattern[at++] : c});
    }
  }
  for (const Token& token : tokens_) {
    if (token.kind != Kind::kByte) break;
    literal_.push_back(token.byte);
  }
}

// "[a-z]" or "[^a-z]". Returns: where it ends; `at` when it does not end, and is an ordinary '['.
std::size_t PathPattern::read_class(std::string_view pattern, std::size_t at) {
  const std::size_t begin = at++;
  Token token{.kind = Token::Kind::kClass};
  if (at < pattern.size() && (pattern[at] == '^' || pattern[at] == '!')) {
    token.negated = true;
    ++at;
  }
  const auto take = [&]() {
    if (pattern[at] == '\\' && at + 1 < pattern.size()) ++at;
    return static_cast<unsigned char>(pattern[at++]);
  };
  for (bool first = true; at < pattern.size() && (first || pattern[at] != ']'); first = false) {
    const unsigned char low = take();
    unsigned char high = low;
    if (at + 1 < pattern.size() && pattern[at] == '-' && pattern[at + 1] != ']') {
      ++at;
      high = take();
    }
    token.ranges.emplace_back(low, high);
  }
  if (at >= pattern.size()) return begin;
  tokens_.push_back(std::move(token));
  return at + 1;
}

bool PathPattern::fits(const Token& token, char c) const {
  switch (token.kind) {
    case Token::Kind::kByte:
      return c == token.byte;
    case Token::Kind::kClass: {
      const auto byte = static_cast<unsigned char>(c);
      const bool found = std::any_of(token.ranges.begin(), token.ranges.end(), [&](const auto& range) {
        return range.first <= byte && byte <= range.second;
      });
      return c != '/' && found != token.negated;
    }
    case Token::Kind::kDirectories:
      return false;
    case Token::Kind::kEverything:
    case Token::Kind::kWithinDirectories:
      return true;
    case Token::Kind::kAny:
    case Token::Kind::kAnyRun:
      return c != '/';
  }
  return false;
}

// All states that the pattern may be in, by the number of the token that comes next, are followed at once.
bool PathPattern::matches(std::string_view path) const {
  using Kind = Token::Kind;
  std::vector<bool> states(tokens_.size() + 1, false);
  std::vector<bool> next(states.size());
  states[0] = true;
  const auto pass_over_empty = [&](std::vector<bool>& of) {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (!of[i]) continue;
      const Kind kind = tokens_[i].kind;
      if (kind == Kind::kAnyRun || kind == Kind::kEverything) of[i + 1] = true;
      if (kind == Kind::kDirectories) of[i + 1] = of[i + 2] = true;
    }
  };
  pass_over_empty(states);
  for (const char c : path) {
    std::fill(next.begin(), next.end(), false);
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const Token& token = tokens_[i];
      if (!states[i] || !fits(token, c)) continue;
      const Kind kind = token.kind;
      const bool stays =
          kind == Kind::kAnyRun || kind == Kind::kEverything || kind == Kind::kWithinDirectories;
      if (stays) next[i] = true;
      if (!stays || (kind == Kind::kWithinDirectories && c == '/')) next[i + 1] = true;
    }
    pass_over_empty(next);
    states.swap(next);
  }
  return states.back();
}

bool PathPattern::may_match_below(std::string_view path) const {
  const std::string directory = std::string(path) + "/";
  const std::size_t common = std::min(directory.size(), literal_.size());
  return directory.compare(0, common, literal_, 0, common) == 0;
}

ResultOrFailure<IgnorePatterns> IgnorePatterns::parse(std::string_view text) {
  IgnorePatterns patterns;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.starts_with('#')) continue;
    constexpr std::string_view kBlanks = " \t\r";
    line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
    line = line.substr(0, line.find_last_not_of(kBlanks) + 1);
    if (line.size() > kMaxLineBytes || patterns.lines_.size() == kMaxLines) {
      return Failure{EFBIG, "more than 10000 patterns, or one of more than 4096 bytes"};
    }
    const bool takes = line.starts_with('!');
    if (takes) line.remove_prefix(1);
    const std::string pattern = clean(line);
    if (!pattern.empty()) patterns.lines_.push_back({PathPattern(pattern), takes});
  }
  return patterns;
}

bool IgnorePatterns::ignores(std::string_view path) const {
  bool ignored = false;
  for (const Line& line : lines_) {
    if (line.takes != ignored) continue;  // it would change nothing
    bool fits = line.pattern.matches(path);
    for (std::size_t slash = path.find('/'); !fits && slash != std::string_view::npos;
         slash = path.find('/', slash + 1)) {
      fits = line.pattern.matches(path.substr(0, slash));
    }
    if (fits) ignored = !line.takes;
  }
  return ignored;
}

bool IgnorePatterns::may_take_below(std::string_view path) const {
  return std::any_of(lines_.begin(), lines_.end(),
                     [&](const Line& line) { return line.takes && line.pattern.may_match_below(path); });
}

}  // namespace varve::recipe
