#pragma once

// user_lookup: who a process runs as: "USER[:GROUP]", names or numbers, by the passwd and group files of the image
// (passwd(5), group(5); the rules are those of OCI image-spec config.md "User"). The files are not trusted.
// Thread rule: stateless.

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary
  std::string home = "/";
};

struct UserFiles {
  std::string passwd;  // contents; empty when the image has none
  std::string group;
};

// /etc/passwd and /etc/group below `root_fd`; AT_FDCWD: of a root that is the working directory. What is no regular file, or larger than 1 MiB, counts as
// absent: an image could put a FIFO there.
UserFiles read_user_files(int root_fd);

// `specification` empty: root. A number needs no entry; without one its group is 0 and its home "/". Supplementary groups
// come from the group file unless a GROUP is given.
ResultOrFailure<User> find_user(std::string_view specification, const UserFiles& files);

}  // namespace varve::launcher
