#pragma once

// The device filter of a container: which device nodes its processes may open and make. Everything that no rule allows is
// refused with EPERM. Version 1 takes rules as text (devices controller), version 2 a BPF program that is asked at each
// open and mknod (Documentation/admin-guide/cgroup-v2.rst, "Device controller"). Thread rule: stateless.

#include <linux/bpf.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

struct DeviceRule {
  bool is_block = false;
  std::optional<std::uint32_t> major_number;  // empty: any
  std::optional<std::uint32_t> minor_number;
  bool read = true;
  bool write = true;
  bool make = true;  // mknod(2)
  friend bool operator==(const DeviceRule&, const DeviceRule&) = default;
};

// null, zero, full, random, urandom, tty, console, ptmx and the terminals of devpts
// (Documentation/admin-guide/devices.txt).
std::vector<DeviceRule> standard_devices();
// /dev/fuse, opened but not made: a container whose root is a stack mounts it itself.
DeviceRule fuse_device();

// "c 1:3 rwm", as devices.allow of version 1 reads it.
std::string to_text(const DeviceRule& rule);

// The program for version 2: context is struct bpf_cgroup_dev_ctx (linux/bpf.h); it returns 1 to allow, 0 to refuse.
std::vector<struct bpf_insn> device_program(const std::vector<DeviceRule>& rules);

// Loads the program and attaches it to the group that `group_fd` refers to, besides those of the groups above: all of
// them must allow. It lives as long as the group. Returns: EPERM without privilege, EINVAL when the kernel has no
// CONFIG_CGROUP_BPF.
Status attach_device_program(int group_fd, const std::vector<DeviceRule>& rules);

// Whether this kernel loads such a program for us.
bool can_load_device_program();

}  // namespace varve::launcher
