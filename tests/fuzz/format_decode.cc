// Fuzz target: the decoder and the validator alone, without files: on a layer put together from the input with good
// checksums (packed_layer.h), and on the input as it is. Any bytes give an error or tables that hold together.

#include <algorithm>
#include <array>
#include <cstring>

#include "fs/base/check.h"
#include "fs/format/layer_decode.h"
#include "fs/format/layer_validate.h"
#include "tests/fuzz/packed_layer.h"

namespace varve::format {
namespace {

// No accessor is empty for what validated tables hold themselves.
void check_answers(const LayerTables& tables) {
  for (std::uint64_t index = 1; index < tables.inodes.size(); ++index) {
    const Inode* inode = *tables.inode(index);
    const auto xattrs = tables.xattrs(*inode);
    VARVE_CHECK(xattrs.ok());
    for (const XattrEntry& entry : *xattrs) {
      VARVE_CHECK(tables.xattr_name(entry).ok() && tables.xattr_value(entry).ok());
    }
    if (inode->digest != 0) VARVE_CHECK(tables.digest(*inode).ok());
    if (inode->origin != 0) {
      const auto origin = tables.origin(*inode);
      VARVE_CHECK(origin.ok() && tables.origin_path(**origin).ok());
    }
  }
  for (const Dirent& entry : tables.dirents) {
    VARVE_CHECK(tables.name(entry).ok());
    VARVE_CHECK(is_whiteout(entry) != tables.inode(entry.inode).ok());
  }
}

void decode(std::span<const std::byte> file) {
  if (file.size() < kDataOffset + sizeof(LayerFooter)) return;
  const auto geometry = decode_header(file.first(kDataOffset));
  const auto footer = decode_footer(file.last(sizeof(LayerFooter)), file.size());
  if (!geometry.ok() || !footer.ok()) return;
  const std::uint64_t metadata = metadata_offset(*footer);
  VARVE_CHECK(metadata >= kDataOffset && metadata <= file.size() - sizeof(LayerFooter));
  const auto tables = decode_tables(file.subspan(metadata), *geometry, *footer);
  if (!tables.ok()) return;
  if (validate(*tables).ok()) check_answers(*tables);
}

// Bytes that were never a layer, as the first page and the end of a file.
void decode_as_they_are(std::span<const std::byte> bytes) {
  static_cast<void>(has_layer_magic(bytes));
  std::array<std::byte, kDataOffset> start{};
  std::memcpy(start.data(), bytes.data(), std::min(bytes.size(), start.size()));
  static_cast<void>(decode_header(start));
  if (bytes.size() < sizeof(LayerFooter)) return;
  const auto footer = decode_footer(bytes.last(sizeof(LayerFooter)), bytes.size());
  if (footer.ok()) VARVE_CHECK(metadata_offset(*footer) <= bytes.size());
}

}  // namespace
}  // namespace varve::format

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string file = varve::fuzz::unpack_layer({data, size});
  varve::format::decode(std::as_bytes(std::span(file)));
  varve::format::decode_as_they_are(std::as_bytes(std::span(data, size)));
  return 0;
}
