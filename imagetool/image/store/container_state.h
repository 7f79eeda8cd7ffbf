#pragma once

// ContainerState: what is remembered of one container, and ContainerStore, where they lie:
//
//   STORE/containers/NAME                  locked (flock(2)) by whoever still writes there: it is alive
//   STORE/containers/NAME/container.jsonl  its record: how its command was started, then its states, one a line (record_lines.h)
//   STORE/containers/NAME/upper/, work/    its writable side (fs/upper), where it has one
//   STORE/containers/NAME                  the record itself, a file, of one that keeps nothing else
//   STORE/containers/.new-ID, .old-ID      one that is being made or removed; left over when its lock is free
//
// The launcher writes them; `imagetool commit CONTAINER` and `gc` read them.
// Thread rule: plain values and stateless calls; a container's state has one writer, its launcher.

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::image {

enum class ContainerStatus { kCreated, kRunning, kExited };
std::string_view to_text(ContainerStatus status);  // "created", "running", "exited"

// What the launcher has made of a network. All as text, for people and for `varve inspect`.
struct ContainerNetworkState {
  std::string mode;                    // "none", "host", "bridge", "pasta", "container:NAME"
  std::string address;                 // IPv4, of the bridge
  std::string gateway;                 // the host's on the bridge
  std::string host_link;               // the host's end of the veth pair
  std::vector<std::string> published;  // "0.0.0.0:8080->80/tcp"
  std::string resolver;                // text of its /etc/resolv.conf; empty: the image's
  std::vector<std::string> hosts;      // "NAME:ADDRESS" or "NAME:host-gateway", added to its /etc/hosts
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
  std::string started;  // RFC 3339; empty: not yet
  std::string finished;
  // When `pid` began, in clock ticks since boot (proc_pid_stat(5), starttime): a number that is used again has another.
  std::uint64_t pid_started_ticks = 0;
  pid_t command_pid =
      0;  // of the command on the host, once it runs: what `varve exec` joins; `pid` without an init
  std::uint64_t command_started_ticks = 0;
  std::string namespaces;         // those that are not the host's, as the launcher writes them: "mnt,pid,..."
  std::string joined_container;   // the name of the one that some of them belong to; empty: none
  std::string joined_namespaces;  // which
  std::string stop_signal;        // name or number; empty: SIGTERM
  std::uint64_t stop_seconds = 10;  // how long `varve stop` waits before it kills
  // Of the kernel under which it was made, when it is not to outlive that: a container that is removed at its end. Empty: it is kept.
  // Such a state is not made durable, and under another kernel the container counts as what a killed remove() has left.
  std::string boot_id;
  bool detached = false;                      // its output is kept (outside/container_log of the launcher)
  std::vector<std::string> cgroups;           // directories of its control groups, made for it
  std::map<std::string, std::string> limits;  // by option of `varve run` without "--"
  bool oom_killed = false;                    // the kernel killed some of its processes for want of memory
};

// What else a container is made of.
struct ContainerParts {
  bool upper = true;    // an upper and a work directory
  bool files = true;    // other files may come to lie in its directory; true with an upper
  std::string process;  // how its command was started: one line of JSON, which the launcher alone understands
};

std::string new_container_id();
// /proc/sys/kernel/random/boot_id (random(4)); empty when it cannot be read.
std::string current_boot_id();
// [A-Za-z0-9][A-Za-z0-9_.-]{0,63}: never a path.
bool is_container_name(std::string_view name);

class ContainerStore {
 public:
  // `store_directory`: of a Store. Nothing is created here.
  explicit ContainerStore(std::string store_directory);

  std::string directory_of(std::string_view name) const;  // .../containers/NAME
  std::string upper_path(std::string_view name) const;
  std::string work_path(std::string_view name) const;

  // Makes the container's directory (0700) with its state, upper (0755) and work (0700), or its file (0600), whole or not at all.
  // Returns: its lock, held; EEXIST when the name is taken, EINVAL for a name that is none.
  ResultOrFailure<UniqueFd> create(const ContainerState& state, const ContainerParts& parts) const;
  // The lock of a container that nobody writes to any more, however it ended. Empty while it is alive. Returns: ENOENT.
  ResultOrFailure<std::optional<UniqueFd>> lock_stopped(std::string_view name) const;
  StatusOrFailure write(const ContainerState& state) const;
  // ContainerParts::process as it was given to create(). Returns: ENOENT.
  ResultOrFailure<std::string> process_of(std::string_view name) const;
  // Returns: ENOENT when there is none. The file is not trusted: broken JSON is one clear message.
  ResultOrFailure<ContainerState> read(std::string_view name) const;
  // Sorted by name. A container whose file cannot be read fails the call and is named.
  ResultOrFailure<std::vector<ContainerState>> list() const;
  // Deletes the container with everything written in it; the name is free at once, also when this is killed on the way.
  // Requires: it does not run, or the caller is the one who runs it.
  StatusOrFailure remove(std::string_view name) const;
  // Deletes what a create() or remove() that was killed has left. Returns: how many.
  ResultOrFailure<std::size_t> remove_leftovers() const;

 private:
  std::string containers_;
};

}  // namespace varve::image
