#include "imagetool/transport/image_files.h"

#include <array>

namespace varve::transport {

std::string familiar_name(std::string name) {
  for (const std::string_view prefix : {"docker.io/library/", "docker.io/"}) {
    if (name.starts_with(prefix)) name.erase(0, prefix.size());
  }
  return name;
}

ResultOrFailure<std::string> read_rest(ByteStream& stream, const std::string& name,
                                       std::uint64_t limit_bytes) {
  std::string bytes;
  std::array<std::byte, 16384> piece{};
  for (;;) {
    VARVE_ASSIGN(const std::size_t got, stream.read(piece));
    if (got == 0) return bytes;
    if (got > limit_bytes - bytes.size()) {
      return Failure{EFBIG, name + ": has more than " + std::to_string(limit_bytes) + " bytes"};
    }
    bytes.append(reinterpret_cast<const char*>(piece.data()), got);
  }
}

ResultOrFailure<std::string> read_whole(const ImageFiles& files, std::string_view path,
                                        std::uint64_t limit_bytes) {
  VARVE_ASSIGN(const std::unique_ptr<ByteStream> stream, files.open(path, 0));
  return read_rest(*stream, files.name() + ": " + std::string(path), limit_bytes);
}

}  // namespace varve::transport
