#include "imagetool/image/store/container_state.h"

#include <dirent.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <memory>

#include "imagetool/image/store/atomic_file.h"
#include "imagetool/image/store/json_text.h"

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
                {"published", state.network.published}}},
              {"pid", static_cast<std::uint64_t>(std::max<pid_t>(state.pid, 0))},
              {"exit_status", static_cast<std::uint64_t>(std::clamp(state.exit_status, 0, 255))}};
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
  std::uint64_t number = 0;
  reader.read("pid", number, 1 << 22);  // PID_MAX_LIMIT, linux/threads.h
  state.pid = static_cast<pid_t>(number);
  number = 0;
  reader.read("exit_status", number, 255);
  state.exit_status = static_cast<int>(number);
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
    VARVE_RETURN_IF_ERROR(network_reader.status());
  }
  reader.check("name", is_container_name(state.name), "a container's name");
  VARVE_RETURN_IF_ERROR(reader.status());
  return state;
}

}  // namespace

std::string_view to_text(ContainerStatus status) {
  return kStatusNames[static_cast<std::size_t>(status)];
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

StatusOrFailure ContainerStore::create(const ContainerState& state) const {
  if (!is_container_name(state.name)) {
    return Failure{EINVAL,
                   "\"" + state.name + "\" is no container name (use letters, digits, '_', '.', '-')"};
  }
  if (const Status made = make_directories(containers_, 0755); !made.ok()) {
    return failure_from(made.error(), containers_);
  }
  const std::string directory = directory_of(state.name);
  if (::mkdir(directory.c_str(), 0700) != 0) {
    if (errno == EEXIST) {
      return Failure{EEXIST,
                     directory + ": a container of this name exists (choose another name, or remove it)"};
    }
    return failure_from(Errno::last(), directory);
  }
  const auto fill = [&]() -> StatusOrFailure {
    // 0755 whatever the umask: the upper's own mode shows as the mode of the container's root.
    if (::mkdir(upper_path(state.name).c_str(), 0755) != 0 ||
        ::chmod(upper_path(state.name).c_str(), 0755) != 0) {
      return failure_from(Errno::last(), upper_path(state.name));
    }
    if (::mkdir(work_path(state.name).c_str(), 0700) != 0) {
      return failure_from(Errno::last(), work_path(state.name));
    }
    return write(state);
  };
  StatusOrFailure filled = fill();
  if (!filled.ok()) {
    if (const Status removed = remove_tree(directory); !removed.ok())
      return failure_from(removed.error(), directory);
  }
  return filled;
}

StatusOrFailure ContainerStore::write(const ContainerState& state) const {
  if (!is_container_name(state.name)) return Failure{EINVAL, "\"" + state.name + "\" is no container name"};
  const std::string path = directory_of(state.name) + "/container.json";
  const Status written = write_file_atomically(path, json_text(to_json(state), 2) + "\n", 0600);
  if (!written.ok()) return failure_from(written.error(), path);
  return {};
}

ResultOrFailure<ContainerState> ContainerStore::read(std::string_view name) const {
  if (!is_container_name(name)) return Failure{ENOENT, "\"" + std::string(name) + "\": no such container"};
  const std::string path = directory_of(name) + "/container.json";
  const Result<std::string> text = read_small_file(path, kStateLimitBytes);
  if (!text.ok()) {
    if (text.error().value == ENOENT) return Failure{ENOENT, std::string(name) + ": no such container"};
    return failure_from(text.error(), path);
  }
  auto json = parse_json_object(*text);
  if (!json.ok()) return Failure{EINVAL, path + ": " + json.error().message};
  auto state = from_json(*json);
  if (!state.ok()) return Failure{EINVAL, path + ": " + state.error().message};
  if (state->name != name)
    return Failure{EINVAL, path + ": holds the state of another container, " + state->name};
  return state;
}

ResultOrFailure<std::vector<ContainerState>> ContainerStore::list() const {
  struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(containers_.c_str()));
  if (!directory) {
    if (errno == ENOENT) return std::vector<ContainerState>{};
    return failure_from(Errno::last(), containers_);
  }
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory.get())) {
    if (is_container_name(entry->d_name)) names.emplace_back(entry->d_name);
  }
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
  struct stat status {};
  if (::lstat(directory.c_str(), &status) != 0) {
    if (errno == ENOENT) return Failure{ENOENT, std::string(name) + ": no such container"};
    return failure_from(Errno::last(), directory);
  }
  const Status removed = remove_tree(directory);
  if (!removed.ok()) return failure_from(removed.error(), directory);
  return {};
}

}  // namespace varve::image
