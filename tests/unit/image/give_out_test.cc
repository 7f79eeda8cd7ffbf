// give_out: what arrives says the same as the image in the store, for those who know tars only.

#include "imagetool/transfer/give_out.h"

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <map>
#include <regex>

#include "fs/layer/open_layer.h"
#include "imagetool/image/layer_builder.h"
#include "imagetool/image/source/tar_source.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/image/store/store_index.h"
#include "imagetool/transfer/compressor.h"
#include "imagetool/transport/checked_copy.h"
#include "tests/unit/image/random_tree.h"
#include "tests/unit/image/scratch_directory.h"
#include "tests/unit/image/union_snapshot.h"

namespace varve::transfer {
namespace {

using image::Digest;
using image::must;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Stack = std::vector<std::shared_ptr<layer::Layer>>;

class MemoryDestination : public transport::ImageDestination {
 public:
  explicit MemoryDestination(bool in_order = false) : in_order_(in_order) {}
  const std::string& name() const override { return name_; }
  bool in_order() const override { return in_order_; }
  ResultOrFailure<bool> has_blob(const image::Descriptor& blob) override {
    MutexLock lock(mutex_);
    return blobs.count(blob.digest.text()) > 0;
  }
  StatusOrFailure put_blob(const image::Descriptor& blob, transport::ByteStream& bytes) override {
    std::string text;
    VARVE_RETURN_IF_ERROR(transport::checked_copy(bytes, blob, name_, [&](std::span<const std::byte> piece) {
      text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      return StatusOrFailure();
    }));
    MutexLock lock(mutex_);
    if (fails_after == blobs.size()) return Failure{ENOSPC, "memory: full"};
    order.push_back(blob.digest.text());
    blobs[blob.digest.text()] = std::move(text);
    return {};
  }
  StatusOrFailure put_manifest(const transport::ManifestText& text) override {
    manifest = text.bytes;
    return {};
  }
  image::Manifest parsed() const { return must(image::parse_manifest(manifest, name_)); }
  image::ImageConfig config() const {
    return must(image::parse_image_config(blobs.at(parsed().config.digest.text())));
  }

  std::map<std::string, std::string> blobs;
  std::vector<std::string> order;
  std::string manifest;
  std::size_t fails_after = ~std::size_t{0};

 private:
  const std::string name_ = "memory";
  const bool in_order_;
  Mutex mutex_;
};

// What a stream was before gzip or zstd.
std::string decompressed(const std::string& bytes) {
  struct archive* reader = ::archive_read_new();
  ::archive_read_support_filter_all(reader);
  ::archive_read_support_format_raw(reader);
  ::archive_read_support_format_empty(reader);
  archive_entry* entry = nullptr;
  std::string text;
  EXPECT_EQ(::archive_read_open_memory(reader, bytes.data(), bytes.size()), ARCHIVE_OK);
  if (::archive_read_next_header(reader, &entry) == ARCHIVE_OK) {
    std::string piece(1 << 16, '\0');
    la_ssize_t count = 0;
    while ((count = ::archive_read_data(reader, piece.data(), piece.size())) > 0)
      text.append(piece, 0, static_cast<std::size_t>(count));
    EXPECT_EQ(count, 0) << ::archive_error_string(reader);
  }
  ::archive_read_free(reader);
  return text;
}

// Which names are one file is not compared: see give_out.h.
std::vector<std::string> snapshot(const Stack& stack) {
  static const std::regex kLink(" is /[^ ]*");
  std::vector<std::string> lines = image::snapshot_of_union(stack, false);
  for (std::string& line : lines) line = std::regex_replace(line, kLink, "");
  return lines;
}

class GiveOutTest : public ::testing::Test {
 protected:
  image::Image random_image(std::uint32_t seed, image::ImageConfig config = {}) {
    std::mt19937 random(seed);
    std::vector<image::Descriptor> layers;
    Stack stack;
    std::vector<std::string> paths;
    for (int i = 0; i < 4; ++i) {
      image::RandomTree tree(random, true);
      const auto parents = stack.empty() ? nullptr : must(image::ParentFiles::make(stack, {}));
      image::BuildOptions options;
      options.writer.output_path = must(store_.scratch_directory()) + "/layer";
      options.writer.jobs = 1;
      options.parents = parents.get();
      must(image::build_layer(tree, options, monitor_));
      layers.push_back(must(store_.adopt_file(image::kLayerMediaType, options.writer.output_path)));
      paths.insert(paths.begin(), store_.blob_path(layers.back().digest));
      stack = must(layer::open_stack(paths, {}));
    }
    config.architecture = "amd64";
    return must(store_.put_image({"random", std::to_string(seed)}, std::move(config), layers));
  }
  GivenOut give(const image::Image& image, MemoryDestination& to, GiveOutOptions options = {}) {
    return must(give_out(store_, image, to, options, monitor_));
  }
  // The tars of `given`, unpacked as layers one over the other.
  Stack unpacked(const MemoryDestination& given) {
    std::vector<std::string> paths;
    for (const image::Descriptor& layer : given.parsed().layers) {
      const std::string name = scratch_ / std::to_string(paths.size());
      image::write_file(name + ".tar", given.blobs.at(layer.digest.text()));
      image::BuildOptions options;
      options.writer.output_path = name + ".layer";
      options.writer.jobs = 1;
      const auto source = must(image::TarSource::open(name + ".tar", {}, monitor_));
      must(image::build_layer(*source, options, monitor_));
      paths.insert(paths.begin(), options.writer.output_path);
    }
    return must(layer::open_stack(paths, {}));
  }
  static Stack stack_of(const image::Image& image) {
    const std::vector<std::string> paths(image.layer_paths.rbegin(), image.layer_paths.rend());
    return must(layer::open_stack(paths, {}));
  }

  image::ScratchDirectory scratch_;
  image::RememberingMonitor monitor_;
  image::Store store_ = must(image::Store::open(scratch_ / "store"));
};

TEST_F(GiveOutTest, TarsSayWhatTheLayersSaid) {
  for (std::uint32_t seed = 3000; seed < 3020; ++seed) {
    const image::Image image = random_image(seed);
    MemoryDestination to;
    EXPECT_EQ(give(image, to, {.form = LayerForm::kTar}).losses, 0U);
    ASSERT_EQ(snapshot(unpacked(to)), snapshot(stack_of(image))) << seed;
  }
  EXPECT_THAT(monitor_.warnings, ElementsAre());
}

TEST_F(GiveOutTest, DigestsAreThoseOfWhatArrived) {
  const image::Image image = random_image(3100);
  MemoryDestination plain;
  give(image, plain, {.form = LayerForm::kTar});
  for (const auto& [form, type] :
       {std::pair(LayerForm::kTarGzip, "application/vnd.oci.image.layer.v1.tar+gzip"),
        std::pair(LayerForm::kTarZstd, "application/vnd.oci.image.layer.v1.tar+zstd")}) {
    MemoryDestination to;
    const GivenOut done = give(image, to, {.form = form});
    EXPECT_EQ(done.manifest_digest, Digest::of(to.manifest));
    EXPECT_EQ(done.config_digest, to.parsed().config.digest);
    EXPECT_EQ(done.layers_written, 4U);
    const std::vector<std::string> diff_ids = to.config().diff_ids;
    ASSERT_EQ(diff_ids.size(), 4U);
    EXPECT_EQ(diff_ids, plain.config().diff_ids);
    for (std::size_t i = 0; i < diff_ids.size(); ++i) {
      const image::Descriptor layer = to.parsed().layers[i];
      EXPECT_EQ(layer.media_type, type);
      EXPECT_EQ(layer.digest, Digest::of(to.blobs.at(layer.digest.text())));
      EXPECT_EQ(diff_ids[i], Digest::of(decompressed(to.blobs.at(layer.digest.text()))).text());
    }
  }
}

TEST_F(GiveOutTest, NumberOfThreadsDoesNotShow) {
  const image::Image image = random_image(3200);
  for (const LayerForm form : {LayerForm::kTar, LayerForm::kTarGzip, LayerForm::kTarZstd}) {
    MemoryDestination one;
    MemoryDestination many(true);
    give(image, one, {.form = form, .jobs = 1});
    give(image, many, {.form = form, .jobs = 8});
    EXPECT_EQ(one.manifest, many.manifest);
    EXPECT_EQ(one.blobs, many.blobs);
    EXPECT_EQ(one.order, many.order) << "where they are wanted in order";
  }
}

TEST_F(GiveOutTest, VarveLayersGoAsTheyAre) {
  const image::Image image = random_image(3300);
  MemoryDestination to;
  const GivenOut done = give(image, to, {.form = LayerForm::kVarve});
  EXPECT_EQ(done.manifest_digest, image.digest);
  EXPECT_EQ(Digest::of(to.manifest), image.digest);
  EXPECT_EQ(to.parsed().config.digest, image.config_descriptor.digest);
  for (const image::Descriptor& layer : image.layers)
    EXPECT_EQ(to.blobs.at(layer.digest.text()).size(), layer.size_bytes);
}

TEST_F(GiveOutTest, WhatIsThereIsNotPutAgain) {
  const image::Image image = random_image(3400);
  MemoryDestination to;
  give(image, to);
  const std::size_t count = to.order.size();
  const GivenOut again = give(image, to);
  EXPECT_EQ(again.layers_written, 0U);
  EXPECT_EQ(again.bytes_written, 0U);
  EXPECT_EQ(to.order.size(), count);
}

TEST_F(GiveOutTest, HistoryHasAnEntryForEachLayer) {
  const auto history_of = [&](std::vector<image::HistoryEntry> history, std::uint32_t seed) {
    image::ImageConfig config;
    config.history = std::move(history);
    MemoryDestination to;
    give(random_image(seed, config), to);
    std::vector<std::string> said;
    for (const auto& entry : to.config().history)
      said.push_back(entry.created_by + (entry.empty_layer ? " (none)" : ""));
    return said;
  };
  using Entry = image::HistoryEntry;
  EXPECT_THAT(history_of({}, 3500), ElementsAre("", "", "", ""));
  EXPECT_THAT(history_of({Entry{.created_by = "a"}, Entry{.created_by = "b", .empty_layer = true}}, 3501),
              ElementsAre("a", "b (none)", "", "", ""));
  EXPECT_THAT(history_of({Entry{.created_by = "a"}, Entry{.created_by = "b"}, Entry{.created_by = "c"},
                          Entry{.created_by = "d"}, Entry{.created_by = "e"}},
                         3502),
              ElementsAre("a (none)", "b", "c", "d", "e"));
}

TEST_F(GiveOutTest, ConfigurationIsKept) {
  image::ImageConfig config;
  config.cmd = {"serve", "--fast"};
  config.env = {"A=b"};
  config.labels = {{"x", "y"}};
  config.source_json = R"({"variant":"v8","config":{"Healthcheck":{"Test":["NONE"]}}})";
  MemoryDestination to;
  give(random_image(3600, config), to);
  EXPECT_EQ(to.config().cmd, config.cmd);
  EXPECT_EQ(to.config().env, config.env);
  EXPECT_EQ(to.config().labels, config.labels);
  const image::Json json = image::Json::parse(to.config().source_json);
  EXPECT_EQ(json["variant"], "v8");
  EXPECT_EQ(json["config"]["Healthcheck"]["Test"][0], "NONE");
}

TEST_F(GiveOutTest, FailureOfTheDestinationIsReturned) {
  const image::Image image = random_image(3700);
  for (const bool in_order : {false, true}) {
    for (std::size_t fails_after = 0; fails_after < 5; ++fails_after) {
      MemoryDestination to(in_order);
      to.fails_after = fails_after;
      const auto done = give_out(store_, image, to, {.jobs = 4}, monitor_);
      ASSERT_FALSE(done.ok());
      EXPECT_EQ(done.error().message, "memory: full");
      EXPECT_EQ(to.manifest, "");
    }
  }
}

TEST_F(GiveOutTest, InterruptedItStops) {
  const image::Image image = random_image(3800);
  monitor_.stop = true;
  MemoryDestination to;
  const auto done = give_out(store_, image, to, {}, monitor_);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().error_number, ECANCELED);
  EXPECT_EQ(to.manifest, "");
}

TEST(Compressor, IsUndoneByOthersAndDoesNotShowHowItWasFed) {
  std::mt19937 random(1);
  for (const std::size_t size : {0U, 1U, 262144U, 262145U, 3000000U}) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i % 1000 < 700 ? i / 1000 : random());
    for (const auto make : {make_gzip, make_zstd}) {
      std::vector<std::string> results;
      for (const unsigned threads : {1U, 5U}) {
        for (const std::size_t piece : {std::size_t{100'000}, std::size_t{4'000'000}}) {
          std::string result;
          const auto compressor = must(make({.threads = threads}, [&](std::span<const std::byte> bytes) {
            result.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
            return StatusOrFailure();
          }));
          for (std::size_t at = 0; at < size; at += piece)
            must(compressor->put(std::as_bytes(std::span(text).subspan(at, std::min(piece, size - at)))));
          must(compressor->finish());
          results.push_back(std::move(result));
        }
      }
      EXPECT_TRUE(decompressed(results[0]) == text) << size;
      for (const std::string& result : results) EXPECT_TRUE(result == results[0]) << size;
    }
  }
}

}  // namespace
}  // namespace varve::transfer
