#include "imagetool/image/layer_annotations.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "fs/base/unique_fd.h"
#include "fs/format/layer_decode.h"
#include "fs/layer/read_fully.h"
#include "imagetool/image/store/digest.h"

namespace varve::image {

ResultOrFailure<std::map<std::string, std::string>> layer_annotations(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) return failure_from(Errno::last(), path);
  const auto file_bytes = static_cast<std::uint64_t>(status.st_size);
  std::array<std::byte, sizeof(format::LayerFooter)> end{};
  if (file_bytes < end.size()) return Failure{EUCLEAN, path + ": is no layer file"};
  if (const Status read = layer::read_fully(file.get(), file_bytes - end.size(), end); !read.ok())
    return failure_from(read.error(), path);
  const auto footer = format::decode_footer(end, file_bytes);
  if (!footer.ok()) return Failure{EUCLEAN, path + ": is no layer file"};
  const std::uint64_t offset = format::metadata_offset(*footer);
  Sha256 hash;
  std::vector<std::byte> piece(1 << 18);
  for (std::uint64_t at = offset; at < file_bytes;) {
    const auto part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), file_bytes - at));
    if (const Status read = layer::read_fully(file.get(), at, part); !read.ok())
      return failure_from(read.error(), path);
    hash.update(part);
    at += part.size();
  }
  return std::map<std::string, std::string>{
      {"org.varve.layer.metadata.digest", hash.finish().text()},
      {"org.varve.layer.metadata.offset", std::to_string(offset)},
      {"org.varve.layer.metadata.size", std::to_string(file_bytes - offset)},
  };
}

}  // namespace varve::image
