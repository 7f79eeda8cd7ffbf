#pragma once

// Blobs that come in, checked against what their descriptors say. Thread rule: one thread an object. Ownership: a CheckedStream borrows
// its FetchState.

#include <memory>
#include <optional>
#include <string>

#include "imagetool/transport/transport.h"

namespace varve::transfer {

// "NAME: layer 3".
std::string layer_name(const std::string& image_name, std::size_t index);

// What a download tells, and asks, as it goes. Thread rule: called from the thread that downloads.
class FetchState {
 public:
  virtual ~FetchState() = default;
  virtual void arrived(std::uint64_t) {}  // bytes
  // True: nobody wants the rest.
  virtual bool stopped() const { return false; }
};

// A blob of a source. Its end is given only when digest and size were right; that it has more bytes than its size is told without
// reading them.
class CheckedStream : public transport::ByteStream {
 public:
  // `name`: how messages call it.
  static ResultOrFailure<std::unique_ptr<CheckedStream>> open(transport::ImageSource& source,
                                                              const image::Descriptor& blob, std::string name,
                                                              FetchState& state);
  // Returns: EBADMSG, ECANCELED, or what the source says.
  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override;
  // Reads what is left, to see the end.
  StatusOrFailure drain();

 private:
  CheckedStream(std::unique_ptr<transport::ByteStream> stream, image::Descriptor blob, std::string name,
                FetchState& state);

  const std::unique_ptr<transport::ByteStream> stream_;
  const image::Descriptor blob_;
  const std::string name_;
  FetchState& state_;
  image::Sha256 hash_;
  std::uint64_t size_bytes_ = 0;
  bool good_ = false;  // the end was seen
};

// Returns: EBADMSG when `text` is not what `descriptor` says.
StatusOrFailure check_text(std::string_view text, const image::Descriptor& descriptor,
                           const std::string& name);
// A small blob, whole: at most kMostManifestBytes.
ResultOrFailure<std::string> read_blob(transport::ImageSource& source, const image::Descriptor& blob,
                                       const std::string& name);

// Writes the blob to the new file `path`.
StatusOrFailure fetch(transport::ImageSource& source, const image::Descriptor& blob, const std::string& path,
                      const std::string& name, FetchState& state);
// Likewise what it is when it is unpacked. Returns: also EBADMSG when the digest of that is not `diff_id`.
StatusOrFailure fetch_unpacked(transport::ImageSource& source, const image::Descriptor& blob,
                               const std::string& diff_id, const std::string& path, const std::string& name,
                               FetchState& state);

}  // namespace varve::transfer
