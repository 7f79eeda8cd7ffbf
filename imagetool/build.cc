// imagetool build [-f FILE] -t NAME CONTEXT

#include "imagetool/recipe/builder.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "imagetool/base_images.h"
#include "imagetool/commands.h"
#include "imagetool/image/store/atomic_file.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/made_image.h"
#include "imagetool/recipe/lexer.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string context;
  std::string file;
  std::vector<std::string> names;
  std::vector<std::string> build_args, labels;
  std::string target, network, id_file;
  std::string pull = "missing";
  bool no_cache = false, quiet = false, json = false;
  BuildFlags build;
  RegistryFlags registry;
};

constexpr std::uint64_t kIgnoreLimitBytes = 4 << 20;

bool is_file(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && !S_ISDIR(status.st_mode);
}

// Given with -f, else the first that the context has.
ResultOrFailure<std::string> choose_file(const Arguments& arguments) {
  if (!arguments.file.empty()) return arguments.file;
  for (const char* name : {"Imagefile", "Dockerfile", "Containerfile"}) {
    if (std::string path = arguments.context + "/" + name; is_file(path)) return path;
  }
  return Failure{ENOENT, arguments.context +
                             ": neither Imagefile nor Dockerfile nor Containerfile is there (give -f FILE)"};
}

ResultOrFailure<std::string> read_text(const std::string& path, std::uint64_t limit_bytes) {
  if (path == "-") {
    std::string text;
    std::array<char, 65536> buffer{};
    while (text.size() <= limit_bytes) {
      const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
      if (got < 0) return failure_from(Errno::last(), "standard input");
      if (got == 0) return text;
      text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return Failure{EFBIG, "standard input: longer than 4 MiB"};
  }
  Result<std::string> text = image::read_small_file(path, limit_bytes);
  if (!text.ok()) return failure_from(text.error(), path);
  return std::move(text).value();
}

ResultOrFailure<recipe::IgnorePatterns> read_ignored(const Arguments& arguments, const std::string& file) {
  for (const std::string& path :
       {file + ".containerignore", file + ".dockerignore", arguments.context + "/.containerignore",
        arguments.context + "/.dockerignore"}) {
    if (!is_file(path)) continue;
    VARVE_ASSIGN(const std::string text, read_text(path, kIgnoreLimitBytes));
    auto patterns = recipe::IgnorePatterns::parse(text);
    if (!patterns.ok()) return Failure{patterns.error().error_number, path + ": " + patterns.error().message};
    return patterns;
  }
  return recipe::IgnorePatterns();
}

// "NAME=VALUE"; without '=' the value of this process's environment, where `may_inherit`.
ResultOrFailure<std::map<std::string, std::string>> pairs(const std::vector<std::string>& words,
                                                          const char* option, bool may_inherit) {
  std::map<std::string, std::string> found;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    if (equals == 0 || (equals == std::string::npos && !may_inherit)) {
      return Failure{EINVAL, fmt::format("{} {}: not NAME=VALUE", option, word)};
    }
    if (equals != std::string::npos) {
      found[word.substr(0, equals)] = word.substr(equals + 1);
    } else if (const char* value = std::getenv(word.c_str())) {
      found[word] = value;
    }
  }
  return found;
}

ResultOrFailure<recipe::BuildRequest> request_of(const Arguments& arguments) {
  struct stat status {};
  if (::stat(arguments.context.c_str(), &status) != 0) return failure_from(Errno::last(), arguments.context);
  if (!S_ISDIR(status.st_mode)) return Failure{ENOTDIR, arguments.context + ": the context is no directory"};
  recipe::BuildRequest request;
  request.context_directory = arguments.context;
  while (request.context_directory.size() > 1 && request.context_directory.back() == '/') {
    request.context_directory.pop_back();
  }
  for (const std::string& text : arguments.names) {
    VARVE_ASSIGN(image::ImageName name, image::parse_image_name(text));
    request.names.push_back(std::move(name));
  }
  VARVE_ASSIGN(request.build_args, pairs(arguments.build_args, "--build-arg", true));
  VARVE_ASSIGN(request.labels, pairs(arguments.labels, "--label", false));
  VARVE_ASSIGN(const std::string file, choose_file(arguments));
  VARVE_ASSIGN(request.ignored, read_ignored(arguments, file));
  VARVE_ASSIGN(const std::string text, read_text(file, recipe::kMaxFileBytes));
  const recipe::Variables given = [&](std::string_view name) -> std::optional<std::string> {
    const auto found = request.build_args.find(std::string(name));
    return found == request.build_args.end() ? std::nullopt : std::optional(found->second);
  };
  VARVE_ASSIGN(request.recipe, recipe::parse_recipe(text, file == "-" ? "standard input" : file, given));
  request.target = arguments.target;
  request.network = arguments.network;
  request.use_cache = !arguments.no_cache;
  VARVE_ASSIGN(request.layer, build_options(arguments.build, ""));
  return request;
}

StatusOrFailure build(const Arguments& arguments, const Context& context) {
  VARVE_ASSIGN(recipe::BuildRequest request, request_of(arguments));
  const bool quiet = arguments.quiet || context.progress == "none";
  request.quiet = arguments.quiet;
  request.tell = [quiet](const std::string& line) {
    if (!quiet) std::fputs((line + "\n").c_str(), stderr);
  };
  const auto monitor = context.monitor();
  VARVE_ASSIGN(image::Store store, context.open_store());
  BaseImages bases({.policy = parse_pull_policy(arguments.pull),
                    .registry = arguments.registry,
                    .bring_in = {.platform = {}, .build = request.layer},
                    .tell = request.tell},
                   store, *monitor);
  request.find_image = [&bases](const std::string& name, const std::string& platform) {
    return bases.find(name, platform);
  };
  VARVE_ASSIGN(const image::Image image, recipe::build_image(request, store, *monitor));
  if (!arguments.id_file.empty()) {
    const Status written = image::write_file_atomically(arguments.id_file, image.digest.text(), 0644);
    if (!written.ok()) return failure_from(written.error(), arguments.id_file);
  }
  image::Json layers = image::Json::array();
  for (const image::Descriptor& layer : image.layers) layers.push_back(layer.digest.text());
  print_made_image(image, arguments.json, {{"layers", std::move(layers)}, {"bytes", layer_bytes(image)}},
                   fmt::format("{}, {} layers", human_bytes(layer_bytes(image)), image.layers.size()));
  return {};
}

void add_options(CLI::App& command, Arguments& arguments) {
  command.add_option("CONTEXT", arguments.context, "Directory that COPY and ADD copy from")->required();
  command
      .add_option("-f,--file", arguments.file,
                  "The file with the instructions, - for standard input (default: Imagefile, Dockerfile or "
                  "Containerfile of "
                  "CONTEXT)")
      ->type_name("FILE");
  command.add_option("-t,--tag", arguments.names, "NAME[:TAG] of the image; may be repeated")
      ->required()
      ->type_name("NAME")
      ->allow_extra_args(false);
  command
      .add_option("--build-arg", arguments.build_args,
                  "Value of an ARG; without =VALUE that of the environment")
      ->type_name("NAME[=VALUE]")
      ->allow_extra_args(false);
  command.add_option("--label", arguments.labels, "Label to add; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  command
      .add_option("--target", arguments.target,
                  "Build this stage, by name or number, in place of the last one")
      ->type_name("STAGE");
  command
      .add_option(
          "--network", arguments.network,
          "Network of RUN, as of `varve run` (default: root: bridge, else host; users: pasta, else host)")
      ->type_name("none|host|bridge|pasta");
  command.add_flag("--no-cache", arguments.no_cache, "Carry out all steps, whatever was done before");
  command.add_flag("-q,--quiet", arguments.quiet,
                   "Tell nothing but the result; the output of RUN is left out");
  command.add_option("--iidfile", arguments.id_file, "Write the digest of the image to this file")
      ->type_name("FILE");
  command.add_flag("--json", arguments.json, "Tell the result as JSON");
  command.add_option("--level", arguments.build.level, "zstd level of the layers, 1 to 19 (default 3)")
      ->check(CLI::Range(1, 19));
  command.add_option("--jobs,-j", arguments.build.jobs, "Threads that compress")->check(CLI::Range(1, 1024));
  command
      .add_option("--source-date-epoch", arguments.build.source_date_epoch,
                  "Make later times this one, in seconds since 1970 (default: $SOURCE_DATE_EPOCH)")
      ->type_name("SECONDS");
}

}  // namespace

void add_build(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("build", "Make an image as an Imagefile (Dockerfile syntax) says");
  add_options(*command, *arguments);
  // A flag with a value, so that `--pull .` is --pull=always and a context, as for docker and podman.
  command
      ->add_flag(
          "--pull{always}", arguments->pull,
          "Images of FROM and COPY --from that are pulled from their registry: missing: those that the "
          "store does not have; always (as --pull alone): all; never (default: missing)")
      ->check(CLI::IsMember({"missing", "always", "never"}).description(""))
      ->type_name("missing|always|never");
  add_registry_flags(*command, arguments->registry);
  command->footer(
      "Steps that were done before with the same input are taken from the store's build cache, which\n"
      "`imagetool gc --build-cache` empties. What is going on is told on standard error.\n"
      "Images are looked for in the store first; names without a registry are docker.io's then. What --creds "
      "says is\n"
      "shown to each registry that a FROM names and that asks for it.\n"
      "Examples:\n"
      "  imagetool build -t app .\n"
      "  imagetool build -t app:dev --target dev --build-arg VERSION=1.2 -f build/Imagefile .\n"
      "  printf 'FROM debian\\nRUN apt-get update\\n' | imagetool build -t fresh -f - .");
  command->callback([arguments, &context] {
    run_command(context, "building an image", [&] { return build(*arguments, context); });
  });
}

}  // namespace varve::imagetool
