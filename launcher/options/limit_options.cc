#include "launcher/options/limit_options.h"

#include "launcher/options/option_list.h"

namespace varve::launcher {

void declare_limit_options(OptionList& list, LimitOptions& options) {
  const auto add = [&list](const char* name, std::string& to, const char* type, const char* help) {
    list.add_option(name, to, help, {.type = type, .group = "Resource limits"});
  };
  const auto add_rate = [&list](const char* name, std::vector<std::string>& to, const char* help) {
    list.add_repeated(name, to, help, {.type = "DEVICE:RATE", .group = "Resource limits"});
  };
  add("--cgroups", options.cgroups, "enabled|disabled",
      "disabled: the container stays in the launcher's control groups; nothing is limited or counted");
  add("-m,--memory", options.memory, "BYTES", "Memory, as 512m or 2g");
  add("--memory-swap", options.memory_swap, "BYTES",
      "Memory and swap together; -1: unlimited (default: twice --memory)");
  add("--memory-reservation", options.memory_reservation, "BYTES",
      "Memory that is taken away last when the host is short of it");
  add("--cpus", options.cpus, "NUMBER", "Processors' worth of time, as 0.5");
  add("--cpu-shares", options.cpu_shares, "NUMBER",
      "Share of busy processors, 2 to 262144; 1024 is the usual one");
  add("--cpuset-cpus", options.cpuset_cpus, "LIST", "Processors to run on, as 0-3,5");
  add("--cpuset-mems", options.cpuset_mems, "LIST", "Memory nodes to allocate from");
  add("--pids-limit", options.pids, "NUMBER", "Processes and threads; -1: unlimited (default: 2048)");
  add("--blkio-weight", options.blkio_weight, "NUMBER", "Share of busy disks, 10 to 1000");
  add("--net-classid", options.net_class, "MAJOR:MINOR",
      "Class of what it sends, hexadecimal as tc(8) writes handles; version 1 alone has it");
  add_rate("--device-read-bps", options.device_read_bps, "Bytes a second read from a disk, as /dev/sda:1m");
  add_rate("--device-write-bps", options.device_write_bps, "Bytes a second written to a disk");
  add_rate("--device-read-iops", options.device_read_iops, "Reads a second from a disk");
  add_rate("--device-write-iops", options.device_write_iops, "Writes a second to a disk");
}

}  // namespace varve::launcher
