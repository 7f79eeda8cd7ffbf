#pragma once

// KernelBackings: files of the upper, registered with the kernel of one mount, which reads and writes them itself from then on
// (docs/decisions/0012). Thread rule: any thread. Ownership: borrows the device until stop().

#include <atomic>
#include <cstdint>
#include <optional>

#include "fs/view/backing.h"

namespace varve::fuse {

// What -o passthrough= asks for. kOn: mounting fails where this process may not.
enum class PassthroughUse : std::uint8_t { kAuto, kOn, kOff };

// Whether the kernel would let this process register files: it asks for CAP_SYS_ADMIN in the initial user namespace.
bool may_register_backings();

class KernelBackings final : public view::Backings {
 public:
  // The kernel has granted passthrough for the mount behind `device`, a descriptor of /dev/fuse. Before the first OPEN.
  void start(int device) { device_.store(device); }
  // The device will be closed; with it all registrations end.
  void stop() { device_.store(-1); }

  // The kernel grants it, and has refused no file.
  bool works() const { return device_.load() >= 0 && !refused_.load(); }

  std::optional<std::int32_t> add(int fd) override;
  void remove(std::int32_t id) override;

 private:
  std::atomic<int> device_{-1};  // -1: no mount
  std::atomic<bool> refused_{false};
};

}  // namespace varve::fuse
