#pragma once

// LayerWriter: writes one layer file (docs/layer-format.md) in a single pass: objects, names and contents come in, frames
// go out as they fill, the metadata follows at finish(). The output is a function of the calls and the options alone, not
// of the number of jobs.
//
//   auto writer = LayerWriter::create({.output_path = "a.layer"});
//   root = writer->add_inode({.attributes = directory});       // the first inode is the root
//   file = writer->add_inode({.attributes = regular});         // attributes.size_bytes is the size of the content
//   writer->add_name(root, "hello", file);                     // several names for one inode: hard links
//   writer->add_content(file, source);                         // one call for each regular file with size > 0
//   Summary summary = writer->finish();
//
// Thread rule: one thread calls a LayerWriter; it keeps `jobs` threads of its own for compression.
// Ownership: the caller owns the writer and the sources; a source is used during add_content only.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/base/attributes.h"
#include "fs/base/result.h"
#include "fs/format/hash.h"

namespace varve::image {

// A layer that lies below the new one in every stack. The new layer's files may inherit from its files.
struct ParentLayer {
  std::array<unsigned char, 32> sha256{};  // of the layer file; zeros when it is not known
  format::Hash128 root_hash{};
};

// The file of a parent layer that a delta file inherits from: all that its own content does not say.
struct DeltaBase {
  std::uint16_t parent = 0;  // index in Options::parents
  std::uint32_t inode = 0;
  format::Hash128 digest{};       // of that inode's content; zeros when it has none
  std::uint64_t size_bytes = 0;   // of that inode's content
  std::string path;               // by which the inode can be found, absolute
  std::uint64_t data_blocks = 0;  // 4 KiB blocks of the new file that hold data, the inherited ones included
};

// One object of the layer. Of `attributes` are used: mode, uid, gid, mtime, size_bytes (regular files) and rdev
// (devices). nlink is counted from the names; atime and ctime are not stored.
struct InodeSpec {
  Attributes attributes;
  std::vector<std::pair<std::string, std::string>> xattrs;  // full name, value; any order
  std::string symlink_target;                               // symbolic links: 1..4095 bytes
  bool opaque = false;                  // directories: nothing of the layers below shows through
  std::optional<std::string> redirect;  // directories: absolute path in the layers below
  std::optional<DeltaBase> base;        // regular files: what it inherits from
};

// A piece of a regular file's content.
struct Chunk {
  std::uint64_t offset_bytes = 0;
  std::span<const std::byte> bytes;  // valid until the next call of next()
  std::uint64_t hole_bytes =
      0;  // when `bytes` is empty: a hole of that many bytes, which hides what would be inherited
};

// Bytes that a parent layer's frames hold.
struct ParentPlace {
  std::uint16_t parent = 0;  // index in Options::parents
  std::uint64_t frame = 0;
  std::uint32_t offset_bytes = 0;  // in the content of that frame
  // When the frames behind it go on with what follows: the content of each of them but the last, the frame size of the parent. The
  // bytes may then reach into them. Otherwise 0.
  std::uint32_t run_frame_bytes = 0;
};

// The content of one regular file, given in pieces: offsets ascend, pieces do not overlap and stay within the size;
// what no piece covers is a hole and is stored as one (rounded inwards to 4 KiB blocks). Of a file with a base the pieces are
// whole 4 KiB blocks (the last one up to the end of the file), and what no piece covers is inherited.
class ContentSource {
 public:
  virtual ~ContentSource() = default;
  // Returns: the next piece, empty at the end. A Failure ends add_content with that failure.
  virtual ResultOrFailure<std::optional<Chunk>> next() = 0;
  // Where the bytes of the piece given last lie in a parent; they are then not stored again. Such a piece is whole 4 KiB blocks, as
  // those of a file with a base.
  virtual std::optional<ParentPlace> held_at() const { return std::nullopt; }
  // Of a file with a base: XXH3-128 of its whole content, asked for at the end; empty when it is not known.
  virtual std::optional<format::Hash128> whole_digest() const { return std::nullopt; }
  // Likewise: its 4 KiB blocks that hold data, the inherited ones included, in place of DeltaBase::data_blocks.
  virtual std::optional<std::uint64_t> data_blocks() const { return std::nullopt; }
};

class LayerWriter {
 public:
  struct Options {
    std::string output_path;  // "-": standard output, in one pass; the bytes are the same as a file's
    bool dry_run = false;     // everything but the output, which is written nowhere
    int level = 3;            // zstd, 1..19
    std::uint32_t frame_bytes = 65536;  // frames of files of at least this size; a power of two, 4096..8 MiB
    // Frames shared by smaller files; frame_bytes..8 MiB. 0: frame_bytes from 1 MiB on, else four times
    // frame_bytes, at most 1 MiB.
    std::uint32_t packed_frame_bytes = 0;
    unsigned jobs = 0;                 // threads that compress; 0: one for each processor
    std::vector<ParentLayer> parents;  // nearest first; at most 65534
    // Looks at the finished file, which has no name yet, by the path it is given; its failure is finish()'s, and nothing
    // is left behind. Not for streams and dry runs.
    std::function<StatusOrFailure(const std::string& path)> check;
  };

  struct Summary {
    std::uint64_t files = 0;            // inodes of every kind, hard links counted once
    std::uint64_t content_bytes = 0;    // sum of the sizes of all regular files
    std::uint64_t data_bytes = 0;       // of those, bytes that are not holes
    std::uint64_t duplicate_bytes = 0;  // of those, bytes found already stored
    std::uint64_t parent_bytes = 0;  // of those, bytes that frames of parents hold (ContentSource::held_at)
    std::uint64_t stored_bytes = 0;  // size of the DATA area
    std::uint64_t file_bytes = 0;    // size of the layer file
    std::string root_hash;           // 32 hexadecimal digits
    double seconds = 0;              // since create()
  };

  // Opens the output: a file without a name in the directory of `output_path` that gets its name at finish(), so that
  // nothing half-written is ever seen there. Returns: EINVAL for bad options, or what the system says.
  static ResultOrFailure<std::unique_ptr<LayerWriter>> create(const Options& options);

  // Without a finish() that succeeded, nothing is left behind.
  virtual ~LayerWriter() = default;

  // Returns: the number of the new inode, 1 (the root, a directory) for the first one; EINVAL or E2BIG for an object
  // that the format cannot hold, with a message that says why but not which path: the caller knows it.
  virtual ResultOrFailure<std::uint32_t> add_inode(const InodeSpec& spec) = 0;

  // How many inodes, or names with so many bytes, are about to be added: spares the memory of tables that grow.
  virtual void expect_inodes(std::uint64_t) {}
  virtual void expect_names(std::uint64_t, std::uint64_t) {}

  // Requires: `directory` and `inode` came from add_inode. Each directory but the root gets exactly one name; every
  // other inode at least one. Returns: EEXIST (found at finish() at the latest) when the directory has the name.
  virtual StatusOrFailure add_name(std::uint32_t directory, std::string_view name, std::uint32_t inode) = 0;

  // `name` of the layers below is deleted. In an opaque directory it says nothing and is left out.
  virtual StatusOrFailure add_whiteout(std::uint32_t directory, std::string_view name) = 0;

  // Reads `source` to its end. Requires: `inode` is a regular file whose content was not added before. A file that
  // never gets content is one hole of its size. Returns: what the source says; EINVAL for pieces out of order or range.
  virtual StatusOrFailure add_content(std::uint32_t inode, ContentSource& source) = 0;

  // No content will be added from now on: frees what finds duplicates.
  virtual void end_contents() {}

  // In place of InodeSpec::base, where what a file inherits shows only while its content is read. Before add_content: it inherits
  // from `base`. Afterwards: with what was learnt, or nullopt, when its content left nothing to inherit.
  virtual StatusOrFailure set_base(std::uint32_t inode, std::optional<DeltaBase> base) = 0;

  // Writes the metadata, syncs, and puts the file at output_path in place of what was there. Call once, last.
  virtual ResultOrFailure<Summary> finish() = 0;
};

}  // namespace varve::image
