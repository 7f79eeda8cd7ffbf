#include "imagetool/image/store/digest.h"

// The SHA256_* functions: EVP loads the providers and reads openssl.cnf first, which takes as long as starting a container.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

namespace varve::image {
namespace {

constexpr std::string_view kPrefix = "sha256:";
constexpr std::size_t kHexDigits = 64;
constexpr std::size_t kReadBytes = 1 << 20;

}  // namespace

Result<Digest> Digest::parse(std::string_view text) {
  if (text.size() != kPrefix.size() + kHexDigits || !text.starts_with(kPrefix)) return Errno{EINVAL};
  const std::string_view hex = text.substr(kPrefix.size());
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (!std::all_of(hex.begin(), hex.end(), is_hex)) return Errno{EINVAL};
  return Digest(std::string(text));
}

Digest Digest::of(std::string_view bytes) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(bytes)));
  return hash.finish();
}

struct Sha256::Context {
  SHA256_CTX sha;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  VARVE_CHECK(SHA256_Init(&context_->sha) == 1);
}

Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  VARVE_CHECK(SHA256_Update(&context_->sha, bytes.data(), bytes.size()) == 1);
}

Digest Sha256::finish() {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> raw{};
  VARVE_CHECK(SHA256_Final(raw.data(), &context_->sha) == 1);
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text(kPrefix);
  for (const unsigned char byte : raw) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return Digest(std::move(text));
}

Result<DigestAndSize> digest_of_file(int fd) {
  Sha256 hash;
  std::vector<std::byte> buffer(kReadBytes);
  std::uint64_t offset = 0;
  for (;;) {
    const ssize_t got = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Errno::last();
    if (got == 0) break;
    hash.update(std::span(buffer).first(static_cast<std::size_t>(got)));
    offset += static_cast<std::uint64_t>(got);
  }
  return DigestAndSize{hash.finish(), offset};
}

}  // namespace varve::image
