// varvefs: parse, build the view, serve.

#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include "fs/base/log.h"
#include "fs/daemon/background.h"
#include "fs/daemon/build_view.h"
#include "fs/daemon/command_line.h"
#include "fs/fuse/session.h"
#include "imagetool/image/store/store.h"

namespace varve::daemon {
namespace {

StatusOrFailure add_image_layers(CommandLine& line) {
  if (line.image.empty()) return {};
  VARVE_ASSIGN(const image::Store store,
               image::Store::open(line.store.empty() ? image::default_store_path() : line.store));
  VARVE_ASSIGN(const image::Image image, store.resolve(line.image));
  std::vector<std::string>& lowers = line.options.view.lower_paths;
  lowers.insert(lowers.end(), image.layer_paths.rbegin(), image.layer_paths.rend());
  return {};
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
  VARVE_RETURN_IF_ERROR(add_image_layers(line));
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
  VARVE_ASSIGN(view, build_view(line.options.view));
  fuse::Session::Options options{.mount_point = line.mount_point,
                                 .kernel_options = line.options.kernel_options,
                                 .ids = line.options.ids,
                                 .read_only = read_only,
                                 .keep_access_times = line.options.view.keep_access_times,
                                 .passthrough = line.options.passthrough,
                                 .uring = line.options.uring,
                                 .debug = line.debug,
                                 .threads = line.options.threads,
                                 .process_ends = kEndsAtOnce,
                                 .on_ready = {}};
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
  const StatusOrFailure done = run(std::move(line), view);
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
