#pragma once

// Which files are alike, so that those lie side by side that a compressor can tell in terms of each other: a sketch of each file's
// content, and an order by sketches. After Broder, "On the resemblance and containment of documents" (1997), with one
// permutation (Li, Owen, Zhang, "One permutation hashing", 2012).
// Thread rule: plain functions.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "imagetool/image/source/tree_source.h"

namespace varve::image {

// The least hash of all runs of 8 bytes, for each of 64 parts of the range of hashes; kNoHash where there is none. Two files have
// about that share of their hashes in common that they have of their runs.
using Sketch = std::array<std::uint32_t, 64>;
inline constexpr std::uint32_t kNoHash = ~std::uint32_t{0};

Sketch sketch_of(std::span<const std::byte> content);

// Each file is followed by the one that is most like it or like one of the 18 before it; where none is like them, by the first that is
// left. A function of the sketches alone. Memory: at most about 340 bytes a file beside the sketches, which have 256; time: for
// each file, looks at no more than 64 others by each of its hashes.
// Returns: the indexes of all sketches; ECANCELED soon after `monitor` says so.
ResultOrFailure<std::vector<std::uint32_t>> order_by_similarity(std::span<const Sketch> sketches,
                                                                const Monitor& monitor);

}  // namespace varve::image
