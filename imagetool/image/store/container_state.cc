#include "imagetool/image/store/container_state.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <memory>

#include "imagetool/image/store/atomic_file.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/image/store/record_lines.h"

namespace varve::image {
namespace {

constexpr std::uint64_t kStateLimitBytes = 4 << 20;
constexpr std::size_t kMaxNameSize = 64;

constexpr std::array<std::string_view, 3> kStatusNames = {"created", "running", "exited"};

Json to_json(const ContainerState& state) {
  return Json{{"name", state.name},
              {"id", state.id},
              {"image", {{"name", state.image_name}, {"digest", state.image_digest}}},
              {"layers", state.layer_paths},
              {"root_directory", state.root_directory},
              {"created", state.created},
              {"command", state.command},
              {"status", std::string(to_text(state.status))},
              {"network",
               {{"mode", state.network.mode},
                {"address", state.network.address},
                {"gateway", state.network.gateway},
                {"host_link", state.network.host_link},
                {"published", state.network.published},
                {"resolver", state.network.resolver},
                {"hosts", state.network.hosts}}},
              {"pid", static_cast<std::uint64_t>(std::max<pid_t>(state.pid, 0))},
              {"exit_status", static_cast<std::uint64_t>(std::clamp(state.exit_status, 0, 255))},
              {"started", state.started},
              {"finished", state.finished},
              {"pid_started_ticks", state.pid_started_ticks},
              {"command_pid", static_cast<std::uint64_t>(std::max<pid_t>(state.command_pid, 0))},
              {"command_started_ticks", state.command_started_ticks},
              {"namespaces", state.namespaces},
              {"joined_container", state.joined_container},
              {"joined_namespaces", state.joined_namespaces},
              {"stop_signal", state.stop_signal},
              {"stop_seconds", state.stop_seconds},
              {"boot_id", state.boot_id},
              {"detached", state.detached},
              {"cgroups", state.cgroups},
              {"limits", state.limits},
              {"oom_killed", state.oom_killed}};
}

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

pid_t read_pid(JsonReader& reader, const char* key) {
  std::uint64_t number = 0;
  reader.read(key, number, 1 << 22);  // PID_MAX_LIMIT, linux/threads.h
  return static_cast<pid_t>(number);
}

ResultOrFailure<ContainerState> from_json(const Json& root) {
  ContainerState state;
  JsonReader reader(root, "container");
  reader.read("name", state.name);
  reader.read("id", state.id);
  reader.read("layers", state.layer_paths);
  reader.read("root_directory", state.root_directory);
  reader.read("created", state.created);
  reader.read("command", state.command);
  std::string status;
  reader.read("status", status);
  const auto found = std::find(kStatusNames.begin(), kStatusNames.end(), status);
  if (reader.check("status", found != kStatusNames.end(), "created, running or exited")) {
    state.status = static_cast<ContainerStatus>(found - kStatusNames.begin());
  }
  state.pid = read_pid(reader, "pid");
  std::uint64_t number = 0;
  reader.read("exit_status", number, 255);
  state.exit_status = static_cast<int>(number);
  reader.read("started", state.started);
  reader.read("finished", state.finished);
  reader.read("pid_started_ticks", state.pid_started_ticks, kNoLimit);
  state.command_pid = read_pid(reader, "command_pid");
  reader.read("command_started_ticks", state.command_started_ticks, kNoLimit);
  reader.read("namespaces", state.namespaces);
  reader.read("joined_container", state.joined_container);
  reader.read("joined_namespaces", state.joined_namespaces);
  reader.read("stop_signal", state.stop_signal);
  reader.read("stop_seconds", state.stop_seconds, kNoLimit);
  reader.read("boot_id", state.boot_id);
  reader.read("detached", state.detached);
  reader.read("cgroups", state.cgroups);
  reader.read("limits", state.limits);
  reader.read("oom_killed", state.oom_killed);
  if (const Json* image = reader.object("image")) {
    JsonReader image_reader(*image, "container, image");
    image_reader.read("name", state.image_name);
    image_reader.read("digest", state.image_digest);
    VARVE_RETURN_IF_ERROR(image_reader.status());
  }
  if (const Json* network = reader.object("network")) {
    JsonReader network_reader(*network, "container, network");
    network_reader.read("mode", state.network.mode);
    network_reader.read("address", state.network.address);
    network_reader.read("gateway", state.network.gateway);
    network_reader.read("host_link", state.network.host_link);
    network_reader.read("published", state.network.published);
    network_reader.read("resolver", state.network.resolver);
    network_reader.read("hosts", state.network.hosts);
    VARVE_RETURN_IF_ERROR(network_reader.status());
  }
  reader.check("name", is_container_name(state.name), "a container's name");
  VARVE_RETURN_IF_ERROR(reader.status());
  return state;
}

constexpr std::string_view kNewPrefix = "/.new-";
constexpr std::string_view kOldPrefix = "/.old-";

// Names in a directory, in no order, without "." and ".."; empty when it does not exist.
ResultOrFailure<std::vector<std::string>> entries_of(const std::string& path) {
  struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  std::vector<std::string> names;
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(path.c_str()));
  if (!directory) {
    if (errno == ENOENT) return names;
    return failure_from(Errno::last(), path);
  }
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

// `place`: a container's directory or file. Returns: empty when another holds it.
ResultOrFailure<std::optional<UniqueFd>> lock_if_free(const std::string& place) {
  UniqueFd lock(::open(place.c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
  if (!lock.valid()) return failure_from(Errno::last(), place);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return std::optional<UniqueFd>(std::move(lock));
  if (errno != EWOULDBLOCK) return failure_from(Errno::last(), place);
  return std::optional<UniqueFd>();
}

// The same for one that is being made aside.
ResultOrFailure<UniqueFd> lock_new(const std::string& place) {
  VARVE_ASSIGN(std::optional<UniqueFd> lock, lock_if_free(place));
  if (!lock) return Failure{EBUSY, place + ": is removed by another at this moment (try again)"};
  return std::move(*lock);
}

bool is_gone(const ResultOrFailure<ContainerState>& state) {
  return !state.ok() && state.error().error_number == ENOENT;
}

constexpr const char* kRecordName = "/container.jsonl";

std::string record_path(const std::string& place) {
  struct stat status {};
  return ::lstat(place.c_str(), &status) == 0 && S_ISREG(status.st_mode) ? place : place + kRecordName;
}

Durability durability_of(const ContainerState& state) {
  return state.boot_id.empty() ? Durability::kSynced : Durability::kUntilReboot;
}

ResultOrFailure<RecordLines> read_lines(const std::string& path, std::string_view name) {
  Result<RecordLines> lines = read_record_lines(path, kStateLimitBytes);
  if (lines.ok()) return std::move(lines).value();
  // ENOTDIR: one that was a directory is gone, and a file has its name now.
  if (lines.error().value == ENOENT || lines.error().value == ENOTDIR)
    return Failure{ENOENT, std::string(name) + ": no such container"};
  return failure_from(lines.error(), path);
}

StatusOrFailure create_record(const std::string& path, const ContainerState& state,
                              const ContainerParts& parts) {
  const Status written =
      create_record_lines(path, {parts.process, json_text(to_json(state))}, durability_of(state));
  if (!written.ok()) return failure_from(written.error(), path);
  return {};
}

// Returns: the lock of the new directory, held.
ResultOrFailure<UniqueFd> make_directory(const std::string& directory, const ContainerState& state,
                                         const ContainerParts& parts) {
  if (::mkdir(directory.c_str(), 0700) != 0) return failure_from(Errno::last(), directory);
  VARVE_ASSIGN(UniqueFd lock, lock_new(directory));
  if (parts.upper) {
    // 0755 whatever the umask: the upper's own mode shows as the mode of the container's root.
    const std::string upper = directory + "/upper";
    if (::mkdir(upper.c_str(), 0755) != 0 || ::chmod(upper.c_str(), 0755) != 0) {
      return failure_from(Errno::last(), upper);
    }
    const std::string work = directory + "/work";
    if (::mkdir(work.c_str(), 0700) != 0) return failure_from(Errno::last(), work);
  }
  const std::string path = directory + kRecordName;
  VARVE_RETURN_IF_ERROR(create_record(path, state, parts));
  if (durability_of(state) == Durability::kSynced) {
    if (const Status synced = sync_parent_directory(path); !synced.ok())
      return failure_from(synced.error(), path);
  }
  return lock;
}

// The same for one that is a file. On most file systems a directory takes a block of its own, which has to be found and freed
// again; a short-lived file has none yet.
ResultOrFailure<UniqueFd> make_file(const std::string& path, const ContainerState& state,
                                    const ContainerParts& parts) {
  VARVE_RETURN_IF_ERROR(create_record(path, state, parts));
  return lock_new(path);
}

}  // namespace

std::string_view to_text(ContainerStatus status) {
  return kStatusNames[static_cast<std::size_t>(status)];
}

std::string current_boot_id() {
  std::string id;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), id);
  return id;
}

std::string new_container_id() {
  std::array<unsigned char, 32> random{};
  VARVE_CHECK(::getrandom(random.data(), random.size(), 0) == static_cast<ssize_t>(random.size()));
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string id;
  for (const unsigned char byte : random) {
    id.push_back(kDigits[byte >> 4]);
    id.push_back(kDigits[byte & 15]);
  }
  return id;
}

bool is_container_name(std::string_view name) {
  const auto is_alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (name.empty() || name.size() > kMaxNameSize || !is_alphanumeric(name.front())) return false;
  return std::all_of(name.begin(), name.end(),
                     [&](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

ContainerStore::ContainerStore(std::string store_directory)
    : containers_(std::move(store_directory) + "/containers") {}

std::string ContainerStore::directory_of(std::string_view name) const {
  VARVE_CHECK(is_container_name(name));
  return containers_ + "/" + std::string(name);
}
std::string ContainerStore::upper_path(std::string_view name) const {
  return directory_of(name) + "/upper";
}
std::string ContainerStore::work_path(std::string_view name) const {
  return directory_of(name) + "/work";
}

ResultOrFailure<UniqueFd> ContainerStore::create(const ContainerState& state,
                                                 const ContainerParts& parts) const {
  if (!is_container_name(state.name)) {
    return Failure{EINVAL,
                   "\"" + state.name + "\" is no container name (use letters, digits, '_', '.', '-')"};
  }
  if (const Status made = make_directories(containers_, 0755); !made.ok()) {
    return failure_from(made.error(), containers_);
  }
  // Made aside and renamed: who sees the name sees all of it, locked.
  const std::string aside = containers_ + std::string(kNewPrefix) + state.id;
  const auto make = [&]() -> ResultOrFailure<UniqueFd> {
    VARVE_ASSIGN(UniqueFd lock, parts.upper || parts.files ? make_directory(aside, state, parts)
                                                           : make_file(aside, state, parts));
    const std::string directory = directory_of(state.name);
    // By number: glibc 2.36 has the flag in a header of its own.
    constexpr unsigned kNoReplace = 1;  // RENAME_NOREPLACE, linux/fs.h
    if (::syscall(SYS_renameat2, AT_FDCWD, aside.c_str(), AT_FDCWD, directory.c_str(), kNoReplace) == 0) {
      return lock;
    }
    if (errno != EEXIST) return failure_from(Errno::last(), directory);
    return Failure{EEXIST,
                   directory + ": a container of this name exists (choose another name, or remove it)"};
  };
  ResultOrFailure<UniqueFd> made = make();
  if (!made.ok()) {
    if (const Status removed = remove_tree(aside); !removed.ok()) return failure_from(removed.error(), aside);
  }
  return made;
}

ResultOrFailure<std::optional<UniqueFd>> ContainerStore::lock_stopped(std::string_view name) const {
  if (!is_container_name(name)) return Failure{ENOENT, "\"" + std::string(name) + "\": no such container"};
  ResultOrFailure<std::optional<UniqueFd>> lock = lock_if_free(directory_of(name));
  if (lock.ok() || lock.error().error_number != ENOENT) return lock;
  return Failure{ENOENT, std::string(name) + ": no such container"};
}

StatusOrFailure ContainerStore::write(const ContainerState& state) const {
  if (!is_container_name(state.name)) return Failure{EINVAL, "\"" + state.name + "\" is no container name"};
  const std::string path = record_path(directory_of(state.name));
  const Status written = append_record_line(path, json_text(to_json(state)), durability_of(state));
  if (!written.ok()) return failure_from(written.error(), path);
  return {};
}

ResultOrFailure<std::string> ContainerStore::process_of(std::string_view name) const {
  if (!is_container_name(name)) return Failure{ENOENT, "\"" + std::string(name) + "\": no such container"};
  VARVE_ASSIGN(RecordLines lines, read_lines(record_path(directory_of(name)), name));
  return std::move(lines.first);
}

ResultOrFailure<ContainerState> ContainerStore::read(std::string_view name) const {
  if (!is_container_name(name)) return Failure{ENOENT, "\"" + std::string(name) + "\": no such container"};
  const std::string path = record_path(directory_of(name));
  VARVE_ASSIGN(const RecordLines lines, read_lines(path, name));
  constexpr const char* kNotKept =
      "what a restart of the machine has left of a container that was to be removed (use varve prune)";
  if (lines.last.empty()) return Failure{ENOENT, path + ": " + kNotKept};
  auto json = parse_json_object(lines.last);
  if (!json.ok()) return Failure{EINVAL, path + ": " + json.error().message};
  auto state = from_json(*json);
  if (!state.ok()) return Failure{EINVAL, path + ": " + state.error().message};
  if (state->name != name)
    return Failure{EINVAL, path + ": holds the state of another container, " + state->name};
  if (!state->boot_id.empty() && state->boot_id != current_boot_id())
    return Failure{ENOENT, path + ": " + kNotKept};
  return state;
}

ResultOrFailure<std::vector<ContainerState>> ContainerStore::list() const {
  VARVE_ASSIGN(std::vector<std::string> names, entries_of(containers_));
  names.erase(std::remove_if(names.begin(), names.end(),
                             [](const std::string& name) { return !is_container_name(name); }),
              names.end());
  std::sort(names.begin(), names.end());
  std::vector<ContainerState> containers;
  for (const std::string& name : names) {
    auto state = read(name);
    if (!state.ok() && state.error().error_number == ENOENT) continue;  // being created or removed just now
    if (!state.ok()) return std::move(state).error();
    containers.push_back(std::move(state).value());
  }
  return containers;
}

StatusOrFailure ContainerStore::remove(std::string_view name) const {
  if (!is_container_name(name)) return Failure{ENOENT, "\"" + std::string(name) + "\": no such container"};
  const std::string directory = directory_of(name);
  const std::string aside = containers_ + std::string(kOldPrefix) + new_container_id();
  if (::rename(directory.c_str(), aside.c_str()) != 0) {
    if (errno == ENOENT) return Failure{ENOENT, std::string(name) + ": no such container"};
    return failure_from(Errno::last(), directory);
  }
  const Status removed = remove_tree(aside);
  if (!removed.ok()) return failure_from(removed.error(), aside);
  return {};
}

ResultOrFailure<std::size_t> ContainerStore::remove_leftovers() const {
  VARVE_ASSIGN(const std::vector<std::string> names, entries_of(containers_));
  std::size_t count = 0;
  for (const std::string& name : names) {
    const std::string path = containers_ + "/" + name;
    const bool is_aside = ("/" + name).starts_with(kNewPrefix) || ("/" + name).starts_with(kOldPrefix);
    if (!is_aside && !(is_container_name(name) && is_gone(read(name)))) continue;
    const ResultOrFailure<std::optional<UniqueFd>> lock = lock_if_free(path);
    if (lock.ok() && !lock->has_value()) continue;  // somebody is at it just now
    const Status removed = remove_tree(path);
    if (!removed.ok() && removed.error().value != ENOENT) return failure_from(removed.error(), path);
    ++count;
  }
  return count;
}

}  // namespace varve::image
