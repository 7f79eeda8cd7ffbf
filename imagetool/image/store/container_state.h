#pragma once

// ContainerState: what is remembered of one container, and ContainerStore, where they lie:
//
//   STORE/containers/NAME/container.json   the state, replaced by rename
//   STORE/containers/NAME/upper/, work/    its writable side (fs/upper)
//
// The launcher writes them; `imagetool commit CONTAINER` and `gc` read them.
// Thread rule: plain values and stateless calls; a container's state has one writer, its launcher.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace varve::image {

enum class ContainerStatus { kCreated, kRunning, kExited };
std::string_view to_text(ContainerStatus status);  // "created", "running", "exited"

// What the launcher has made of a network. All as text, for people and for `varve inspect`.
struct ContainerNetworkState {
  std::string mode;                    // "none", "host", "bridge", "pasta"
  std::string address;                 // IPv4, of the bridge
  std::string gateway;                 // the host's on the bridge
  std::string host_link;               // the host's end of the veth pair
  std::vector<std::string> published;  // "0.0.0.0:8080->80/tcp"
};

struct ContainerState {
  std::string name;
  std::string id;            // 64 hexadecimal digits; new_container_id()
  std::string image_name;    // "NAME:TAG"; empty for a container over plain layers or a root directory
  std::string image_digest;  // "sha256:HEX" of the manifest; empty as above
  std::vector<std::string> layer_paths;  // bottom first
  std::string root_directory;            // a container over a root directory; then there are no layers
  std::string created;                   // RFC 3339
  std::vector<std::string> command;
  ContainerStatus status = ContainerStatus::kCreated;
  pid_t pid = 0;  // of the container's first process on the host, while running
  ContainerNetworkState network;
  int exit_status = 0;  // once exited: as a shell gives it, 128+n for signal n
};

std::string new_container_id();
// [A-Za-z0-9][A-Za-z0-9_.-]{0,63}: never a path.
bool is_container_name(std::string_view name);

class ContainerStore {
 public:
  // `store_directory`: of a Store. Nothing is created here.
  explicit ContainerStore(std::string store_directory);

  std::string directory_of(std::string_view name) const;  // .../containers/NAME
  std::string upper_path(std::string_view name) const;
  std::string work_path(std::string_view name) const;

  // Makes the container's directory (0700), upper (0755) and work (0700), and writes the state.
  // Returns: EEXIST when the name is taken, EINVAL for a name that is none.
  StatusOrFailure create(const ContainerState& state) const;
  StatusOrFailure write(const ContainerState& state) const;
  // Returns: ENOENT when there is none. The file is not trusted: broken JSON is one clear message.
  ResultOrFailure<ContainerState> read(std::string_view name) const;
  // Sorted by name. A container whose file cannot be read fails the call and is named.
  ResultOrFailure<std::vector<ContainerState>> list() const;
  // Deletes the container with everything written in it. Requires: it does not run.
  StatusOrFailure remove(std::string_view name) const;

 private:
  std::string containers_;
};

}  // namespace varve::image
