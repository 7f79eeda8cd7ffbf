#include "imagetool/transport/credential_helper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "fs/base/unique_fd.h"
#include "fs/base/write_all.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/transport/http_url.h"

namespace varve::transport {
namespace {

constexpr std::size_t kMostOutputBytes = 64 << 10;

bool is_program_name(const std::string& name) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 200 && std::all_of(name.begin(), name.end(), good);
}

// The spawned program; ended and waited for, whatever happens.
class Child {
 public:
  static Result<Child> start(const std::string& program, int in, int out) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t pipe;
    sigemptyset(&none);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    if (::posix_spawn_file_actions_init(&actions) != 0) return Errno{ENOMEM};
    if (::posix_spawnattr_init(&attributes) != 0) {
      ::posix_spawn_file_actions_destroy(&actions);
      return Errno{ENOMEM};
    }
    ::posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    // Signals as a program expects them; a group of its own, to be ended whole.
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &pipe);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(&attributes,
                               POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    std::string get = "get";
    std::string name = program;
    const std::array<char*, 3> arguments = {name.data(), get.data(), nullptr};
    pid_t pid = 0;
    const int failed =
        ::posix_spawnp(&pid, program.c_str(), &actions, &attributes, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (failed != 0) return Errno{failed};
    return Child(pid);
  }
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    static_cast<void>(wait());
  }
  // Returns: its wait status.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return status;
  }

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

// Until the end of `fd`. Returns: ETIMEDOUT, EFBIG.
Result<std::string> read_until(int fd, std::chrono::steady_clock::time_point end) {
  std::string text;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return Errno{ETIMEDOUT};
    struct pollfd waited {
      fd, POLLIN, 0
    };
    const int ready = ::poll(&waited, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno != EINTR) return Errno::last();
    if (ready <= 0) continue;
    std::array<char, 4096> piece{};
    const ssize_t count = ::read(fd, piece.data(), piece.size());
    if (count < 0 && errno != EINTR) return Errno::last();
    if (count == 0) return text;
    if (count > 0) text.append(piece.data(), static_cast<std::size_t>(count));
    if (text.size() > kMostOutputBytes) return Errno{EFBIG};
  }
}

ResultOrFailure<std::optional<Credentials>> parse_answer(const std::string& text,
                                                         const std::string& program) {
  auto json = image::parse_json_object(text);
  if (!json.ok()) return Failure{EINVAL, program + " get: " + json.error().message};
  Credentials credentials;
  image::JsonReader reader(*json, program + " get");
  reader.read("Username", credentials.user);
  reader.read("Secret", credentials.password);
  VARVE_RETURN_IF_ERROR(reader.status());
  if (credentials.user == "<token>") {
    credentials.identity_token = std::move(credentials.password);
    credentials.user.clear();
    credentials.password.clear();
  }
  return std::optional<Credentials>(std::move(credentials));
}

}  // namespace

ResultOrFailure<std::optional<Credentials>> ask_credential_helper(const std::string& name,
                                                                  const std::string& server,
                                                                  std::chrono::milliseconds timeout) {
  if (!is_program_name(name)) {
    return Failure{EINVAL, "credential helper \"" + shown_text(name) +
                               "\": not a name (letters, digits, '.', '_', '-')"};
  }
  const std::string program = "docker-credential-" + name;
  const auto end = std::chrono::steady_clock::now() + timeout;
  // A file rather than a pipe: nobody waits, whether it is read or not.
  const UniqueFd question(::memfd_create("question", MFD_CLOEXEC));
  if (!question.valid()) return failure_from(Errno::last(), program);
  if (const Status written = write_all(question.get(), server); !written.ok())
    return failure_from(written.error(), program);
  if (::lseek(question.get(), 0, SEEK_SET) != 0) return failure_from(Errno::last(), program);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return failure_from(Errno::last(), program);
  const UniqueFd answer(pipe[0]);
  UniqueFd other_end(pipe[1]);
  auto child = Child::start(program, question.get(), other_end.get());
  if (!child.ok()) return failure_from(child.error(), program + " (which the file of credentials names)");
  other_end.reset();
  const auto text = read_until(answer.get(), end);
  if (!text.ok()) return failure_from(text.error(), program + " get");
  const int status = child->wait();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return parse_answer(*text, program);
  // The text of ErrCredentialsNotFound, which helpers print to standard output.
  if (text->starts_with("credentials not found")) return std::optional<Credentials>();
  return Failure{EIO, program + " get failed: " + shown_text(text->substr(0, text->find('\n')))};
}

}  // namespace varve::transport
