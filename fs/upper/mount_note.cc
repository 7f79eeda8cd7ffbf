#include "fs/upper/mount_note.h"

#include <fmt/format.h>
#include <sys/sysmacros.h>

#include <charconv>

#include "fs/upper/marks.h"

namespace varve::upper {
namespace {

// Takes a number and the separator after it, if there is one, away from the beginning of `text`.
Result<unsigned> take_number(std::string_view& text, char separator) {
  const std::string_view word = text.substr(0, text.find(separator));
  unsigned number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error != std::errc() || end != word.data() + word.size()) return Errno{EBADMSG};
  text.remove_prefix(std::min(word.size() + 1, text.size()));
  return number;
}

}  // namespace

std::string format_mount_note(const MountNote& note) {
  std::string text = fmt::format("{}:{}", major(note.device), minor(note.device));
  if (!note.image.empty()) text += " " + note.image;
  return text;
}

Result<MountNote> parse_mount_note(std::string_view text) {
  VARVE_ASSIGN(const unsigned major_number, take_number(text, ':'));
  VARVE_ASSIGN(const unsigned minor_number, take_number(text, ' '));
  return MountNote{makedev(major_number, minor_number), std::string(text)};
}

Result<MountNote> read_mount_note(int upper) {
  for (const MarkStore::Namespace space : {MarkStore::Namespace::kTrusted, MarkStore::Namespace::kUser}) {
    const Result<std::string> text = MarkStore(space).read_text({upper, {}}, kMountMark);
    if (text.ok()) return parse_mount_note(*text);
  }
  return Errno{ENODATA};
}

}  // namespace varve::upper
