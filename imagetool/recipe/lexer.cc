#include "imagetool/recipe/lexer.h"

#include <algorithm>
#include <cctype>

#include "imagetool/image/store/json_text.h"

namespace varve::recipe {
namespace {

constexpr std::string_view kBlanks = " \t\r\f\v";

bool is_blank(char c) {
  return kBlanks.find(c) != std::string_view::npos;
}

std::string_view trim_left(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text;
}
std::string_view trim(std::string_view text) {
  text = trim_left(text);
  const std::size_t last = text.find_last_not_of(kBlanks);
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

std::string upper(std::string_view text) {
  std::string changed(text);
  for (char& c : changed) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return changed;
}

bool takes_documents(const std::string& keyword) {
  return keyword == "RUN" || keyword == "COPY" || keyword == "ADD";
}

class Lexer {
 public:
  Lexer(std::string_view text, const std::string& file) : file_(file) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // the mark that editors of Windows write
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      std::string_view line = text.substr(begin, end - begin);
      if (line.ends_with('\r')) line.remove_suffix(1);
      lines_.push_back(line);
      begin = end + 1;
    }
  }

  ResultOrFailure<LexedFile> run() {
    VARVE_RETURN_IF_ERROR(read_directives());
    while (next_ < lines_.size()) {
      const std::string_view line = trim_left(lines_[next_]);
      if (line.empty() || line.front() == '#') {
        ++next_;
        continue;
      }
      if (out_.instructions.size() == kMaxInstructions) {
        return at(next_, "more than 10000 instructions");
      }
      VARVE_RETURN_IF_ERROR(read_instruction());
    }
    return std::move(out_);
  }

 private:
  Failure at(std::size_t index, const std::string& what) const {
    return Failure{EINVAL, file_ + ":" + std::to_string(index + 1) + ": " + what};
  }

  // "# escape=`" and "# syntax=..." before anything else.
  StatusOrFailure read_directives() {
    for (; next_ < lines_.size(); ++next_) {
      const std::string_view line = trim_left(lines_[next_]);
      const std::size_t equals = line.find('=');
      if (!line.starts_with('#') || equals == std::string_view::npos) return {};
      const std::string name = upper(trim(line.substr(1, equals - 1)));
      const std::string_view value = trim(line.substr(equals + 1));
      if (name != "ESCAPE" && name != "SYNTAX" && name != "CHECK") return {};
      if (name != "ESCAPE") continue;
      if (value != "\\" && value != "`") return at(next_, "escape: expected \\ or `");
      out_.escape = value.front();
    }
    return {};
  }

  // Takes away the escape character at the end of a line. Two of them are none.
  bool take_continuation(std::string_view& line) const {
    const std::string_view bare = line.substr(0, line.find_last_not_of(" \t") + 1);
    if (bare.empty() || bare.back() != out_.escape) return false;
    if (bare.size() > 1 && bare[bare.size() - 2] == out_.escape) return false;
    line = bare.substr(0, bare.size() - 1);
    return true;
  }

  StatusOrFailure read_instruction() {
    Instruction instruction;
    instruction.line = next_ + 1;
    std::string_view line = trim_left(lines_[next_++]);
    bool goes_on = take_continuation(line);
    std::string text(line);
    while (goes_on && next_ < lines_.size()) {
      line = lines_[next_++];
      const std::string_view bare = trim_left(line);
      if (bare.empty() || bare.front() == '#') continue;  // comments and empty lines lie within it
      goes_on = take_continuation(line);
      text += line;
    }
    std::string_view rest = trim(text);
    const std::size_t end = std::min(rest.find_first_of(kBlanks), rest.size());
    instruction.keyword = upper(rest.substr(0, end));
    rest = trim_left(rest.substr(end));
    read_flags(instruction, rest);
    instruction.text = rest;
    if (takes_documents(instruction.keyword)) VARVE_RETURN_IF_ERROR(read_documents(instruction));
    out_.instructions.push_back(std::move(instruction));
    return {};
  }

  void read_flags(Instruction& instruction, std::string_view& rest) const {
    while (rest.starts_with("--")) {
      const std::vector<std::string> words = split_words(rest, out_.escape);
      const std::string& word = words.front();
      const std::size_t equals = std::min(word.find('='), word.size());
      instruction.flags.emplace_back(word.substr(2, equals - 2),
                                     equals == word.size() ? "" : word.substr(equals + 1));
      rest = trim_left(rest.substr(word.size()));
      if (word == "--") return;
    }
  }

  // The documents that the words of `instruction` name, from the lines that follow.
  StatusOrFailure read_documents(Instruction& instruction) {
    if (exec_form(instruction.text)) return {};
    for (const std::string& word : split_words(instruction.text, out_.escape)) {
      std::string_view mark = word;
      while (!mark.empty() && std::isdigit(static_cast<unsigned char>(mark.front())) != 0)
        mark.remove_prefix(1);
      if (!mark.starts_with("<<")) continue;
      mark.remove_prefix(2);
      HereDocument document;
      document.word = word;
      if (mark.starts_with('-')) {
        document.strip_tabs = true;
        mark.remove_prefix(1);
      }
      if (mark.empty() || mark.find('<') != std::string_view::npos) continue;
      for (const char c : mark) {
        if (c == '"' || c == '\'') {
          document.expand = false;
        } else {
          document.name.push_back(c);
        }
      }
      if (document.name.empty()) continue;
      VARVE_RETURN_IF_ERROR(read_document(instruction, document));
      instruction.documents.push_back(std::move(document));
    }
    return {};
  }

  StatusOrFailure read_document(const Instruction& instruction, HereDocument& document) {
    while (next_ < lines_.size()) {
      std::string_view line = lines_[next_++];
      if (document.strip_tabs) line.remove_prefix(std::min(line.find_first_not_of('\t'), line.size()));
      if (line == document.name) return {};
      document.content += line;
      document.content += '\n';
    }
    return at(instruction.line - 1, instruction.keyword + ": expected a line \"" + document.name +
                                        "\", which ends its here-document");
  }

  const std::string& file_;
  std::vector<std::string_view> lines_;
  std::size_t next_ = 0;
  LexedFile out_;
};

}  // namespace

std::optional<std::string> Instruction::flag(std::string_view name) const {
  for (const auto& [flag, value] : flags) {
    if (flag == name) return value;
  }
  return std::nullopt;
}

std::string Instruction::shown() const {
  std::string all = keyword;
  for (const auto& [name, value] : flags) all += " --" + name + (value.empty() ? "" : "=" + value);
  return text.empty() ? all : all + " " + text;
}

ResultOrFailure<LexedFile> lex(std::string_view text, const std::string& file) {
  if (text.size() > kMaxFileBytes) return Failure{EFBIG, file + ": longer than 4 MiB"};
  const std::size_t zero = text.find('\0');
  if (zero != std::string_view::npos) {
    const auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(zero), '\n') + 1;
    return Failure{EINVAL, file + ":" + std::to_string(line) + ": a byte of zeros: this is no text"};
  }
  return Lexer(text, file).run();
}

std::vector<std::string> split_words(std::string_view text, char escape) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = '\0';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == '\0' && (is_blank(c) || c == '\n')) {
      if (in_word) words.push_back(std::move(word));
      word.clear();
      in_word = false;
      continue;
    }
    in_word = true;
    word.push_back(c);
    if (c == escape && quote != '\'' && i + 1 < text.size()) {
      word.push_back(text[++i]);
    } else if (quote != '\0') {
      if (c == quote) quote = '\0';
    } else if (c == '"' || c == '\'') {
      quote = c;
    }
  }
  if (in_word) words.push_back(std::move(word));
  return words;
}

std::optional<std::vector<std::string>> exec_form(std::string_view text) {
  text = trim(text);
  if (!text.starts_with('[') || !text.ends_with(']')) return std::nullopt;
  const auto json = image::parse_json_object("{\"a\":" + std::string(text) + "}");
  if (!json.ok() || json->size() != 1) return std::nullopt;
  std::vector<std::string> words;
  for (const image::Json& item : (*json)["a"]) {
    if (!item.is_string()) return std::nullopt;
    words.push_back(item.get<std::string>());
  }
  return words;
}

ResultOrFailure<std::vector<std::pair<std::string, std::string>>> split_assignments(std::string_view text,
                                                                                    char escape) {
  std::vector<std::pair<std::string, std::string>> found;
  const std::vector<std::string> words = split_words(text, escape);
  if (words.empty()) return Failure{EINVAL, "expected NAME=VALUE"};
  if (words.front().find('=') == std::string::npos) {
    const std::string_view rest = trim(trim_left(text).substr(words.front().size()));
    if (rest.empty()) return Failure{EINVAL, words.front() + ": expected NAME=VALUE"};
    found.emplace_back(words.front(), rest);
    return found;
  }
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Failure{EINVAL, word + ": expected NAME=VALUE (a value with blanks stands in quotes)"};
    }
    found.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return found;
}

}  // namespace varve::recipe
