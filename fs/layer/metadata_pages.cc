#include "fs/layer/metadata_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "fs/base/check.h"
#include "fs/base/log.h"
#include "fs/layer/read_fully.h"

namespace varve::layer {

Result<std::unique_ptr<MetadataPages>> MetadataPages::make(Source source) {
  const std::uint64_t size_bytes = source.sections.paged_end() - source.sections.paged_begin();
  VARVE_CHECK(source.hashes.size() == format::metadata_page_count(size_bytes));
  VARVE_ASSIGN(MetadataBytes memory, MetadataBytes::reserve(size_bytes));
  return std::unique_ptr<MetadataPages>(new MetadataPages(std::move(source), std::move(memory)));
}

MetadataPages::MetadataPages(Source source, MetadataBytes memory)
    : source_(std::move(source)),
      memory_(std::move(memory)),
      flags_(std::make_unique<std::atomic<unsigned char>[]>(source_.hashes.size())),
      told_(source_.hashes.size()) {
  base_ = memory_.bytes().data();
  present_ = flags_.get();
}

bool MetadataPages::fetch(std::size_t page) const {
  const std::uint64_t offset = page * format::kMetadataPageBytes;
  std::array<std::byte, format::kMetadataPageBytes> buffer;
  const std::span<std::byte> bytes =
      std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), memory_.bytes().size() - offset));
  if (const std::string why = read(page, bytes); !why.empty()) {
    tell(page, why);
    return false;
  }
  const MutexLock lock(mutex_);
  if (flags_[page].load(std::memory_order_relaxed) != 0) return true;
  std::memcpy(memory_.writable().data() + offset, bytes.data(), bytes.size());
  flags_[page].store(1, std::memory_order_release);
  return true;
}

std::string MetadataPages::read(std::size_t page, std::span<std::byte> out) const {
  const std::uint64_t offset = source_.sections.paged_begin() + page * format::kMetadataPageBytes;
  if (const Status status = read_fully(source_.fd, offset, out); !status.ok()) {
    return status.error() == Errno{ENODATA} ? "the file ends before it" : std::strerror(status.error().value);
  }
  const format::FormatStatus good = format::check_page(out, source_.hashes[page]);
  return good.ok() ? std::string() : good.error().message;
}

// Once for each page: whatever lies in it is asked for again and again.
void MetadataPages::tell(std::size_t page, const std::string& why) const {
  {
    const MutexLock lock(mutex_);
    if (told_[page]) return;
    told_[page] = true;
  }
  const std::uint64_t begin = source_.sections.paged_begin() + page * format::kMetadataPageBytes;
  log_error("layer {}: metadata at offset {} ({}): {}", source_.name, begin,
            source_.sections.names_within(begin, begin + format::kMetadataPageBytes), why);
}

}  // namespace varve::layer
