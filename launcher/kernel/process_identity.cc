#include "launcher/kernel/process_identity.h"

#include <fcntl.h>

#include <array>
#include <charconv>
#include <string>
#include <string_view>

#include "launcher/kernel/pidfd.h"

namespace varve::launcher {

Result<ProcessIdentity> identify_process(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return Errno{errno == ENOENT ? ESRCH : errno};
  std::array<char, 2048> bytes{};
  const ssize_t got = ::read(file.get(), bytes.data(), bytes.size());
  if (got <= 0) return Errno{ESRCH};
  std::string_view text(bytes.data(), static_cast<std::size_t>(got));
  // The name, field 2, may hold anything, also ") "; no later field holds a parenthesis.
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string_view::npos) return Errno{EBADMSG};
  text.remove_prefix(name_end + 1);
  constexpr int kSpacesBeforeStart = 20;  // field 22, and the name was field 2
  for (int i = 0; i < kSpacesBeforeStart; ++i) {
    const std::size_t space = text.find(' ');
    if (space == std::string_view::npos) return Errno{EBADMSG};
    text.remove_prefix(space + 1);
  }
  ProcessIdentity identity{pid, 0};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), identity.started_ticks);
  if (error != std::errc()) return Errno{EBADMSG};
  return identity;
}

Result<UniqueFd> open_identified(const ProcessIdentity& identity) {
  if (identity.pid <= 0) return Errno{ESRCH};
  VARVE_ASSIGN(UniqueFd process, open_process(identity.pid));
  // After it is open: the number cannot change hands any more.
  VARVE_ASSIGN(const ProcessIdentity now, identify_process(identity.pid));
  if (now.started_ticks != identity.started_ticks) return Errno{ESRCH};
  return process;
}

}  // namespace varve::launcher
