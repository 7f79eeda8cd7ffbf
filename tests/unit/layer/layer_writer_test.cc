#include "imagetool/image/layer_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>
#include <sys/resource.h>

#include <filesystem>

#include "fs/layer/open_layer.h"
#include "tests/unit/layer/layer_builder.h"
#include "tests/unit/layer/temporary_directory.h"

namespace varve::image {
namespace {

using test::LayerBuilder;
using test::must;
using test::spec;

// Small and large files, duplicates near and far, holes.
void fill(LayerBuilder& builder) {
  for (std::uint32_t i = 0; i < 200; ++i) {
    builder.file("small" + std::to_string(i), test::sample_text(i * 97, i % 50));
    if (i % 20 == 0) builder.file("large" + std::to_string(i), test::sample_text(300'000 + i, i % 40));
  }
  builder.sparse("sparse", 1 << 22, {{1 << 20, test::noise(100'000)}, {1 << 21, test::noise(100'000)}});
}

TEST(LayerWriter, WritesTheSameForAnyNumberOfJobs) {
  const test::TemporaryDirectory directory;
  std::string first;
  for (const unsigned jobs : {1U, 2U, 7U}) {
    LayerBuilder builder(LayerWriter::Options{.output_path = directory.file("a.layer"), .jobs = jobs});
    fill(builder);
    builder.finish();
    const std::string bytes = test::read_file(directory.file("a.layer"));
    if (first.empty()) first = bytes;
    EXPECT_GT(bytes.size(), 100'000U);
    EXPECT_TRUE(bytes == first) << jobs;
  }
}

TEST(LayerWriter, LeavesNothingBehindWithoutFinish) {
  const test::TemporaryDirectory directory;
  {
    LayerBuilder builder(directory.file("a.layer"));
    fill(builder);
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(LayerWriter, ReplacesTheOutputOnlyWhenComplete) {
  const test::TemporaryDirectory directory;
  test::write_file(directory.file("a.layer"), "before");
  LayerBuilder builder(directory.file("a.layer"));
  builder.file("file", "content");
  EXPECT_EQ(test::read_file(directory.file("a.layer")), "before");
  const auto summary = builder.finish();
  EXPECT_EQ(std::filesystem::file_size(directory.file("a.layer")), summary.file_bytes);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
}

TEST(LayerWriter, RefusesToReplaceADevice) {
  const auto writer = LayerWriter::create({.output_path = "/dev/null"});
  ASSERT_FALSE(writer.ok());
  EXPECT_THAT(writer.error().message, testing::HasSubstr("/dev/null"));
}

TEST(LayerWriter, RefusesAMissingDirectory) {
  const auto writer = LayerWriter::create({.output_path = "/nonexistent/a.layer"});
  ASSERT_FALSE(writer.ok());
  EXPECT_EQ(writer.error().error_number, ENOENT);
}

TEST(LayerWriter, RefusesBadOptions) {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("a");
  EXPECT_EQ(LayerWriter::create({.output_path = path, .level = 20}).error().error_number, EINVAL);
  EXPECT_EQ(LayerWriter::create({.output_path = path, .frame_bytes = 65537}).error().error_number, EINVAL);
  EXPECT_EQ(LayerWriter::create({.output_path = path, .frame_bytes = 2 << 20}).error().error_number, EINVAL);
  EXPECT_EQ(LayerWriter::create({.output_path = path, .packed_frame_bytes = 4096}).error().error_number,
            EINVAL);
}

TEST(LayerWriter, RefusesANameGivenTwice) {
  const test::TemporaryDirectory directory;
  LayerBuilder builder(directory.file("a"));
  builder.file("name", "1");
  must(builder.writer().add_whiteout(1, "name"));
  const auto summary = builder.writer().finish();
  ASSERT_FALSE(summary.ok());
  EXPECT_EQ(summary.error().error_number, EEXIST);
}

TEST(LayerWriter, RefusesAnObjectWithoutName) {
  const test::TemporaryDirectory directory;
  LayerBuilder builder(directory.file("a"));
  must(builder.writer().add_inode(spec(S_IFIFO | 0600)));
  EXPECT_EQ(builder.writer().finish().error().error_number, EINVAL);
}

TEST(LayerWriter, RefusesDirectoriesInALoop) {
  const test::TemporaryDirectory directory;
  LayerBuilder builder(directory.file("a"));
  const std::uint32_t a = must(builder.writer().add_inode(spec(S_IFDIR | 0755)));
  const std::uint32_t b = must(builder.writer().add_inode(spec(S_IFDIR | 0755)));
  must(builder.writer().add_name(a, "b", b));
  must(builder.writer().add_name(b, "a", a));
  EXPECT_EQ(builder.writer().finish().error().error_number, EINVAL);
}

TEST(LayerWriter, RefusesIllegalNames) {
  const test::TemporaryDirectory directory;
  LayerBuilder builder(directory.file("a"));
  const std::uint32_t inode = must(builder.writer().add_inode(spec(S_IFIFO | 0600)));
  for (const std::string_view name : {"", ".", "..", "a/b"}) {
    EXPECT_EQ(builder.writer().add_name(1, name, inode).error().error_number, EINVAL) << name;
  }
  EXPECT_EQ(builder.writer().add_name(1, std::string(256, 'n'), inode).error().error_number, ENAMETOOLONG);
}

TEST(LayerWriter, RefusesContentOutOfOrder) {
  const test::TemporaryDirectory directory;
  LayerBuilder builder(directory.file("a"));
  const std::uint32_t overlapping = builder.add("overlapping", spec(S_IFREG | 0644, 100));
  test::TextSource overlap({{0, "0123456789"}, {5, "x"}});
  EXPECT_EQ(builder.writer().add_content(overlapping, overlap).error().error_number, EINVAL);
  const std::uint32_t too_long = builder.add("too long", spec(S_IFREG | 0644, 5));
  test::TextSource text({{0, "0123456789"}});
  EXPECT_EQ(builder.writer().add_content(too_long, text).error().error_number, EINVAL);
}

TEST(LayerWriter, TellsAFullDisk) {
  const test::TemporaryDirectory directory;
  // A limit on the size of files answers EFBIG once SIGXFSZ is ignored: a disk that fills up while frames are
  // written.
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { .rlim_cur = 100'000, .rlim_max = before.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  StatusOrFailure added;
  bool finished = false;
  {
    LayerBuilder builder(directory.file("a"));
    const std::uint32_t inode = builder.add("large", spec(S_IFREG | 0644, 4 << 20));
    test::TextSource source({{0, test::noise(4 << 20)}});
    added = builder.writer().add_content(inode, source);
    finished = builder.writer().finish().ok();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, old_handler);
  EXPECT_FALSE(finished);
  ASSERT_FALSE(added.ok());
  EXPECT_EQ(added.error().error_number, EFBIG);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(LayerWriter, CountsWhatItWrote) {
  const test::TemporaryDirectory directory;
  LayerBuilder builder(directory.file("a"));
  builder.file("file", test::sample_text(1000));
  builder.sparse("sparse", 100'000, {{0, "x"}});
  const auto summary = builder.finish();
  EXPECT_EQ(summary.files, 3U);
  EXPECT_EQ(summary.content_bytes, 101'000U);
  EXPECT_EQ(summary.data_bytes, 1000U + 4096U);
  EXPECT_EQ(summary.duplicate_bytes, 0U);
  EXPECT_GT(summary.stored_bytes, 0U);
}

}  // namespace
}  // namespace varve::image
