// imagetool commit CONTAINER|UPPER NAME
//
// What is in use stands still for as long as it takes to copy what was written; the layer is made of the copy.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "fs/base/unique_fd.h"
#include "imagetool/commands.h"
#include "imagetool/image/layer_blob.h"
#include "imagetool/image/object_at.h"
#include "imagetool/image/store/container_state.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/standstill.h"
#include "imagetool/upper_copy.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string target;
  std::string name;
  std::string message;
  std::string parent;
  std::string work;
  bool json = false;
  BuildFlags build;
};

// What is committed, over which image.
struct Plan {
  std::string upper;
  std::string work;  // empty: an upper of overlayfs, which has nothing of ours in its work directory
  image::Image parent;
  std::string created_by;
  std::optional<image::ContainerState> container;  // whose upper it is
};

bool is_directory(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// Whether varvefs has written its marks on the directory.
bool is_ours(const std::string& upper) {
  const UniqueFd fd(::open(upper.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Result<image::XattrList> xattrs = image::read_xattrs(fd.get(), "");
  return xattrs.ok() && std::any_of(xattrs->begin(), xattrs->end(), [](const auto& xattr) {
           return xattr.first.starts_with("trusted.varve.") || xattr.first.starts_with("user.varve.");
         });
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

ResultOrFailure<Plan> plan_container(const Arguments& arguments, const image::Store& store,
                                     const image::ContainerState& container) {
  if (!arguments.parent.empty() || !arguments.work.empty()) {
    return Failure{EINVAL, container.name + ": a container knows its image (leave out --parent and --work)"};
  }
  if (container.image_digest.empty()) {
    return Failure{ENOTSUP, container.name +
                                ": was not started from an image of the store, so there is nothing to "
                                "build the new image on (import its root first, and run that)"};
  }
  const image::ContainerStore containers(store.directory());
  auto parent = store.resolve(container.image_digest);
  if (!parent.ok()) {
    return Failure{parent.error().error_number,
                   container.name + ": the image it was started from: " + parent.error().message};
  }
  if (parent->layer_paths.size() != container.layer_paths.size()) {
    return Failure{EINVAL, container.name + ": its layers are not those of the image it was started from"};
  }
  if (::access(containers.upper_path(container.name).c_str(), F_OK) != 0) {
    return Failure{ENOTSUP, container.name + ": was started with --read-only, so nothing was written in it"};
  }
  return Plan{containers.upper_path(container.name), containers.work_path(container.name),
              std::move(parent).value(), joined(container.command), container};
}

// "UPPER" or "UPPER/", with its work directory beside it unless --work says otherwise.
ResultOrFailure<Plan> plan_upper(const Arguments& arguments, const image::Store& store) {
  std::string upper = arguments.target;
  while (upper.size() > 1 && upper.back() == '/') upper.pop_back();
  if (arguments.parent.empty()) {
    return Failure{EINVAL,
                   upper +
                       ": over which image? (give --parent IMAGE; for a layer file alone use `imagetool "
                       "layer build`)"};
  }
  VARVE_ASSIGN(image::Image parent, store.resolve(arguments.parent));
  std::string work = arguments.work;
  if (work.empty()) {
    const std::size_t slash = upper.rfind('/');
    const std::string beside = slash == std::string::npos ? "work" : upper.substr(0, slash + 1) + "work";
    if (is_directory(beside + "/varve")) work = beside;
  }
  if (work.empty() && is_ours(upper)) {
    return Failure{
        EINVAL, upper + ": an upper of varvefs, but its work directory is not beside it (give --work DIR)"};
  }
  return Plan{
      std::move(upper), std::move(work), std::move(parent), "imagetool commit " + arguments.target, {}};
}

ResultOrFailure<Plan> make_plan(const Arguments& arguments, const image::Store& store) {
  const image::ContainerStore containers(store.directory());
  if (image::is_container_name(arguments.target)) {
    auto container = containers.read(arguments.target);
    if (container.ok()) return plan_container(arguments, store, *container);
    if (container.error().error_number != ENOENT) return std::move(container).error();
  }
  if (!is_directory(arguments.target)) {
    return Failure{ENOENT,
                   arguments.target + ": neither a container of " + store.directory() + " nor a directory"};
  }
  return plan_upper(arguments, store);
}

bool is_in_use(const std::string& upper) {
  return locker_of(upper).has_value();
}

ResultOrFailure<UpperCopy> copy_what_was_written(const Plan& plan, image::Store& store) {
  VARVE_ASSIGN(const std::string scratch, store.scratch_directory());
  VARVE_ASSIGN(const std::unique_ptr<Standstill> still,
               Standstill::begin(plan.upper, store.directory(), plan.container ? &*plan.container : nullptr));
  return UpperCopy::make(plan.upper, plan.work, scratch);
}

StatusOrFailure commit(const Arguments& arguments, const Context& context) {
  VARVE_ASSIGN(const image::ImageName name, image::parse_image_name(arguments.name));
  const auto monitor = context.monitor();
  VARVE_ASSIGN(const image::BuildOptions options, build_options(arguments.build, ""));
  VARVE_ASSIGN(image::Store store, context.open_store());
  VARVE_ASSIGN(Plan plan, make_plan(arguments, store));
  image::WrittenUpper written{plan.upper, plan.work, {plan.parent.layers, plan.parent.layer_paths}};
  std::optional<UpperCopy> copy;
  if (!plan.work.empty() && is_in_use(plan.upper)) {
    VARVE_ASSIGN(UpperCopy made, copy_what_was_written(plan, store));
    copy.emplace(std::move(made));
    written.upper = copy->upper();
    written.work = copy->work();
  }
  VARVE_ASSIGN(const image::Descriptor layer, image::build_upper_blob(store, written, options, *monitor));

  image::ImageConfig config = plan.parent.config;
  config.created = creation_time(options);
  config.history.push_back(
      {.created = config.created, .created_by = plan.created_by, .author = "", .comment = arguments.message});
  std::vector<image::Descriptor> layers = plan.parent.layers;
  layers.push_back(layer);
  VARVE_ASSIGN(const image::Image image, store.put_image(name, std::move(config), layers));
  if (arguments.json) {
    print(image::json_text({{"name", image.name},
                            {"digest", image.digest.text()},
                            {"layer", layer.digest.text()},
                            {"layer_bytes", layer.size_bytes}}) +
          "\n");
  } else {
    print(fmt::format("{} {} ({} over {} layers)\n", image.name, image.digest.text(),
                      human_bytes(layer.size_bytes), layers.size() - 1));
  }
  return {};
}

}  // namespace

void add_commit(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("commit", "Make an image of what a container changed");
  command->add_option("CONTAINER|UPPER", arguments->target, "A container, or the upper directory of a mount")
      ->required();
  command->add_option("NAME", arguments->name, "NAME[:TAG] of the new image")->required();
  command->add_option("-m,--message", arguments->message, "Comment for the history");
  command->add_option("--parent", arguments->parent, "For an UPPER: the image it was mounted over")
      ->type_name("IMAGE");
  command
      ->add_option("--work", arguments->work,
                   "For an UPPER: its work directory (default: \"work\" beside it)")
      ->type_name("DIR");
  command->add_flag("--json", arguments->json, "Tell the result as JSON");
  command->add_option("--level", arguments->build.level, "zstd level, 1 to 19 (default 3)")
      ->check(CLI::Range(1, 19));
  command->add_option("--jobs,-j", arguments->build.jobs, "Threads that compress")
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("--source-date-epoch", arguments->build.source_date_epoch,
                   "Make later times this one, in seconds since 1970 (default: $SOURCE_DATE_EPOCH)")
      ->type_name("SECONDS");
  command->footer(
      "The layers of the image below, its configuration and history are carried on. A container that runs, "
      "and an upper that is\n"
      "mounted, stand still for as long as it takes to copy what was written; then they go on.\n"
      "Example:\n  imagetool commit web web:tuned -m 'bigger buffers'\n"
      "  imagetool commit ./upper mine:2 --parent mine:1");
  command->callback([arguments, &context] {
    run_command(context, "committing", [&] { return commit(*arguments, context); });
  });
}

}  // namespace varve::imagetool
