#include "imagetool/transport/image_at.h"

#include <sys/stat.h>

#include <array>
#include <optional>

#include "imagetool/transport/docker_archive_source.h"
#include "imagetool/transport/oci_layout_source.h"

namespace varve::transport {
namespace {

struct Location {
  std::string kind;  // "oci", "oci-archive", "docker-archive"; empty: whatever lies there
  std::string path;
  std::string reference;
};

bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

// The path is the longest part before a ':' at which something lies. Returns: whether anything does.
bool split_path(std::string_view text, Location& to) {
  to.path = text;
  for (std::size_t colon = text.size(); !exists(to.path);) {
    colon = colon == 0 ? std::string_view::npos : text.rfind(':', colon - 1);
    if (colon == std::string_view::npos) return false;
    to.path = text.substr(0, colon);
    to.reference = text.substr(colon + 1);
  }
  return true;
}

Location split(std::string_view text) {
  Location whole;
  if (split_path(text, whole) && whole.reference.empty()) return whole;
  for (const std::string_view kind : {"oci", "oci-archive", "docker-archive"}) {
    if (!text.starts_with(std::string(kind) + ":")) continue;
    Location location{std::string(kind), "", ""};
    if (split_path(text.substr(kind.size() + 1), location)) return location;
    if (!exists(whole.path)) return {std::string(kind), std::string(text.substr(kind.size() + 1)), ""};
  }
  return exists(whole.path) ? whole : Location{"", std::string(text), ""};
}

// The last component of the path, without what says how it is packed.
std::string base_of(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  std::string base = path.substr(path.rfind('/') + 1);
  return base.substr(0, base.find(".tar"));
}

// A tag alone belongs to what the place itself is called.
std::string suggestion(const std::vector<std::string>& names, const std::string& path) {
  for (std::string name : names) {
    name = familiar_name(std::move(name));
    if (name.find_first_of(":/") == std::string::npos) name = base_of(path) + ":" + name;
    if (const auto parsed = image::parse_image_name(name); parsed.ok()) return parsed->text();
  }
  const auto parsed = image::parse_image_name(base_of(path));
  return parsed.ok() ? parsed->text() : "";
}

ResultOrFailure<std::unique_ptr<ImageFiles>> open_files(const Location& location,
                                                        const std::string& scratch_directory,
                                                        const std::string& shown) {
  struct stat status {};
  if (::stat(location.path.c_str(), &status) != 0) return failure_from(Errno::last(), shown);
  if (S_ISDIR(status.st_mode)) return files_of_directory(location.path);
  return files_of_archive(location.path, scratch_directory, shown);
}

// A directory with a root file system may hold a file of this name.
bool is_root(const ImageFiles& files) {
  return files.has("etc") || files.has("usr") || files.has("bin");
}

}  // namespace

ResultOrFailure<ImageAt> image_at(const std::string& location_text, const std::string& scratch_directory,
                                  const std::string& shown_name) {
  const std::string shown = shown_name.empty() ? location_text : shown_name;
  const Location location = split(location_text);
  VARVE_ASSIGN(std::unique_ptr<ImageFiles> files, open_files(location, scratch_directory, shown));
  const std::string& kind = location.kind;
  const std::string named_path = shown_name.empty() ? location.path : "";
  if (files != nullptr && kind != "docker-archive" && OciLayoutSource::is_one(*files)) {
    VARVE_ASSIGN(std::unique_ptr<OciLayoutSource> source,
                 OciLayoutSource::open(std::move(files), location.reference, shown));
    std::string name = suggestion(source->annotated_names(), named_path);
    return ImageAt{std::move(source), std::move(name)};
  }
  if (files != nullptr && !kind.starts_with("oci") && !is_root(*files) &&
      DockerArchiveSource::is_one(*files)) {
    VARVE_ASSIGN(std::unique_ptr<DockerArchiveSource> source,
                 DockerArchiveSource::open(std::move(files), location.reference, shown));
    std::string name = suggestion(source->tags(), named_path);
    return ImageAt{std::move(source), std::move(name)};
  }
  if (!kind.empty() || !location.reference.empty()) {
    return Failure{EINVAL, shown + ": " + location.path + " is no " +
                               (kind.empty() ? "OCI image layout, archive of one or archive of images"
                                : kind == "docker-archive" ? "archive as `docker save` writes it"
                                                           : "OCI image layout")};
  }
  return ImageAt{};
}

}  // namespace varve::transport
