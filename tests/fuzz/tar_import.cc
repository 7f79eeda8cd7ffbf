// Fuzz target: a tar archive becomes a layer. Whatever is taken opens, verifies, and shows as many files as were built.
// Input: u8 mode, archive. Unless bit 0 of the mode is set, the checksums of its headers are repaired first.

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/base/check.h"
#include "fs/base/log.h"
#include "fs/layer/open_layer.h"
#include "imagetool/image/layer_builder.h"
#include "imagetool/image/layer_verify.h"
#include "imagetool/image/source/tar_source.h"
#include "tests/fuzz/memory_file.h"

namespace varve::image {
namespace {

constexpr std::size_t kBlock = 512;
// Larger files are mostly holes, and would be hashed as zeros for longer than a run may last.
constexpr std::uint64_t kVerifyBytes = 64 << 20;

// Every block that looks like a header of ustar or GNU tar gets the checksum that it should have.
// Source: pax(1), "ustar Interchange Format": the sum of all bytes, the field itself (148..155) counted as blanks.
std::string with_checksums(std::string archive) {
  for (std::size_t at = 0; at + kBlock <= archive.size(); at += kBlock) {
    if (archive.compare(at + 257, 5, "ustar") != 0) continue;
    unsigned sum = 8 * ' ';
    for (std::size_t i = 0; i < kBlock; ++i) {
      if (i < 148 || i >= 156) sum += static_cast<unsigned char>(archive[at + i]);
    }
    archive.replace(at + 148, 7, fmt::format("{:06o}", sum) + '\0');
  }
  return archive;
}

// On tmpfs, for the life of the process.
class Scratch {
 public:
  Scratch() { VARVE_CHECK(::mkdtemp(path_.data()) != nullptr); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    ::unlink((path_ + "/out.layer").c_str());
    ::rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/dev/shm/varve-fuzz.XXXXXX";
};

const std::string& scratch() {
  static const Scratch directory;
  return directory.path();
}

void import(const std::string& archive) {
  const fuzz::MemoryFile file(archive);
  Monitor monitor;
  auto source = TarSource::open(file.path(), {.filter = {}, .spool_directory = scratch()}, monitor);
  if (!source.ok()) return;
  const std::string output = scratch() + "/out.layer";
  const auto summary = build_layer(**source, {.writer = {.output_path = output, .jobs = 1}}, monitor);
  if (!summary.ok()) {
    VARVE_CHECK(!summary.error().message.empty());
    VARVE_CHECK(::access(output.c_str(), F_OK) != 0);  // nothing half-written
    return;
  }
  if (summary->content_bytes <= kVerifyBytes) {
    const auto report = verify_layer(output, {}, monitor);
    VARVE_CHECK(report.ok() && report->good());
    VARVE_CHECK(report->content_bytes == summary->content_bytes);
  } else {
    VARVE_CHECK(layer::open_layer(output, {}).ok());
  }
  VARVE_CHECK(::unlink(output.c_str()) == 0);
}

}  // namespace
}  // namespace varve::image

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  varve::set_log_destination({.least = varve::LogLevel::kFatal});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string archive(reinterpret_cast<const char*>(data) + 1, size - 1);
  if ((data[0] & 1) == 0) archive = varve::image::with_checksums(std::move(archive));
  varve::image::import(archive);
  return 0;
}
