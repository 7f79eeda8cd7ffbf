#include "fs/fuse/session.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include "fs/base/log.h"
#include "fs/fuse/dispatch.h"
#include "fs/fuse/given_device.h"
#include "fs/fuse/read_ahead.h"
#include "fs/fuse/request.h"
#include "fs/fuse/request_loop.h"
#include "fs/fuse/rings.h"
#include "fs/fuse/wake_latency.h"

namespace varve::fuse {
namespace {

constexpr unsigned kMaxWriteBytes = 1U << 20;
// Requests under way that nobody waits for, read-ahead above all; of the usual twelve, the kernel drops what is over nine.
constexpr unsigned kMaxBackground = 64;

void do_init(void* user_data, struct fuse_conn_info* connection) {
  const auto want = [&](unsigned capability) { connection->want |= connection->capable & capability; };
  // umask and default ACLs are weighed where the object is made.
  want(FUSE_CAP_DONT_MASK);
  want(FUSE_CAP_POSIX_ACL);
  want(FUSE_CAP_CACHE_SYMLINKS);
  want(FUSE_CAP_READDIRPLUS);
  // The handler knows better than the kernel which entries should bring their attributes.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_READDIRPLUS_AUTO);
  want(FUSE_CAP_PARALLEL_DIROPS);
  auto* state = static_cast<SessionState*>(user_data);
  state->without_opendir = (connection->capable & FUSE_CAP_NO_OPENDIR_SUPPORT) != 0;
  if (state->view->read_only()) {
    // Nothing that is read ever changes, so there is nothing to do when it is opened.
    state->without_open = (connection->capable & FUSE_CAP_NO_OPEN_SUPPORT) != 0;
  }
  if (state->without_open) {
    // There is no OPEN that would carry O_TRUNC; with SETATTR in its place the kernel hears that it may not.
    connection->want &= ~static_cast<unsigned>(FUSE_CAP_ATOMIC_O_TRUNC);
  } else {
    want(FUSE_CAP_ATOMIC_O_TRUNC);
  }
  // It says less than FUSE_HANDLE_KILLPRIV_V2, which Dispatch asks for: not whether the writer may keep the bits.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_HANDLE_KILLPRIV);
  // Nobody changes files behind the kernel's back: a new mtime is no reason to drop its cache.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_AUTO_INVAL_DATA);
  // Large reads of files below (reply_from_descriptor); where it is not wanted libfuse allocates and copies.
  want(FUSE_CAP_SPLICE_WRITE);
  // Dispatch reads what stands before the data.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ);
#ifdef FUSE_CAP_OVER_IO_URING  // libfuse 3.18
  // Rings sees to it. libfuse would where the environment has FUSE_URING_ENABLE.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_OVER_IO_URING);
#endif
  connection->max_write = kMaxWriteBytes;
  connection->max_readahead = kMaxWriteBytes;
  connection->max_background = kMaxBackground;
  connection->congestion_threshold = kMaxBackground / 4 * 3;
  connection->time_gran = 1;
  if (state->on_ready) state->on_ready();
}

struct fuse_lowlevel_ops make_operations() {
  struct fuse_lowlevel_ops operations {};
  operations.init = do_init;
  add_name_handlers(operations);
  add_attribute_handlers(operations);
  add_file_handlers(operations);
  add_directory_handlers(operations);
  return operations;
}

void log_from_libfuse(enum fuse_log_level level, const char* format, std::va_list arguments) {
  char line[1024];
  int length = std::vsnprintf(line, sizeof line, format, arguments);
  if (length <= 0) return;
  length = std::min(length, static_cast<int>(sizeof line) - 1);
  while (length > 0 && line[length - 1] == '\n') --length;
  log_line(level <= FUSE_LOG_WARNING ? LogLevel::kError
           : level <= FUSE_LOG_INFO  ? LogLevel::kInfo
                                     : LogLevel::kDebug,
           std::string_view(line, static_cast<std::size_t>(length)));
}

// The allocator keeps what many small objects leave free, until it is told (malloc_trim(3)).
void give_back_memory(SessionState& state) {
  constexpr std::uint64_t kWorthIt = 20'000;  // nodes: some megabytes
  if (state.forgotten.load(std::memory_order_relaxed) < kWorthIt) return;
  state.forgotten.store(0, std::memory_order_relaxed);
  ::malloc_trim(0);
}

// The mount point as an absolute path: it is unmounted by this name, from whatever directory the process is in then.
ResultOrFailure<std::string> resolve_mount_point(const std::string& mount_point) {
  if (is_descriptor(mount_point)) return mount_point;
  const std::unique_ptr<char, decltype(&std::free)> path(::realpath(mount_point.c_str(), nullptr),
                                                         &std::free);
  struct stat stat {};
  if (path == nullptr || ::stat(path.get(), &stat) != 0) {
    return failure_from(Errno::last(), "mounting: " + mount_point);
  }
  if (!S_ISDIR(stat.st_mode)) {
    return Failure{ENOTDIR, "mounting: " + mount_point + ": not a directory (name a directory to mount on)"};
  }
  return std::string(path.get());
}

std::string kernel_option_string(const Session::Options& options) {
  std::string joined = "fsname=varvefs,subtype=varvefs,default_permissions";
  if (options.read_only) joined += ",ro";
  if (::geteuid() == 0) {
    // As a file system mounted by root is for everybody; libfuse's nodev and nosuid are for mounts by users.
    joined += ",allow_other,dev,suid";
  }
  for (const std::string& option : options.kernel_options) joined += "," + option;
  return joined;
}

class LibfuseSession final : public Session {
 public:
  LibfuseSession(view::UnionView& view, Options options)
      : options_(std::move(options)),
        state_{.view = &view, .ids = options_.ids, .on_ready = options_.on_ready, .status = {}} {
    if (options_.describe) state_.status = [this] { return options_.describe(status()); };
  }

  ~LibfuseSession() override {
    if (session_ == nullptr) return;
    if (handlers_set_) fuse_remove_signal_handlers(session_);
    if (mounted_) fuse_session_unmount(session_);
    fuse_session_destroy(session_);
  }

  StatusOrFailure mount() {
    VARVE_RETURN_IF_ERROR(choose_passthrough());
    if (options_.wakeup_us) wake_.emplace(WakeLatency::Options{.limit_us = *options_.wakeup_us});
    VARVE_ASSIGN(const std::string mount_point, resolve_mount_point(options_.mount_point));
    fuse_set_log_func(log_from_libfuse);
    const std::string joined = kernel_option_string(options_);
    std::vector<const char*> words = {"varvefs", "-o", joined.c_str()};
    if (options_.debug) words.push_back("-d");
    struct fuse_args arguments =
        FUSE_ARGS_INIT(static_cast<int>(words.size()), const_cast<char**>(words.data()));
    const struct fuse_lowlevel_ops operations = make_operations();
    session_ = fuse_session_new(&arguments, &operations, sizeof operations, &state_);
    fuse_opt_free_args(&arguments);
    if (session_ == nullptr) return Failure{EINVAL, "mounting: libfuse did not accept the options " + joined};
    // Last of all that does not need it.
    VARVE_RETURN_IF_ERROR(await_device(mount_point));
    if (fuse_set_signal_handlers(session_) != 0)
      return Failure{EIO, "mounting: setting signal handlers failed"};
    handlers_set_ = true;
    if (fuse_session_mount(session_, mount_point.c_str()) != 0) {
      return Failure{
          EIO, fmt::format("mounting: {}: the mount was refused (is /dev/fuse there and may you open it?)",
                           options_.mount_point)};
    }
    mounted_ = true;
    state_.session = session_;
    // Now, while nobody can have mounted anything over it.
    if (!is_descriptor(mount_point)) device_ = mounted_device(mount_point);
    if (device_ && options_.on_mounted) options_.on_mounted(*device_);
    return {};
  }

  StatusOrFailure serve() override {
    std::optional<RequestLoop> loop;
    Dispatch dispatch(session_,
                      {.set_id = !options_.read_only,
                       .passthrough = backings_ != nullptr,
                       .rings = options_.uring != RingUse::kOff},
                      counts_, [this](bool offered) { return open_rings(offered); });
    const auto process = [&](const struct fuse_buf& request) { dispatch.process(request); };
    Rings rings(session_, {.payload_bytes = kMaxWriteBytes,
                           .threads = options_.threads,
                           .process_ends = options_.process_ends,
                           .process = process,
                           .on_request = [&] { loop->expect_ticks(); },
                           .await_notices = [&] { return loop->await_device(); }});
    rings_ = &rings;
    RequestLoop::Options loop_options{.threads = options_.threads,
                                      .on_initialized = [&] { begin(dispatch.granted()); },
                                      .on_quiet = [this] { give_back_memory(state_); },
                                      .process_ends = options_.process_ends,
                                      .payload_bytes = kMaxWriteBytes,
                                      .process = process,
                                      .other_way = &rings};
    if (wake_) {
      loop_options.on_tick = [this](std::uint64_t received) { return wake_->tick(received); };
      loop_options.on_ending = [this] { wake_->let_go(); };
    }
    loop.emplace(session_, std::move(loop_options));
    int result = loop->run();
    if (const int error = rings.stop(); error != 0) result = error;
    if (backings_ != nullptr) backings_->stop();
    fuse_session_unmount(session_);
    mounted_ = false;
    if (ring_failure_) return *ring_failure_;
    if (result < 0) return failure_from(Errno{-result}, "serving " + options_.mount_point);
    return {};
  }

 private:
  MountStatus status() const {
    return {.requests = counts_.seen(),
            .passthrough = backings_ != nullptr && backings_->works(),
            .why_no_passthrough = why_no_passthrough(),
            .why_no_rings = options_.uring == RingUse::kOff ? "-o uring=off" : why_no_rings_.load(),
            .wakeup = wake_ ? std::optional(wake_->status()) : std::nullopt};
  }

  std::string_view why_no_passthrough() const {
    if (options_.read_only) return "the mount is read-only";
    if (options_.passthrough == PassthroughUse::kOff) return "-o passthrough=off";
    if (options_.keep_access_times) return "-o noatime";
    if (backings_ == nullptr) return "it needs CAP_SYS_ADMIN in the initial user namespace";
    return backings_->works() ? "" : "the kernel has refused it";
  }

  // INIT has been answered.
  void begin(const Dispatch::Wishes& granted) {
    if (device_) raise_read_ahead(*device_);
    if (granted.passthrough) backings_->start(fuse_session_fd(session_));
    if (granted.rings) rings_->serve();
  }

  // Returns: whether they are open. When they must be and are not, the session ends.
  bool open_rings(bool offered) {
    if (options_.uring == RingUse::kAuto && !offered) return false;
    const Status opened = offered ? rings_->open() : Status(Errno{EOPNOTSUPP});
    if (opened.ok()) {
      why_no_rings_ = "";
      return true;
    }
    if (options_.uring == RingUse::kAuto) {
      why_no_rings_ = "io_uring cannot be used";
      log_debug("requests over io_uring: {}: they come from the device", std::strerror(opened.error().value));
      return false;
    }
    ring_failure_ = Failure{
        opened.error().value,
        offered
            ? fmt::format("mounting: option uring=on: io_uring cannot be used: {} (see the sysctl "
                          "kernel.io_uring_disabled and what limits this process, or leave the option out)",
                          std::strerror(opened.error().value))
            : "mounting: option uring=on: the kernel does not offer it (Linux 6.14 does once root has "
              "called: echo Y > /sys/module/fuse/parameters/enable_uring)"};
    fuse_session_exit(session_);
    return false;
  }

  StatusOrFailure choose_passthrough() {
    if (options_.read_only || options_.passthrough == PassthroughUse::kOff) return {};
    if (options_.keep_access_times) {
      if (options_.passthrough == PassthroughUse::kAuto) return {};
      return Failure{EINVAL,
                     "mounting: passthrough=on with noatime: the kernel would move times of access as the "
                     "upper's file system is "
                     "mounted (mount that with noatime instead)"};
    }
    if (may_register_backings()) {
      backings_ = std::make_shared<KernelBackings>();
      state_.view->use_backings(backings_);
    } else if (options_.passthrough == PassthroughUse::kOn) {
      return Failure{EPERM,
                     "mounting: option passthrough=on: this needs CAP_SYS_ADMIN in the initial user "
                     "namespace (run varvefs as "
                     "root of the host, or leave the option out)"};
    }
    return {};
  }

  const Options options_;
  SessionState state_;
  RequestCounts counts_;
  struct fuse_session* session_ = nullptr;
  bool handlers_set_ = false;
  bool mounted_ = false;
  std::shared_ptr<KernelBackings> backings_;  // null: passthrough is not wanted
  std::optional<WakeLatency> wake_;           // empty: not asked for
  Rings* rings_ = nullptr;                    // while it serves
  std::atomic<const char*> why_no_rings_{
      "the kernel does not offer it (root: echo Y > /sys/module/fuse/parameters/enable_uring)"};
  std::optional<Failure> ring_failure_;  // why the mount ends before it has begun
  std::optional<dev_t> device_;          // st_dev of the mount; empty when somebody else has mounted it
};

}  // namespace

ResultOrFailure<std::unique_ptr<Session>> Session::mount(view::UnionView& view, Options options) {
  auto session = std::make_unique<LibfuseSession>(view, std::move(options));
  VARVE_RETURN_IF_ERROR(session->mount());
  return std::unique_ptr<Session>(std::move(session));
}

}  // namespace varve::fuse
