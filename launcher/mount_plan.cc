#include "launcher/mount_plan.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <set>

#include "launcher/explain.h"

namespace varve::launcher {
namespace {

// containers/common: what a container with a read-only root can still write.
constexpr std::array<const char*, 3> kReadOnlyTmpfs = {"/run:mode=755", "/tmp:mode=1777",
                                                       "/var/tmp:mode=1777"};

ResultOrFailure<std::string> host_path(const std::string& path, const char* advice) {
  const std::unique_ptr<char, decltype(&std::free)> found(::realpath(path.c_str(), nullptr), &std::free);
  if (found == nullptr) return explain(Errno::last(), "finding the source of a mount", path, advice);
  return std::string(found.get());
}

std::size_t depth(const std::string& path) {
  return static_cast<std::size_t>(std::count(path.begin(), path.end(), '/'));
}

// Collects entries, no two for one target.
class Collector {
 public:
  explicit Collector(const MountContext& context) : context_(context) {}

  // What a person asked for.
  StatusOrFailure add(MountEntry entry);
  // What is there unless a person asked for something else at the same place.
  StatusOrFailure add_default(MountEntry entry);
  StatusOrFailure add_device(const std::string& text);
  MountPlan finish() &&;

 private:
  StatusOrFailure claim(const std::string& target);
  StatusOrFailure resolve(MountEntry& entry);

  const MountContext& context_;
  MountPlan plan_;
  std::set<std::string> targets_;
  std::size_t anonymous_count_ = 0;
};

StatusOrFailure Collector::claim(const std::string& target) {
  if (targets_.insert(target).second) return {};
  return refuse("planning the mounts", target, "two things are to be mounted there", "leave one out");
}

StatusOrFailure Collector::resolve(MountEntry& entry) {
  if (entry.kind == MountEntry::Kind::kVolume && !context_.volumes_fit) {
    return refuse("planning the mounts", entry.target,
                  "with --userns auto a volume would belong to the ids of one container",
                  "use --tmpfs, a bind, or --image-volume=tmpfs");
  }
  if (entry.kind == MountEntry::Kind::kBind) {
    VARVE_ASSIGN(entry.source, host_path(entry.source, "it must exist on the host"));
  } else if (entry.kind == MountEntry::Kind::kVolume && entry.source.empty()) {
    entry.source = fmt::format("{}/volumes/{}", context_.container_directory, anonymous_count_++);
    plan_.has_anonymous_volumes = true;
  } else if (entry.kind == MountEntry::Kind::kVolume) {
    entry.source = context_.store_directory + "/volumes/" + entry.source;
  }
  return {};
}

StatusOrFailure Collector::add(MountEntry entry) {
  VARVE_RETURN_IF_ERROR(claim(entry.target));
  VARVE_RETURN_IF_ERROR(resolve(entry));
  plan_.mounts.push_back(std::move(entry));
  return {};
}

StatusOrFailure Collector::add_default(MountEntry entry) {
  if (targets_.count(entry.target) > 0) return {};
  return add(std::move(entry));
}

StatusOrFailure Collector::add_device(const std::string& text) {
  VARVE_ASSIGN(const DeviceWords words, parse_device(text));
  DevicePlan device;
  VARVE_ASSIGN(device.path, host_path(words.host_path, "it must be a device of the host"));
  struct stat about = {};
  if (::stat(device.path.c_str(), &about) != 0) {
    return explain(Errno::last(), "looking at a device", device.path);
  }
  if (!S_ISCHR(about.st_mode) && !S_ISBLK(about.st_mode)) {
    return refuse("looking at a device", device.path, "it is no device node",
                  "name each node; other files go with -v");
  }
  VARVE_RETURN_IF_ERROR(claim(words.container_path));
  device.container_path = words.container_path;
  device.type = S_ISCHR(about.st_mode) ? 'c' : 'b';
  device.major_number = major(about.st_rdev);
  device.minor_number = minor(about.st_rdev);
  device.access = words.access;
  plan_.devices.push_back(std::move(device));
  return {};
}

MountPlan Collector::finish() && {
  std::stable_sort(
      plan_.mounts.begin(), plan_.mounts.end(),
      [](const MountEntry& one, const MountEntry& other) { return depth(one.target) < depth(other.target); });
  return std::move(plan_);
}

StatusOrFailure add_image_volumes(const MountOptions& options, const MountContext& context,
                                  Collector& collector) {
  if (options.image_volumes == "ignore") return {};
  const bool is_tmpfs = options.image_volumes == "tmpfs";
  if (!is_tmpfs && options.image_volumes != "anonymous") {
    return refuse("reading --image-volume", options.image_volumes, "it is anonymous, tmpfs or ignore");
  }
  for (const std::string& path : context.image_volumes) {
    // A path and nothing else: the words of -v would let an image name the host's directories.
    MountEntry entry;
    VARVE_ASSIGN(entry, is_tmpfs ? parse_tmpfs("/image-volume") : parse_volume("/image-volume"));
    ResultOrFailure<std::string> target = parse_target(path, path);
    if (!target.ok()) {
      return refuse("reading the image's volumes", path, target.error().message,
                    "--image-volume=ignore does without");
    }
    entry.target = std::move(target).value();
    VARVE_RETURN_IF_ERROR(collector.add_default(std::move(entry)));
  }
  return {};
}

StatusOrFailure add_read_only_tmpfs(Collector& collector) {
  for (const char* words : kReadOnlyTmpfs) {
    VARVE_ASSIGN(MountEntry entry, parse_tmpfs(words));
    VARVE_RETURN_IF_ERROR(collector.add_default(std::move(entry)));
  }
  return {};
}

bool asks_for_nothing(const MountOptions& options) {
  return options.volumes.empty() && options.tmpfs.empty() && options.mounts.empty() &&
         options.devices.empty() && options.shm_size.empty();
}

std::string attributes_text(std::uint64_t attributes) {
  std::string text = (attributes & MOUNT_ATTR_RDONLY) != 0 ? "read-only" : "writable";
  if ((attributes & MOUNT_ATTR_NOSUID) != 0) text += ", nosuid";
  if ((attributes & MOUNT_ATTR_NODEV) != 0) text += ", nodev";
  if ((attributes & MOUNT_ATTR_NOEXEC) != 0) text += ", noexec";
  if ((attributes & MOUNT_ATTR_NOATIME) != 0) text += ", noatime";
  return text;
}

std::string source_text(const MountEntry& entry) {
  switch (entry.kind) {
    case MountEntry::Kind::kBind:
      return entry.source + (entry.recursive ? "" : " alone");
    case MountEntry::Kind::kVolume:
      return "volume " + entry.source;
    case MountEntry::Kind::kTmpfs:
      break;
  }
  std::string text = "tmpfs";
  for (const auto& [key, value] : entry.parameters) text += " " + key + "=" + value;
  return text;
}

}  // namespace

ResultOrFailure<MountPlan> plan_mounts(const MountOptions& options, const MountContext& context) {
  if (!context.own_mounts) {
    if (asks_for_nothing(options)) return MountPlan();
    return refuse("planning the mounts", "--share mnt", "mounts need an own mount namespace",
                  "leave mnt out of --share");
  }
  Collector collector(context);
  for (const std::string& text : options.volumes) {
    VARVE_ASSIGN(MountEntry entry, parse_volume(text));
    VARVE_RETURN_IF_ERROR(collector.add(std::move(entry)));
  }
  for (const std::string& text : options.mounts) {
    VARVE_ASSIGN(MountEntry entry, parse_mount(text));
    VARVE_RETURN_IF_ERROR(collector.add(std::move(entry)));
  }
  for (const std::string& text : options.tmpfs) {
    VARVE_ASSIGN(MountEntry entry, parse_tmpfs(text));
    VARVE_RETURN_IF_ERROR(collector.add(std::move(entry)));
  }
  for (const std::string& text : options.devices) VARVE_RETURN_IF_ERROR(collector.add_device(text));
  VARVE_RETURN_IF_ERROR(add_image_volumes(options, context, collector));
  if (context.read_only_root && options.read_only_tmpfs)
    VARVE_RETURN_IF_ERROR(add_read_only_tmpfs(collector));
  MountPlan plan = std::move(collector).finish();
  if (!options.shm_size.empty()) {
    if (!context.own_ipc) {
      return refuse("reading --shm-size", options.shm_size,
                    "the shared memory is the host's, or that of a container that is joined",
                    "leave one of the two out");
    }
    VARVE_ASSIGN(plan.shm_bytes, parse_byte_size(options.shm_size, "--shm-size"));
  }
  return plan;
}

std::string to_text(const MountPlan& plan) {
  std::string text;
  for (const MountEntry& entry : plan.mounts) {
    text += fmt::format("mount:        {} <- {} ({}){}{}\n", entry.target, source_text(entry),
                        attributes_text(entry.attributes), entry.note.empty() ? "" : "; ", entry.note);
  }
  for (const DevicePlan& device : plan.devices) {
    text += fmt::format("device:       {} <- {} ({} {}:{}, {})\n", device.container_path, device.path,
                        device.type, device.major_number, device.minor_number, device.access);
  }
  if (plan.shm_bytes != kDefaultShmBytes) {
    text += fmt::format("/dev/shm:     {}\n",
                        plan.shm_bytes == 0 ? "no limit" : fmt::format("{} bytes", plan.shm_bytes));
  }
  return text;
}

}  // namespace varve::launcher
