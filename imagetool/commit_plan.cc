#include "imagetool/commit_plan.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "fs/base/unique_fd.h"
#include "fs/layer/open_layer.h"
#include "imagetool/image/object_at.h"
#include "imagetool/image/source/upper_source.h"
#include "imagetool/mounted_upper.h"

namespace varve::imagetool {
namespace {

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

ResultOrFailure<CommitPlan> plan_container(const CommitTarget& wanted, const image::Store& store,
                                           const image::ContainerState& container) {
  if (!wanted.parent.empty() || !wanted.work.empty()) {
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
  return CommitPlan{containers.upper_path(container.name), containers.work_path(container.name),
                    std::move(parent).value(), joined(container.command), container};
}

// "UPPER" or "UPPER/", with its work directory beside it unless --work says otherwise.
ResultOrFailure<CommitPlan> plan_upper(const CommitTarget& wanted, const image::Store& store) {
  std::string upper = wanted.target;
  while (upper.size() > 1 && upper.back() == '/') upper.pop_back();
  if (wanted.parent.empty()) {
    return Failure{EINVAL,
                   upper +
                       ": over which image? (give --parent IMAGE; for a layer file alone use `imagetool "
                       "layer build`)"};
  }
  VARVE_ASSIGN(image::Image parent, store.resolve(wanted.parent));
  std::string work = wanted.work;
  if (work.empty()) {
    const std::size_t slash = upper.rfind('/');
    const std::string beside = slash == std::string::npos ? "work" : upper.substr(0, slash + 1) + "work";
    if (is_directory(beside + "/varve")) work = beside;
  }
  if (work.empty() && is_ours(upper)) {
    return Failure{
        EINVAL, upper + ": an upper of varvefs, but its work directory is not beside it (give --work DIR)"};
  }
  return CommitPlan{
      std::move(upper), std::move(work), std::move(parent), "imagetool commit " + wanted.target, {}};
}

// Which image's layers are the recorded ones. Layers that several images share are looked into once.
class ParentSearch {
 public:
  ParentSearch(const image::Store& store, const std::vector<std::string>& base_stack)
      : store_(store), base_stack_(base_stack) {}
  // Returns: the image `reference`, if its layers are those; images that cannot be read count as others.
  std::optional<image::Image> take(const std::string& reference) {
    auto image = store_.resolve(reference);
    if (!image.ok() || image->layer_paths.size() != base_stack_.size()) return std::nullopt;
    for (std::size_t i = 0; i < base_stack_.size(); ++i) {
      if (line_of(image->layer_paths[i]) != base_stack_[i]) return std::nullopt;
    }
    return std::move(*image);
  }

 private:
  const std::string& line_of(const std::string& path) {
    const auto [known, fresh] = lines_.emplace(path, std::string());
    if (!fresh) return known->second;
    const auto layer = layer::open_layer(path, {}, {.layers = {}, .all_there = false});
    if (layer.ok()) known->second = image::base_line((*layer)->identity());
    return known->second;
  }

  const image::Store& store_;
  const std::vector<std::string>& base_stack_;
  std::map<std::string, std::string> lines_;  // by path
};

ResultOrFailure<image::Image> image_below(const MountedUpper& mounted, const CommitTarget& wanted,
                                          const image::Store& store) {
  if (!wanted.parent.empty()) return store.resolve(wanted.parent);
  if (mounted.base_stack.empty()) {
    if (!mounted.image.empty()) return store.resolve(mounted.image);
    return Failure{EINVAL, wanted.target +
                               ": what it was mounted over is not recorded with fsync=never (give --parent "
                               "IMAGE)"};
  }
  ParentSearch search(store, mounted.base_stack);
  if (!mounted.image.empty()) {
    if (auto image = search.take(mounted.image)) return std::move(*image);
  }
  VARVE_ASSIGN(const auto images, store.list());
  for (const auto& listed : images) {
    if (auto image = search.take(listed.name.empty() ? listed.digest.text() : listed.name))
      return std::move(*image);
  }
  return Failure{
      ENOENT,
      fmt::format("{}: the {} layers below are not those of an image of {} (make one of them by `imagetool "
                  "import`, and mount that; for a layer file alone: `imagetool layer build {} -o FILE`)",
                  wanted.target, mounted.base_stack.size(), store.directory(), mounted.upper)};
}

// The container of the store that has this upper: of `imagetool mount --rw`, above all.
std::optional<image::ContainerState> container_of(const std::string& upper, const image::Store& store) {
  const std::size_t slash = upper.rfind('/');
  const std::string directory = slash == std::string::npos ? "" : upper.substr(0, slash);
  const std::string name = directory.substr(directory.rfind('/') + 1);
  if (!image::is_container_name(name)) return std::nullopt;
  const image::ContainerStore containers(store.directory());
  struct stat its {};
  struct stat found {};
  if (::stat(containers.upper_path(name).c_str(), &its) != 0 || ::stat(upper.c_str(), &found) != 0 ||
      its.st_dev != found.st_dev || its.st_ino != found.st_ino) {
    return std::nullopt;
  }
  auto container = containers.read(name);
  if (!container.ok()) return std::nullopt;
  return std::move(*container);
}

ResultOrFailure<CommitPlan> plan_mount(const CommitTarget& wanted, const MountAt& at,
                                       const image::Store& store) {
  if (!wanted.work.empty())
    return Failure{EINVAL, wanted.target + ": a mount knows its work directory (leave out --work)"};
  VARVE_ASSIGN(MountedUpper mounted, upper_of_mount(at));
  if (const auto container = container_of(mounted.upper, store))
    return plan_container(wanted, store, *container);
  VARVE_ASSIGN(image::Image parent, image_below(mounted, wanted, store));
  return CommitPlan{std::move(mounted.upper),
                    std::move(mounted.work),
                    std::move(parent),
                    "imagetool commit " + wanted.target,
                    {}};
}

// Why a directory is none that can be committed without --parent; empty when it may be an upper.
std::string what_it_is(const CommitTarget& wanted, const MountAt& at) {
  if (at.is_varvefs()) {
    return fmt::format("{}: lies within the mount {} (commit all of that: `imagetool commit {} NAME`)",
                       wanted.target, at.mount_point, at.mount_point);
  }
  if (!at.is_mount_point) return {};
  return fmt::format(
      "{}: a mount of {}, not of varvefs (of another union file system commit the upper directory: "
      "`imagetool "
      "commit UPPER NAME --parent IMAGE`)",
      wanted.target, at.type);
}

}  // namespace

ResultOrFailure<CommitPlan> make_commit_plan(const CommitTarget& wanted, const image::Store& store) {
  const image::ContainerStore containers(store.directory());
  if (image::is_container_name(wanted.target)) {
    auto container = containers.read(wanted.target);
    if (container.ok()) return plan_container(wanted, store, *container);
    if (container.error().error_number != ENOENT) return std::move(container).error();
  }
  auto at = mount_at(wanted.target);
  if (!at.ok()) {
    if (at.error().error_number != ENOENT && at.error().error_number != ENOTDIR) return std::move(at).error();
    return Failure{ENOENT,
                   wanted.target + ": neither a container of " + store.directory() + " nor a directory"};
  }
  if (at->is_varvefs() && at->is_mount_point) return plan_mount(wanted, *at, store);
  if (wanted.parent.empty()) {
    if (std::string what = what_it_is(wanted, *at); !what.empty()) return Failure{EINVAL, std::move(what)};
  }
  return plan_upper(wanted, store);
}

}  // namespace varve::imagetool
