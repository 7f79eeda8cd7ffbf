#pragma once

// MetadataPages: the metadata of a layer file in memory, page by page as it is touched. Each page is read into a buffer of the
// reader's own, verified against its hash of PAGE_HASH there, and then copied to its place and published; so what is seen
// was verified, whatever the file does meanwhile, and records and ranges stay contiguous.
// Thread rule: MetadataGate's; no lock is held while a page is read, so two threads may read one page, and one publishes.
// Memory: pages that were touched, which stay. Ownership: borrows the descriptor.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fs/base/mutex.h"
#include "fs/base/result.h"
#include "fs/format/layer_layout.h"
#include "fs/format/layer_sections.h"
#include "fs/format/metadata_gate.h"
#include "fs/layer/metadata_bytes.h"

namespace varve::layer {

class MetadataPages final : public format::MetadataGate {
 public:
  struct Source {
    int fd = -1;
    std::string name;  // of the layer, for messages
    format::SectionTable sections;
    std::vector<Le64> hashes;  // PAGE_HASH, verified
  };
  // Requires: sections.is_paged(), with as many hashes. Returns: ENOMEM.
  static Result<std::unique_ptr<MetadataPages>> make(Source source);

  // The bytes of the paged part; to be touched where admit() said so.
  std::span<const std::byte> bytes() const { return memory_.bytes(); }
  const format::SectionTable& sections() const { return source_.sections; }

 private:
  MetadataPages(Source source, MetadataBytes memory);

  bool fetch(std::size_t page) const override;
  // Fills `out`, the bytes of the page, verified. Returns: why not; empty when good.
  std::string read(std::size_t page, std::span<std::byte> out) const;
  void tell(std::size_t page, const std::string& why) const;

  const Source source_;
  mutable MetadataBytes memory_;
  const std::unique_ptr<std::atomic<unsigned char>[]> flags_;
  mutable Mutex mutex_;                                // held while a page is copied to its place; innermost
  mutable std::vector<bool> told_ GUARDED_BY(mutex_);  // per page: the log has its damage
};

}  // namespace varve::layer
