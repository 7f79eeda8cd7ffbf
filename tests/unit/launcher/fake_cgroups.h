#pragma once

// FakeCgroups: trees of control groups made of plain files in a scratch directory, as planning reads them and as groups
// are made in them (with O_CREAT). Thread rule: one thread.

#include <fcntl.h>
#include <fmt/format.h>

#include <string>
#include <vector>

#include "launcher/cgroup/group_files.h"
#include "launcher/cgroup/hierarchies.h"
#include "tests/unit/launcher/scratch_directory.h"

namespace varve::launcher {

class FakeCgroups {
 public:
  // The root of a whole tree of version 2; the process is in `own`, "/" or a path.
  void add_v2(const std::string& directory, const std::string& controllers, const std::string& own = "/") {
    scratch_.make_directory(directory);
    scratch_.write_file(directory + "/cgroup.controllers", controllers + "\n");
    scratch_.write_file(directory + "/cgroup.subtree_control", "\n");
    scratch_.write_file(directory + "/cgroup.procs", "1\n");
    mountinfo_ +=
        fmt::format("40 30 0:37 / {}/{} rw,relatime - cgroup2 cgroup2 rw\n", scratch_.path(), directory);
    groups_ += "0::" + own + "\n";
  }
  void add_v1(const std::string& directory, const std::string& controllers, const std::string& own = "/",
              const std::string& options = "rw") {
    scratch_.make_directory(directory);
    mountinfo_ += fmt::format("31 30 0:28 / {}/{} {},relatime - cgroup cgroup rw,{}\n", scratch_.path(),
                              directory, options, controllers);
    groups_ = fmt::format("1:{}:{}\n{}", controllers, own, groups_);
  }
  // A group of version 2 below a root: with a type, which the root has not.
  void add_v2_group(const std::string& directory, const std::string& controllers,
                    const std::string& processes, const std::string& enabled = "") {
    scratch_.make_directory(directory);
    scratch_.write_file(directory + "/cgroup.type", "domain\n");
    scratch_.write_file(directory + "/cgroup.controllers", controllers + "\n");
    scratch_.write_file(directory + "/cgroup.subtree_control", enabled + "\n");
    scratch_.write_file(directory + "/cgroup.procs", processes);
  }

  CgroupHost host() const {
    CgroupHost host;
    host.hierarchies = parse_hierarchies(mountinfo_, groups_);
    host.may_write = [](const std::string&) { return true; };
    host.may_filter_devices = true;
    return host;
  }
  // As above, for one who may write in the directory `mine` and below.
  CgroupHost host_of_user(const std::string& mine) const {
    CgroupHost host = this->host();
    host.may_write = [prefix = path(mine)](const std::string& file) { return file.starts_with(prefix); };
    host.may_filter_devices = false;
    return host;
  }
  std::string path(const std::string& name) const { return scratch_.path() + "/" + name; }
  std::string text(const std::string& name) const {
    const auto read = read_group_file(path(name));
    return read.ok() ? *read : "(no such file)";
  }
  const ScratchDirectory& scratch() const { return scratch_; }

 private:
  ScratchDirectory scratch_;
  std::string mountinfo_ = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
  std::string groups_;
};

}  // namespace varve::launcher
