#include "fs/upper/state_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <span>

#include "fs/block/fd_block_file.h"
#include "fs/upper/object_path.h"

namespace varve::upper {
namespace {

constexpr std::string_view kFirstLine = "varve-upper 1";
constexpr const char* kStateName = "state";
constexpr const char* kNewStateName = "state.new";
constexpr std::uint64_t kMaxStateBytes = std::uint64_t{16} << 20;

// A path may hold any byte; a line may not hold its end.
std::string escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\n') {
      escaped += "\\n";
    } else if (c == '\\') {
      escaped += "\\\\";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      ++i;
      plain += text[i] == 'n' ? '\n' : text[i];
    } else {
      plain += text[i];
    }
  }
  return plain;
}

constexpr std::array<std::string_view, 3> kOverrideWords = {"never", "needed", "always"};  // as OverrideUse

bool take_overrides(std::string_view word, UpperState& state) {
  for (std::size_t i = 0; i < kOverrideWords.size(); ++i) {
    if (word != kOverrideWords[i]) continue;
    state.overrides = static_cast<OverrideUse>(i);
    return true;
  }
  return false;
}

// Returns: false for a line that cannot be understood.
bool take_line(std::string_view line, UpperState& state) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos) return false;
  const std::string_view key = line.substr(0, space);
  const std::string_view value = line.substr(space + 1);
  if (key == "upper") {
    state.upper_id = value;
  } else if (key == "boot") {
    state.boot_id = value;
  } else if (key == "marks" && (value == "trusted" || value == "user")) {
    state.marks = value == "trusted" ? MarkStore::Namespace::kTrusted : MarkStore::Namespace::kUser;
  } else if (key == "overrides") {
    return take_overrides(value, state);
  } else if (key == "state" && (value == "clean" || value == "dirty")) {
    state.clean = value == "clean";
  } else if (key == "volatile" && (value == "yes" || value == "no")) {
    state.volatile_upper = value == "yes";
  } else if (key == "base") {
    state.base_stack.push_back(unescape(value));
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::string format_state(const UpperState& state) {
  std::string text =
      fmt::format("{}\nupper {}\nboot {}\nmarks {}\nstate {}\nvolatile {}\n", kFirstLine, state.upper_id,
                  state.boot_id, state.marks == MarkStore::Namespace::kTrusted ? "trusted" : "user",
                  state.clean ? "clean" : "dirty", state.volatile_upper ? "yes" : "no");
  if (state.overrides) {
    text += fmt::format("overrides {}\n", kOverrideWords[static_cast<std::size_t>(*state.overrides)]);
  }
  for (const std::string& line : state.base_stack) text += fmt::format("base {}\n", escape(line));
  return text;
}

Result<UpperState> parse_state(std::string_view text) {
  UpperState state;
  bool first = true;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return Errno{EBADMSG};
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (first ? line != kFirstLine : !take_line(line, state)) return Errno{EBADMSG};
    first = false;
  }
  if (first || state.upper_id.empty()) return Errno{EBADMSG};
  return state;
}

Result<std::optional<UpperState>> read_state(int directory) {
  using Found = std::optional<UpperState>;
  Result<UniqueFd> fd = open_object({directory, kStateName}, O_RDONLY);
  if (!fd.ok()) {
    if (fd.error().value == ENOENT) return Found{};
    return fd.error();
  }
  const block::FdBlockFile file(std::move(fd).value());
  VARVE_ASSIGN(const std::uint64_t size_bytes, file.size_bytes());
  if (size_bytes > kMaxStateBytes) return Errno{EBADMSG};
  std::string text(size_bytes, '\0');
  VARVE_ASSIGN(const std::size_t got, file.read_at(0, std::as_writable_bytes(std::span(text))));
  text.resize(got);
  VARVE_ASSIGN(UpperState state, parse_state(text));
  return Found{std::move(state)};
}

Status write_state(int directory, const UpperState& state) {
  const int fd =
      ::openat(directory, kNewStateName, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return Errno::last();
  block::FdBlockFile file{UniqueFd(fd)};
  const std::string text = format_state(state);
  VARVE_RETURN_IF_ERROR(file.write_at(0, std::as_bytes(std::span(text))));
  VARVE_RETURN_IF_ERROR(file.sync(false));
  if (::renameat(directory, kNewStateName, directory, kStateName) != 0) return Errno::last();
  if (::fsync(directory) != 0) return Errno::last();
  return {};
}

}  // namespace varve::upper
