// imagetool mount [NAME MOUNTPOINT], imagetool umount MOUNTPOINT

#include <fmt/format.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "imagetool/commands.h"
#include "imagetool/image/store/container_state.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/neighbour.h"
#include "imagetool/proc_text.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string image;
  std::string mount_point;
  bool writable = false;
  std::string upper;
  std::vector<std::string> options;
  bool json = false;
};

// "debian:12" -> "debian-12": an image's name as the name of what is written over it.
std::string upper_name_of(std::string image_name) {
  std::replace_if(
      image_name.begin(), image_name.end(), [](char c) { return c == '/' || c == ':' || c == '@'; }, '-');
  constexpr std::size_t kMostBytes = 64;
  return image_name.substr(0, kMostBytes);
}

// What is written over an image is kept as a container that nothing runs in: with a name, a record that says which image lies below,
// and a lock as long as it is mounted. So `commit`, `gc`, `varve ps -a` and `varve rm` know it already.
struct NamedUpper {
  std::string name;
  std::string upper;
  std::string work;
  UniqueFd lock;
};

ResultOrFailure<NamedUpper> open_upper(const image::Store& store, const image::Image& image,
                                       const std::string& name) {
  const image::ContainerStore containers(store.directory());
  if (!image::is_container_name(name)) {
    return Failure{
        EINVAL,
        "\"" + name +
            "\" is no name for what is written (give --upper NAME of letters, digits, '_', '.', '-')"};
  }
  NamedUpper opened{name, containers.upper_path(name), containers.work_path(name), {}};
  auto known = containers.read(name);
  if (!known.ok() && known.error().error_number != ENOENT) return std::move(known).error();
  if (!known.ok()) {
    image::ContainerState state;
    state.name = name;
    state.id = image::new_container_id();
    state.image_name = image.name;
    state.image_digest = image.digest.text();
    state.layer_paths = image.layer_paths;
    state.created = image::rfc3339(::time(nullptr));
    state.command = {"imagetool", "mount"};
    VARVE_ASSIGN(opened.lock, containers.create(state, {}));
    return opened;
  }
  if (known->image_digest != image.digest.text()) {
    return Failure{
        EINVAL,
        fmt::format("{}: was written over another image, {} (choose another --upper, or mount that one)",
                    name, known->image_name.empty() ? known->image_digest : known->image_name)};
  }
  if (::access(opened.upper.c_str(), F_OK) != 0)
    return Failure{ENOTSUP, name + ": is a container without a writable side (choose another --upper)"};
  VARVE_ASSIGN(std::optional<UniqueFd> lock, containers.lock_stopped(name));
  if (!lock) return Failure{EBUSY, name + ": is in use (unmount it, or stop the container)"};
  opened.lock = std::move(*lock);
  return opened;
}

// As a value of -o.
std::string escaped(const std::string& path) {
  std::string text;
  for (const char c : path) {
    if (c == ',' || c == ':' || c == '\\') text += '\\';
    text += c;
  }
  return text;
}

StatusOrFailure mount_image(const Arguments& arguments, const Context& context) {
  VARVE_ASSIGN(const image::Store store, context.open_store());
  VARVE_ASSIGN(const image::Image image, store.resolve(arguments.image));
  VARVE_ASSIGN(const std::string program, find_neighbour("varvefs"));
  std::vector<std::string> words = {program, "--store", store.directory(), "--image", image.digest.text()};
  NamedUpper upper;
  if (arguments.writable || !arguments.upper.empty()) {
    const std::string name = arguments.upper.empty()
                                 ? upper_name_of(image.name.empty() ? image.digest.short_hex() : image.name)
                                 : arguments.upper;
    VARVE_ASSIGN(upper, open_upper(store, image, name));
    words.insert(words.end(), {"-o", "upperdir=" + escaped(upper.upper) + ",workdir=" + escaped(upper.work)});
  }
  for (const std::string& option : arguments.options) words.insert(words.end(), {"-o", option});
  words.push_back(arguments.mount_point);
  VARVE_ASSIGN(const int status, run_neighbour(words, upper.lock.valid() ? upper.lock.get() : -1));
  if (status != 0)
    return Failure{EIO, fmt::format("{}: varvefs ended with {}", arguments.mount_point, status)};
  if (arguments.json) {
    print(image::json_text({{"name", image.name},
                            {"digest", image.digest.text()},
                            {"mount_point", arguments.mount_point},
                            {"upper", upper.name.empty() ? image::Json() : image::Json(upper.name)}}) +
          "\n");
  }
  return {};
}

StatusOrFailure list_mounts(bool json) {
  VARVE_ASSIGN(const std::vector<VarvefsMount> mounts, list_varvefs_mounts());
  image::Json all = image::Json::array();
  for (const VarvefsMount& mount : mounts) {
    const bool read_only = mount.options.starts_with("ro");
    all.push_back({{"mount_point", mount.mount_point}, {"read_only", read_only}});
    if (!json) print(fmt::format("{}  {}\n", read_only ? "ro" : "rw", printable(mount.mount_point)));
  }
  if (json) print(image::json_text(all, 2) + "\n");
  return {};
}

StatusOrFailure unmount(const std::string& mount_point) {
  if (::umount2(mount_point.c_str(), UMOUNT_NOFOLLOW) == 0) return {};
  const Errno error = Errno::last();
  if (error.value != EPERM) {
    return Failure{error.value, fmt::format("{}: {}{}", mount_point, std::strerror(error.value),
                                            error.value == EBUSY
                                                ? " (a program has files open or its working directory there)"
                                                : "")};
  }
  auto helper = find_neighbour("fusermount3");
  if (!helper.ok()) return std::move(helper).error();
  VARVE_ASSIGN(const int status, run_neighbour({*helper, "-u", "--", mount_point}));
  if (status != 0) return Failure{EPERM, mount_point + ": fusermount3 could not unmount it"};
  return {};
}

}  // namespace

void add_mount(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("mount", "Mount an image; without arguments: list what is mounted");
  CLI::Option* image = command->add_option("NAME", arguments->image, "NAME[:TAG] or digest");
  CLI::Option* where = command->add_option("MOUNTPOINT", arguments->mount_point, "Directory to mount it on");
  image->needs(where);
  command->add_flag("--rw", arguments->writable,
                    "It can be written; what is written is kept in the store under a name");
  command->add_option("--upper", arguments->upper, "That name (default: from NAME); implies --rw")
      ->type_name("CONTAINER");
  command->add_flag("--json", arguments->json, "Tell the result, or the list, as JSON");
  command->add_option("-o", arguments->options, "More options of varvefs")
      ->type_name("OPT[,OPT...]")
      ->allow_extra_args(false);
  command->footer(
      "What was written is there again when the same image is mounted with the same name. `imagetool commit "
      "NAME NEW` makes an\n"
      "image of it, `varve ps -a` lists it, `varve rm NAME` deletes it.\n"
      "Example:\n  imagetool mount debian:12 /mnt\n  imagetool mount debian:12 /mnt --rw --upper tuned\n"
      "  imagetool umount /mnt && imagetool commit tuned debian:tuned");
  command->callback([arguments, &context] {
    run_command(context, "mounting an image", [&] {
      return arguments->image.empty() ? list_mounts(arguments->json) : mount_image(*arguments, context);
    });
  });
}

void add_umount(CLI::App& app, Context& context) {
  auto mount_point = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("umount", "Unmount an image");
  command->add_option("MOUNTPOINT", *mount_point, "Where it is mounted")->required();
  command->footer("Example:\n  imagetool umount /mnt");
  command->callback(
      [mount_point, &context] { run_command(context, "unmounting", [&] { return unmount(*mount_point); }); });
}

}  // namespace varve::imagetool
