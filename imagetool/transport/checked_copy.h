#pragma once

// checked_copy: the bytes of a blob go somewhere, and are what its descriptor says. Thread rule: stateless.

#include <functional>

#include "imagetool/transport/transport.h"

namespace varve::transport {

// Gives `bytes` to `write`, piece by piece. Returns: EBADMSG, with a message that begins with `where`, when their size or digest is
// another than the descriptor's (then all that was written is worth nothing), never more of them than it says; else what
// `bytes` or `write` fails with.
StatusOrFailure checked_copy(ByteStream& bytes, const image::Descriptor& blob, const std::string& where,
                             const std::function<StatusOrFailure(std::span<const std::byte>)>& write);

// The bytes of a text that is at hand.
class TextStream : public ByteStream {
 public:
  explicit TextStream(std::string text) : text_(std::move(text)) {}
  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override;
  StatusOrFailure rewind() override {
    next_ = 0;
    return {};
  }

 private:
  const std::string text_;
  std::size_t next_ = 0;
};

}  // namespace varve::transport
