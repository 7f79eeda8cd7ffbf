#pragma once

// TarWriter: writes pax archives (POSIX.1-2017, pax, "pax Interchange Format") with the records that GNU tar and
// libarchive read: SCHILY.xattr.*, SCHILY.acl.*, and sparse files as "GNU.sparse" 1.0 maps (GNU tar manual, "Storing Sparse
// Files"), so that a hole costs nothing however large. The bytes are a function of the calls. Thread rule: one thread.
// Ownership: borrows the output.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "fs/layer/layer.h"
#include "imagetool/image/writer/layer_output.h"
#include "imagetool/image/writer/layer_writer.h"

namespace varve::image {

struct TarMember {
  std::string_view path;       // without a leading '/'; the root is "."
  std::string_view hard_link;  // the path of an earlier member that this one is another name of; empty: none
  const InodeSpec& spec;       // opaque, redirect and base are not looked at
  // Regular files: the ranges of data, ascending and within the size; what they leave out is a hole. All but the last have a
  // multiple of 512 bytes: GNU tar looks for each range at the next block of the archive, libarchive right behind the one before.
  std::span<const layer::Range> data;
};

// Who is to read it.
enum class TarStyle : std::uint8_t {
  kForTar,  // tar(1) and bsdtar(1): access control lists as text
  kForLayers,  // what unpacks OCI layers, most of it by Go's archive/tar: access control lists as extended attributes, since
  // text is read by none; no sparse files, as image-spec layer.md advises, and which tar-split cannot put together again
};

class TarWriter {
 public:
  explicit TarWriter(LayerOutput& output, TarStyle style = TarStyle::kForTar)
      : output_(output), style_(style) {}

  // The header of the next member. Then the bytes of `data`, one range after the other, are put(); none for a hard link.
  // Requires: all bytes of the member before were put; `spec` is no socket, which a tar cannot hold.
  StatusOrFailure begin(const TarMember& member);
  StatusOrFailure put(std::span<const std::byte> bytes);
  // The mark that ends an archive. What was written without it is seen to be incomplete.
  StatusOrFailure finish();

 private:
  StatusOrFailure write(std::span<const std::byte> bytes);
  StatusOrFailure write_text(std::string_view text) { return write(std::as_bytes(std::span(text))); }
  StatusOrFailure pad(std::uint64_t multiple_bytes);
  StatusOrFailure flush();

  LayerOutput& output_;
  const TarStyle style_;
  std::vector<std::byte> buffer_;      // not yet written
  std::uint64_t written_bytes_ = 0;    // to the output
  std::uint64_t remaining_bytes_ = 0;  // of the member's data
};

}  // namespace varve::image
