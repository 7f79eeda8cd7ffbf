#pragma once

// ParentChunks: the content-defined chunks of the files of the parent layers, found by their bytes, wherever they lie.
// Memory: 16 bytes a slot of a table that is at least 3/8 full, at most Options::table_bytes; chunks beyond that are not found.
// With chunks of 16 KiB 64 MiB serve about 48 GiB of parents. And 8 bytes for each file of the parents of kLeastHeldBytes or more.
// Thread rule: one thread. Ownership: shares the layers.

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "fs/base/result.h"
#include "fs/layer/file_pieces.h"
#include "fs/layer/layer_file.h"
#include "imagetool/image/chunk/chunk_cutter.h"
#include "imagetool/image/source/tree_source.h"

namespace varve::image {

// What is taken from a parent has at least so many bytes in a row: less is not worth a jump of the reader.
inline constexpr std::uint64_t kLeastHeldBytes = 16 << 10;

class ParentChunks {
 public:
  static constexpr std::size_t kDefaultTableBytes = std::size_t{64} << 20;

  struct Options {
    std::uint32_t average_bytes = ChunkCutter::kDefaultAverageBytes;
    std::size_t table_bytes = kDefaultTableBytes;
  };

  // Reads all files of `parents` (by PARENT index, less 1) of at least kLeastHeldBytes. Of equal chunks the first is kept, those of
  // the first parents before others.
  // Returns: a Failure that names layer and file when one cannot be read; cancelled_failure().
  static ResultOrFailure<std::unique_ptr<ParentChunks>> make(
      std::span<const std::shared_ptr<const layer::LayerFile>> parents, const Options& options,
      Monitor& monitor);

  const ChunkCutter& cutter() const { return cutter_; }

  // Where a chunk lies that has probably the same bytes.
  struct Place {
    std::uint32_t file = 0;  // for open()
    std::uint64_t offset_bytes = 0;
  };
  std::optional<Place> find(std::span<const std::byte> chunk) const;

  struct OpenFile {
    std::uint32_t file = 0;
    std::string name;  // "LAYER: /path"
    std::unique_ptr<layer::LowerFile> content;
    std::vector<layer::Piece> pieces;  // of its content
  };
  // Valid until the next call.
  ResultOrFailure<const OpenFile*> open(std::uint32_t file);
  // The index of `layer` among the parents; empty when it is none of them.
  std::optional<std::uint16_t> index_of(const layer::LayerFile* layer) const;

 private:
  struct File {
    std::uint32_t parent = 0;
    std::uint32_t inode = 0;
  };
  struct Slot {
    std::uint32_t tag = 0;  // of the hash
    std::uint32_t file = 0;
    std::uint64_t offset = 0;
  };

  ParentChunks(std::span<const std::shared_ptr<const layer::LayerFile>> parents, const Options& options);
  // The files of one parent, in the order in which its frames hold them.
  void list_files(std::uint32_t parent);
  StatusOrFailure add_file(std::uint32_t file, Monitor& monitor);
  StatusOrFailure add_range(std::uint32_t file, const OpenFile& open, layer::Range range, Monitor& monitor);
  void add(std::span<const std::byte> chunk, const Place& place);
  std::size_t slot_of(std::uint32_t tag) const;
  // Returns: false when the table may not grow.
  bool grow();

  const std::vector<std::shared_ptr<const layer::LayerFile>> parents_;
  const ChunkCutter cutter_;
  const std::size_t most_slots_;
  std::vector<File> files_;
  std::vector<Slot> slots_;  // a power of two
  std::size_t taken_ = 0;
  bool is_full_ = false;
  std::list<OpenFile> open_;  // the latest first
};

}  // namespace varve::image
