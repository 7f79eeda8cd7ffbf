#pragma once

// file_pieces: where the bytes of one regular file lie, in whichever layer files. A delta file inherits what it does not store
// from a file of a parent layer, which may be a delta file itself; here all of that becomes one list, once, when the file is
// opened, so that reads never walk layers (docs/layer-format.md, "Delta files").
// Thread rule: pure functions of immutable layers. Pieces borrow the layers.

#include <cstdint>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/layer/layer.h"

namespace varve::layer {

class LayerFile;

// A range of the file that lies in one frame, or in a run of frames of equal size, of one layer.
struct Piece {
  std::uint64_t file_offset = 0;
  std::uint64_t size_bytes = 0;
  const LayerFile* layer = nullptr;
  LowerId owner;                  // the file of `layer` that the frames belong to, for messages
  std::uint64_t frame = 0;        // of the run the first
  std::uint64_t start_bytes = 0;  // where the piece begins, counted from the start of `frame`
  std::uint64_t run_frame_bytes =
      0;  // content of each frame of a run but the last; 0: the piece lies in `frame` alone

  std::uint64_t end() const { return file_offset + size_bytes; }
};

// Whether `frame`, one of `piece`, has the bytes that the piece takes from it when its content is so long. To be asked before
// those are used: a run's frames are not looked at before they are read. Requires: the frame is one of the piece's.
bool frame_holds(const Piece& piece, std::uint64_t frame, std::uint64_t content_bytes);
// A file and the files of parent layers that it inherits from.
struct FileChain {
  struct File {
    const LayerFile* layer = nullptr;
    LowerId file;
  };
  // The file itself first; each inherits from the next, as far as those can be had.
  std::vector<File> files;
  enum class End { kComplete, kMissingParent, kDamaged };
  End end = End::kComplete;
  std::string why;  // unless it is complete: what is wrong with the last of `files`
};
// Returns: EINVAL or EISDIR for an inode that is no regular file.
Result<FileChain> chain_of(const LayerFile& layer, LowerId file);

// The pieces of `file`, ascending, disjoint, within its size; what none of them covers is a hole.
// Returns: EIO, with a line in the log, when a parent is not at hand or does not hold what it should; EINVAL for an inode that
// is no regular file.
Result<std::vector<Piece>> pieces_of(const LayerFile& layer, LowerId file);

}  // namespace varve::layer
