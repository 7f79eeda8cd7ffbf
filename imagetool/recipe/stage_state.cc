#include "imagetool/recipe/stage_state.h"

#include <algorithm>
#include <charconv>
#include <functional>

#include "imagetool/image/store/json_text.h"
#include "imagetool/recipe/digest_fields.h"

namespace varve::recipe {
namespace {

using image::Json;

constexpr std::size_t kMostPorts = 10000;
// What `varve run` gives to a command when the image says nothing (launcher/plan.cc): "ENV PATH=/opt/bin:$PATH" is to hold it.
constexpr const char* kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

Json source_of(const image::ImageConfig& config) {
  auto parsed = image::parse_json_object(config.source_json.empty() ? "{}" : config.source_json);
  return parsed.ok() ? std::move(parsed).value() : Json::object();
}

// A field of "config" that OCI does not know and Docker does.
void set_docker_field(image::ImageConfig& config, const char* name, const Json& value) {
  Json source = source_of(config);
  if (!source.contains("config") || !source["config"].is_object()) source["config"] = Json::object();
  source["config"][name] = value;
  config.source_json = image::json_text(source);
}

std::string json_of(const std::vector<std::string>& words) {
  return image::json_text(Json(words));
}

std::optional<std::uint64_t> whole_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

// "1m30s", "500ms" as nanoseconds (Go's time.ParseDuration, whole numbers).
ResultOrFailure<std::uint64_t> duration(const std::string& name, std::string_view text) {
  const Failure wrong{EINVAL,
                      "--" + name + "=" + std::string(text) + ": expected a time, as 30s, 5m or 500ms"};
  std::uint64_t total = 0;
  if (text.empty()) return wrong;
  while (!text.empty()) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const std::optional<std::uint64_t> value = whole_number(text.substr(0, digits));
    text.remove_prefix(digits);
    const std::size_t letters = std::min(text.find_first_of("0123456789"), text.size());
    const std::string_view unit = text.substr(0, letters);
    text.remove_prefix(letters);
    const std::uint64_t factor = unit == "ms"  ? 1'000'000U
                                 : unit == "s" ? 1'000'000'000U
                                 : unit == "m" ? 60'000'000'000U
                                 : unit == "h" ? 3'600'000'000'000U
                                               : 0U;
    if (!value || factor == 0 || *value > 1'000'000) return wrong;
    total += *value * factor;
  }
  return total;
}

class Setter {
 public:
  Setter(const Instruction& instruction, const SettingContext& context, StageState& state)
      : instruction_(instruction),
        context_(context),
        state_(state),
        expansion_(state.expansion(context.recipe.escape)) {}

  ResultOrFailure<std::string> run() {
    const std::string& keyword = instruction_.keyword;
    if (keyword == "ENV" || keyword == "LABEL") return set_pairs();
    if (keyword == "ARG") return declare_args();
    if (keyword == "CMD" || keyword == "ENTRYPOINT") return set_command();
    if (keyword == "EXPOSE") return expose();
    if (keyword == "HEALTHCHECK") return set_health_check();
    if (keyword == "SHELL") return set_shell();
    if (keyword == "VOLUME") return add_volumes();
    if (keyword == "MAINTAINER") return set_author();
    if (keyword == "USER") return set_word(state_.config.user);
    if (keyword == "STOPSIGNAL") return set_word(state_.config.stop_signal);
    return instruction_.shown();  // ONBUILD
  }

 private:
  ResultOrFailure<std::string> set_word(std::string& to) {
    VARVE_ASSIGN(to, expansion_.word(instruction_.text));
    if (to.empty()) return Failure{EINVAL, "expected a value, but " + instruction_.text + " is empty"};
    return instruction_.keyword + " " + to;
  }

  ResultOrFailure<std::string> set_author() {
    VARVE_ASSIGN(state_.config.author, expansion_.word(instruction_.text));
    state_.config.labels["maintainer"] = state_.config.author;
    return instruction_.keyword + " " + state_.config.author;
  }

  // All of one instruction see the variables as they were before it.
  ResultOrFailure<std::string> set_pairs() {
    VARVE_ASSIGN(const auto assignments, split_assignments(instruction_.text, context_.recipe.escape));
    std::vector<std::pair<std::string, std::string>> expanded;
    std::string shown = instruction_.keyword;
    for (const auto& [name_text, value_text] : assignments) {
      VARVE_ASSIGN(std::string name, expansion_.word(name_text));
      VARVE_ASSIGN(std::string value, expansion_.word(value_text));
      if (name.empty() || name.find('=') != std::string::npos) {
        return Failure{EINVAL, name_text + ": expected a name"};
      }
      shown += " " + name + "=" + value;
      expanded.emplace_back(std::move(name), std::move(value));
    }
    for (auto& [name, value] : expanded) {
      if (instruction_.keyword == "LABEL") {
        state_.config.labels[name] = std::move(value);
        continue;
      }
      const std::string begin = name + "=";
      const auto there = std::find_if(state_.config.env.begin(), state_.config.env.end(),
                                      [&](const std::string& one) { return one.starts_with(begin); });
      if (there != state_.config.env.end()) {
        *there = begin + value;
      } else {
        state_.config.env.push_back(begin + value);
      }
    }
    return shown;
  }

  ResultOrFailure<std::string> declare_args() {
    std::string shown = instruction_.keyword;
    for (const std::string& word : split_words(instruction_.text, context_.recipe.escape)) {
      const std::size_t equals = std::min(word.find('='), word.size());
      VARVE_ASSIGN(const std::string name, expansion_.word(word.substr(0, equals)));
      if (name.empty()) return Failure{EINVAL, word + ": expected NAME[=DEFAULT]"};
      std::optional<std::string> value = context_.build_args(name);
      if (!value && equals < word.size()) {
        VARVE_ASSIGN(value, expansion_.word(word.substr(equals + 1)));
      }
      for (const auto& [global, global_value] : context_.recipe.global_args) {
        if (equals == word.size() && global == name) value = global_value;
      }
      if (!value) value = platform_variable(name);
      shown += " " + name + (value ? "=" + *value : "");
      if (value) state_.args[name] = std::move(*value);
    }
    return shown;
  }

  ResultOrFailure<std::string> set_command() {
    std::optional<std::vector<std::string>> words = exec_form(instruction_.text);
    if (!words) {
      words = state_.shell();
      if (instruction_.text.empty()) words->clear();
      if (!words->empty()) words->push_back(instruction_.text);
    }
    const std::string shown = instruction_.keyword + " " + json_of(*words);
    if (instruction_.keyword == "CMD") {
      state_.config.cmd = std::move(*words);
      state_.has_own_command = true;
    } else {
      state_.config.entrypoint = std::move(*words);
      if (!state_.has_own_command) state_.config.cmd.clear();
    }
    return shown;
  }

  ResultOrFailure<std::string> expose() {
    VARVE_ASSIGN(const std::vector<std::string> words, expansion_.words(instruction_.text));
    std::string shown = instruction_.keyword;
    for (const std::string& word : words) {
      const Failure wrong{EINVAL, word + ": expected a port, as 80, 80/udp or 8000-8010"};
      const std::size_t slash = std::min(word.find('/'), word.size());
      const std::string protocol = slash < word.size() ? word.substr(slash + 1) : "tcp";
      const std::string range = word.substr(0, slash);
      const std::size_t dash = std::min(range.find('-'), range.size());
      const auto first = whole_number(range.substr(0, dash));
      const auto last = dash < range.size() ? whole_number(range.substr(dash + 1)) : first;
      const bool known = protocol == "tcp" || protocol == "udp" || protocol == "sctp";
      if (!first || !last || *first < 1 || *last > 65535 || *first > *last || !known) return wrong;
      if (state_.config.exposed_ports.size() + (*last - *first) > kMostPorts) return wrong;
      for (std::uint64_t port = *first; port <= *last; ++port) {
        add_once(state_.config.exposed_ports, std::to_string(port) + "/" + protocol);
      }
      shown += " " + word;
    }
    return shown;
  }

  ResultOrFailure<std::string> add_volumes() {
    std::vector<std::string> words = split_words(instruction_.text, context_.recipe.escape);
    if (const auto list = exec_form(instruction_.text)) words = *list;
    std::string shown = instruction_.keyword;
    for (const std::string& word : words) {
      VARVE_ASSIGN(const std::string path, expansion_.word(word));
      if (path.empty()) return Failure{EINVAL, word + ": expected a path"};
      add_once(state_.config.volumes, path);
      shown += " " + path;
    }
    return shown;
  }

  ResultOrFailure<std::string> set_shell() {
    const std::optional<std::vector<std::string>> words = exec_form(instruction_.text);
    if (!words || words->empty()) return Failure{EINVAL, "expected SHELL [\"PROGRAM\", \"ARGUMENT\"...]"};
    set_docker_field(state_.config, "Shell", Json(*words));
    return instruction_.keyword + " " + json_of(*words);
  }

  // https://github.com/moby/docker-image-spec: "Healthcheck", which podman and Docker read.
  ResultOrFailure<std::string> set_health_check() {
    const std::vector<std::string> words = split_words(instruction_.text, context_.recipe.escape);
    const std::string kind = words.front();
    Json check = Json::object();
    if (kind == "NONE" || kind == "none") {
      check["Test"] = {"NONE"};
    } else if ((kind == "CMD" || kind == "cmd") && words.size() > 1) {
      const std::string rest = instruction_.text.substr(instruction_.text.find(words[1], kind.size()));
      std::vector<std::string> test = {"CMD-SHELL", rest};
      if (const auto exec = exec_form(rest)) {
        test = {"CMD"};
        test.insert(test.end(), exec->begin(), exec->end());
      }
      check["Test"] = test;
    } else {
      return Failure{EINVAL, "expected HEALTHCHECK [OPTIONS] CMD COMMAND or HEALTHCHECK NONE"};
    }
    for (const auto& [name, value] : instruction_.flags) {
      if (name == "retries") {
        const std::optional<std::uint64_t> count = whole_number(value);
        if (!count || *count > 1'000'000)
          return Failure{EINVAL, "--retries=" + value + ": expected a number"};
        check["Retries"] = *count;
        continue;
      }
      VARVE_ASSIGN(const std::uint64_t nanoseconds, duration(name, value));
      check[name == "interval"       ? "Interval"
            : name == "timeout"      ? "Timeout"
            : name == "start-period" ? "StartPeriod"
                                     : "StartInterval"] = nanoseconds;
    }
    set_docker_field(state_.config, "Healthcheck", check);
    return instruction_.shown();
  }

  static void add_once(std::vector<std::string>& to, const std::string& word) {
    if (std::find(to.begin(), to.end(), word) == to.end()) to.push_back(word);
  }

  const Instruction& instruction_;
  const SettingContext& context_;
  StageState& state_;
  // Of the variables as they are when they are asked for.
  const Expansion expansion_;
};

}  // namespace

std::optional<std::string> StageState::variable(std::string_view name) const {
  for (const std::string& one : config.env) {
    if (one.size() > name.size() && one[name.size()] == '=' && one.starts_with(name)) {
      return one.substr(name.size() + 1);
    }
  }
  if (const auto arg = args.find(std::string(name)); arg != args.end()) return arg->second;
  if (name == "PATH") return kDefaultPath;
  return std::nullopt;
}

std::vector<std::string> StageState::shell() const {
  const Json source = source_of(config);
  std::vector<std::string> words;
  image::JsonReader reader(source, "image configuration");
  if (const Json* run = reader.object("config")) {
    image::JsonReader run_reader(*run, "image configuration, config");
    run_reader.read("Shell", words);
  }
  if (words.empty()) words = {"/bin/sh", "-c"};
  return words;
}

std::vector<std::string> StageState::environment() const {
  std::vector<std::string> variables;
  for (const auto& [name, value] : args) {
    const std::string begin = name + "=";
    const bool hidden = std::any_of(config.env.begin(), config.env.end(),
                                    [&](const std::string& one) { return one.starts_with(begin); });
    if (!hidden) variables.push_back(begin + value);
  }
  variables.insert(variables.end(), config.env.begin(), config.env.end());
  return variables;
}

StageState begin_on(const image::Image& image) {
  StageState state;
  state.config = image.config;
  state.layers = image.layers;
  state.layer_paths = image.layer_paths;
  // What was said of its history does not matter for what is built on it.
  image::ImageConfig plain = image.config;
  plain.created.clear();
  plain.history.clear();
  plain.source_json.clear();
  DigestFields fields;
  fields.add("image");
  fields.add(image::image_config_to_json(plain));
  fields.add(json_of(state.shell()));
  for (const image::Descriptor& layer : image.layers) fields.add(layer.digest.text());
  state.key = fields.finish();
  return state;
}

StageState begin_on(const StageState& stage) {
  StageState state = stage;
  state.args.clear();
  state.has_own_command = false;
  return state;
}

StageState begin_from_scratch() {
  StageState state;
  state.config.architecture = image::host_architecture();
  state.key = image::Digest::of("scratch");
  return state;
}

ResultOrFailure<std::string> apply_setting(const Instruction& instruction, const SettingContext& context,
                                           StageState& state) {
  return Setter(instruction, context, state).run();
}

ResultOrFailure<std::string> apply_working_directory(const Instruction& instruction, char escape,
                                                     StageState& state) {
  VARVE_ASSIGN(std::string path, state.expansion(escape).word(instruction.text));
  if (path.empty()) return Failure{EINVAL, "expected a path, but " + instruction.text + " is empty"};
  if (!path.starts_with('/')) path = state.config.working_dir + "/" + path;
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string part = path.substr(begin, end - begin);
    begin = end + 1;
    if (part == ".." && !parts.empty()) parts.pop_back();
    if (!part.empty() && part != "." && part != "..") parts.push_back(part);
  }
  std::string clean;
  for (const std::string& part : parts) clean += "/" + part;
  state.config.working_dir = clean.empty() ? "/" : clean;
  return state.config.working_dir;
}

}  // namespace varve::recipe
