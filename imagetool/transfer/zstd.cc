#include <zstd.h>

#include <algorithm>
#include <vector>

#include "imagetool/transfer/compressor.h"

namespace varve::transfer {
namespace {

constexpr int kDefaultLevel = 3;
constexpr int kPartBytes = 8 << 20;

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ::ZSTD_freeCCtx(context); }
};

class ZstdCompressor : public Compressor {
 public:
  ZstdCompressor(std::unique_ptr<ZSTD_CCtx, FreeContext> context, ByteSink sink)
      : context_(std::move(context)), sink_(std::move(sink)), buffer_(::ZSTD_CStreamOutSize()) {}

  StatusOrFailure put(std::span<const std::byte> bytes) override { return compress(bytes, ZSTD_e_continue); }
  StatusOrFailure finish() override { return compress({}, ZSTD_e_end); }

 private:
  StatusOrFailure compress(std::span<const std::byte> bytes, ZSTD_EndDirective end) {
    ZSTD_inBuffer input{bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer output{buffer_.data(), buffer_.size(), 0};
      const std::size_t left = ::ZSTD_compressStream2(context_.get(), &output, &input, end);
      if (::ZSTD_isError(left) != 0)
        return Failure{EIO, std::string("compressing with zstd: ") + ::ZSTD_getErrorName(left)};
      if (output.pos > 0) VARVE_RETURN_IF_ERROR(sink_(std::span(buffer_).first(output.pos)));
      if (end == ZSTD_e_end ? left == 0 : input.pos == input.size) return {};
    }
  }

  const std::unique_ptr<ZSTD_CCtx, FreeContext> context_;
  const ByteSink sink_;
  std::vector<std::byte> buffer_;
};

}  // namespace

ResultOrFailure<std::unique_ptr<Compressor>> make_zstd(const CompressorOptions& options, ByteSink sink) {
  std::unique_ptr<ZSTD_CCtx, FreeContext> context(::ZSTD_createCCtx());
  if (!context) return failure_from(Errno{ENOMEM}, "compressing with zstd");
  ::ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel,
                           options.level == 0 ? kDefaultLevel : options.level);
  ::ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  // Always workers, be it one: their frames differ from those without, but not by their number. A libzstd without threads says no.
  ::ZSTD_CCtx_setParameter(context.get(), ZSTD_c_nbWorkers,
                           static_cast<int>(std::clamp(options.threads, 1U, 64U)));
  // What each compresses at a time; one that is broken off ends its part first. Not less than a window (level 19: 8 MiB).
  ::ZSTD_CCtx_setParameter(context.get(), ZSTD_c_jobSize, kPartBytes);
  return std::unique_ptr<Compressor>(new ZstdCompressor(std::move(context), std::move(sink)));
}

}  // namespace varve::transfer
