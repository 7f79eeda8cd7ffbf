#include "imagetool/recipe/expansion.h"

#include <cctype>

namespace varve::recipe {
namespace {

constexpr std::size_t kMaxDocumentBytes = 1 << 20;
constexpr unsigned kMaxNesting = 32;

bool is_name_start(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_';
}
bool is_name_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}
bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

Failure bad(const std::string& why) {
  return Failure{EINVAL, why};
}

// Reads a text once, from the left.
class Reader {
 public:
  enum class Kind { kWord, kDocument };
  Reader(std::string_view text, const Variables& variables, char escape, Kind kind)
      : text_(text), variables_(variables), escape_(escape), kind_(kind) {}

  // What came out; `parted()` has the places where unquoted blanks were.
  StatusOrFailure read_all() { return read_until('\0', 0, true); }
  std::string take() { return std::move(out_); }
  std::vector<std::string> take_words() {
    end_word();
    return std::move(words_);
  }

 private:
  bool at_end() const { return at_ >= text_.size(); }

  void put(char c, bool parts_words) {
    if (!live_) return;
    out_.push_back(c);
    if (parts_words && is_blank(c)) {
      end_word();
      return;
    }
    word_.push_back(c);
    in_word_ = true;
  }
  void put_all(std::string_view text, bool parts_words) {
    for (const char c : text) put(c, parts_words);
  }
  void end_word() {
    if (in_word_) words_.push_back(std::move(word_));
    word_.clear();
    in_word_ = false;
  }

  StatusOrFailure check_size() const {
    const std::size_t most = kind_ == Kind::kDocument ? kMaxDocumentBytes : kMaxWordBytes;
    if (out_.size() > most) return bad("what the variables make of it is longer than is possible");
    return {};
  }

  // Up to an unquoted `end` ('}' of a default), which is passed over, or to the end of the text.
  StatusOrFailure read_until(char end, unsigned depth, bool parts_words) {
    if (depth > kMaxNesting) return bad("${ } within ${ } more than 32 deep");
    while (!at_end()) {
      VARVE_RETURN_IF_ERROR(check_size());
      const char c = text_[at_];
      if (end != '\0' && c == end) {
        ++at_;
        return {};
      }
      if (c == '$') {
        VARVE_RETURN_IF_ERROR(read_variable(depth, parts_words));
      } else if (c == escape_) {
        read_escape();
      } else if (kind_ == Kind::kWord && c == '\'') {
        VARVE_RETURN_IF_ERROR(read_single_quotes());
      } else if (kind_ == Kind::kWord && c == '"') {
        VARVE_RETURN_IF_ERROR(read_double_quotes(depth));
      } else {
        ++at_;
        put(c, parts_words);
      }
    }
    if (end != '\0') return bad("\"${\" without \"}\"");
    return check_size();
  }

  void read_escape() {
    ++at_;
    if (at_end()) {
      put(escape_, false);
      return;
    }
    const char next = text_[at_++];
    if (kind_ == Kind::kDocument && next != '$' && next != escape_) put(escape_, false);
    put(next, false);
  }

  StatusOrFailure read_single_quotes() {
    const std::size_t close = text_.find('\'', at_ + 1);
    if (close == std::string_view::npos) return bad("a ' without a second one");
    in_word_ = in_word_ || live_;  // '' is a word
    put_all(text_.substr(at_ + 1, close - at_ - 1), false);
    at_ = close + 1;
    return {};
  }

  StatusOrFailure read_double_quotes(unsigned depth) {
    ++at_;
    in_word_ = in_word_ || live_;
    while (!at_end()) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return check_size();
      }
      if (c == '$') {
        VARVE_RETURN_IF_ERROR(read_variable(depth, false));
        continue;
      }
      ++at_;
      if (c != escape_ || at_end()) {
        put(c, false);
        continue;
      }
      const char next = text_[at_++];
      if (next != '"' && next != '$' && next != escape_) put(c, false);
      put(next, false);
    }
    return bad("a \" without a second one");
  }

  StatusOrFailure read_variable(unsigned depth, bool parts_words) {
    ++at_;
    if (at_end()) {
      put('$', false);
      return {};
    }
    if (text_[at_] == '{') return read_braces(depth, parts_words);
    std::size_t end = at_;
    if (is_name_start(text_[end])) {
      while (end < text_.size() && is_name_character(text_[end])) ++end;
    } else if (std::isdigit(static_cast<unsigned char>(text_[end])) != 0) {
      ++end;
    } else {
      put('$', false);
      return {};
    }
    put_all(variables_(text_.substr(at_, end - at_)).value_or(""), parts_words);
    at_ = end;
    return {};
  }

  // From the '{' on.
  StatusOrFailure read_braces(unsigned depth, bool parts_words) {
    const std::size_t begin = at_ + 1;
    std::size_t end = begin;
    while (end < text_.size() && is_name_character(text_[end])) ++end;
    const std::string name(text_.substr(begin, end - begin));
    if (name.empty()) return bad("\"${\" without the name of a variable");
    if (end == text_.size()) return bad("\"${" + name + "\" without \"}\"");
    const std::optional<std::string> value = variables_(name);
    at_ = end + 1;
    if (text_[end] == '}') {
      put_all(value.value_or(""), parts_words);
      return {};
    }
    const bool colon = text_[end] == ':';
    const char modifier = !colon ? text_[end] : at_end() ? '\0' : text_[at_++];
    if (modifier != '-' && modifier != '+' && modifier != '?') {
      return bad("${" + name + "...}: expected }, :-, :+, :?, -, + or ?");
    }
    const bool is_set = value && !(colon && value->empty());
    if (modifier == '?' && !is_set && live_) return read_complaint(name, depth);
    if (is_set && modifier != '+') put_all(*value, parts_words);
    // What stands behind the modifier is read in any case, to find the end of it.
    const bool was_live = live_;
    live_ = live_ && is_set == (modifier == '+');
    const StatusOrFailure read = read_until('}', depth + 1, parts_words);
    live_ = was_live;
    return read;
  }

  StatusOrFailure read_complaint(const std::string& name, unsigned depth) {
    const std::size_t before = out_.size();
    VARVE_RETURN_IF_ERROR(read_until('}', depth + 1, false));
    const std::string words = out_.substr(before);
    return bad(name + ": " + (words.empty() ? "is not set" : words));
  }

  std::string_view text_;
  const Variables& variables_;
  const char escape_;
  const Kind kind_;
  std::size_t at_ = 0;
  bool live_ = true;  // false: what is read is thrown away
  bool in_word_ = false;
  std::string out_, word_;
  std::vector<std::string> words_;
};

}  // namespace

ResultOrFailure<std::string> Expansion::word(std::string_view text) const {
  Reader reader(text, variables_, escape_, Reader::Kind::kWord);
  VARVE_RETURN_IF_ERROR(reader.read_all());
  return reader.take();
}

ResultOrFailure<std::vector<std::string>> Expansion::words(std::string_view text) const {
  Reader reader(text, variables_, escape_, Reader::Kind::kWord);
  VARVE_RETURN_IF_ERROR(reader.read_all());
  return reader.take_words();
}

ResultOrFailure<std::string> Expansion::document(std::string_view text) const {
  Reader reader(text, variables_, escape_, Reader::Kind::kDocument);
  VARVE_RETURN_IF_ERROR(reader.read_all());
  return reader.take();
}

}  // namespace varve::recipe
