#include "launcher/outside/container_record.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <ctime>

#include "imagetool/image/store/image_config.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

ResultOrFailure<UniqueFd> open_lock(const image::ContainerStore& store, const std::string& name) {
  const std::string path = store.directory_of(name) + "/lock";
  UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return explain(Errno::last(), "opening the container's lock", path);
  return lock;
}

}  // namespace

ResultOrFailure<ContainerRecord> ContainerRecord::create(const Plan& plan) {
  image::ContainerState state;
  state.name = plan.name;
  state.id = plan.id;
  state.image_name = plan.image_name;
  state.image_digest = plan.image_digest;
  state.layer_paths.assign(plan.root.lowers.rbegin(), plan.root.lowers.rend());
  state.root_directory = plan.root.directory;
  state.created = image::rfc3339(::time(nullptr));
  state.command = plan.process.arguments;
  state.network.mode = to_text(plan.network.mode);
  ContainerRecord record(image::ContainerStore(plan.store_directory), std::move(state));
  VARVE_RETURN_IF_ERROR(record.store_.create(record.state_));
  VARVE_ASSIGN(record.lock_, open_lock(record.store_, plan.name));
  // Waits for a `varve ps` that looks whether we run, or a `varve rm` that has seen us before we had the lock.
  struct stat about = {};
  if (::flock(record.lock_.get(), LOCK_EX) != 0 || ::fstat(record.lock_.get(), &about) != 0) {
    return explain(Errno::last(), "locking the container", plan.name);
  }
  if (about.st_nlink == 0) return refuse("locking the container", plan.name, "it was removed at once");
  return record;
}

StatusOrFailure ContainerRecord::set_running(pid_t pid, const image::ContainerNetworkState& network) {
  state_.network = network;
  state_.status = image::ContainerStatus::kRunning;
  state_.pid = pid;
  return store_.write(state_);
}

StatusOrFailure ContainerRecord::set_exited(int exit_status) {
  state_.status = image::ContainerStatus::kExited;
  state_.pid = 0;
  state_.exit_status = exit_status;
  return store_.write(state_);
}

StatusOrFailure ContainerRecord::remove() {
  return store_.remove(state_.name);
}

ResultOrFailure<std::optional<UniqueFd>> lock_stopped_container(const image::ContainerStore& store,
                                                                const std::string& name) {
  VARVE_ASSIGN(UniqueFd lock, open_lock(store, name));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return std::optional<UniqueFd>(std::move(lock));
  if (errno != EWOULDBLOCK) return explain(Errno::last(), "locking the container", name);
  return std::optional<UniqueFd>();
}

}  // namespace varve::launcher
