// escape_helper ATTEMPT [ARGUMENT...]: one attempt to reach the host from inside a container; prints "reached" when it
// succeeded, else the name of the errno. The same attempt is made outside, to show that it is a real one. Linked
// statically, so that it runs in any root directory.

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/nsfs.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Words = std::vector<std::string>;

// The word `index`, empty when there are not so many.
std::string word(const Words& words, std::size_t index) {
  return index < words.size() ? words[index] : std::string();
}
long number(const Words& words, std::size_t index) {
  return std::strtol(word(words, index).c_str(), nullptr, 0);
}
bool is_good(long result) {
  return result >= 0;
}

// Each attempt returns whether it succeeded; errno says why not.

bool open_file(const Words& words) {
  const bool writes = word(words, 0) == "open-w";
  return is_good(::open(word(words, 1).c_str(), (writes ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY));
}

// Something of it can be read, too: what is masked by the null device can only be opened.
bool read_file(const Words& words) {
  const int fd = ::open(word(words, 1).c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
  char byte = 0;
  if (fd < 0) return false;
  const ssize_t got = ::read(fd, &byte, 1);
  if (got == 0) errno = ENODATA;
  return got == 1;
}

bool make_block_device(const Words& words) {
  return is_good(::mknod(word(words, 1).c_str(), S_IFBLK | 0600, makedev(7, 0)));
}

bool load_program(const Words&) {
  union bpf_attr attributes = {};
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = 4;
  attributes.value_size = 4;
  attributes.max_entries = 1;
  return is_good(::syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes));
}

bool open_performance_counter(const Words&) {
  struct perf_event_attr attributes = {};
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.size = sizeof attributes;
  attributes.config = PERF_COUNT_SW_TASK_CLOCK;
  return is_good(::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0));
}

bool open_userfaultfd(const Words&) {
  return is_good(::syscall(SYS_userfaultfd, O_CLOEXEC));
}

bool open_io_uring(const Words&) {
  struct io_uring_params parameters = {};
  return is_good(::syscall(SYS_io_uring_setup, 1, &parameters));
}

// Nothing is loaded: the kernel asks for the right before it looks at the bytes.
bool load_module(const Words&) {
  return is_good(::syscall(SYS_init_module, "", 0, ""));
}

// A level that is none: who has the right is told so (EINVAL), and nothing changes.
bool set_console_level(const Words&) {
  constexpr int kSyslogConsoleLevel = 8;
  return is_good(::klogctl(kSyslogConsoleLevel, nullptr, 99));
}

bool read_kernel_log(const Words&) {
  constexpr int kSyslogReadAll = 3;
  std::vector<char> bytes(64);
  return is_good(::klogctl(kSyslogReadAll, bytes.data(), static_cast<int>(bytes.size())));
}

// "handle FILE" prints the handle of a file; "open-handle HEX" opens it on the file system of /.
bool make_handle(const Words& words) {
  std::vector<unsigned char> space(sizeof(struct file_handle) + MAX_HANDLE_SZ);
  auto* handle = reinterpret_cast<struct file_handle*>(space.data());
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  if (::name_to_handle_at(AT_FDCWD, word(words, 1).c_str(), handle, &mount, 0) != 0) return false;
  std::printf("%d ", handle->handle_type);
  for (unsigned index = 0; index < handle->handle_bytes; ++index) {
    std::printf("%02x", space[sizeof(struct file_handle) + index]);
  }
  std::printf("\n");
  return true;
}

bool open_handle(const Words& words) {
  const std::string hex = word(words, 2);
  std::vector<unsigned char> space(sizeof(struct file_handle) + MAX_HANDLE_SZ);
  auto* handle = reinterpret_cast<struct file_handle*>(space.data());
  handle->handle_type = static_cast<int>(number(words, 1));
  handle->handle_bytes = static_cast<unsigned>(std::min<std::size_t>(hex.size() / 2, MAX_HANDLE_SZ));
  for (unsigned index = 0; index < handle->handle_bytes; ++index) {
    space[sizeof(struct file_handle) + index] =
        static_cast<unsigned char>(std::strtoul(hex.substr(index * 2, 2).c_str(), nullptr, 16));
  }
  const int root = ::open(word(words, 3).c_str(), O_RDONLY | O_DIRECTORY);
  return is_good(::open_by_handle_at(root, handle, O_RDONLY));
}

bool trace(const Words& words) {
  const auto pid = static_cast<pid_t>(number(words, 1));
  if (::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) != 0) return false;
  ::ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
  return true;
}

bool read_memory(const Words& words) {
  // Some address: EFAULT comes after the right is asked for, and counts as a success of the attempt.
  std::vector<char> bytes(1);
  struct iovec to = {bytes.data(), 1};
  struct iovec from = {reinterpret_cast<void*>(0x1000), 1};
  return is_good(::process_vm_readv(static_cast<pid_t>(number(words, 1)), &to, 1, &from, 1, 0)) ||
         errno == EFAULT;
}

bool signal_process(const Words& words) {
  return is_good(::kill(static_cast<pid_t>(number(words, 1)), 0));
}

bool enter_namespace(const Words& words) {
  const int fd = ::open(word(words, 1).c_str(), O_RDONLY);
  return fd >= 0 && is_good(::setns(fd, 0));
}

// The namespace above or behind one: NS_GET_PARENT, NS_GET_USERNS.
bool find_outer_namespace(const Words& words) {
  const int fd = ::open(word(words, 1).c_str(), O_RDONLY);
  return fd >= 0 && is_good(::ioctl(fd, word(words, 0) == "parent-ns" ? NS_GET_PARENT : NS_GET_USERNS));
}

// "with-key COMMAND...": executes it with a key in a new session keyring, whose number it gets as the last argument.
bool execute_with_key(const Words& words) {
  ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
  const long key = ::syscall(SYS_add_key, "user", "escape", "secret", 6, KEY_SPEC_SESSION_KEYRING);
  if (key < 0) return false;
  Words arguments(words.begin() + 1, words.end());
  arguments.push_back(std::to_string(key));
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  ::execvp(pointers[0], pointers.data());
  return false;
}

bool read_key(const Words& words) {
  std::vector<char> bytes(16);
  return is_good(::syscall(SYS_keyctl, KEYCTL_READ, number(words, 1), bytes.data(), bytes.size()));
}

bool mount_one(const Words& words) {
  const std::string source = word(words, 1);
  const std::string type = word(words, 3);
  const auto flags = static_cast<unsigned long>(number(words, 4));
  const std::string data = word(words, 5);
  return is_good(::mount(source.c_str(), word(words, 2).c_str(), type.c_str(), flags, data.c_str()));
}

// "mount-and-open-w TYPE DIRECTORY FILE DATA": mounts, and opens a file of it for writing.
bool mount_and_open(const Words& words) {
  if (!mount_one({"mount", word(words, 1), word(words, 2), word(words, 1), "0", word(words, 4)}))
    return false;
  return is_good(::open((word(words, 2) + "/" + word(words, 3)).c_str(), O_WRONLY));
}

bool bind_below(const Words& words) {
  return is_good(::mount(word(words, 1).c_str(), word(words, 2).c_str(), nullptr, MS_BIND, nullptr));
}

bool remount_writable(const Words& words) {
  return is_good(::mount(nullptr, word(words, 1).c_str(), nullptr, MS_REMOUNT | MS_BIND, nullptr));
}

bool unmount(const Words& words) {
  return is_good(::umount2(word(words, 1).c_str(), MNT_DETACH));
}

// The character goes to the input of the terminal, as if it were typed.
bool type_into_terminal(const Words&) {
  return is_good(::ioctl(STDIN_FILENO, TIOCSTI, "#"));
}

bool take_terminal(const Words&) {
  return is_good(::ioctl(STDIN_FILENO, TIOCSCTTY, 0));
}

struct sockaddr_un abstract_address(const std::string& name, socklen_t& size) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), std::min(name.size(), sizeof address.sun_path - 1));
  size = static_cast<socklen_t>(offsetof(struct sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

// "listen NAME COMMAND...": on an abstract socket, while the command runs.
bool listen_during(const Words& words) {
  socklen_t size = 0;
  const struct sockaddr_un address = abstract_address(word(words, 1), size);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::bind(listener, reinterpret_cast<const struct sockaddr*>(&address), size) != 0) return false;
  if (::listen(listener, 8) != 0) return false;
  Words arguments(words.begin() + 2, words.end());
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::execvp(pointers[0], pointers.data());
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

bool connect_abstract(const Words& words) {
  socklen_t size = 0;
  const struct sockaddr_un address = abstract_address(word(words, 1), size);
  const int client = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return is_good(::connect(client, reinterpret_cast<const struct sockaddr*>(&address), size));
}

bool list_descriptors(const Words&) {
  std::string list;
  for (int fd = 0; fd < 1024; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) list += (list.empty() ? "" : " ") + std::to_string(fd);
  }
  std::printf("%s\n", list.c_str());
  return true;
}

bool show_user(const Words&) {
  std::printf("%u\n", ::geteuid());
  return true;
}

bool crash(const Words&) {
  const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
  ::setrlimit(RLIMIT_CORE, &all);
  ::raise(SIGSEGV);
  return false;
}

bool write_text(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY);
  return fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
}
bool write_file(const Words& words) {
  return write_text(word(words, 1), word(words, 2));
}

int attempt(const Words& words);

// "nested ATTEMPT...": as root of a user namespace of its own, with namespaces of its own of all other kinds; a cgroup
// namespace only as "nested-cgroup", because the container may have none.
bool attempt_nested(const Words& words) {
  const std::string id = std::to_string(::geteuid());
  const std::string group = std::to_string(::getegid());
  constexpr int kSpaces =
      CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  if (::unshare(kSpaces | (word(words, 0) == "nested-cgroup" ? CLONE_NEWCGROUP : 0)) != 0) return false;
  if (!write_text("/proc/self/uid_map", "0 " + id + " 1")) return false;
  if (!write_text("/proc/self/setgroups", "deny")) return false;
  if (!write_text("/proc/self/gid_map", "0 " + group + " 1")) return false;
  const pid_t child = ::fork();
  if (child == 0) ::_exit(attempt(Words(words.begin() + 1, words.end())));
  int status = 0;
  ::waitpid(child, &status, 0);
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

struct Attempt {
  const char* name;
  bool (*make)(const Words&);
  bool is_silent;  // prints its own result
};
constexpr Attempt kAttempts[] = {
    {"open-r", open_file, false},
    {"open-w", open_file, false},
    {"read", read_file, false},
    {"write", write_file, false},
    {"mknod", make_block_device, false},
    {"bpf", load_program, false},
    {"perf", open_performance_counter, false},
    {"userfaultfd", open_userfaultfd, false},
    {"io_uring", open_io_uring, false},
    {"module", load_module, false},
    {"console-level", set_console_level, false},
    {"kernel-log", read_kernel_log, false},
    {"handle", make_handle, true},
    {"open-handle", open_handle, false},
    {"ptrace", trace, false},
    {"read-memory", read_memory, false},
    {"signal", signal_process, false},
    {"setns", enter_namespace, false},
    {"parent-ns", find_outer_namespace, false},
    {"owner-ns", find_outer_namespace, false},
    {"with-key", execute_with_key, false},
    {"read-key", read_key, false},
    {"mount", mount_one, false},
    {"mount-and-open-w", mount_and_open, false},
    {"bind", bind_below, false},
    {"remount", remount_writable, false},
    {"umount", unmount, false},
    {"tiocsti", type_into_terminal, false},
    {"take-terminal", take_terminal, false},
    {"listen", listen_during, false},
    {"connect", connect_abstract, false},
    {"descriptors", list_descriptors, true},
    {"user", show_user, true},
    {"crash", crash, false},
    {"nested", attempt_nested, false},
    {"nested-cgroup", attempt_nested, false},
};

int attempt(const Words& words) {
  for (const Attempt& one : kAttempts) {
    if (word(words, 0) != one.name) continue;
    errno = 0;
    const bool good = one.make(words);
    const int error = errno;
    if (!good || !one.is_silent) std::printf("%s\n", good ? "reached" : ::strerrorname_np(error));
    std::fflush(stdout);
    return good ? 0 : 1;
  }
  std::fprintf(stderr, "escape_helper: %s: there is no such attempt\n", word(words, 0).c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  return attempt(Words(argv + 1, argv + argc));
}
