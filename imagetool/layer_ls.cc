// imagetool layer ls FILE [PATH]

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include <array>

#include "imagetool/commands.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/store/json_text.h"

namespace varve::imagetool {
namespace {

using image::Json;

struct Arguments {
  std::string file;
  std::vector<std::string> parents;
  std::string path;
  bool long_form = false;
  bool json = false;
};

std::string time_text(const Timestamp& time) {
  const time_t when = time.seconds;
  struct tm parts {};
  std::array<char, 64> text{};
  if (::gmtime_r(&when, &parts) == nullptr) return std::to_string(time.seconds);
  const std::size_t size = ::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts);
  return std::string(text.data(), size) + fmt::format(".{:09}", time.nanoseconds);
}

std::string long_line(const std::string& path, const image::InodeSpec& spec) {
  const Attributes& a = spec.attributes;
  const bool device = S_ISCHR(a.mode) || S_ISBLK(a.mode);
  const std::string size =
      device ? fmt::format("{},{}", major(a.rdev), minor(a.rdev)) : std::to_string(a.size_bytes);
  std::string line =
      fmt::format("{}{} {:>2} {:>5} {:>5} {:>10} {} {}", mode_text(a.mode), spec.xattrs.empty() ? " " : "+",
                  a.nlink, a.uid, a.gid, size, time_text(a.mtime), printable(path));
  if (a.is_symlink()) line += " -> " + printable(spec.symlink_target);
  if (spec.opaque) line += " (opaque)";
  if (spec.redirect) line += " (continues " + printable(*spec.redirect) + " of the layers below)";
  return line;
}

Json json_of(const std::string& path, const image::InodeSpec& spec) {
  const Attributes& a = spec.attributes;
  Json json = {{"path", path},
               {"mode", fmt::format("{:06o}", a.mode)},
               {"nlink", a.nlink},
               {"uid", a.uid},
               {"gid", a.gid},
               {"size", a.size_bytes},
               {"mtime", a.mtime.seconds},
               {"mtime_nanoseconds", a.mtime.nanoseconds}};
  if (a.is_symlink()) json["target"] = spec.symlink_target;
  if (S_ISCHR(a.mode) || S_ISBLK(a.mode)) json["device"] = {major(a.rdev), minor(a.rdev)};
  if (spec.opaque) json["opaque"] = true;
  if (spec.redirect) json["redirect"] = *spec.redirect;
  for (const auto& xattr : spec.xattrs) {
    std::string hex;  // values are bytes, which JSON cannot hold
    for (const char c : xattr.second) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    json["xattrs"][xattr.first] = hex;
  }
  return json;
}

StatusOrFailure list(const Arguments& arguments) {
  VARVE_ASSIGN(const std::shared_ptr<layer::Layer> layer,
               open_for_reading(arguments.file, arguments.parents));
  std::string prefix = arguments.path;
  while (prefix.starts_with('/')) prefix.erase(0, 1);
  while (prefix.ends_with('/')) prefix.pop_back();
  VARVE_RETURN_IF_ERROR(image::find_in_layer(*layer, prefix));
  const auto wanted = [&](const std::string& path) {
    return prefix.empty() || path == prefix || (path.starts_with(prefix) && path[prefix.size()] == '/');
  };
  const auto leads_to = [&](const std::string& path) {
    return path.empty() || prefix.starts_with(path + "/");
  };
  bool first = true;
  if (arguments.json) print("[");
  VARVE_RETURN_IF_ERROR(image::walk_layer(*layer, [&](const image::LayerVisit& at) -> ResultOrFailure<bool> {
    if (!wanted(at.path)) return leads_to(at.path);
    const std::string shown = at.path.empty() ? "/" : "/" + at.path;
    const bool whiteout = at.entry.kind == layer::Entry::Kind::kWhiteout;
    image::InodeSpec spec;
    if (!whiteout && (arguments.long_form || arguments.json)) {
      VARVE_ASSIGN(spec, image::read_object(*layer, at.entry.id, at.path));
    }
    if (arguments.json) {
      const Json json = whiteout ? Json{{"path", shown}, {"whiteout", true}} : json_of(shown, spec);
      print((first ? "\n" : ",\n") + image::json_text(json));
    } else if (whiteout) {
      print(printable(shown) + " (deleted)\n");
    } else {
      print((arguments.long_form ? long_line(shown, spec) : printable(shown)) + "\n");
    }
    first = false;
    return true;
  }));
  if (arguments.json) print("\n]\n");
  return {};
}

}  // namespace

void add_layer_ls(CLI::App& layer, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = layer.add_subcommand("ls", "List the names in a layer, whiteouts included");
  command->add_option("FILE", arguments->file, "Layer file or directory")->required();
  command->add_option("PATH", arguments->path, "Only what is at and beneath this path");
  command->add_flag("-l,--long", arguments->long_form, "With mode, links, owners, size and time (UTC)");
  command->add_flag("--json", arguments->json, "As a JSON array, xattr values in hexadecimal");
  add_parent_option(*command, arguments->parents);
  command->footer("Example:\n  imagetool layer ls -l base.layer /etc");
  command->callback(
      [arguments, &context] { run_command(context, "listing a layer", [&] { return list(*arguments); }); });
}

}  // namespace varve::imagetool
