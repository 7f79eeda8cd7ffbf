#include "fs/layer/frame_reader.h"

#include <fmt/format.h>
#include <zstd.h>

#include <cstring>
#include <memory>
#include <new>

#include "fs/base/buffer.h"
#include "fs/format/hash.h"
#include "fs/format/layer_check.h"
#include "fs/layer/read_fully.h"

namespace varve::layer {
namespace {

// No frame has more content than this, so no window is larger.
constexpr int kWindowLogMax = format::kMaxFrameLog2;

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

// Decoding in one call writes straight into the output, so a context holds tables only (about 150 KiB), never
// a window of a size that the file chose. One for each thread that reads: making one costs as much as
// decoding a small frame.
ZSTD_DCtx* thread_context() {
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeContext> context = [] {
    std::unique_ptr<ZSTD_DCtx, FreeContext> made(ZSTD_createDCtx());
    if (made) ZSTD_DCtx_setParameter(made.get(), ZSTD_d_windowLogMax, kWindowLogMax);
    return made;
  }();
  return context.get();
}

// Room for the stored bytes of a frame, one for each thread that reads, valid until its next read. It grows to the largest frame
// that the thread has met, 8 MiB and a few bytes at most.
std::span<std::byte> stored_buffer(std::size_t size_bytes) {
  thread_local Buffer buffer;
  if (buffer.size() < size_bytes) buffer = Buffer(size_bytes);
  return buffer.bytes().first(size_bytes);
}

// Returns: empty when good, else why not.
std::string decode_stored(std::span<const std::byte> stored, std::span<std::byte> content) {
  std::uint32_t words[2];
  std::memcpy(words, stored.data(), sizeof words);
  if (words[0] != format::kStoredFrameMagic || words[1] != content.size())
    return "the header of a stored frame is wrong";
  std::memcpy(content.data(), stored.data() + sizeof words, content.size());
  return {};
}

std::string decode_zstd(std::span<const std::byte> stored, std::span<std::byte> content) {
  ZSTD_DCtx* context = thread_context();
  if (context == nullptr) throw std::bad_alloc();
  const std::size_t produced =
      ZSTD_decompressDCtx(context, content.data(), content.size(), stored.data(), stored.size());
  if (ZSTD_isError(produced)) return fmt::format("zstd: {}", ZSTD_getErrorName(produced));
  if (produced != content.size())
    return fmt::format("decodes to {} bytes instead of {}", produced, content.size());
  return {};
}

}  // namespace

Result<const format::Frame*, FrameDamage> FrameReader::record(std::uint64_t frame) const {
  if (const format::FormatStatus good = format::check_frame(tables_, frame); !good.ok()) {
    const bool unreadable = good.error().kind == format::FormatError::Kind::kUnreadable;
    return FrameDamage{Errno{EIO}, unreadable ? fmt::format("frame {}: its record is damaged", frame)
                                              : good.error().message};
  }
  return *tables_.frame(frame);
}

Result<void, FrameDamage> FrameReader::read_into(std::uint64_t frame, std::span<std::byte> content) const {
  VARVE_ASSIGN(const format::Frame* found_record, this->record(frame));
  const format::Frame& record = *found_record;
  VARVE_CHECK(content.size() == record.content_size);
  const std::uint64_t offset = format::frame_offset(record);
  const auto damage = [&](std::string_view why) {
    return FrameDamage{Errno{EIO}, fmt::format("frame {} at offset {}: {}", frame, offset, why)};
  };
  const std::span<std::byte> stored = stored_buffer(record.stored_size);
  around_.about_to_read(offset);
  if (const Status status = read_fully(fd_, offset, stored); !status.ok()) {
    return damage(status.error() == Errno{ENODATA} ? "the file ends before it"
                                                   : std::strerror(status.error().value));
  }
  if (const std::uint64_t found = format::xxh3_64(stored); found != record.xxh3) {
    return damage(
        fmt::format("checksum mismatch (expected {:016x}, found {:016x})", record.xxh3.get(), found));
  }
  const bool is_stored = (format::frame_flags(record) & format::kFrameStored) != 0;
  const std::string problem = is_stored ? decode_stored(stored, content) : decode_zstd(stored, content);
  if (!problem.empty()) return damage(problem);
  return {};
}

Result<BlockPtr, FrameDamage> FrameReader::read(std::uint64_t frame) const {
  VARVE_ASSIGN(const format::Frame* record, this->record(frame));
  auto content = std::make_shared<Block>(record->content_size);
  VARVE_RETURN_IF_ERROR(read_into(frame, content->writable()));
  return BlockPtr(std::move(content));
}

}  // namespace varve::layer
