#include "imagetool/recipe/parser.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>

#include "imagetool/image/store/image_config.h"

namespace varve::recipe {
namespace {

// What an instruction looks like, as far as it can be said before its words are expanded.
struct Shape {
  std::string_view keyword;
  std::size_t least_words;
  std::size_t most_words;
  std::string_view expected;
  std::string_view flags;  // each with a blank behind it
};
constexpr std::size_t kAny = std::numeric_limits<std::size_t>::max();
constexpr std::array<Shape, 18> kShapes = {{
    {"ADD", 2, kAny, "ADD SOURCE... DESTINATION", "chown chmod link "},
    {"ARG", 1, kAny, "ARG NAME[=DEFAULT]...", ""},
    {"CMD", 0, kAny, "CMD COMMAND or CMD [\"PROGRAM\", \"ARGUMENT\"...]", ""},
    {"COPY", 2, kAny, "COPY SOURCE... DESTINATION", "from chown chmod link "},
    {"ENTRYPOINT", 0, kAny, "ENTRYPOINT COMMAND or ENTRYPOINT [\"PROGRAM\", \"ARGUMENT\"...]", ""},
    {"ENV", 1, kAny, "ENV NAME=VALUE...", ""},
    {"EXPOSE", 1, kAny, "EXPOSE PORT[/tcp|/udp]...", ""},
    {"FROM", 1, 3, "FROM IMAGE [AS NAME]", "platform "},
    {"HEALTHCHECK", 1, kAny, "HEALTHCHECK [OPTIONS] CMD COMMAND or HEALTHCHECK NONE",
     "interval timeout start-period start-interval retries "},
    {"LABEL", 1, kAny, "LABEL NAME=VALUE...", ""},
    {"MAINTAINER", 1, kAny, "MAINTAINER NAME", ""},
    {"ONBUILD", 1, kAny, "ONBUILD INSTRUCTION", ""},
    {"RUN", 1, kAny, "RUN COMMAND or RUN [\"PROGRAM\", \"ARGUMENT\"...]", "network "},
    {"SHELL", 1, kAny, "SHELL [\"PROGRAM\", \"ARGUMENT\"...]", ""},
    {"STOPSIGNAL", 1, 1, "STOPSIGNAL SIGNAL", ""},
    {"USER", 1, 1, "USER NAME[:GROUP]", ""},
    {"VOLUME", 1, kAny, "VOLUME PATH... or VOLUME [\"PATH\"...]", ""},
    {"WORKDIR", 1, kAny, "WORKDIR PATH", ""},
}};

std::string lower(std::string_view text) {
  std::string changed(text);
  for (char& c : changed) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return changed;
}

bool is_stage_name(std::string_view name) {
  const auto is_character = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
  };
  return !name.empty() && name.size() <= 128 && std::isalpha(static_cast<unsigned char>(name.front())) != 0 &&
         std::all_of(name.begin(), name.end(), is_character);
}

Failure expected(const std::string& what) {
  return Failure{EINVAL, "expected " + what};
}

StatusOrFailure check_flags(const Instruction& instruction, const Shape& shape) {
  for (const auto& [name, value] : instruction.flags) {
    if (!name.empty() && shape.flags.find(name + " ") != std::string_view::npos) continue;
    if (name == "mount" || name == "security" || name == "parents" || name == "exclude") {
      return Failure{ENOTSUP, "--" + name + " is not supported"};
    }
    return Failure{EINVAL, "--" + name + ": there is no such option of " + instruction.keyword};
  }
  return {};
}

// Those that are a JSON array, and have no quotes or escapes of their own then.
std::size_t count_words(const Instruction& instruction, char escape) {
  if (const auto words = exec_form(instruction.text)) return words->size();
  return split_words(instruction.text, escape).size();
}

StatusOrFailure check_shape(const Instruction& instruction, char escape) {
  const auto* const shape = std::find_if(
      kShapes.begin(), kShapes.end(), [&](const Shape& one) { return one.keyword == instruction.keyword; });
  if (shape == kShapes.end()) {
    return Failure{EINVAL,
                   "there is no such instruction (expected FROM, RUN, COPY, ADD, ENV, ARG, WORKDIR, USER, "
                   "ENTRYPOINT, CMD, LABEL, EXPOSE, VOLUME, SHELL, STOPSIGNAL or HEALTHCHECK)"};
  }
  VARVE_RETURN_IF_ERROR(check_flags(instruction, *shape));
  const std::size_t words = count_words(instruction, escape);
  if (words < shape->least_words || words > shape->most_words) return expected(std::string(shape->expected));
  if (instruction.keyword == "SHELL" && !exec_form(instruction.text)) {
    return expected(std::string(shape->expected));
  }
  if (instruction.keyword == "ENV" || instruction.keyword == "LABEL") {
    VARVE_ASSIGN(const auto assignments, split_assignments(instruction.text, escape));
    if (assignments.empty()) return expected(std::string(shape->expected));
  }
  if ((instruction.keyword == "COPY" || instruction.keyword == "ADD") && words > 2) {
    const auto exec = exec_form(instruction.text);
    const std::string last = exec ? exec->back() : split_words(instruction.text, escape).back();
    // What stands in variables is looked at later.
    const bool may_be_directory = last.ends_with('/') || last.ends_with("/\"") || last.ends_with("/'") ||
                                  last.find('$') != std::string::npos || last == "." || last == ".." ||
                                  last.ends_with("/.") || last.ends_with("/..");
    if (!may_be_directory) {
      return Failure{EINVAL,
                     last + ": expected a directory with '/' at its end, since there are several sources"};
    }
  }
  return {};
}

class Parser {
 public:
  Parser(const std::string& file, const Variables& build_args) : build_args_(build_args) {
    recipe_.file = file;
  }

  ResultOrFailure<Recipe> run(std::string_view text) {
    VARVE_ASSIGN(LexedFile lexed, lex(text, recipe_.file));
    recipe_.escape = lexed.escape;
    for (Instruction& instruction : lexed.instructions) {
      StatusOrFailure taken = check_shape(instruction, lexed.escape);
      if (taken.ok()) taken = take(instruction);
      if (!taken.ok()) return failure_at(recipe_, instruction, taken.error());
    }
    if (recipe_.stages.empty())
      return Failure{EINVAL, recipe_.file + ": expected FROM IMAGE, but nothing is built here"};
    return std::move(recipe_);
  }

 private:
  StatusOrFailure take(Instruction& instruction) {
    if (instruction.keyword == "FROM") return take_from(instruction);
    if (!recipe_.stages.empty()) {
      VARVE_RETURN_IF_ERROR(check_source(instruction));
      recipe_.stages.back().steps.push_back(std::move(instruction));
      return {};
    }
    if (instruction.keyword == "ARG") return take_global_arg(instruction);
    return expected("FROM IMAGE first (or ARG)");
  }

  std::optional<std::string> global(std::string_view name) const {
    const auto found = std::find_if(recipe_.global_args.rbegin(), recipe_.global_args.rend(),
                                    [&](const auto& arg) { return arg.first == name; });
    if (found != recipe_.global_args.rend()) return found->second;
    return platform_variable(name);
  }
  Expansion expansion() const {
    return {[this](std::string_view name) { return global(name); }, recipe_.escape};
  }

  StatusOrFailure take_global_arg(const Instruction& instruction) {
    for (const std::string& word : split_words(instruction.text, recipe_.escape)) {
      const std::size_t equals = std::min(word.find('='), word.size());
      VARVE_ASSIGN(std::string name, expansion().word(word.substr(0, equals)));
      if (name.empty()) return expected("ARG NAME[=DEFAULT]...");
      std::optional<std::string> value = build_args_(name);
      if (!value && equals < word.size()) {
        VARVE_ASSIGN(value, expansion().word(word.substr(equals + 1)));
      }
      if (!value) value = global(name);
      if (value) recipe_.global_args.emplace_back(std::move(name), std::move(*value));
    }
    return {};
  }

  StatusOrFailure take_from(const Instruction& instruction) {
    const std::vector<std::string> words = split_words(instruction.text, recipe_.escape);
    Stage stage;
    stage.line = instruction.line;
    if (words.size() == 2 || (words.size() == 3 && lower(words[1]) != "as"))
      return expected("FROM IMAGE [AS NAME]");
    VARVE_ASSIGN(stage.base, expansion().word(words[0]));
    if (stage.base.empty()) return expected("the name of an image, but " + words[0] + " is empty");
    if (words.size() == 3) {
      stage.name = lower(words[2]);
      if (!is_stage_name(stage.name)) {
        return Failure{
            EINVAL, words[2] + ": expected a name of letters, digits, '_', '-' and '.', the first a letter"};
      }
    }
    VARVE_ASSIGN(stage.platform, expansion().word(instruction.flag("platform").value_or("")));
    recipe_.stages.push_back(std::move(stage));
    return {};
  }

  // COPY --from=N: a number must be that of an earlier stage; anything else may be an image.
  StatusOrFailure check_source(const Instruction& instruction) const {
    const std::optional<std::string> from = instruction.flag("from");
    if (!from) return {};
    if (from->empty()) return expected("--from=STAGE or --from=IMAGE");
    const bool is_number =
        std::all_of(from->begin(), from->end(), [](char c) { return c >= '0' && c <= '9'; });
    const std::size_t current = recipe_.stages.size() - 1;
    if (is_number && !recipe_.find_stage(*from, current)) {
      return Failure{EINVAL, "--from=" + *from + ": expected the number of an earlier stage, less than " +
                                 std::to_string(current)};
    }
    if (lower(*from) == recipe_.stages.back().name)
      return Failure{EINVAL, "--from=" + *from + ": this stage itself"};
    return {};
  }

  const Variables& build_args_;
  Recipe recipe_;
};

}  // namespace

std::optional<std::size_t> Recipe::find_stage(std::string_view stage, std::size_t limit) const {
  const std::string wanted = lower(stage);
  // Of equal names the last one holds.
  for (std::size_t i = std::min(limit, stages.size()); i-- > 0;) {
    if (!stages[i].name.empty() && stages[i].name == wanted) return i;
  }
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), number);
  if (error != std::errc() || end != wanted.data() + wanted.size() ||
      number >= std::min(limit, stages.size())) {
    return std::nullopt;
  }
  return number;
}

std::vector<std::size_t> Recipe::needed_for(std::size_t target) const {
  std::vector<bool> needed(stages.size(), false);
  needed[target] = true;
  for (std::size_t i = target + 1; i-- > 0;) {
    if (!needed[i]) continue;
    // A number is no base: "FROM 1" is an image.
    const std::string base_name = lower(stages[i].base);
    for (std::size_t base = i; base-- > 0;) {
      if (stages[base].name != base_name) continue;
      needed[base] = true;
      break;
    }
    for (const Instruction& step : stages[i].steps) {
      const std::optional<std::string> from = step.flag("from");
      const std::optional<std::size_t> source = from ? find_stage(*from, i) : std::nullopt;
      if (source) needed[*source] = true;
    }
  }
  std::vector<std::size_t> numbers;
  for (std::size_t i = 0; i <= target; ++i) {
    if (needed[i]) numbers.push_back(i);
  }
  return numbers;
}

ResultOrFailure<Recipe> parse_recipe(std::string_view text, const std::string& file,
                                     const Variables& build_args) {
  return Parser(file, build_args).run(text);
}

Failure failure_at(const Recipe& recipe, const Instruction& instruction, const Failure& why) {
  constexpr std::size_t kShown = 40;
  std::string keyword;  // of others' making
  for (const char c : instruction.keyword.substr(0, kShown)) {
    keyword.push_back(std::isprint(static_cast<unsigned char>(c)) != 0 ? c : '?');
  }
  return Failure{why.error_number,
                 recipe.file + ":" + std::to_string(instruction.line) + ": " + keyword + ": " + why.message};
}

std::optional<std::string> platform_variable(std::string_view name) {
  for (const std::string_view prefix : {"TARGET", "BUILD"}) {
    if (!name.starts_with(prefix)) continue;
    const std::string_view rest = name.substr(prefix.size());
    if (rest == "PLATFORM") return "linux/" + image::host_architecture();
    if (rest == "OS") return "linux";
    if (rest == "ARCH") return image::host_architecture();
    if (rest == "VARIANT") return "";
  }
  return std::nullopt;
}

}  // namespace varve::recipe
