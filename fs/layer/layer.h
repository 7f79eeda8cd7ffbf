#pragma once

// Layer: one open read-only layer, be it a compressed layer file (layer_file.h) or a plain directory
// (directory_layer.h). Immutable while open; every method may be called from any thread at once.
// Objects are named by LowerId; ids stay valid for the life of the Layer.
// Ownership: a LowerFile borrows its Layer and must not outlive it.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/attributes.h"
#include "fs/base/name.h"
#include "fs/base/result.h"
#include "fs/base/strong_id.h"

namespace varve::layer {

// What a directory of this layer says of one name.
struct Entry {
  enum class Kind : std::uint8_t { kAbsent, kWhiteout, kObject };
  Kind kind = Kind::kAbsent;
  LowerId id;              // kObject
  std::uint32_t type = 0;  // kObject: the S_IFMT bits
};

// What a directory says of the layers below it.
struct DirectoryMark {
  bool opaque = false;  // nothing of the layers below shows through
  std::optional<std::string>
      redirect;  // path in the layers below, from their root ("/a/b"), that merges here
};

// A range of a regular file, for SEEK_DATA and SEEK_HOLE and for copying sparsely.
struct Range {
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
};

// An open regular file. Thread-safe.
class LowerFile {
 public:
  virtual ~LowerFile() = default;
  virtual std::uint64_t size_bytes() const = 0;
  // Reads at most out.size() bytes at `offset`; fewer only at the end of the file; 0 at or past it.
  // Returns: bytes read; EIO when a checksum does not match (one log line names layer, file and frame).
  virtual Result<std::size_t> read(std::uint64_t offset_bytes, std::span<std::byte> out) const = 0;
  // The first range of data at or after `offset`; empty when there is none up to the end of the file.
  virtual Result<std::optional<Range>> next_data(std::uint64_t offset_bytes) const = 0;
  // A descriptor that the same bytes can be read through, valid as long as the file is; empty when they lie in no single file.
  virtual std::optional<int> descriptor() const { return std::nullopt; }
};

// Called for each entry of a directory, whiteouts included, in the layer's own order. `name` is valid during the
// call only. Returns false to stop.
using EntryVisitor = std::function<bool(std::string_view name, const Entry& entry)>;

// Identity of a layer, recorded by an upper so that it is never mounted over another one.
struct Identity {
  enum class Kind : std::uint8_t { kLayerFile, kDirectory } kind = Kind::kDirectory;
  // kLayerFile: 32 hexadecimal digits of the root hash. kDirectory: "INO.BTIME_S.BTIME_NS" of the directory.
  std::string value;
  friend bool operator==(const Identity&, const Identity&) = default;
};

class Layer {
 public:
  virtual ~Layer() = default;

  virtual const Identity& identity() const = 0;
  // How messages call the layer: the path it was opened by.
  virtual const std::string& name() const = 0;
  virtual LowerId root() const = 0;

  // Requires: `directory` is a directory. Returns: ENOENT never (that is Entry::kAbsent); EIO for damage.
  virtual Result<Entry> look_up(LowerId directory, Name name) const = 0;
  virtual Result<DirectoryMark> directory_mark(LowerId directory) const = 0;
  virtual Status for_each_entry(LowerId directory, const EntryVisitor& visit) const = 0;

  // How many directories a directory holds, where the layer has that written down. Empty: they are to be counted.
  virtual Result<std::optional<std::uint32_t>> subdirectories(LowerId) const {
    return std::optional<std::uint32_t>();
  }
  // `nlink` of a directory is not the union's; the view computes that.
  virtual Result<Attributes> attributes(LowerId id) const = 0;
  // A number below 2^40, equal for hard links, distinct otherwise, the same each time the layer is opened.
  virtual Result<std::uint64_t> inode_number(LowerId id) const = 0;
  // The object that has this inode number, each time the layer is opened.
  // Returns: EOPNOTSUPP where only path_of() leads back to an object; ENOENT when no object has it.
  virtual Result<LowerId> find_by_number(std::uint64_t) const { return Errno{EOPNOTSUPP}; }
  // A path by which `id` can be found again in this layer, from its root ("/a/b").
  // Directory layers: the path it was first looked up by. Layer files: any one path.
  virtual Result<std::string> path_of(LowerId id) const = 0;
  // Requires: a symbolic link.
  virtual Result<std::string> read_link(LowerId id) const = 0;
  // Names without the marks of union file systems (overlay, fuse-overlayfs, varve).
  virtual Result<std::vector<std::string>> xattr_names(LowerId id) const = 0;
  // Returns: ENODATA when there is none.
  virtual Result<std::string> xattr(LowerId id, std::string_view name) const = 0;
  // Requires: a regular file.
  virtual Result<std::unique_ptr<LowerFile>> open_file(LowerId id) const = 0;
};

}  // namespace varve::layer
