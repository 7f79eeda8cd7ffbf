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

#include "fs/format/posix_acl.h"
#include "fs/upper/mount_note.h"
#include "fs/upper/object_path.h"
#include "fs/upper/part_directory.h"
#include "fs/upper/stage.h"
#include "fs/upper/trial.h"

namespace varve::upper {
namespace {

constexpr const char* kOwnName = "varve";
constexpr const char* kIdMark = "id";
constexpr const char* kHolderMark = "holder";
constexpr const char* kThrownAwayMark = "thrown-away";

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
  Result<bool> take_empty_directory();
  StatusOrFailure make_parts();
  StatusOrFailure drop_default_acl();
  StatusOrFailure try_file_system();
  StatusOrFailure choose_overrides(Trial& trial);
  Failure cannot_rename(Errno error) const;
  Status write_claim();
  StatusOrFailure claim();

  const UpperStore::Options& options_;
  WorkDirectory made_;
  bool made_own_ = false;
  std::vector<const char*> marks_on_upper_;  // that were written
  std::vector<const char*> marks_on_work_;
  bool done_ = false;
};

Opening::~Opening() {
  if (done_) return;
  // Best effort: the failure that is being reported matters more than what cannot be taken back after it.
  for (const char* mark : marks_on_upper_) {
    static_cast<void>(made_.marks.remove_text({made_.upper.get(), {}}, mark).ok());
  }
  for (const char* mark : marks_on_work_) {
    static_cast<void>(made_.marks.remove_text({made_.work.get(), {}}, mark).ok());
  }
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

bool is_same(const struct stat& one, const struct stat& other) {
  return one.st_ino == other.st_ino && one.st_dev == other.st_dev;
}

// Two directories in one, as they mostly are: neither lies within the other.
bool are_siblings(int one, const struct stat& one_status, int other, const struct stat& other_status) {
  struct stat parent {};
  struct stat other_parent {};
  return ::fstatat(one, "..", &parent, 0) == 0 && ::fstatat(other, "..", &other_parent, 0) == 0 &&
         is_same(parent, other_parent) && !is_same(one_status, other_status) &&
         !is_same(one_status, parent) && !is_same(other_status, parent);
}

// Whether `fd` is the directory `other` or lies below it.
bool lies_within(int fd, const struct stat& other) {
  UniqueFd at(::openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat below {};
  for (bool first = true; at.valid(); first = false) {
    struct stat status {};
    if (::fstat(at.get(), &status) != 0) return false;
    if (is_same(status, other)) return true;
    const bool is_root = !first && is_same(status, below);
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
  if (!are_siblings(made_.upper.get(), upper, made_.work.get(), work) &&
      (lies_within(made_.upper.get(), work) || lies_within(made_.work.get(), upper))) {
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
  if (made_.marks.read_text({made_.upper.get(), {}}, kThrownAwayMark).ok()) {
    return refuse(EINVAL, options_.upper_path,
                  "an upper of fsync=never, to be thrown away, may have lost data",
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

// Of an upper that is thrown away nobody will look for the parts: an empty work directory itself is where things are made ready, and
// where the other parts are made when they are needed.
Result<bool> Opening::take_empty_directory() {
  VARVE_ASSIGN(const auto entries, read_directory({made_.work.get(), {}}));
  if (!entries.empty()) return false;
  for (UniqueFd* part : {&made_.own, &made_.stage}) {
    part->reset(::fcntl(made_.work.get(), F_DUPFD_CLOEXEC, 0));
    if (!part->valid()) return Errno::last();
  }
  made_.is_new = true;
  return true;
}

StatusOrFailure Opening::make_parts() {
  if (options_.thrown_away) {
    const Result<bool> taken = take_empty_directory();
    if (!taken.ok()) return failure_from(taken.error(), options_.work_path);
    if (*taken) return {};
  }
  if (::mkdirat(made_.work.get(), kOwnName, 0700) == 0) {
    made_own_ = true;
    made_.is_new = true;
  } else if (errno != EEXIST) {
    return refuse(errno, options_.work_path, fmt::format("not writable: {}", std::strerror(errno)),
                  "change its permissions, or choose another place");
  }
  Result<UniqueFd> own = open_object({made_.work.get(), kOwnName}, O_RDONLY | O_DIRECTORY);
  if (!own.ok()) return failure_from(own.error(), options_.work_path + "/varve");
  made_.own = std::move(*own);
  struct Part {
    const char* name;
    UniqueFd& fd;
  };
  for (const Part& wanted :
       {Part{"stage", made_.stage}, Part{kMapsName, made_.maps}, Part{kIndexName, made_.index}}) {
    Result<UniqueFd> fd = open_or_make_directory(made_.own.get(), wanted.name);
    if (!fd.ok())
      return failure_from(fd.error(), fmt::format("{}/varve/{}", options_.work_path, wanted.name));
    wanted.fd = std::move(*fd);
  }
  return {};
}

Failure Opening::cannot_rename(Errno error) const {
  switch (error.value) {
    case EXDEV:
      return refuse(EXDEV, options_.work_path,
                    fmt::format("work directory and upper {} are not within one mount", options_.upper_path),
                    "choose a work directory beside the upper");
    case EINVAL:
      return refuse(EINVAL, options_.upper_path, "its file system cannot exchange two names in one step",
                    "use ext4, xfs, btrfs or tmpfs");
    case EPERM:
      return refuse(EPERM, options_.upper_path,
                    "its file system refuses to make whiteouts (character devices 0:0), as overlayfs does",
                    "use a directory of ext4, xfs, btrfs or tmpfs; in a container, a volume");
    default:
      return refuse(error.value, options_.upper_path,
                    fmt::format("not writable: {}", std::strerror(error.value)),
                    "change its permissions, or choose another place");
  }
}

// What is made in the stage must not inherit an access control list from where the work directory lies (ovl_workdir_create of the
// kernel's super.c).
StatusOrFailure Opening::drop_default_acl() {
  const ObjectRef stage{made_.stage.get(), {}};
  // Not removed unseen: it may be the work directory itself, of another owner.
  const Result<std::string> found = get_object_xattr(stage, format::kDefaultAclXattr);
  const bool none = !found.ok() && (found.error().value == ENODATA || found.error().value == EOPNOTSUPP);
  if (none) return {};
  const Status removed =
      found.ok() ? remove_object_xattr(stage, format::kDefaultAclXattr) : Status(found.error());
  if (removed.ok()) return {};
  return failure_from(removed.error(), options_.work_path + ": taking away the default access control list");
}

StatusOrFailure Opening::try_file_system() {
  struct stat before {};
  if (::fstat(made_.upper.get(), &before) != 0) return failure_from(Errno::last(), options_.upper_path);
  Trial trial({.scratch = made_.stage.get(),
               .upper = made_.upper.get(),
               .marks = made_.marks,
               .is_new = made_.is_new});
  if (const Status begun = trial.begin(!made_.state.overrides); !begun.ok()) {
    return refuse(begun.error().value, options_.work_path,
                  fmt::format("not writable: {}", std::strerror(begun.error().value)),
                  "change its permissions, or choose another place");
  }
  made_.umask_is_zero = trial.mode_arrived();
  VARVE_RETURN_IF_ERROR(choose_overrides(trial));
  const Status moved = trial.try_renames();
  const struct timespec times[2] = {before.st_atim, before.st_mtim};
  ::futimens(made_.upper.get(), times);
  if (!moved.ok()) return cannot_rename(moved.error());
  return {};
}

Result<std::string> random_id() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return Errno::last();
  std::string id;
  for (const unsigned char byte : bytes) id += fmt::format("{:02x}", byte);
  return id;
}

// What was once written with overrides is read with them for ever.
StatusOrFailure Opening::choose_overrides(Trial& trial) {
  if (!made_.state.overrides) {
    const Result<OverrideUse> chosen = trial.choose_overrides();
    if (!chosen.ok() && is_disk_fault(chosen.error()))
      return failure_from(chosen.error(), options_.work_path);
    if (!chosen.ok()) {
      return refuse(chosen.error().value, options_.upper_path,
                    "its file system takes no xattr that could hold owners which this user may not give",
                    "use ext4, xfs, btrfs, or tmpfs of Linux 6.6 or later");
    }
    made_.state.overrides = *chosen;
  }
  if (options_.overrides) made_.state.overrides = std::max(*made_.state.overrides, *options_.overrides);
  made_.overrides = Overrides(*made_.state.overrides);
  return {};
}

Status Opening::write_claim() {
  const auto mark_upper = [&](const char* name, std::string_view text) -> Status {
    VARVE_RETURN_IF_ERROR(made_.marks.write_text({made_.upper.get(), {}}, name, text));
    marks_on_upper_.push_back(name);
    return {};
  };
  const std::string holder = std::to_string(::getpid());
  VARVE_RETURN_IF_ERROR(mark_upper(kHolderMark, holder));
  VARVE_RETURN_IF_ERROR(made_.marks.write_text({made_.work.get(), {}}, kHolderMark, holder));
  marks_on_work_.push_back(kHolderMark);
  // One that was killed has left its own.
  if (!made_.is_new) VARVE_RETURN_IF_ERROR(made_.marks.remove_text({made_.upper.get(), {}}, kMountMark));
  // Says all that a state could say.
  if (options_.thrown_away) return mark_upper(kThrownAwayMark, "1");
  if (made_.state.upper_id.empty()) {
    VARVE_ASSIGN(made_.state.upper_id, random_id());
    VARVE_RETURN_IF_ERROR(mark_upper(kIdMark, made_.state.upper_id));
  }
  return made_.write(false);
}

StatusOrFailure Opening::claim() {
  const Status claimed = write_claim();
  if (!claimed.ok())
    return failure_from(claimed.error(), options_.work_path + ": writing down that it is in use");
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
  VARVE_RETURN_IF_ERROR(drop_default_acl());
  VARVE_RETURN_IF_ERROR(try_file_system());
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
  VARVE_RETURN_IF_ERROR(write_state(own.get(), state));
  if (!clean) return {};
  VARVE_RETURN_IF_ERROR(marks.remove_text({upper.get(), {}}, kHolderMark));
  VARVE_RETURN_IF_ERROR(marks.remove_text({upper.get(), {}}, kMountMark));
  return marks.remove_text({work.get(), {}}, kHolderMark);
}

}  // namespace varve::upper
