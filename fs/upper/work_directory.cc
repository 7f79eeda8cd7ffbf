#include "fs/upper/work_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <utility>

#include "fs/upper/object_path.h"
#include "fs/upper/stage.h"
#include "fs/upper/whiteout.h"

namespace varve::upper {
namespace {

constexpr const char* kOwnName = "varve";
constexpr const char* kIdMark = "id";
constexpr const char* kHolderMark = "holder";
constexpr const char* kProbe = "probe";
constexpr const char* kProbeInUpper = ".varve-probe-of-renames";

Failure refuse(int error_number, const std::string& path, std::string_view why, std::string_view what_to_do) {
  return Failure{error_number, fmt::format("{}: {} ({})", path, why, what_to_do)};
}

// Takes what an opening made so far away again, unless it came to its end.
class Opening {
 public:
  explicit Opening(const UpperStore::Options& options) : options_(options) {}
  ~Opening();
  ResultOrFailure<WorkDirectory> run();

 private:
  StatusOrFailure open_directories();
  StatusOrFailure check_apart();
  StatusOrFailure lock(int fd, const std::string& path);
  StatusOrFailure check_writable(int fd, const std::string& path) const;
  StatusOrFailure check_history();
  StatusOrFailure check_belongs(const std::optional<UpperState>& before);
  StatusOrFailure make_parts();
  StatusOrFailure check_renames();
  Status try_renames();
  StatusOrFailure choose_overrides();
  StatusOrFailure claim();

  const UpperStore::Options& options_;
  WorkDirectory made_;
  bool made_own_ = false;
  bool wrote_id_ = false;
  bool wrote_holder_ = false;
  bool done_ = false;
};

Opening::~Opening() {
  if (done_) return;
  // Best effort: the failure that is being reported matters more than what cannot be taken back after it.
  if (wrote_holder_) {
    static_cast<void>(made_.marks.remove_text({made_.upper.get(), {}}, kHolderMark).ok());
    static_cast<void>(made_.marks.remove_text({made_.work.get(), {}}, kHolderMark).ok());
  }
  if (wrote_id_) static_cast<void>(made_.marks.remove_text({made_.upper.get(), {}}, kIdMark).ok());
  if (made_own_) static_cast<void>(remove_tree(made_.work.get(), kOwnName).ok());
}

ResultOrFailure<UniqueFd> open_named_directory(const std::string& path, std::string_view role) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) return UniqueFd(fd);
  const int error_number = errno;
  if (error_number == ENOENT)
    return refuse(error_number, path, fmt::format("there is no such {}", role), "create it");
  if (error_number == ENOTDIR) {
    return refuse(error_number, path, fmt::format("the {} is no directory", role), "name a directory");
  }
  return refuse(error_number, path,
                fmt::format("the {} cannot be opened: {}", role, std::strerror(error_number)),
                "check its permissions");
}

StatusOrFailure Opening::open_directories() {
  VARVE_ASSIGN(made_.upper, open_named_directory(options_.upper_path, "upper directory"));
  VARVE_ASSIGN(made_.work, open_named_directory(options_.work_path, "work directory"));
  return {};
}

// Whether `fd` is the directory `other` or lies below it.
bool lies_within(int fd, const struct stat& other) {
  UniqueFd at(::openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat below {};
  for (bool first = true; at.valid(); first = false) {
    struct stat status {};
    if (::fstat(at.get(), &status) != 0) return false;
    if (status.st_ino == other.st_ino && status.st_dev == other.st_dev) return true;
    const bool is_root = !first && status.st_ino == below.st_ino && status.st_dev == below.st_dev;
    if (is_root) return false;
    below = status;
    at = UniqueFd(::openat(at.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  return false;
}

StatusOrFailure Opening::check_apart() {
  struct stat upper {};
  struct stat work {};
  if (::fstat(made_.upper.get(), &upper) != 0 || ::fstat(made_.work.get(), &work) != 0) {
    return failure_from(Errno::last(), options_.upper_path);
  }
  if (upper.st_dev != work.st_dev) {
    return refuse(
        EXDEV, options_.work_path,
        fmt::format("the work directory is on another file system than the upper {}", options_.upper_path),
        "choose a work directory beside the upper");
  }
  if (lies_within(made_.upper.get(), work) || lies_within(made_.work.get(), upper)) {
    return refuse(EINVAL, options_.work_path,
                  fmt::format("upper {} and work directory lie within each other", options_.upper_path),
                  "choose two directories side by side");
  }
  return {};
}

// The process that wrote the holder mark, in words.
std::string holder_of(int fd) {
  for (const MarkStore::Namespace space : {MarkStore::Namespace::kTrusted, MarkStore::Namespace::kUser}) {
    const Result<std::string> holder = MarkStore(space).read_text({fd, {}}, kHolderMark);
    if (holder.ok()) return "process " + *holder;
  }
  return "another process";
}

StatusOrFailure Opening::lock(int fd, const std::string& path) {
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) return failure_from(Errno::last(), path + ": locking it");
  return refuse(EBUSY, path, fmt::format("in use by {}", holder_of(fd)),
                "unmount that one, or choose other directories");
}

StatusOrFailure Opening::check_writable(int fd, const std::string& path) const {
  struct statvfs status {};
  if (::fstatvfs(fd, &status) != 0) return failure_from(Errno::last(), path);
  if ((status.f_flag & ST_RDONLY) != 0) {
    return refuse(EROFS, path, "the file system is mounted read-only",
                  "remount it writable, or choose another place");
  }
  if (::faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) != 0) {
    return refuse(errno, path, "not writable", "change its permissions, or choose another place");
  }
  return {};
}

StatusOrFailure Opening::check_belongs(const std::optional<UpperState>& before) {
  const ObjectRef root{made_.upper.get(), {}};
  const Result<std::string> id = made_.marks.read_text(root, kIdMark);
  if (before && id.ok() && *id == before->upper_id) return {};
  if (before) {
    return refuse(EINVAL, options_.work_path,
                  fmt::format("the work directory belongs to another upper than {}", options_.upper_path),
                  "use the pair that was mounted together, or an empty work directory");
  }
  if (id.ok() && made_.marks.read_text(root, kNeedsWorkMark).ok()) {
    return refuse(EINVAL, options_.upper_path,
                  fmt::format("parts of this upper lie in the work directory of its last mount, not in {}",
                              options_.work_path),
                  "use that work directory");
  }
  return {};
}

StatusOrFailure Opening::check_history() {
  std::optional<UpperState> before;
  UniqueFd own(::openat(made_.work.get(), kOwnName, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (own.valid()) {
    Result<std::optional<UpperState>> state = read_state(own.get());
    if (!state.ok()) {
      return refuse(state.error().value, options_.work_path, "varve/state in it cannot be read",
                    "restore the file; it says what the upper is based on");
    }
    before = std::move(*state);
  }
  if (before) made_.marks = MarkStore(before->marks);
  VARVE_RETURN_IF_ERROR(check_belongs(before));
  if (before && before->base_stack != options_.base_stack) {
    return refuse(
        EINVAL, options_.upper_path, "the upper was written over other layers than these",
        "mount it over the layers that it is based on, or start with an empty upper and work directory");
  }
  if (before && before->volatile_upper && !before->clean) {
    return refuse(EINVAL, options_.upper_path,
                  "a volatile upper that was not unmounted cleanly may have lost data",
                  "start with an empty upper and work directory");
  }
  if (before) {
    made_.state.upper_id = before->upper_id;
    made_.state.overrides = before->overrides;
    made_.was_clean = before->clean;
    made_.same_boot = before->boot_id == made_.state.boot_id;
  }
  return {};
}

StatusOrFailure Opening::make_parts() {
  if (::mkdirat(made_.work.get(), kOwnName, 0700) == 0) {
    made_own_ = true;
  } else if (errno != EEXIST) {
    return refuse(errno, options_.work_path, fmt::format("not writable: {}", std::strerror(errno)),
                  "change its permissions, or choose another place");
  }
  const auto part = [](int directory, const char* name) -> Result<UniqueFd> {
    if (::mkdirat(directory, name, 0700) != 0 && errno != EEXIST) return Errno::last();
    return open_object({directory, name}, O_RDONLY | O_DIRECTORY);
  };
  struct Part {
    int directory;
    const char* name;
    UniqueFd& fd;
  };
  Result<UniqueFd> own = part(made_.work.get(), kOwnName);
  if (!own.ok()) return failure_from(own.error(), options_.work_path + "/varve");
  made_.own = std::move(*own);
  for (const Part& wanted :
       {Part{made_.own.get(), "stage", made_.stage}, Part{made_.own.get(), "maps", made_.maps},
        Part{made_.own.get(), "index", made_.index}}) {
    Result<UniqueFd> fd = part(wanted.directory, wanted.name);
    if (!fd.ok())
      return failure_from(fd.error(), fmt::format("{}/varve/{}", options_.work_path, wanted.name));
    wanted.fd = std::move(*fd);
  }
  return {};
}

// With whiteouts, which hide nothing and which nobody sees if a kill leaves them in the upper.
Status Opening::try_renames() {
  const ObjectRef staged{made_.stage.get(), kProbe};
  const ObjectRef published{made_.upper.get(), kProbeInUpper};
  const Result<struct stat> left = stat_object(published);
  if (left.ok()) {
    VARVE_ASSIGN(const bool whiteout, is_whiteout(made_.marks, published, *left));
    if (!whiteout) return Errno{EEXIST};
    if (::unlinkat(published.fd, kProbeInUpper, 0) != 0) return Errno::last();
  }
  VARVE_RETURN_IF_ERROR(make_whiteout(staged));
  VARVE_RETURN_IF_ERROR(rename_object(staged, published, ReplaceMode::kNoReplace));
  Status moved = make_whiteout(staged);
  if (moved.ok()) moved = rename_object(staged, published, ReplaceMode::kExchange);
  if (::unlinkat(published.fd, kProbeInUpper, 0) != 0 && moved.ok()) moved = Errno::last();
  return moved;
}

// Every change is a rename between stage and upper: two mounts of one file system refuse that with EXDEV, and
// some file systems know neither of the flags.
StatusOrFailure Opening::check_renames() {
  struct stat before {};
  if (::fstat(made_.upper.get(), &before) != 0) return failure_from(Errno::last(), options_.upper_path);
  static_cast<void>(remove_tree(made_.stage.get(), kProbe).ok());  // what a kill left
  const UniqueFd probe(::openat(made_.stage.get(), kProbe, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0777));
  struct stat status {};
  if (!probe.valid() || ::fstat(probe.get(), &status) != 0) {
    return refuse(errno, options_.work_path, fmt::format("not writable: {}", std::strerror(errno)),
                  "change its permissions, or choose another place");
  }
  made_.umask_is_zero = (status.st_mode & 0777) == 0777;
  static_cast<void>(remove_tree(made_.stage.get(), kProbe).ok());
  const Status moved = try_renames();
  static_cast<void>(remove_tree(made_.stage.get(), kProbe).ok());
  const struct timespec times[2] = {before.st_atim, before.st_mtim};
  ::futimens(made_.upper.get(), times);
  if (moved.ok()) return {};
  if (moved.error().value == EXDEV) {
    return refuse(EXDEV, options_.work_path,
                  fmt::format("work directory and upper {} are not within one mount", options_.upper_path),
                  "choose a work directory beside the upper");
  }
  if (moved.error().value == EINVAL) {
    return refuse(EINVAL, options_.upper_path, "its file system cannot exchange two names in one step",
                  "use ext4, xfs, btrfs or tmpfs");
  }
  if (moved.error().value == EPERM) {
    return refuse(EPERM, options_.upper_path,
                  "its file system refuses to make whiteouts (character devices 0:0), as overlayfs does",
                  "use a directory of ext4, xfs, btrfs or tmpfs; in a container, a volume");
  }
  return refuse(moved.error().value, options_.upper_path,
                fmt::format("not writable: {}", std::strerror(moved.error().value)),
                "change its permissions, or choose another place");
}

Result<std::string> random_id() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return Errno::last();
  std::string id;
  for (const unsigned char byte : bytes) id += fmt::format("{:02x}", byte);
  return id;
}

// What was once written with overrides is read with them for ever.
StatusOrFailure Opening::choose_overrides() {
  if (!made_.state.overrides) {
    const Result<OverrideUse> probed = Overrides::probe(made_.stage.get());
    if (!probed.ok() && is_disk_fault(probed.error()))
      return failure_from(probed.error(), options_.work_path);
    if (!probed.ok()) {
      return refuse(probed.error().value, options_.upper_path,
                    "its file system takes no xattr that could hold owners which this user may not give",
                    "use ext4, xfs, btrfs, or tmpfs of Linux 6.6 or later");
    }
    made_.state.overrides = *probed;
  }
  if (options_.overrides) made_.state.overrides = std::max(*made_.state.overrides, *options_.overrides);
  made_.overrides = Overrides(*made_.state.overrides);
  return {};
}

StatusOrFailure Opening::claim() {
  const ObjectRef upper{made_.upper.get(), {}};
  Status status;
  if (made_.state.upper_id.empty()) {
    Result<std::string> id = random_id();
    if (!id.ok()) return failure_from(id.error(), "drawing an id for the upper");
    made_.state.upper_id = std::move(*id);
    status = made_.marks.write_text(upper, kIdMark, made_.state.upper_id);
    wrote_id_ = status.ok();
  }
  const std::string holder = std::to_string(::getpid());
  if (status.ok()) status = made_.marks.write_text(upper, kHolderMark, holder);
  wrote_holder_ = status.ok();
  if (status.ok()) status = made_.marks.write_text({made_.work.get(), {}}, kHolderMark, holder);
  if (status.ok()) status = made_.write(false);
  if (!status.ok())
    return failure_from(status.error(), options_.work_path + ": writing down that it is in use");
  return {};
}

ResultOrFailure<WorkDirectory> Opening::run() {
  std::string boot_id = options_.boot_id;
  if (boot_id.empty()) std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot_id);
  const Result<BootId> parsed = parse_boot_id(boot_id);
  if (!parsed.ok())
    return refuse(EINVAL, "/proc/sys/kernel/random/boot_id", "no boot id can be read", "mount /proc");
  made_.boot_id = *parsed;
  made_.state.boot_id = boot_id;
  made_.state.base_stack = options_.base_stack;
  made_.state.volatile_upper = options_.volatile_upper || options_.thrown_away;
  made_.thrown_away = options_.thrown_away;
  VARVE_RETURN_IF_ERROR(open_directories());
  VARVE_RETURN_IF_ERROR(check_apart());
  VARVE_RETURN_IF_ERROR(lock(made_.upper.get(), options_.upper_path));
  VARVE_RETURN_IF_ERROR(lock(made_.work.get(), options_.work_path));
  VARVE_RETURN_IF_ERROR(check_writable(made_.upper.get(), options_.upper_path));
  VARVE_RETURN_IF_ERROR(check_writable(made_.work.get(), options_.work_path));
  const Result<MarkStore::Namespace> space = MarkStore::probe({made_.work.get(), {}});
  if (!space.ok() && is_disk_fault(space.error())) return failure_from(space.error(), options_.work_path);
  if (!space.ok()) {
    return refuse(space.error().value, options_.work_path, "its file system takes no extended attributes",
                  "use ext4, xfs, btrfs, or tmpfs of Linux 6.6 or later");
  }
  made_.marks = MarkStore(*space);
  VARVE_RETURN_IF_ERROR(check_history());
  if (made_.marks.space() == MarkStore::Namespace::kTrusted && *space == MarkStore::Namespace::kUser) {
    return refuse(EPERM, options_.upper_path, "the upper was written by root of the host",
                  "mount it as root");
  }
  made_.state.marks = made_.marks.space();
  VARVE_RETURN_IF_ERROR(make_parts());
  VARVE_RETURN_IF_ERROR(check_renames());
  VARVE_RETURN_IF_ERROR(choose_overrides());
  VARVE_RETURN_IF_ERROR(claim());
  done_ = true;
  return std::move(made_);
}

}  // namespace

Result<BootId> parse_boot_id(std::string_view text) {
  BootId id{};
  std::size_t digits = 0;
  for (const char c : text) {
    if (c == '-') continue;
    const std::string_view alphabet = "0123456789abcdef";
    const std::size_t value = alphabet.find(c);
    if (value == std::string_view::npos || digits >= id.size() * 2) return Errno{EINVAL};
    id[digits / 2] = static_cast<unsigned char>(id[digits / 2] << 4 | value);
    ++digits;
  }
  if (digits != id.size() * 2) return Errno{EINVAL};
  return id;
}

ResultOrFailure<WorkDirectory> WorkDirectory::open(const UpperStore::Options& options) {
  Opening opening(options);
  return opening.run();
}

Status WorkDirectory::write(bool clean) {
  state.clean = clean;
  // Synced for a volatile upper, too: its data was, just before it is called clean; and what is written to it after it was called
  // dirty may reach the disk before, and instead of, that word.
  VARVE_RETURN_IF_ERROR(write_state(own.get(), state, !thrown_away));
  if (!clean) return {};
  VARVE_RETURN_IF_ERROR(marks.remove_text({upper.get(), {}}, kHolderMark));
  return marks.remove_text({work.get(), {}}, kHolderMark);
}

}  // namespace varve::upper
