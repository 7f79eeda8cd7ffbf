// Fuzz target: opens bytes as a layer file, walks all of it and reads everything, first with all metadata checked by open(),
// which is consistent then so that only contents may answer EIO; then with records checked as they are touched.
// Input: packed_layer.h.

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <vector>

#include "fs/base/check.h"
#include "fs/base/log.h"
#include "fs/layer/layer_file.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/packed_layer.h"

namespace varve {
namespace {

// Files may claim 2^63 bytes: of each its beginning, its end and the start of a few data ranges are read.
constexpr std::uint64_t kReadBytes = 256 * 1024;
constexpr int kRanges = 16;

void read_at(const layer::LowerFile& file, std::uint64_t offset) {
  static std::array<std::byte, kReadBytes> buffer;
  const Result<std::size_t> got = file.read(offset, buffer);
  if (!got.ok()) {
    VARVE_CHECK(got.error() == Errno{EIO});
    return;
  }
  const std::uint64_t left = file.size_bytes() - std::min(offset, file.size_bytes());
  VARVE_CHECK(*got == std::min<std::uint64_t>(left, buffer.size()));
}

// What may be asked of a layer. One that was checked as a whole answers everything; one whose records are checked as they are
// touched may answer EIO to anything.
struct Subject {
  const layer::LayerFile& layer;
  bool is_lazy = false;

  template <class T>
  bool good(const Result<T>& result) const {
    VARVE_CHECK(result.ok() || (is_lazy && result.error() == Errno{EIO}));
    return result.ok();
  }
};

void read_content(const Subject& subject, LowerId id, std::uint64_t size_bytes) {
  const auto opened = subject.layer.open_file(id);
  // No parent is at hand, so what continues there cannot be read.
  VARVE_CHECK(opened.ok() == subject.layer.has_all_parents(id) || (subject.is_lazy && !opened.ok()));
  if (!opened.ok()) return;
  const layer::LowerFile& file = **opened;
  VARVE_CHECK(file.size_bytes() == size_bytes);
  read_at(file, 0);
  read_at(file, size_bytes - std::min<std::uint64_t>(size_bytes, 5000));
  read_at(file, size_bytes);
  std::uint64_t offset = 0;
  for (int i = 0; i < kRanges; ++i) {
    const auto range = file.next_data(offset);
    VARVE_CHECK(range.ok());
    if (!*range) return;
    const layer::Range& data = **range;
    VARVE_CHECK(data.offset_bytes >= offset && data.size_bytes > 0 && data.offset_bytes <= size_bytes &&
                data.size_bytes <= size_bytes - data.offset_bytes);
    read_at(file, data.offset_bytes);
    offset = data.offset_bytes + data.size_bytes;
  }
}

// The path leads back to the object. Also in a layer that was not checked as a whole: it is made of entries that were.
void check_path(const layer::LayerFile& layer, LowerId id) {
  const Result<std::string> path = layer.path_of(id);
  VARVE_CHECK(path.ok() && path->starts_with('/'));
  LowerId at = layer.root();
  for (std::string_view rest = std::string_view(*path).substr(1); !rest.empty();) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const Result<Name> name = Name::parse(rest.substr(0, slash));
    VARVE_CHECK(name.ok());
    const Result<layer::Entry> entry = layer.look_up(at, *name);
    VARVE_CHECK(entry.ok() && entry->kind == layer::Entry::Kind::kObject);
    at = entry->id;
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  VARVE_CHECK(at == id);
}

void check_object(const Subject& subject, LowerId id) {
  const layer::LayerFile& layer = subject.layer;
  check_path(layer, id);
  const Result<Attributes> attributes = layer.attributes(id);
  if (!subject.good(attributes)) return;
  VARVE_CHECK(attributes->mtime.nanoseconds < 1'000'000'000);
  VARVE_CHECK(layer.inode_number(id).ok());
  const auto names = layer.xattr_names(id);
  if (subject.good(names)) {
    for (const std::string& name : *names) VARVE_CHECK(layer.xattr(id, name).ok());
  }
  if (attributes->is_symlink()) subject.good(layer.read_link(id));
  if (attributes->is_regular()) read_content(subject, id, attributes->size_bytes);
}

// Every directory once. Ends because a directory is reached from one other only.
void walk(const Subject& subject) {
  const layer::LayerFile& layer = subject.layer;
  std::vector<LowerId> waiting = {layer.root()};
  check_object(subject, layer.root());
  std::set<std::uint64_t> met;
  std::size_t directories = 0;
  while (!waiting.empty()) {
    const LowerId directory = waiting.back();
    waiting.pop_back();
    VARVE_CHECK(++directories < layer.footer().inode_count);
    subject.good(layer.directory_mark(directory));
    const Status listed =
        layer.for_each_entry(directory, [&](std::string_view text, const layer::Entry& entry) {
          const Result<Name> name = Name::parse(text);
          VARVE_CHECK(name.ok());
          const Result<layer::Entry> found = layer.look_up(directory, *name);
          VARVE_CHECK(found.ok() && found->kind == entry.kind && found->id == entry.id &&
                      found->type == entry.type);
          if (entry.kind == layer::Entry::Kind::kObject) {
            // Where directories may share entries, an object could be met without end.
            if (met.insert(entry.id.value()).second) check_object(subject, entry.id);
            if (entry.type == S_IFDIR) waiting.push_back(entry.id);
          }
          return true;
        });
    subject.good(listed);
  }
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  varve::set_log_destination({.least = varve::LogLevel::kFatal});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const varve::fuzz::MemoryFile file(varve::fuzz::unpack_layer({data, size}));
  for (const bool is_lazy : {false, true}) {
    const auto layer = varve::layer::LayerFile::open(
        file.path(), {.lazy_from_bytes = is_lazy ? std::uint64_t{0} : std::uint64_t{UINT64_MAX}});
    if (!layer.ok()) {
      VARVE_CHECK(layer.error().message.starts_with(file.path() + ": "));
      continue;
    }
    varve::walk({.layer = **layer, .is_lazy = is_lazy});
    // The whole is at most as good as its parts.
    if (is_lazy && (*layer)->load_all().ok()) varve::walk({.layer = **layer, .is_lazy = false});
  }
  return 0;
}
