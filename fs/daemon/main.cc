// varvefs: parse, build the view, serve.

#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "fs/base/log.h"
#include "fs/daemon/background.h"
#include "fs/daemon/build_view.h"
#include "fs/daemon/command_line.h"
#include "fs/daemon/status_page.h"
#include "fs/fuse/session.h"
#include "fs/upper/mount_note.h"
#include "imagetool/image/store/store.h"

namespace varve::daemon {
namespace {

// Returns: the image's digest; empty when layers are named one by one.
ResultOrFailure<std::string> add_image_layers(CommandLine& line) {
  if (line.image.empty()) return std::string();
  VARVE_ASSIGN(const image::Store store,
               image::Store::open(line.store.empty() ? image::default_store_path() : line.store));
  VARVE_ASSIGN(const image::Image image, store.resolve(line.image));
  std::vector<std::string>& lowers = line.options.view.lower_paths;
  const bool alone = lowers.empty();
  lowers.insert(lowers.end(), image.layer_paths.rbegin(), image.layer_paths.rend());
  return alone ? image.digest.text() : std::string();
}

// A sanitizer looks at the end for memory that nobody gave back.
#if defined(VARVE_SANITIZED)
constexpr bool kEndsAtOnce = false;
#else
constexpr bool kEndsAtOnce = true;
#endif

StatusOrFailure mount_and_serve(view::UnionView& view, fuse::Session::Options options) {
  VARVE_ASSIGN(const std::unique_ptr<fuse::Session> session, fuse::Session::mount(view, std::move(options)));
  return session->serve();
}

// A layer takes a descriptor, and so does each open file of the upper; the limit that shells start programs with is made for
// programs that use select(2).
void raise_descriptor_limit() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// `view` outlives the threads that serve it.
StatusOrFailure run(CommandLine line, std::unique_ptr<view::UnionView>& view) {
  VARVE_ASSIGN(const std::string image, add_image_layers(line));
  VARVE_RETURN_IF_ERROR(fuse::check_mount_options(line.options));
  for (const std::string& warning : line.options.warnings) log_warning("{}", warning);
  std::optional<Background> background;
  if (!line.foreground) {
    VARVE_ASSIGN(background, Background::start(line.mount_point, line.options.log_file));
  }
  // Modes are given whole by the kernel; ours must not take bits away.
  ::umask(0);
  raise_descriptor_limit();
  const bool read_only = line.options.read_only || line.options.view.upper_path.empty();
  const auto cache = std::make_shared<layer::BlockCache>(line.options.view.cache_bytes);
  VARVE_ASSIGN(view, build_view(line.options.view, cache));
  fuse::Session::Options options{
      .mount_point = line.mount_point,
      .kernel_options = line.options.kernel_options,
      .ids = line.options.ids,
      .read_only = read_only,
      .keep_access_times = line.options.view.keep_access_times,
      .passthrough = line.options.passthrough,
      .uring = line.options.uring,
      .wakeup_us = line.options.wakeup_us,
      .debug = line.debug,
      .threads = line.options.threads,
      .process_ends = kEndsAtOnce,
      .describe = [&](const fuse::MountStatus& mount) { return status_page(mount, *view, *cache); },
      .on_mounted = {},
      .on_ready = {}};
  if (!view->read_only()) {
    options.on_mounted = [&](dev_t device) {
      const Status noted = view->note_mount({device, image});
      // Whoever wants to commit what is written has to name the upper then.
      if (!noted.ok()) log_warning("noting the mount on its upper: {}", std::strerror(noted.error().value));
    };
  }
  if (background) options.on_ready = [&] { background->ready(); };
  const StatusOrFailure served = mount_and_serve(*view, std::move(options));
  // Also when the mount failed: the upper was opened, and is as clean as before.
  const Status closed = view->close();
  if (!closed.ok()) return failure_from(closed.error(), "unmounting: writing the upper's state");
  return served;
}

int main_status(int argc, char** argv) {
  LogDestination destination;
  destination.program = "varvefs";
  set_log_destination(destination);
  auto parsed = parse_command_line(argc, argv);
  if (!parsed.ok()) {
    log_error("{}", parsed.error().message);
    return 1;
  }
  if (const int* status = std::get_if<int>(&*parsed)) return *status;
  CommandLine line = std::get<CommandLine>(std::move(parsed).value());
  if (line.debug) {
    destination.least = LogLevel::kDebug;
    set_log_destination(destination);
  }
  std::unique_ptr<view::UnionView> view;
  const StatusOrFailure done =
      line.status ? show_status(line.mount_point, line.json) : run(std::move(line), view);
  if (!done.ok()) log_error("{}", done.error().message);
  const int status = done.ok() ? 0 : 1;
  // All that was promised is written. Memory and descriptors the kernel takes back faster than we give them back one by one.
  if (kEndsAtOnce) std::_Exit(status);
  return status;
}

}  // namespace
}  // namespace varve::daemon

int main(int argc, char** argv) {
  return varve::daemon::main_status(argc, argv);
}
