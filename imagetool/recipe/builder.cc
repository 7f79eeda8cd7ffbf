#include "imagetool/recipe/builder.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "imagetool/image/layer_blob.h"
#include "imagetool/image/store/atomic_file.h"
#include "imagetool/image/store/build_cache.h"
#include "imagetool/recipe/copy_plan.h"
#include "imagetool/recipe/digest_fields.h"
#include "imagetool/recipe/run_command.h"
#include "imagetool/recipe/stage_state.h"

namespace varve::recipe {
namespace {

// Given by a person they are there in RUN without ARG, and are no part of what a step depends on (Dockerfile reference, "Predefined
// ARGs").
constexpr std::array<const char*, 10> kProxies = {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy",
                                                  "FTP_PROXY",  "ftp_proxy",  "NO_PROXY",    "no_proxy",
                                                  "ALL_PROXY",  "all_proxy"};

// A directory within the store's scratch directory that goes away with this object.
class Scratch {
 public:
  static ResultOrFailure<Scratch> make(image::Store& store) {
    VARVE_ASSIGN(std::string path, store.scratch_directory());
    path += "/build-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return failure_from(Errno::last(), path);
    return Scratch(std::move(path));
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    if (!path_.empty()) static_cast<void>(image::remove_tree(path_));  // gc() removes what stays
  }
  const std::string& path() const { return path_; }
  StatusOrFailure make_directory(const std::string& name, mode_t mode) const {
    const std::string path = path_ + "/" + name;
    if (::mkdir(path.c_str(), mode) != 0 || ::chmod(path.c_str(), mode) != 0)
      return failure_from(Errno::last(), path);
    return {};
  }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

std::string human_count(std::uint64_t bytes) {
  if (bytes < 10'000) return std::to_string(bytes) + " B";
  if (bytes < 10'000'000) return std::to_string(bytes / 1000) + " kB";
  return std::to_string(bytes / 1'000'000) + " MB";
}

class Builder {
 public:
  Builder(const BuildRequest& request, image::Store& store, image::Monitor& monitor)
      : request_(request),
        store_(store),
        monitor_(monitor),
        cache_(store.directory()),
        build_args_([this](std::string_view name) { return build_arg(name); }),
        context_(request.context_directory, request.ignored),
        now_seconds_(request.layer.latest_mtime_seconds.value_or(::time(nullptr))) {}

  ResultOrFailure<image::Image> run() {
    const Recipe& recipe = request_.recipe;
    std::size_t target = recipe.stages.size() - 1;
    if (!request_.target.empty()) {
      const std::optional<std::size_t> found = recipe.find_stage(request_.target, recipe.stages.size());
      if (!found)
        return Failure{ENOENT, recipe.file + ": there is no stage \"" + request_.target + "\" (--target)"};
      target = *found;
    }
    // From here on gc() of others waits.
    VARVE_ASSIGN(const std::string scratch, store_.scratch_directory());
    const std::vector<std::size_t> needed = recipe.needed_for(target);
    for (const std::size_t number : needed) step_count_ += 1 + recipe.stages[number].steps.size();
    for (const std::size_t number : needed) VARVE_RETURN_IF_ERROR(build_stage(number));
    warn_of_unused();
    return put(stages_.at(target));
  }

 private:
  std::optional<std::string> build_arg(std::string_view name) {
    const auto found = request_.build_args.find(std::string(name));
    if (found == request_.build_args.end()) return std::nullopt;
    used_args_.insert_or_assign(found->first, true);
    return found->second;
  }

  void warn_of_unused() {
    for (const auto& [name, value] : request_.build_args) {
      const bool is_proxy = std::find(kProxies.begin(), kProxies.end(), name) != kProxies.end();
      if (!is_proxy && !used_args_.contains(name) && !is_global(name)) {
        monitor_.warn("--build-arg " + name + ": no ARG of the stages that were built has this name");
      }
    }
  }
  bool is_global(const std::string& name) const {
    const auto& args = request_.recipe.global_args;
    return std::any_of(args.begin(), args.end(), [&](const auto& arg) { return arg.first == name; });
  }

  void tell_step(const std::string& text) {
    ++step_;
    std::string line;
    for (const char c : text) {  // of others' making
      const auto byte = static_cast<unsigned char>(c);
      line.push_back(byte < 0x20 || byte == 0x7f ? ' ' : c);
    }
    request_.tell("STEP " + std::to_string(step_) + "/" + std::to_string(step_count_) + ": " + line);
  }

  // --- stages ---

  StatusOrFailure build_stage(std::size_t number) {
    const Stage& stage = request_.recipe.stages[number];
    tell_step("FROM " + stage.base + (stage.name.empty() ? "" : " AS " + stage.name));
    const auto at_from = [&](const Failure& why) {
      return failure_at(request_.recipe, Instruction{.line = stage.line, .keyword = "FROM"}, why);
    };
    ResultOrFailure<StageState> begun = begin(stage, number);
    if (!begun.ok()) return monitor_.cancelled() ? image::cancelled_failure() : at_from(begun.error());
    StageState state = std::move(begun).value();
    for (const Instruction& step : stage.steps) {
      if (monitor_.cancelled()) return image::cancelled_failure();
      tell_step(step.shown());
      const StatusOrFailure done = do_step(step, number, state);
      if (!done.ok() && monitor_.cancelled()) return image::cancelled_failure();
      if (!done.ok()) return failure_at(request_.recipe, step, done.error());
    }
    stages_.emplace(number, std::move(state));
    return {};
  }

  ResultOrFailure<StageState> begin(const Stage& stage, std::size_t number) {
    if (const std::optional<std::size_t> earlier = request_.recipe.find_stage(stage.base, number);
        earlier && !request_.recipe.stages[*earlier].name.empty() && stages_.contains(*earlier) &&
        stage.base.find_first_not_of("0123456789") != std::string::npos) {
      return begin_on(stages_.at(*earlier));
    }
    if (stage.base == "scratch") return begin_from_scratch();
    VARVE_ASSIGN(const image::Image image, request_.find_image(stage.base, stage.platform));
    return begin_on(image);
  }

  StatusOrFailure do_step(const Instruction& step, std::size_t stage, StageState& state) {
    if (step.keyword == "RUN") return do_run(step, state);
    if (step.keyword == "COPY" || step.keyword == "ADD") return do_copy(step, stage, state);
    if (step.keyword == "WORKDIR") return do_working_directory(step, state);
    if (step.keyword == "ONBUILD") {
      monitor_.warn(request_.recipe.file + ":" + std::to_string(step.line) +
                    ": ONBUILD is left out: images have no such field (OCI image-spec)");
    }
    VARVE_ASSIGN(const std::string text,
                 apply_setting(step, {.recipe = request_.recipe, .build_args = build_args_}, state));
    return finish_step(state, text, "", nullptr);
  }

  // --- the cache ---

  using MakeLayer = std::function<ResultOrFailure<std::optional<image::Descriptor>>()>;

  // `text`: the instruction as understood; `input`: what else it depends on. `make` null: it makes no layer.
  StatusOrFailure finish_step(StageState& state, const std::string& text, const std::string& input,
                              const MakeLayer& make) {
    DigestFields fields;
    fields.add("varve build 1");
    fields.add(state.key.text());
    for (const image::Descriptor& layer : state.layers) fields.add(layer.digest.text());
    fields.add(text);
    fields.add(input);
    state.key = fields.finish();
    std::optional<image::CachedStep> step;
    if (request_.use_cache) step = cache_.find(state.key, store_);
    if (step && make != nullptr) {
      request_.tell("--> cached" +
                    (step->layer ? ": layer " + step->layer->digest.short_hex() : std::string()));
    }
    if (!step) {
      step.emplace();
      step->created = image::rfc3339(now_seconds_);
      if (make != nullptr) {
        VARVE_ASSIGN(step->layer, make());
        if (step->layer) {
          request_.tell("--> layer " + step->layer->digest.short_hex() + ", " +
                        human_count(step->layer->size_bytes));
        }
      }
      VARVE_RETURN_IF_ERROR(cache_.put(state.key, *step));
    }
    if (step->layer) {
      state.layers.push_back(*step->layer);
      state.layer_paths.push_back(store_.blob_path(step->layer->digest));
      state.config.diff_ids.push_back(step->layer->digest.text());
    }
    state.config.created = step->created;
    state.config.history.push_back({.created = step->created,
                                    .created_by = text,
                                    .author = state.config.author,
                                    .comment = "imagetool build",
                                    .empty_layer = !step->layer});
    return {};
  }

  static image::LayersBelow below(const StageState& state) { return {state.layers, state.layer_paths}; }

  // --- RUN ---

  struct RunWords {
    std::vector<std::string> command;
    std::string script;  // the content of the file that is run; empty: none is
  };
  // Here-documents: alone they are the script, for the shell or for the program that its first line names; else the shell reads them.
  static RunWords words_of(const Instruction& step, const std::vector<std::string>& shell) {
    if (auto exec = exec_form(step.text)) return {std::move(*exec), ""};
    RunWords words{shell, ""};
    const bool alone = step.documents.size() == 1 && step.documents.front().word == step.text;
    if (alone && step.documents.front().content.starts_with("#!")) {
      return {{kScriptPath}, step.documents.front().content};
    }
    if (alone) {
      words.command.push_back(step.documents.front().content);
      return words;
    }
    std::string text = step.text;
    for (const HereDocument& document : step.documents) text += "\n" + document.content + document.name;
    words.command.push_back(text);
    return words;
  }

  StatusOrFailure do_run(const Instruction& step, StageState& state) {
    const RunWords words = words_of(step, state.shell());
    if (words.command.empty()) return Failure{EINVAL, "expected a command"};
    if (state.layers.empty()) {
      return Failure{
          EINVAL, "the stage is empty: there is no program to run (COPY something first, or FROM an image)"};
    }
    const std::string network = step.flag("network").value_or("default");
    if (network != "default" && network != "none" && network != "host") {
      return Failure{EINVAL, "--network=" + network + ": expected default, none or host"};
    }
    DigestFields input;
    for (const std::vector<std::string>& list : {words.command, state.environment()}) {
      input.add(list.size());
      for (const std::string& word : list) input.add(word);
    }
    input.add(words.script);
    input.add(network);
    return finish_step(state, step.shown(), input.finish().text(),
                       [&] { return run(words, network == "default" ? request_.network : network, state); });
  }

  // The root of a mount is that of its upper: so that has the attributes of the stage's root.
  static StatusOrFailure make_upper(const Scratch& scratch, const StageState& state) {
    VARVE_ASSIGN(const auto tree, LayeredTree::open_stack(state.layer_paths, "the stage"));
    VARVE_ASSIGN(const std::optional<image::InodeSpec> root, tree->spec(""));
    const Attributes& attributes = root.value().attributes;
    VARVE_RETURN_IF_ERROR(scratch.make_directory("upper", attributes.mode & 07777));
    const std::string path = scratch.path() + "/upper";
    if (::geteuid() == 0 && (::chown(path.c_str(), attributes.uid, attributes.gid) != 0 ||
                             ::chmod(path.c_str(), attributes.mode & 07777) != 0)) {
      return failure_from(Errno::last(), path);
    }
    return {};
  }

  ResultOrFailure<std::optional<image::Descriptor>> run(const RunWords& words, const std::string& network,
                                                        const StageState& state) {
    VARVE_ASSIGN(const Scratch scratch, Scratch::make(store_));
    VARVE_RETURN_IF_ERROR(make_upper(scratch, state));
    VARVE_RETURN_IF_ERROR(scratch.make_directory("work", 0700));
    RunRequest run;
    VARVE_ASSIGN(run.launcher, find_launcher());
    run.store_directory = store_.directory();
    run.layer_paths = state.layer_paths;
    run.upper = scratch.path() + "/upper";
    run.work = scratch.path() + "/work";
    run.environment = proxies();
    const std::vector<std::string> variables = state.environment();
    run.environment.insert(run.environment.end(), variables.begin(), variables.end());
    run.user = state.config.user;
    run.working_directory = state.config.working_dir;
    run.command = words.command;
    if (!words.script.empty()) {
      run.script = scratch.path() + "/script";
      const Status written =
          image::write_file_atomically(run.script, words.script, 0755, image::Durability::kUntilReboot);
      if (!written.ok()) return failure_from(written.error(), run.script);
    }
    run.quiet = request_.quiet;
    run.network = network;
    if (network.empty()) {
      if (chosen_network_.empty()) {
        VARVE_ASSIGN(chosen_network_, choose_network(run, monitor_));
        if (chosen_network_ == "host") {
          request_.tell(std::string("--> network of the host: there is no ") +
                        (::geteuid() == 0 ? "bridge" : "pasta") + " to be had");
        }
      }
      run.network = chosen_network_;
    }
    VARVE_ASSIGN(const int status, run_in_stage(run, monitor_));
    if (status == 125) return Failure{EIO, "the container did not start, see above"};
    if (status != 0) return Failure{EIO, "the command ended with status " + std::to_string(status)};
    VARVE_ASSIGN(
        image::Descriptor layer,
        image::build_upper_blob(store_, {.upper = run.upper, .work = run.work, .below = below(state)},
                                request_.layer, monitor_));
    return std::optional(std::move(layer));
  }

  std::vector<std::string> proxies() const {
    std::vector<std::string> variables;
    for (const char* name : kProxies) {
      const auto found = request_.build_args.find(name);
      if (found != request_.build_args.end()) variables.push_back(found->first + "=" + found->second);
    }
    return variables;
  }

  // --- COPY, ADD, WORKDIR ---

  Timestamp now() const { return {now_seconds_, 0}; }

  StatusOrFailure finish_copy(StageState& state, const std::string& text, CopySource& source) {
    VARVE_ASSIGN(const image::Digest digest, source.digest());
    return finish_step(
        state, text, digest.text(), [&]() -> ResultOrFailure<std::optional<image::Descriptor>> {
          if (source.empty()) return std::optional<image::Descriptor>();
          VARVE_ASSIGN(image::Descriptor layer,
                       image::build_layer_blob_over(store_, below(state), source, request_.layer, monitor_));
          return std::optional(std::move(layer));
        });
  }

  StatusOrFailure do_working_directory(const Instruction& step, StageState& state) {
    VARVE_ASSIGN(const std::string path, apply_working_directory(step, request_.recipe.escape, state));
    VARVE_ASSIGN(const auto tree, LayeredTree::open_stack(state.layer_paths, "the stage"));
    VARVE_ASSIGN(const auto source, plan_directory(path, now(), *tree, monitor_));
    return finish_copy(state, "WORKDIR " + path, *source);
  }

  // The words of `step`, expanded.
  ResultOrFailure<CopyRequest> copy_request(const Instruction& step, const StageState& state) {
    CopyRequest copy;
    copy.unpacks = step.keyword == "ADD";
    copy.working_directory = state.config.working_dir;
    copy.now = now();
    VARVE_ASSIGN(copy.spool_directory, store_.scratch_directory());
    const Expansion expansion = state.expansion(request_.recipe.escape);
    VARVE_ASSIGN(copy.chown, expansion.word(step.flag("chown").value_or("")));
    VARVE_ASSIGN(copy.chmod, expansion.word(step.flag("chmod").value_or("")));
    std::vector<std::string> words = split_words(step.text, request_.recipe.escape);
    if (const auto list = exec_form(step.text)) words = *list;
    VARVE_ASSIGN(copy.destination, expansion.word(words.back()));
    words.pop_back();
    std::size_t next_document = 0;
    for (const std::string& word : words) {
      if (next_document < step.documents.size() && step.documents[next_document].word == word) {
        copy.documents.push_back(step.documents[next_document++]);
        HereDocument& document = copy.documents.back();
        if (document.expand) {
          VARVE_ASSIGN(document.content, expansion.document(document.content));
        }
        continue;
      }
      VARVE_ASSIGN(std::string source, expansion.word(word));
      if (source.empty()) return Failure{EINVAL, "expected a source, but " + word + " is empty"};
      copy.sources.push_back(std::move(source));
    }
    return copy;
  }

  StatusOrFailure do_copy(const Instruction& step, std::size_t stage, StageState& state) {
    VARVE_ASSIGN(const CopyRequest copy, copy_request(step, state));
    CopyOrigin origin{.tree = &context_, .keep_owners = false, .ignored = &request_.ignored};
    std::unique_ptr<LayeredTree> from_tree;
    if (const std::optional<std::string> from = step.flag("from")) {
      const std::optional<std::size_t> earlier = request_.recipe.find_stage(*from, stage);
      if (earlier) {
        VARVE_ASSIGN(from_tree, LayeredTree::open_stack(stages_.at(*earlier).layer_paths, "stage " + *from));
      } else {
        VARVE_ASSIGN(const image::Image image, request_.find_image(*from, ""));
        VARVE_ASSIGN(from_tree, LayeredTree::open_stack(image.layer_paths, *from));
      }
      origin = {.tree = from_tree.get(), .keep_owners = true, .ignored = nullptr};
    }
    VARVE_ASSIGN(const auto tree, LayeredTree::open_stack(state.layer_paths, "the stage"));
    VARVE_ASSIGN(const auto source, plan_copy(copy, origin, *tree, monitor_));
    std::string text = step.keyword;
    for (const auto& [name, value] : step.flags) text += " --" + name + (value.empty() ? "" : "=" + value);
    for (const std::string& one : copy.sources) text += " " + one;
    for (const HereDocument& one : copy.documents) text += " " + one.word;
    return finish_copy(state, text + " " + copy.destination, *source);
  }

  // --- the end ---

  ResultOrFailure<image::Image> put(const StageState& built) {
    image::ImageConfig config = built.config;
    for (const auto& [name, value] : request_.labels) config.labels[name] = value;
    if (config.created.empty()) config.created = image::rfc3339(now_seconds_);
    VARVE_ASSIGN(image::Image image,
                 store_.put_image(request_.names.front(), std::move(config), built.layers));
    for (std::size_t i = 1; i < request_.names.size(); ++i) {
      VARVE_RETURN_IF_ERROR(store_.tag(image.digest.text(), request_.names[i]));
    }
    return image;
  }

  const BuildRequest& request_;
  image::Store& store_;
  image::Monitor& monitor_;
  const image::BuildCache cache_;
  const Variables build_args_;
  ContextTree context_;
  const std::int64_t now_seconds_;
  std::map<std::size_t, StageState> stages_;
  std::map<std::string, bool> used_args_;
  std::string chosen_network_;
  std::size_t step_ = 0;
  std::size_t step_count_ = 0;
};

}  // namespace

ResultOrFailure<image::Image> build_image(const BuildRequest& request, image::Store& store,
                                          image::Monitor& monitor) {
  return Builder(request, store, monitor).run();
}

}  // namespace varve::recipe
