// imagetool import SRC [NAME]

#include <fmt/format.h>
#include <unistd.h>

#include "imagetool/commands.h"
#include "imagetool/image/layer_blob.h"
#include "imagetool/image/store/json_text.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string source;
  std::string name;
  std::string message;
  std::vector<std::string> entrypoint, cmd, env, labels;
  std::string working_dir, user, architecture;
  bool json = false;
  BuildFlags build;
};

// A root file system passes; an archive or directory that holds an image, which would make an image of its
// blobs, does not.
class RootFilesystemSource : public image::TreeSource {
 public:
  RootFilesystemSource(std::unique_ptr<image::TreeSource> source, std::string name)
      : source_(std::move(source)), name_(std::move(name)) {}

  ResultOrFailure<image::Tree> scan() override {
    VARVE_ASSIGN(image::Tree tree, source_->scan());
    const auto has = [&](std::string_view name) { return tree.find(image::kTreeRoot, name) != nullptr; };
    const bool is_layout = has("oci-layout") && has("index.json");
    const bool is_docker = has("manifest.json") && !has("etc") && !has("usr") && !has("bin");
    if (is_layout || is_docker) {
      return Failure{
          ENOTSUP,
          fmt::format("{}: {}, which is not supported yet (import a root file system: a directory "
                      "or a tar archive of one)",
                      name_, is_layout ? "an OCI image layout" : "an image as \"docker save\" writes it")};
    }
    return tree;
  }
  void set_large_bytes(std::uint64_t large_bytes) override { source_->set_large_bytes(large_bytes); }
  void set_by_similarity(bool by_similarity) override { source_->set_by_similarity(by_similarity); }
  StatusOrFailure for_each_content(const image::Tree& tree, const ContentConsumer& take) override {
    return source_->for_each_content(tree, take);
  }

 private:
  std::unique_ptr<image::TreeSource> source_;
  std::string name_;
};

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

StatusOrFailure import_image(const Arguments& arguments, const Context& context) {
  if (arguments.name.empty() && arguments.source == "-") {
    return Failure{EINVAL, "standard input has no name (give NAME after -)"};
  }
  VARVE_ASSIGN(
      const image::ImageName name,
      image::parse_image_name(arguments.name.empty() ? name_from(arguments.source) : arguments.name));
  const auto monitor = context.monitor();
  VARVE_ASSIGN(image::Store store, context.open_store());
  VARVE_ASSIGN(const image::BuildOptions options, build_options(arguments.build, ""));
  VARVE_ASSIGN(image::ImageConfig config, config_of(arguments, creation_time(options)));
  VARVE_ASSIGN(const std::string scratch, store.scratch_directory());
  VARVE_ASSIGN(std::unique_ptr<image::TreeSource> source,
               open_source(arguments.source, arguments.build, scratch, *monitor));
  RootFilesystemSource checked(std::move(source), arguments.source);
  VARVE_ASSIGN(const image::Descriptor layer, image::build_layer_blob(store, checked, options, *monitor));
  VARVE_ASSIGN(const image::Image image, store.put_image(name, std::move(config), {layer}));
  if (arguments.json) {
    print(image::json_text({{"name", image.name},
                            {"digest", image.digest.text()},
                            {"layer", layer.digest.text()},
                            {"layer_bytes", layer.size_bytes}}) +
          "\n");
  } else {
    print(fmt::format("{} {} ({})\n", image.name, image.digest.text(), human_bytes(layer.size_bytes)));
  }
  return {};
}

}  // namespace

void add_import(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("import", "Make an image of a root file system");
  command
      ->add_option("SRC", arguments->source,
                   "Directory, tar archive (plain or compressed), or - for standard input")
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
  command->add_flag("--json", arguments->json, "Tell the result as JSON");
  add_build_flags(*command, arguments->build);
  command->footer(
      "Example:\n  imagetool import rootfs.tar.xz debian:12 --cmd bash\n"
      "  debootstrap --variant=minbase stable rootfs && imagetool import rootfs stable");
  command->callback([arguments, &context] {
    run_command(context, "importing an image", [&] { return import_image(*arguments, context); });
  });
}

}  // namespace varve::imagetool
