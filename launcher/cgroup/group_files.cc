#include "launcher/cgroup/group_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "fs/base/unique_fd.h"

namespace varve::launcher {
namespace {

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t number = 0;
  const auto [last, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || last != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

Result<std::string> read_group_file(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return Errno::last();
  std::string text;
  std::array<char, 16384> bytes{};
  for (;;) {
    const ssize_t got = ::read(file.get(), bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Errno::last();
    if (got == 0) break;
    text.append(bytes.data(), static_cast<std::size_t>(got));
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::vector<std::string> read_words(const std::string& path) {
  const Result<std::string> text = read_group_file(path);
  std::vector<std::string> words;
  if (!text.ok()) return words;
  for (std::size_t begin = 0; begin < text->size();) {
    const std::size_t end = std::min(text->find_first_of(" \n", begin), text->size());
    if (end > begin) words.push_back(text->substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

std::optional<std::uint64_t> read_number(const std::string& path) {
  const Result<std::string> text = read_group_file(path);
  if (!text.ok()) return std::nullopt;
  return number_of(*text);
}

std::optional<std::uint64_t> read_keyed_number(const std::string& path, std::string_view key) {
  const Result<std::string> text = read_group_file(path);
  if (!text.ok()) return std::nullopt;
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ') {
      return number_of(line.substr(key.size() + 1));
    }
  }
  return std::nullopt;
}

Status write_group_file(const std::string& path, std::string_view text, int more_flags) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC | more_flags, 0644));
  if (!file.valid()) return Errno::last();
  for (;;) {
    if (::write(file.get(), text.data(), text.size()) >= 0) return {};
    if (errno != EINTR) return Errno::last();
  }
}

}  // namespace varve::launcher
