#pragma once

// seal_layer: makes the checksums of a layer file right again after its metadata was changed on purpose, so that a reader
// gets to see what the records say. Pure.

#include <string>

namespace varve::test {

// `file`: a layer file with footer and section table in place. Sets the hashes of all sections and of their pages, the root hash
// and the footer's checksum; nothing else. Sections that do not lie in the file are left as they are.
void seal_layer(std::string& file);

// How long PAGE_HASH has to be over sections from `begin` to `end`.
std::size_t page_hash_bytes(std::size_t begin, std::size_t end);

}  // namespace varve::test
