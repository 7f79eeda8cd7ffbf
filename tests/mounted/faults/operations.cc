#include "tests/mounted/faults/operations.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

namespace varve::test {
namespace {

using Path = const std::string&;

// The errno of what failed must not be lost to close(2).
int finish(int fd, bool good) {
  const int error = errno;
  const bool closed = ::close(fd) == 0;
  if (good) return closed ? 0 : -1;
  errno = error;
  return -1;
}

int create(Path path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
  return fd < 0 ? -1 : finish(fd, true);
}

int write_into(Path path, off_t offset, bool sync = false) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  const bool wrote = ::pwrite(fd, "words of the test", 17, offset) == 17;
  return finish(fd, wrote && (!sync || ::fsync(fd) == 0));
}

int open_truncating(Path path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  return fd < 0 ? -1 : finish(fd, true);
}

int punch(Path path, off_t offset, off_t size) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  return finish(fd, ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size) == 0);
}

int make_device(Path path, unsigned major_number, unsigned minor_number) {
  return ::mknod(path.c_str(), S_IFCHR | 0600, makedev(major_number, minor_number));
}

int move_to(Path from, Path to, unsigned flags = 0) {
  return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags);
}

int set_note(Path path) {
  return ::lsetxattr(path.c_str(), "user.note", "new", 3, 0);
}

void must(int result) {
  EXPECT_EQ(outcome(result), "ok");
}

std::string default_acl() {
  // linux/posix_acl_xattr.h: version 2; owner rwx, user 7 rwx, group r-x, mask rwx, others none.
  const unsigned char bytes[] = {2, 0, 0,    0,    1,    0,    7,    0, 0xff, 0xff, 0xff, 0xff, 2,    0,    7,
                                 0, 7, 0,    0,    0,    4,    0,    5, 0,    0xff, 0xff, 0xff, 0xff, 0x10, 0,
                                 7, 0, 0xff, 0xff, 0xff, 0xff, 0x20, 0, 0,    0,    0xff, 0xff, 0xff, 0xff};
  return {reinterpret_cast<const char*>(bytes), sizeof bytes};
}

}  // namespace

// Names: d, m, e: directories; m is in both layers. g and h hold three hard links each.
void fill_lowers(const MountedStack& stack) {
  const auto at = [&](std::string_view path) { return stack.lower(1, path); };
  for (const char* name : {"file", "victim", "part", "exec", "gone"}) write_file(at(name), noise(20'000, 3));
  for (const char* name : {"d/a", "d/sub/c", "m/low", "hollow/x", "gonedir/x", "copied/a"}) {
    write_file(at(name), name);
  }
  for (const char* directory : {"g", "h"}) {
    const std::string first = at(directory) + "/one";
    write_file(first, noise(9000, 4));
    must(::link(first.c_str(), (at(directory) + "/two").c_str()));
    must(::link(first.c_str(), (at(directory) + "/three").c_str()));
  }
  write_file(stack.lower(0, "m/top"), "top");
  make_directories(at("empty"));
  must(::chown(at("exec").c_str(), 7, 7));
  must(::chmod(at("exec").c_str(), 04755));
  must(::setxattr(at("file").c_str(), "user.note", "old", 3, 0));
  must(::setxattr(at("file").c_str(), "user.other", "stays", 5, 0));
  must(::symlink("file", at("symlink").c_str()));
  must(::mkfifo(at("pipe").c_str(), 0640));
}

void fill_upper(const std::string& root) {
  const auto at = [&](const char* path) { return root + "/" + path; };
  for (const char* name : {"u", "ud/f", "pair"}) write_file(at(name), noise(9000, 5));
  must(::link(at("pair").c_str(), at("pair2").c_str()));
  for (const char* name : {"gone", "gonedir/x", "hollow/x"}) must(::unlink(at(name).c_str()));
  must(::rmdir(at("gonedir").c_str()));
  must(::mkdir(at("ue").c_str(), 0755));
  must(::mkdir(at("acl").c_str(), 0755));
  const std::string acl = default_acl();
  must(::setxattr(at("acl").c_str(), "system.posix_acl_default", acl.data(), acl.size(), 0));
  must(write_into(at("part"), 5000));
  must(::chmod(at("copied").c_str(), 0750));
  must(::chmod(at("g/one").c_str(), 0600));
}

#define VARVE_DO(expression) [](Path r) -> int { return expression; }
#define VARVE_BEFORE(statement) [](Path r) { statement; }

namespace {

std::vector<Operation> makings() {
  return {
      {"create", VARVE_DO(create(r + "/new"))},
      {"create_in_lower_directory", VARVE_DO(create(r + "/d/sub/new"))},
      {"create_over_whiteout", VARVE_DO(create(r + "/gone"))},
      {"create_under_default_acl", VARVE_DO(create(r + "/acl/new"))},
      {"mkdir", VARVE_DO(::mkdir((r + "/new").c_str(), 0750))},
      {"mkdir_over_whiteout", VARVE_DO(::mkdir((r + "/gonedir").c_str(), 0750))},
      {"mkdir_under_default_acl", VARVE_DO(::mkdir((r + "/acl/new").c_str(), 0777))},
      {"symlink", VARVE_DO(::symlink("target", (r + "/new").c_str()))},
      {"symlink_over_whiteout", VARVE_DO(::symlink("target", (r + "/gone").c_str()))},
      {"mkfifo", VARVE_DO(::mkfifo((r + "/new").c_str(), 0640))},
      {"mknod", VARVE_DO(make_device(r + "/new", 1, 3))},
      {"mknod_like_a_whiteout", VARVE_DO(make_device(r + "/new", 0, 0))},
      {"link_upper", VARVE_DO(::link((r + "/u").c_str(), (r + "/new").c_str()))},
      {"link_lower", VARVE_DO(::link((r + "/file").c_str(), (r + "/d/new").c_str()))},
      {"link_part", VARVE_DO(::link((r + "/part").c_str(), (r + "/new").c_str()))},
      {"link_over_whiteout", VARVE_DO(::link((r + "/u").c_str(), (r + "/gone").c_str()))},
      {"link_of_indexed", VARVE_DO(::link((r + "/g/two").c_str(), (r + "/new").c_str()))},
      {"link_of_lower_hard_link", VARVE_DO(::link((r + "/h/two").c_str(), (r + "/gone").c_str()))},
  };
}

std::vector<Operation> removals() {
  return {
      {"unlink_upper", VARVE_DO(::unlink((r + "/u").c_str()))},
      {"unlink_lower", VARVE_DO(::unlink((r + "/d/a").c_str()))},
      {"unlink_part", VARVE_DO(::unlink((r + "/part").c_str()))},
      {"unlink_one_of_a_pair", VARVE_DO(::unlink((r + "/pair").c_str()))},
      {"unlink_lower_hard_link", VARVE_DO(::unlink((r + "/h/two").c_str()))},
      {"unlink_indexed_upper_name", VARVE_DO(::unlink((r + "/g/one").c_str()))},
      {"unlink_indexed_lower_name", VARVE_DO(::unlink((r + "/g/two").c_str()))},
      {"unlink_indexed_last_name", VARVE_DO(::unlink((r + "/g/three").c_str())),
       VARVE_BEFORE(must(write_into(r + "/g/one", 3)); must(::unlink((r + "/g/one").c_str()));
                    must(::unlink((r + "/g/two").c_str())))},
      {"rmdir_upper", VARVE_DO(::rmdir((r + "/ue").c_str()))},
      {"rmdir_lower", VARVE_DO(::rmdir((r + "/empty").c_str()))},
      {"rmdir_of_whiteouts", VARVE_DO(::rmdir((r + "/hollow").c_str()))},
      {"rmdir_upper_of_whiteouts", VARVE_DO(::rmdir((r + "/ue").c_str())),
       VARVE_BEFORE(must(move_to(r + "/hollow", r + "/away")); must(move_to(r + "/away", r + "/ue")))},
  };
}

std::vector<Operation> file_moves() {
  return {
      {"rename_upper", VARVE_DO(move_to(r + "/u", r + "/moved"))},
      {"rename_lower", VARVE_DO(move_to(r + "/file", r + "/moved"))},
      {"rename_lower_into_lower_directory", VARVE_DO(move_to(r + "/file", r + "/d/moved"))},
      {"rename_upper_over_upper", VARVE_DO(move_to(r + "/u", r + "/pair"))},
      {"rename_upper_over_lower", VARVE_DO(move_to(r + "/u", r + "/victim"))},
      {"rename_upper_over_part", VARVE_DO(move_to(r + "/u", r + "/part"))},
      {"rename_lower_over_upper", VARVE_DO(move_to(r + "/file", r + "/u"))},
      {"rename_lower_over_lower", VARVE_DO(move_to(r + "/file", r + "/victim"))},
      {"rename_lower_over_whiteout", VARVE_DO(move_to(r + "/file", r + "/gone"))},
      {"rename_symlink", VARVE_DO(move_to(r + "/symlink", r + "/moved"))},
      {"rename_part", VARVE_DO(move_to(r + "/part", r + "/moved"))},
      {"rename_lower_hard_link", VARVE_DO(move_to(r + "/h/two", r + "/h/moved"))},
      {"rename_indexed_upper_name", VARVE_DO(move_to(r + "/g/one", r + "/g/moved"))},
      {"rename_indexed_lower_name", VARVE_DO(move_to(r + "/g/two", r + "/g/moved"))},
      {"rename_over_lower_hard_link", VARVE_DO(move_to(r + "/u", r + "/h/two"))},
      {"rename_over_indexed_upper_name", VARVE_DO(move_to(r + "/u", r + "/g/one"))},
      {"rename_over_indexed_lower_name", VARVE_DO(move_to(r + "/u", r + "/g/two"))},
      {"rename_over_indexed_last_name", VARVE_DO(move_to(r + "/u", r + "/g/three")),
       VARVE_BEFORE(must(::unlink((r + "/g/one").c_str())); must(::unlink((r + "/g/two").c_str())))},
      {"exchange_upper_and_lower", VARVE_DO(move_to(r + "/u", r + "/file", RENAME_EXCHANGE))},
      {"exchange_file_and_directory", VARVE_DO(move_to(r + "/file", r + "/d", RENAME_EXCHANGE))},
      {"exchange_indexed_lower_names", VARVE_DO(move_to(r + "/g/two", r + "/h/two", RENAME_EXCHANGE))},
      {"rename_leaving_whiteout", VARVE_DO(move_to(r + "/u", r + "/moved", RENAME_WHITEOUT)), nullptr,
       VARVE_DO(move_to(r + "/u", r + "/moved"))},
      {"rename_lower_leaving_whiteout", VARVE_DO(move_to(r + "/file", r + "/moved", RENAME_WHITEOUT)),
       nullptr, VARVE_DO(move_to(r + "/file", r + "/moved"))},
  };
}

std::vector<Operation> directory_moves() {
  return {
      {"rename_upper_directory", VARVE_DO(move_to(r + "/ud", r + "/moved"))},
      {"rename_lower_directory", VARVE_DO(move_to(r + "/d", r + "/moved"))},
      {"rename_merged_directory", VARVE_DO(move_to(r + "/m", r + "/moved"))},
      {"rename_copied_directory", VARVE_DO(move_to(r + "/copied", r + "/ud/moved"))},
      {"rename_upper_directory_over_whiteout", VARVE_DO(move_to(r + "/ud", r + "/gonedir"))},
      {"rename_lower_directory_over_whiteout", VARVE_DO(move_to(r + "/d", r + "/gonedir"))},
      {"rename_upper_directory_over_whiteouts", VARVE_DO(move_to(r + "/ud", r + "/hollow"))},
      {"rename_lower_directory_over_whiteouts", VARVE_DO(move_to(r + "/d", r + "/hollow"))},
      {"rename_upper_directory_over_lower", VARVE_DO(move_to(r + "/ud", r + "/empty"))},
      {"rename_merged_directory_over_lower", VARVE_DO(move_to(r + "/m", r + "/empty"))},
      {"rename_merged_directory_over_upper", VARVE_DO(move_to(r + "/m", r + "/ue"))},
      {"exchange_lower_directories", VARVE_DO(move_to(r + "/d", r + "/m", RENAME_EXCHANGE))},
      {"exchange_upper_and_lower_directory", VARVE_DO(move_to(r + "/ud", r + "/d", RENAME_EXCHANGE))},
      {"exchange_with_whiteouts", VARVE_DO(move_to(r + "/ud", r + "/hollow", RENAME_EXCHANGE))},
  };
}

std::vector<Operation> attribute_changes() {
  return {
      {"chmod_upper", VARVE_DO(::chmod((r + "/u").c_str(), 0600))},
      {"chmod_lower", VARVE_DO(::chmod((r + "/file").c_str(), 0600))},
      {"chmod_lower_hard_link", VARVE_DO(::chmod((r + "/h/two").c_str(), 0600))},
      {"chmod_lower_directory", VARVE_DO(::chmod((r + "/d/sub").c_str(), 0700))},
      {"chmod_lower_pipe", VARVE_DO(::chmod((r + "/pipe").c_str(), 0600))},
      {"chown_lower", VARVE_DO(::chown((r + "/exec").c_str(), 8, 9))},
      {"chown_symlink", VARVE_DO(::lchown((r + "/symlink").c_str(), 8, 9))},
      {"setxattr_lower", VARVE_DO(set_note(r + "/file"))},
      {"setxattr_lower_hard_link", VARVE_DO(set_note(r + "/h/one"))},
      {"setxattr_directory", VARVE_DO(set_note(r + "/m"))},
      {"removexattr_lower", VARVE_DO(::removexattr((r + "/file").c_str(), "user.note"))},
      {"set_acl", VARVE_DO(::setxattr((r + "/d").c_str(), "system.posix_acl_access", default_acl().data(),
                                      default_acl().size(), 0))},
  };
}

std::vector<Operation> data_changes() {
  return {
      {"write_lower", VARVE_DO(write_into(r + "/file", 5000))},
      {"write_part", VARVE_DO(write_into(r + "/part", 9000))},
      {"write_behind_end", VARVE_DO(write_into(r + "/file", 30'000))},
      {"write_lower_hard_link", VARVE_DO(write_into(r + "/h/two", 5000))},
      {"write_indexed", VARVE_DO(write_into(r + "/g/two", 5000))},
      {"write_upper", VARVE_DO(write_into(r + "/u", 5000))},
      {"write_and_fsync", VARVE_DO(write_into(r + "/file", 5000, true)), nullptr,
       VARVE_DO(write_into(r + "/file", 5000))},
      {"truncate_lower", VARVE_DO(::truncate((r + "/file").c_str(), 5000))},
      {"truncate_lower_to_nothing", VARVE_DO(::truncate((r + "/file").c_str(), 0))},
      {"truncate_lower_hard_link_to_nothing", VARVE_DO(::truncate((r + "/h/two").c_str(), 0))},
      {"truncate_part_to_nothing", VARVE_DO(::truncate((r + "/part").c_str(), 0))},
      {"truncate_part_shorter", VARVE_DO(::truncate((r + "/part").c_str(), 6000))},
      {"grow_lower", VARVE_DO(::truncate((r + "/file").c_str(), 30'000))},
      {"grow_cut_part", VARVE_DO(::truncate((r + "/part").c_str(), 15'000)),
       VARVE_BEFORE(must(::truncate((r + "/part").c_str(), 6000)))},
      {"open_truncating_lower", VARVE_DO(open_truncating(r + "/file"))},
      {"open_truncating_part", VARVE_DO(open_truncating(r + "/part"))},
      {"punch_lower", VARVE_DO(punch(r + "/file", 5000, 2000))},
  };
}

}  // namespace

std::vector<Operation> all_operations() {
  std::vector<Operation> all;
  for (const std::vector<Operation>& some :
       {makings(), removals(), file_moves(), directory_moves(), attribute_changes(), data_changes()}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

std::string operation_name(const testing::TestParamInfo<Operation>& info) {
  return info.param.name;
}

}  // namespace varve::test
