// imagetool import SRC [NAME]: an image of others, or a root file system

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "fs/base/unique_fd.h"
#include "imagetool/commands.h"
#include "imagetool/image/layer_blob.h"
#include "imagetool/image/source/tar_source.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/made_image.h"
#include "imagetool/transfer/bring_in.h"
#include "imagetool/transport/image_at.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string source;
  std::string name;
  std::string message;
  std::vector<std::string> entrypoint, cmd, env, labels;
  std::string working_dir, user, architecture, platform;
  bool json = false;
  BuildFlags build;
};

// What SRC is read from.
struct Input {
  std::string path;
  std::string shown;  // what messages call it
  bool is_stream = false;
};

// A pipe is kept in `spool`, so that it can be looked at before it is decided what it is.
StatusOrFailure keep_standard_input(const std::string& spool, const image::Monitor& monitor) {
  constexpr int kPollMs = 200;  // how long a silent pipe keeps us from noticing a cancellation
  const UniqueFd file(::open(spool.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return failure_from(Errno::last(), spool);
  std::vector<char> piece(1 << 18);
  for (;;) {
    if (monitor.cancelled()) return image::cancelled_failure();
    struct pollfd waiting {
      STDIN_FILENO, POLLIN, 0
    };
    const int ready = ::poll(&waiting, 1, kPollMs);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    const ssize_t got = ready < 0 ? -1 : ::read(STDIN_FILENO, piece.data(), piece.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return failure_from(Errno::last(), "standard input");
    if (got == 0) return {};
    for (ssize_t kept = 0; kept < got;) {
      const ssize_t put = ::write(file.get(), piece.data() + kept, static_cast<std::size_t>(got - kept));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return failure_from(Errno::last(), spool);
      kept += put;
    }
  }
}

// Removes the file at the end.
class Spool {
 public:
  explicit Spool(std::string path) : path_(std::move(path)) {}
  ~Spool() { ::unlink(path_.c_str()); }
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

ResultOrFailure<Input> open_input(const std::string& source, const Spool& spool,
                                  const image::Monitor& monitor) {
  if (source != "-") return Input{source, source, false};
  if (::isatty(STDIN_FILENO) == 1) {
    return Failure{EINVAL, "standard input is a terminal (pipe an archive into it)"};
  }
  struct stat status {};
  if (::fstat(STDIN_FILENO, &status) != 0) return failure_from(Errno::last(), "standard input");
  if (S_ISREG(status.st_mode) && ::lseek(STDIN_FILENO, 0, SEEK_CUR) == 0)
    return Input{"/proc/self/fd/0", "standard input", true};
  VARVE_RETURN_IF_ERROR(keep_standard_input(spool.path(), monitor));
  return Input{spool.path(), "standard input", true};
}

// "dist/rootfs.tar.gz" -> "rootfs".
std::string name_from(std::string source) {
  while (source.size() > 1 && source.back() == '/') source.pop_back();
  std::string name = source.substr(source.rfind('/') + 1);
  if (const std::size_t tar = name.find(".tar"); tar != std::string::npos && tar > 0) name.resize(tar);
  if (name.ends_with(".tgz") || name.ends_with(".txz")) name.resize(name.size() - 4);
  return name;
}

ResultOrFailure<image::ImageConfig> config_of(const Arguments& arguments, const std::string& created) {
  image::ImageConfig config;
  config.architecture = arguments.architecture.empty() ? image::host_architecture() : arguments.architecture;
  config.created = created;
  config.entrypoint = arguments.entrypoint;
  config.cmd = arguments.cmd;
  config.working_dir = arguments.working_dir;
  config.user = arguments.user;
  for (const std::string& variable : arguments.env) {
    if (variable.find('=') == std::string::npos)
      return Failure{EINVAL, "--env " + variable + ": not NAME=VALUE"};
    config.env.push_back(variable);
  }
  for (const std::string& label : arguments.labels) {
    const std::size_t equals = label.find('=');
    if (equals == std::string::npos) return Failure{EINVAL, "--label " + label + ": not NAME=VALUE"};
    config.labels[label.substr(0, equals)] = label.substr(equals + 1);
  }
  config.history.push_back({.created = created,
                            .created_by = "imagetool import " + arguments.source,
                            .author = "",
                            .comment = arguments.message});
  return config;
}

// What is said with these options is the image's own business.
StatusOrFailure refuse_options_of_roots(const Arguments& arguments) {
  const std::array<std::pair<const char*, bool>, 13> given = {
      {{"--message", !arguments.message.empty()},
       {"--entrypoint", !arguments.entrypoint.empty()},
       {"--cmd", !arguments.cmd.empty()},
       {"--env", !arguments.env.empty()},
       {"--label", !arguments.labels.empty()},
       {"--workdir", !arguments.working_dir.empty()},
       {"--user", !arguments.user.empty()},
       {"--architecture", !arguments.architecture.empty()},
       {"--exclude", !arguments.build.excludes.empty()},
       {"--owner", !arguments.build.owner.empty()},
       {"--source-date-epoch", !arguments.build.source_date_epoch.empty()},
       {"--literal", arguments.build.literal},
       {"--one-file-system", arguments.build.one_file_system}}};
  for (const auto& [option, is_given] : given) {
    if (is_given) {
      return Failure{EINVAL,
                     fmt::format("{}: holds an image, which is taken as it is ({} is for root file systems)",
                                 arguments.source, option)};
    }
  }
  return {};
}

StatusOrFailure import_image_of_others(const Arguments& arguments, transport::ImageSource& source,
                                       const image::ImageName& name, image::Store& store,
                                       image::Monitor& monitor) {
  VARVE_RETURN_IF_ERROR(refuse_options_of_roots(arguments));
  transfer::BringInOptions options;
  VARVE_ASSIGN(options.build, build_options(arguments.build, ""));
  if (!arguments.platform.empty()) {
    VARVE_ASSIGN(options.platform, image::parse_platform(arguments.platform));
  }
  VARVE_ASSIGN(const image::Image image, transfer::bring_in(source, store, name, options, monitor));
  image::Json layers = image::Json::array();
  for (const image::Descriptor& layer : image.layers) layers.push_back(layer.digest.text());
  print_made_image(image, arguments.json,
                   {{"config", image.config_descriptor.digest.text()},
                    {"layers", std::move(layers)},
                    {"layer_bytes", layer_bytes(image)}},
                   fmt::format("{} in {} layers", human_bytes(layer_bytes(image)), image.layers.size()));
  return {};
}

StatusOrFailure import_root(const Arguments& arguments, const Input& input, const image::ImageName& name,
                            image::Store& store, image::Monitor& monitor) {
  if (!arguments.platform.empty()) {
    return Failure{EINVAL,
                   fmt::format("{}: a root file system (--platform chooses among the images of an index; "
                               "give --architecture)",
                               input.shown)};
  }
  VARVE_ASSIGN(const image::BuildOptions options, build_options(arguments.build, ""));
  VARVE_ASSIGN(image::ImageConfig config, config_of(arguments, creation_time(options)));
  VARVE_ASSIGN(const std::string scratch, store.scratch_directory());
  std::unique_ptr<image::TreeSource> source;
  if (input.is_stream) {
    VARVE_ASSIGN(source,
                 image::TarSource::open(
                     input.path, {.filter = image::PathFilter(arguments.build.excludes), .name = input.shown},
                     monitor));
  } else {
    VARVE_ASSIGN(source, open_source(input.path, arguments.build, scratch, monitor));
  }
  VARVE_ASSIGN(const image::Descriptor layer, image::build_layer_blob(store, *source, options, monitor));
  VARVE_ASSIGN(const image::Image image, store.put_image(name, std::move(config), {layer}));
  print_made_image(image, arguments.json, {{"layer", layer.digest.text()}, {"layer_bytes", layer.size_bytes}},
                   human_bytes(layer.size_bytes));
  return {};
}

StatusOrFailure import_anything(const Arguments& arguments, const Context& context) {
  const auto monitor = context.monitor();
  VARVE_ASSIGN(image::Store store, context.open_store());
  VARVE_ASSIGN(const std::string scratch, store.scratch_directory());
  const Spool spool(scratch + "/stdin-" + std::to_string(::getpid()));
  VARVE_ASSIGN(const Input input, open_input(arguments.source, spool, *monitor));
  VARVE_ASSIGN(const transport::ImageAt found,
               transport::image_at(input.path, scratch, input.is_stream ? input.shown : ""));
  std::string name_text = arguments.name;
  if (name_text.empty()) name_text = found.suggested_name;
  if (name_text.empty() && !input.is_stream) name_text = name_from(arguments.source);
  if (name_text.empty()) return Failure{EINVAL, "standard input has no name (give NAME after -)"};
  VARVE_ASSIGN(const image::ImageName name, image::parse_image_name(name_text));
  if (found.source == nullptr) return import_root(arguments, input, name, store, *monitor);
  return import_image_of_others(arguments, *found.source, name, store, *monitor);
}

}  // namespace

void add_import(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("import", "Take in an image of others, or make one of a root file system");
  command
      ->add_option("SRC", arguments->source,
                   "An OCI image layout, an archive of one or of `docker save` (PATH, or PATH:NAME when it "
                   "holds several "
                   "images), or a root file system: a directory, a tar archive (plain or compressed); - for "
                   "an archive on "
                   "standard input")
      ->required();
  command->add_option("NAME", arguments->name, "NAME[:TAG] of the image (default: from SRC)");
  command->add_option("-m,--message", arguments->message, "Comment for the history");
  command->add_option("--entrypoint", arguments->entrypoint, "Program that is run, an argument each time")
      ->allow_extra_args(false);
  command
      ->add_option("--cmd", arguments->cmd, "Command, or arguments of the entrypoint, an argument each time")
      ->allow_extra_args(false);
  command->add_option("--env", arguments->env, "Environment variable; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  command->add_option("--label", arguments->labels, "Label; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  command->add_option("--workdir", arguments->working_dir, "Directory to run in");
  command->add_option("--user", arguments->user, "User to run as")->type_name("USER[:GROUP]");
  command->add_option("--architecture", arguments->architecture,
                      "amd64, arm64, ... (default: this machine's)");
  command
      ->add_option("--platform", arguments->platform,
                   "Of an image for several platforms, the one to take (default: this machine's)")
      ->type_name("OS/ARCH[/VARIANT]");
  command->add_flag("--json", arguments->json, "Tell the result as JSON");
  add_build_flags(*command, arguments->build);
  command->footer(
      "Options that describe how to run the image are for root file systems; an image of others is taken as "
      "it is; layers\nof it that the store has from an earlier import or pull stay as they were built then.\n"
      "Example:\n  docker save app:1 | imagetool import - app:1\n"
      "  skopeo copy docker://debian:12 oci:debian:12 && imagetool import debian\n"
      "  imagetool import rootfs.tar.xz debian:12 --cmd bash\n"
      "  debootstrap --variant=minbase stable rootfs && imagetool import rootfs stable");
  command->callback([arguments, &context] {
    run_command(context, "importing an image", [&] { return import_anything(*arguments, context); });
  });
}

}  // namespace varve::imagetool
