#pragma once

// PackedLayer: the input of the targets that read layer files. A layer file is mostly padding, and every mutation of one
// stops at a checksum; so the input holds only the parts, and the file is put together from them with checksums, offsets
// and counts that are right. What the fuzzer changes is then what the records say, and that is what is to be tried.
//
//   input:  u8 mode, pieces          mode: kBreakChecksums, kKeepOrder
//   piece:  u8 kind, u16 size, bytes (fewer at the end of the input)
//   kind:   0 the header's 64 bytes; 1..63 a section of that type; 64 DATA; 65 the footer's 256 bytes; 66 flips
// PAGE_HASH (13) is always made anew, right for the others.
//
// All integers little-endian. Thread rule: pure functions.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace varve::fuzz {

// Flips are 5 bytes each, u32 offset (modulo the file's size) and u8 mask, and are done last, over good checksums.
inline constexpr std::uint8_t kBreakChecksums = 1;
// Without it the hashes of names are repaired too, and the entries of each directory sorted by them.
inline constexpr std::uint8_t kKeepOrder = 2;

enum class PieceKind : std::uint8_t { kHeader = 0, kLastSection = 63, kData = 64, kFooter = 65, kFlips = 66 };

// The layer file that `input` stands for; at most a few pages more than `input` is long for each of its pieces.
std::string unpack_layer(std::span<const std::uint8_t> input);

// The input that unpack_layer makes `file` of, with the mode 0. Requires: a good layer file with parts below 64 KiB.
std::string pack_layer(std::string_view file);

}  // namespace varve::fuzz
