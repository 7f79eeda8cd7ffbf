#pragma once

// LimitOptions: the resource limits that were typed after `varve run`, as podman spells them (podman-run(1)), not yet
// read. A plain value.

#include <string>
#include <vector>

namespace varve::launcher {

class OptionList;

// An option that was not given is empty.
struct LimitOptions {
  std::string memory;              // --memory BYTES[b|k|m|g]
  std::string memory_swap;         // --memory-swap: memory and swap together; -1 unlimited
  std::string memory_reservation;  // --memory-reservation
  std::string cpus;                // --cpus: processors' worth of time, as 0.5
  std::string cpu_shares;          // --cpu-shares
  std::string cpuset_cpus;         // --cpuset-cpus 0-3,5
  std::string cpuset_mems;         // --cpuset-mems
  std::string pids;                // --pids-limit; -1 unlimited
  std::string blkio_weight;        // --blkio-weight 10..1000
  std::string net_class;           // --net-classid MAJOR:MINOR, hexadecimal
  std::string cgroups;             // --cgroups enabled|disabled
  // PATH:RATE each
  std::vector<std::string> device_read_bps;
  std::vector<std::string> device_write_bps;
  std::vector<std::string> device_read_iops;
  std::vector<std::string> device_write_iops;
};

void declare_limit_options(OptionList& list, LimitOptions& options);

}  // namespace varve::launcher
