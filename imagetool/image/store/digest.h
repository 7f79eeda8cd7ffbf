#pragma once

// Digest: the name of a blob, "sha256:" and 64 lower-case hexadecimal digits (OCI image-spec descriptor.md).
// A Digest object always holds a well-formed one, so that a path made of it cannot leave its directory.
// Sha256: the running hash behind it, by libcrypto. Thread rule: plain values; a Sha256 belongs to one
// thread.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "fs/base/result.h"

namespace varve::image {

class Digest {
 public:
  // Returns: EINVAL when `text` is not "sha256:" and 64 lower-case hexadecimal digits.
  static Result<Digest> parse(std::string_view text);
  static Digest of(std::string_view bytes);

  const std::string& text() const { return text_; }
  std::string_view hex() const { return std::string_view(text_).substr(7); }
  // The first 12 digits: what listings show.
  std::string short_hex() const { return std::string(hex().substr(0, 12)); }
  friend bool operator==(const Digest&, const Digest&) = default;
  friend auto operator<=>(const Digest&, const Digest&) = default;

 private:
  friend class Sha256;
  explicit Digest(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::span<const std::byte> bytes);
  // Requires: called once; nothing is added afterwards.
  Digest finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

struct DigestAndSize {
  Digest digest;
  std::uint64_t size_bytes = 0;
};

// Hashes the whole file behind `fd` from offset 0, whatever its file position is.
Result<DigestAndSize> digest_of_file(int fd);

}  // namespace varve::image
