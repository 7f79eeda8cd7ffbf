#include "imagetool/image/writer/layer_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>

#include "fs/base/unique_fd.h"
#include "fs/format/layer_layout.h"
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

// The greatest frames that the format has: packed ones, runs, and one that does not shrink.
TEST(LayerWriter, WritesTheLargestFramesTheSameForAnyNumberOfJobs) {
  const test::TemporaryDirectory directory;
  const std::string long_text = test::sample_text(2 * format::kMaxFrameBytes + 70'000, 3);
  const std::string long_noise = test::noise(format::kMaxFrameBytes + 1);
  std::string first;
  for (const unsigned jobs : {1U, 3U}) {
    LayerBuilder builder(LayerWriter::Options{.output_path = directory.file("a.layer"),
                                              .level = 1,
                                              .frame_bytes = format::kMaxFrameBytes,
                                              .jobs = jobs});
    fill(builder);
    builder.file("long text", long_text);
    builder.file("long noise", long_noise);
    builder.file("text again", long_text);
    EXPECT_GE(builder.finish().duplicate_bytes, long_text.size());
    const std::string bytes = test::read_file(directory.file("a.layer"));
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << jobs;
  }
  const auto layer = must(layer::open_layer(directory.file("a.layer"), {}));
  EXPECT_TRUE(must(test::content(*layer, "long text")) == long_text);
  EXPECT_TRUE(must(test::content(*layer, "long noise")) == long_noise);
  EXPECT_TRUE(must(test::content(*layer, "small7")) == test::sample_text(7 * 97, 7));
}

// Builds with standard output going to `path`.
void build_to_standard_output(const std::string& path) {
  std::fflush(stdout);
  const UniqueFd before(::dup(STDOUT_FILENO));
  {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
    ASSERT_TRUE(file.valid());
    ASSERT_EQ(::dup2(file.get(), STDOUT_FILENO), STDOUT_FILENO);
  }
  {
    LayerBuilder builder(LayerWriter::Options{.output_path = "-", .jobs = 3});
    fill(builder);
    builder.finish();
  }
  ASSERT_EQ(::dup2(before.get(), STDOUT_FILENO), STDOUT_FILENO);
}

TEST(LayerWriter, WritesTheSameToAStream) {
  const test::TemporaryDirectory directory;
  LayerBuilder builder(directory.file("a.layer"));
  fill(builder);
  EXPECT_GT(builder.finish().duplicate_bytes, 0U);
  build_to_standard_output(directory.file("stream"));
  // O_APPEND: what was not written in order lies elsewhere.
  EXPECT_TRUE(test::read_file(directory.file("stream")) == test::read_file(directory.file("a.layer")));
}

TEST(LayerWriter, TellsOfADryRunWhatItWouldWrite) {
  const test::TemporaryDirectory directory;
  LayerBuilder dry(LayerWriter::Options{.output_path = directory.file("a.layer"), .dry_run = true});
  fill(dry);
  const auto told = dry.finish();
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  LayerBuilder builder(directory.file("a.layer"));
  fill(builder);
  const auto written = builder.finish();
  EXPECT_EQ(told.file_bytes, written.file_bytes);
  EXPECT_EQ(told.root_hash, written.root_hash);
  EXPECT_EQ(told.duplicate_bytes, written.duplicate_bytes);
}

TEST(LayerWriter, GivesNoNameToWhatFailsItsCheck) {
  const test::TemporaryDirectory directory;
  std::uint64_t seen_bytes = 0;
  const auto check = [&](const std::string& path) -> StatusOrFailure {
    seen_bytes = std::filesystem::file_size(path);
    return Failure{EIO, "damaged"};
  };
  {
    LayerBuilder builder(LayerWriter::Options{.output_path = directory.file("a.layer"), .check = check});
    fill(builder);
    EXPECT_EQ(builder.writer().finish().error().error_number, EIO);
  }
  EXPECT_GT(seen_bytes, 100'000U);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  EXPECT_EQ(LayerWriter::create({.output_path = "-", .check = check}).error().error_number, EINVAL);
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
  EXPECT_EQ(LayerWriter::create({.output_path = path, .frame_bytes = 2 * format::kMaxFrameBytes})
                .error()
                .error_number,
            EINVAL);
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
