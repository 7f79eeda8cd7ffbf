#include "imagetool/image/writer/layer_output_stream.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "fs/base/check.h"

namespace varve::image {

StatusOrFailure LayerOutputStream::write(std::span<const std::byte> bytes) {
  position_ += bytes.size();
  while (fd_ >= 0 && !bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EAGAIN) {  // somebody made the pipe non-blocking
      struct pollfd waiting {
        fd_, POLLOUT, 0
      };
      ::poll(&waiting, 1, -1);
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return failure_from(count < 0 ? Errno::last() : Errno{EIO}, "writing " + name_);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

StatusOrFailure LayerOutputStream::write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  static constexpr std::array<std::byte, 4096> kZeros{};
  VARVE_CHECK(offset_bytes >= position_);
  while (position_ < offset_bytes) {
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(kZeros.size(), offset_bytes - position_));
    VARVE_RETURN_IF_ERROR(write(std::span(kZeros).first(count)));
  }
  return write(bytes);
}

}  // namespace varve::image
