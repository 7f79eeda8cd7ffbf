#include "imagetool/transport/checked_copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace varve::transport {
namespace {

constexpr std::size_t kPieceBytes = 1 << 20;

}  // namespace

StatusOrFailure checked_copy(ByteStream& bytes, const image::Descriptor& blob, const std::string& where,
                             const std::function<StatusOrFailure(std::span<const std::byte>)>& write) {
  image::Sha256 hash;
  std::vector<std::byte> buffer(kPieceBytes);
  std::uint64_t done_bytes = 0;
  for (;;) {
    VARVE_ASSIGN(const std::size_t count, bytes.read(buffer));
    if (count == 0) break;
    if (count > blob.size_bytes - done_bytes) {
      return Failure{EBADMSG, fmt::format("{}: blob {} has more than the {} bytes that its descriptor says",
                                          where, blob.digest.short_hex(), blob.size_bytes)};
    }
    const auto piece = std::span(buffer).first(count);
    hash.update(piece);
    VARVE_RETURN_IF_ERROR(write(piece));
    done_bytes += count;
  }
  if (done_bytes != blob.size_bytes) {
    return Failure{EBADMSG, fmt::format("{}: blob {} ends after {} of {} bytes", where,
                                        blob.digest.short_hex(), done_bytes, blob.size_bytes)};
  }
  if (hash.finish() != blob.digest) {
    return Failure{EBADMSG, fmt::format("{}: blob {} is damaged: other bytes than its digest says", where,
                                        blob.digest.short_hex())};
  }
  return {};
}

ResultOrFailure<std::size_t> TextStream::read(std::span<std::byte> into) {
  const std::size_t count = std::min(into.size(), text_.size() - next_);
  std::memcpy(into.data(), text_.data() + next_, count);
  next_ += count;
  return count;
}

}  // namespace varve::transport
