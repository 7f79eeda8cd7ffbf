// verify_layer, of layers that this project's writer would not make. Flipped bytes: round_trip_test.cc.

#include "imagetool/image/layer_verify.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "imagetool/image/writer/layer_content_store.h"
#include "imagetool/image/writer/layer_frame_compressor.h"
#include "imagetool/image/writer/layer_metadata.h"
#include "imagetool/image/writer/layer_output_file.h"
#include "tests/unit/image/scratch_directory.h"

namespace varve::image {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A layer at `path` of files that are one hole each, all of them with a digest that is not theirs.
void write_holes(const std::string& path, const std::vector<std::uint64_t>& sizes_bytes) {
  const auto output = must(LayerOutputFile::create(path));
  LayerFrameCompressor compressor(*output, {.level = 1, .jobs = 1});
  LayerContentStore store(compressor, {});
  LayerMetadata metadata({});
  must(metadata.write_header(*output, store.frame_bytes()));
  InodeSpec spec;
  spec.attributes.mode = S_IFDIR | 0755;
  const std::uint32_t root = must(metadata.add_inode(spec));
  spec.attributes.mode = S_IFREG | 0644;
  for (const std::uint64_t size : sizes_bytes) {
    spec.attributes.size_bytes = size;
    const std::uint32_t file = must(metadata.add_inode(spec));
    must(metadata.add_name(root, "f" + std::to_string(file - 2), file));
    metadata.set_content(file, StoredContent{.extents = {}, .digest = format::Hash128{1}, .data_bytes = 0});
  }
  must(store.finish());
  auto frames = must(compressor.drain());
  must(metadata.complete({.store = store,
                          .frames = std::move(frames),
                          .data_end = compressor.data_end(),
                          .frame_bytes = store.frame_bytes(),
                          .level = 1}));
  must(metadata.write(*output));
  must(output->publish());
}

VerifyReport verify(const std::vector<std::uint64_t>& sizes_bytes) {
  const ScratchDirectory scratch;
  RememberingMonitor monitor;
  write_holes(scratch / "a.layer", sizes_bytes);
  return must(verify_layer(scratch / "a.layer", {}, monitor));
}

std::vector<std::string> damaged(const VerifyReport& report) {
  std::vector<std::string> paths;
  for (const auto& file : report.damaged_files) paths.push_back(file.path);
  return paths;
}

TEST(LayerVerify, ADigestOfAHugeHoleIsNotComparedAndThatIsTold) {
  const VerifyReport report = verify({std::uint64_t{1} << 62});
  EXPECT_EQ(report.uncompared_files, 1U);
  EXPECT_THAT(damaged(report), IsEmpty());
}

TEST(LayerVerify, HolesUpToAGibibyteAreCompared) {
  const VerifyReport report = verify({std::uint64_t{1} << 30, (std::uint64_t{1} << 30) + 1});
  EXPECT_EQ(report.uncompared_files, 1U);
  EXPECT_THAT(damaged(report), ElementsAre("/f0"));
}

TEST(LayerVerify, TheHolesOfManyFilesAreComparedUpToSixteenGibibytes) {
  const VerifyReport report = verify(std::vector<std::uint64_t>(1000, std::uint64_t{1} << 30));
  EXPECT_EQ(report.uncompared_files, 1000U - 16);
  EXPECT_EQ(damaged(report).size(), 16U);
}

}  // namespace
}  // namespace varve::image
