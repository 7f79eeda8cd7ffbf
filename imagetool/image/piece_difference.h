#pragma once

// changed_ranges: which ranges of a file do not lie at the same place as those of another one. What lies at the same place is
// equal without a look at it, which is how a delta file tells its own blocks from what it inherits.
// Thread rule: pure functions.

#include <cstdint>
#include <span>
#include <vector>

#include "fs/layer/file_pieces.h"
#include "fs/layer/layer.h"

namespace varve::image {

// `pieces` of a file of `size_bytes`, `below` of the other one, both from layer::pieces_of. Behind its end the other file is
// a hole.
// Returns: ranges of whole 4 KiB blocks, the last one up to the end of the file; ascending, apart.
std::vector<layer::Range> changed_ranges(std::span<const layer::Piece> pieces, std::uint64_t size_bytes,
                                         std::span<const layer::Piece> below);

// 4 KiB blocks that hold data.
std::uint64_t data_blocks_of(std::span<const layer::Piece> pieces);

}  // namespace varve::image
