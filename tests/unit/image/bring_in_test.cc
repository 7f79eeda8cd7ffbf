#include "imagetool/transfer/bring_in.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "fs/layer/open_layer.h"
#include "imagetool/image/layer_union.h"
#include "imagetool/image/layer_walk.h"
#include "tests/unit/image/scratch_directory.h"
#include "tests/unit/image/tar_bytes.h"
#include "tests/unit/image/test_image.h"

namespace varve::transfer {
namespace {

using image::Digest;
using image::Image;
using image::Json;
using image::MemorySource;
using image::must;
using image::Store;
using image::TarBytes;
using image::TestImage;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// Text that no compression makes small.
std::string noise(std::size_t size) {
  std::string bytes(size, '\0');
  std::uint32_t state = 1;
  for (char& c : bytes) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

std::string lower_tar() {
  return TarBytes()
      .directory("./", 0750)
      .directory("etc")
      .file("etc/passwd", "root")
      .file("etc/gone", "x")
      .directory("var")
      .file("var/old", "x")
      .add({.path = "big", .content = noise(300'000)})
      .link("big.link", "big")
      .finished();
}
std::string upper_tar() {
  return TarBytes()
      .file("etc/.wh.gone", "")
      .file("etc/new", "new")
      .directory("var")
      .file("var/.wh..wh..opq", "")
      .file("var/new", "x")
      .add({.path = "big", .content = noise(300'000), .mode = 0600})
      .finished();
}

class BringInTest : public ::testing::Test {
 protected:
  ResultOrFailure<Image> bring(transport::ImageSource& source, const std::string& store = "store") {
    stores_.push_back(std::make_unique<Store>(must(Store::open(scratch_ / store))));
    return bring_in(source, *stores_.back(), {"app", "1"}, options_, monitor_);
  }
  ResultOrFailure<Image> bring(const TestImage& from, const std::string& store = "store") {
    MemorySource source(from);
    return bring(source, store);
  }
  std::vector<std::string> names_in(const std::string& path) {
    std::vector<std::string> names;
    if (!std::filesystem::exists(scratch_ / path)) return names;
    for (const auto& entry : std::filesystem::directory_iterator(scratch_ / path))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  // All that a mount of the image would show, "PATH MODE".
  std::vector<std::string> shown(const Image& image) {
    const std::vector<std::string> paths(image.layer_paths.rbegin(), image.layer_paths.rend());
    const image::LayerUnion all(must(layer::open_stack(paths, {})));
    std::vector<std::string> names;
    const std::function<void(const image::UnionDirectory&, const std::string&)> walk =
        [&](const image::UnionDirectory& directory, const std::string& path) {
          for (const auto& [name, entry] : must(all.entries(directory))) {
            if (!entry.is_object()) continue;
            const auto spec = must(image::read_object(all.layer(entry.object), entry.object.id, name));
            std::array<char, 16> mode{};
            std::snprintf(mode.data(), mode.size(), " %o", spec.attributes.mode & 07777);
            names.push_back(path + name + mode.data());
            if (S_ISDIR(entry.type)) walk(must(all.enter(directory, name)), path + name + "/");
          }
        };
    walk(must(all.root()), "");
    return names;
  }
  // Fails with that, leaves no blob and nothing unfinished.
  void expect_failure(transport::ImageSource& source, int error_number, const std::string& text) {
    const auto before = names_in("store/blobs/sha256");
    const auto brought = bring(source);
    ASSERT_FALSE(brought.ok()) << text;
    EXPECT_EQ(brought.error().error_number, error_number) << brought.error().message;
    EXPECT_THAT(brought.error().message, HasSubstr(text));
    EXPECT_THAT(brought.error().message, ::testing::StartsWith("somewhere: "));
    EXPECT_THAT(brought.error().message, Not(HasSubstr("\n")));
    EXPECT_EQ(names_in("store/blobs/sha256"), before);
    EXPECT_THAT(names_in("store/tmp"), IsEmpty());
    EXPECT_FALSE(stores_.back()->resolve("app:1").ok());
  }
  void expect_failure(const TestImage& from, int error_number, const std::string& text) {
    MemorySource source(from);
    expect_failure(source, error_number, text);
  }

  image::ScratchDirectory scratch_;
  image::RememberingMonitor monitor_;
  BringInOptions options_;
  std::vector<std::unique_ptr<Store>> stores_;
};

std::vector<std::string> digests_of(const Image& image) {
  std::vector<std::string> digests;
  for (const image::Descriptor& layer : image.layers) digests.push_back(layer.digest.text());
  return digests;
}

TestImage two_layers(const std::string& how = "none") {
  return TestImage().add_tar(lower_tar(), how).add_tar(upper_tar(), how);
}

TEST_F(BringInTest, ShowsWhatTheLayersSay) {
  const Image image = must(bring(two_layers()));
  EXPECT_THAT(shown(image), ElementsAre("big 600", "big.link 644", "etc 755", "etc/new 644", "etc/passwd 644",
                                        "var 755", "var/new 644"));
  EXPECT_THAT(monitor_.warnings, IsEmpty());
}

TEST_F(BringInTest, KeepsTheConfigurationByteForByte) {
  TestImage from = two_layers();
  from.config["of others"] = {{"deep", 1.50}};
  const Image image = must(bring(from));
  EXPECT_EQ(image.config_descriptor.digest, Digest::of(from.config_text()));
  EXPECT_EQ(image::read_file(stores_.back()->blob_path(image.config_descriptor.digest)), from.config_text());
  EXPECT_THAT(image.config.diff_ids,
              ElementsAre(Digest::of(lower_tar()).text(), Digest::of(upper_tar()).text()));
  EXPECT_THAT(image.config.cmd, ElementsAre("sh"));
}

TEST_F(BringInTest, StoresWhatIsUnchangedOnce) {
  const Image image = must(bring(two_layers()));
  EXPECT_GT(image.layers[0].size_bytes, 300'000U);
  EXPECT_LT(image.layers[1].size_bytes, 10'000U);
}

TEST_F(BringInTest, ReadsEveryWayOfPackingALayer) {
  const Digest plain = must(bring(two_layers())).digest;
  for (const char* how : {"gzip", "zstd", "bzip2", "xz"}) {
    EXPECT_EQ(must(bring(two_layers(how), how)).digest, plain) << how;
  }
  // What eStargz and zstd:chunked do: many members; frames that are skipped, in front, between and behind.
  const auto halves = [](const std::string& tar, const std::string& how) {
    return std::pair(image::packed(tar.substr(0, 700), how), image::packed(tar.substr(700), how));
  };
  const std::string skipped("\x50\x2a\x4d\x18\x05\x00\x00\x00hello", 13);
  TestImage chunked;
  TestImage stargz;
  for (const std::string& tar : {lower_tar(), upper_tar()}) {
    const auto [zstd, zstd_rest] = halves(tar, "zstd");
    chunked.add_layer(std::string(image::kTarType) + "+zstd", zstd + skipped + zstd_rest + skipped,
                      Digest::of(tar).text());
    const auto [gzip, gzip_rest] = halves(tar, "gzip");
    stargz.add_layer("application/vnd.docker.image.rootfs.diff.tar.gzip", gzip + gzip_rest,
                     Digest::of(tar).text());
  }
  EXPECT_EQ(must(bring(chunked, "chunked")).digest, plain);
  EXPECT_EQ(must(bring(stargz, "stargz")).digest, plain);
}

TEST_F(BringInTest, ReadsManifestsOfDocker) {
  const Digest plain = must(bring(two_layers())).digest;
  TestImage docker;
  docker.manifest["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json";
  docker.config_type = "application/vnd.docker.container.image.v1+json";
  docker.add_tar(lower_tar(), "gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip");
  docker.add_tar(upper_tar(), "none", "application/vnd.docker.image.rootfs.diff.tar");
  const std::string manifest = docker.manifest_text();
  MemorySource source({"application/vnd.docker.distribution.manifest.v2+json", manifest}, docker.blobs);
  EXPECT_EQ(must(bring(source, "docker")).digest, plain);
}

TEST_F(BringInTest, TakesVarveLayersAsTheyAre) {
  const Image image = must(bring(two_layers(), "first"));
  TestImage again;
  again.config = Json::parse(image.config.source_json);
  for (const auto& layer : image.layers)
    again.layers.push_back(
        again.put(image::kLayerMediaType, image::read_file(stores_.front()->blob_path(layer.digest))));
  again.manifest["annotations"] = {{"of", "others"}};
  const std::string manifest = again.manifest_text();
  const Image copy = must(bring(again, "copy"));
  EXPECT_EQ(digests_of(copy), digests_of(image));
  EXPECT_EQ(copy.digest, Digest::of(manifest));
  EXPECT_EQ(copy.config_descriptor.digest, image.config_descriptor.digest);
  EXPECT_EQ(shown(copy), shown(image));
  // A manifest that would hold on to another one is not kept as it is.
  again.manifest["subject"] = TestImage::descriptor_of(image::kManifestMediaType, "elsewhere");
  EXPECT_EQ(must(bring(again, "other")).digest, image.digest);
  // What others say of where the metadata is has to be true.
  again.layers[1]["annotations"] = image.layers[1].annotations;
  EXPECT_EQ(must(bring(again, "annotated")).layers[1], image.layers[1]);
  again.layers[1]["annotations"]["org.varve.layer.metadata.offset"] = "0";
  expect_failure(again, EBADMSG,
                 "layer 2: the annotation org.varve.layer.metadata.offset of its descriptor is not true");
  // One layer of each kind.
  TestImage mixed;
  mixed.add_layer(std::string(image::kLayerMediaType), image::read_file(image.layer_paths[0]),
                  Digest::of(lower_tar()).text());
  mixed.add_tar(upper_tar());
  EXPECT_EQ(must(bring(mixed, "mixed")).layers, image.layers);
}

TEST_F(BringInTest, LetsLayersOfOursLieOnTop) {
  const Image image = must(bring(two_layers()));
  Store& store = *stores_.back();
  image::write_file(must(store.scratch_directory()) + "/layer", "made here");
  auto layers = image.layers;
  layers.push_back(
      must(store.adopt_file(image::kLayerMediaType, must(store.scratch_directory()) + "/layer")));
  const Image committed = must(store.put_image({"app", "2"}, image.config, layers));
  EXPECT_THAT(committed.config.diff_ids,
              ElementsAre(Digest::of(lower_tar()).text(), Digest::of(upper_tar()).text(),
                          layers.back().digest.text()));
}

TEST_F(BringInTest, ChoosesThePlatform) {
  TestImage other = TestImage().add_tar(TarBytes().file("other", "x").finished());
  other.config["architecture"] = "riscv64";
  TestImage own = two_layers();
  Json entries = Json::array();
  for (auto& [from, architecture] :
       std::vector<std::pair<TestImage*, std::string>>{{&other, "riscv64"}, {&own, "amd64"}}) {
    Json entry = from->put(image::kManifestMediaType, from->manifest_text());
    entry["platform"] = {{"os", "linux"}, {"architecture", architecture}};
    entries.push_back(entry);
  }
  own.config["architecture"] = "amd64";
  other.blobs.merge(own.blobs);
  MemorySource source({"", Json{{"schemaVersion", 2}, {"manifests", entries}}.dump()}, other.blobs);
  options_.platform = must(image::parse_platform("linux/riscv64"));
  EXPECT_THAT(shown(must(bring(source))), ElementsAre("other 644"));
  options_.platform = must(image::parse_platform("linux/amd64"));
  EXPECT_THAT(shown(must(bring(source))), SizeIs(7));
  options_.platform = must(image::parse_platform("linux/arm64"));
  const auto none = bring(source, "none");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().error_number, ENOTSUP);
  EXPECT_THAT(none.error().message, HasSubstr("there are linux/riscv64, linux/amd64"));
}

TEST_F(BringInTest, OfAnEmptyLayerAndOfNoLayers) {
  EXPECT_THAT(shown(must(bring(TestImage().add_tar("").add_tar(std::string(1024, '\0'), "gzip")))),
              IsEmpty());
  const Image none = must(bring(TestImage(), "none"));
  EXPECT_THAT(none.layers, IsEmpty());
}

TEST_F(BringInTest, TakesManyLayers) {
  TestImage from;
  for (int i = 0; i < 60; ++i) {
    const std::string name = "file" + std::to_string(i % 50);
    from.add_tar(TarBytes().file(name, std::to_string(i)).finished(), i % 2 == 0 ? "gzip" : "none");
  }
  EXPECT_THAT(shown(must(bring(from))), SizeIs(50));
}

TEST_F(BringInTest, StopsWhenItIsToldTo) {
  monitor_.stop = true;
  MemorySource source(two_layers());
  const auto stopped = bring(source);
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().error_number, ECANCELED);
  EXPECT_THAT(names_in("store/blobs/sha256"), IsEmpty());
  EXPECT_THAT(names_in("store/tmp"), IsEmpty());
}

// Notes who calls, and what is shown.
class WatchedMonitor : public image::Monitor {
 public:
  void begin(std::string_view, std::uint64_t) override { called(); }
  void advance(std::uint64_t) override { called(); }
  void end() override { called(); }
  void show_parts(std::shared_ptr<const image::PartProgress> parts) override {
    called();
    if (parts) seen = parts;
    shows = parts != nullptr;
  }
  bool cancelled() const override {
    called();
    return false;
  }
  void called() const { only_one = only_one && std::this_thread::get_id() == owner; }

  const std::thread::id owner = std::this_thread::get_id();
  mutable std::atomic<bool> only_one{true};
  std::shared_ptr<const image::PartProgress> seen;
  bool shows = false;
};

TEST_F(BringInTest, TellsHowFarEachLayerIsFromOneThread) {
  WatchedMonitor watched;
  TestImage from;
  for (int i = 0; i < 12; ++i)
    from.add_tar(TarBytes().file(std::to_string(i), noise(50'000)).finished(), "gzip");
  MemorySource source(from);
  Store store = must(Store::open(scratch_ / "store"));
  must(bring_in(source, store, {"app", "1"}, options_, watched));
  EXPECT_TRUE(watched.only_one);
  EXPECT_FALSE(watched.shows);
  const auto parts = watched.seen->parts();
  ASSERT_THAT(parts, SizeIs(12));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    EXPECT_EQ(parts[i].state, image::PartProgress::State::kDone);
    EXPECT_EQ(parts[i].done_bytes, from.layers[i]["size"]);
    EXPECT_EQ(parts[i].total_bytes, from.layers[i]["size"]);
    EXPECT_THAT(std::string(from.layers[i]["digest"]), HasSubstr(":" + parts[i].name));
  }
}

// --- layers that are there already ---

// Notes which layers are asked for.
class CountingSource : public MemorySource {
 public:
  using MemorySource::MemorySource;
  ResultOrFailure<std::unique_ptr<transport::ByteStream>> open_blob(const image::Descriptor& blob,
                                                                    std::uint64_t offset_bytes) override {
    if (blob.media_type != image::kConfigMediaType) {
      const std::lock_guard lock(mutex_);
      ++fetched;
      if (meanwhile) std::exchange(meanwhile, nullptr)();
    }
    return MemorySource::open_blob(blob, offset_bytes);
  }
  int fetched = 0;
  std::function<void()> meanwhile;  // once, during the first

 private:
  std::mutex mutex_;
};

class KnownLayersTest : public BringInTest {
 protected:
  struct Brought {
    Image image;
    int fetched;  // layers
  };
  Brought count(const TestImage& from) {
    CountingSource source(from);
    Image image = must(bring(source));
    return {std::move(image), source.fetched};
  }
  int fetched(const TestImage& from) { return count(from).fetched; }
  // Nobody adds an image.
  Store::GcSummary gc() {
    stores_.clear();
    return must(must(Store::open(scratch_ / "store")).gc({}));
  }
  // What an image shows that came into a store where nothing was.
  std::vector<std::string> honest(const TestImage& from) { return shown(must(bring(from, "honest"))); }
  TestImage varve_layer_of(const std::string& tar, const std::string& claimed_diff_id) {
    const Image made = must(bring(TestImage().add_tar(tar), "elsewhere"));
    return TestImage().add_layer(std::string(image::kLayerMediaType), image::read_file(made.layer_paths[0]),
                                 claimed_diff_id);
  }
};

TEST_F(KnownLayersTest, AreNotFetchedAgainHoweverTheyArePackedAndBuilt) {
  const Brought first = count(two_layers("gzip"));
  EXPECT_EQ(first.fetched, 2);
  const Brought second = count(two_layers("gzip"));
  EXPECT_EQ(second.fetched, 0);
  EXPECT_EQ(second.image.digest, first.image.digest);
  options_.build.writer.level = 19;
  const Brought third = count(two_layers("zstd"));
  EXPECT_EQ(third.fetched, 0);
  EXPECT_EQ(third.image.digest, first.image.digest);
  EXPECT_THAT(names_in("store/tmp"), IsEmpty());
}

TEST_F(KnownLayersTest, OfAnotherImageCountAsFarAsBothAreTheSame) {
  const Brought first = count(two_layers());
  const std::string other = TarBytes().file("other", "x").finished();
  const TestImage from = TestImage().add_tar(lower_tar(), "gzip").add_tar(other).add_tar(upper_tar());
  const Brought second = count(from);
  EXPECT_EQ(second.fetched, 2);
  EXPECT_EQ(second.image.layers[0], first.image.layers[0]);
  EXPECT_EQ(shown(second.image), honest(from));
  // The same tar over other layers is another layer.
  EXPECT_EQ(fetched(TestImage().add_tar(other).add_tar(lower_tar())), 2);
  EXPECT_EQ(fetched(TestImage().add_tar(upper_tar())), 1);
}

TEST_F(KnownLayersTest, StayWhileTheRestComesWhateverOthersDo) {
  fetched(two_layers());
  stores_.clear();
  CountingSource source(TestImage().add_tar(lower_tar()).add_tar(TarBytes().file("x", "").finished()));
  source.meanwhile = [&] {
    Store others = must(Store::open(scratch_ / "store"));
    EXPECT_TRUE(others.remove("app:1").ok());
    EXPECT_EQ(must(Store::open(scratch_ / "store")).gc({}).error().error_number, EBUSY);
  };
  const Image image = must(bring(source));
  EXPECT_EQ(source.fetched, 1);
  EXPECT_EQ(gc().blobs_removed, 3U);  // of the first image: manifest, configuration and upper layer
  EXPECT_THAT(shown(must(must(Store::open(scratch_ / "store")).resolve("app:1"))), Contains("x 644"));
}

TEST_F(KnownLayersTest, GoWithTheirImages) {
  fetched(two_layers());
  EXPECT_THAT(names_in("store/conversions"), SizeIs(2));
  gc();
  EXPECT_EQ(fetched(two_layers()), 0);
  ASSERT_TRUE(stores_.back()->remove("app:1").ok());
  gc();
  EXPECT_THAT(names_in("store/blobs/sha256"), IsEmpty());
  EXPECT_THAT(names_in("store/conversions"), IsEmpty());
  EXPECT_EQ(fetched(two_layers()), 2);
}

TEST_F(KnownLayersTest, ThatAreDamagedAreReplaced) {
  const Image image = count(two_layers()).image;
  for (const std::size_t which : {std::size_t{0}, std::size_t{1}}) {
    const std::string good = image::read_file(image.layer_paths[which]);
    for (std::string bad : {good.substr(0, good.size() - 1), good, std::string()}) {
      if (bad.size() == good.size()) bad[bad.size() / 2] ^= 1;
      std::filesystem::remove(image.layer_paths[which]);
      image::write_file(image.layer_paths[which], bad);
      EXPECT_EQ(fetched(two_layers()), which == 0 ? 2 : 1);
      EXPECT_EQ(image::read_file(image.layer_paths[which]), good);
    }
  }
}

TEST_F(KnownLayersTest, OfVarveAreKnownByTheirDigest) {
  const Image image = must(bring(two_layers(), "first"));
  TestImage as_varve;
  for (std::size_t i = 0; i < 2; ++i) {
    as_varve.add_layer(std::string(image::kLayerMediaType), image::read_file(image.layer_paths[i]),
                       image.config.diff_ids[i]);
  }
  EXPECT_EQ(fetched(as_varve), 2);
  EXPECT_EQ(fetched(as_varve), 0);
  // What a tar becomes over them is known, too, once it was converted here.
  const std::string other = TarBytes().file("other", "x").finished();
  as_varve.add_tar(other);
  EXPECT_EQ(fetched(as_varve), 1);
  EXPECT_EQ(fetched(as_varve), 0);
}

TEST_F(KnownLayersTest, AreNotWhatAnImageOfVarveLayersClaims) {
  const std::string evil_tar = TarBytes().file("evil", "x").finished();
  const TestImage honest_image = two_layers();
  const auto expected = honest(honest_image);
  // Its layer claims to come from the tar of another image's.
  TestImage evil = varve_layer_of(evil_tar, Digest::of(lower_tar()).text());
  EXPECT_EQ(fetched(evil), 1);
  const Brought lower = count(TestImage().add_tar(lower_tar()));
  EXPECT_EQ(lower.fetched, 1);
  EXPECT_THAT(shown(lower.image), Not(Contains("evil 644")));
  // On top of it lies the true tar of the other image: of its chain ids both are the same.
  stores_.clear();
  std::filesystem::remove_all(scratch_ / "store");
  evil.add_tar(upper_tar());
  EXPECT_THAT(shown(count(evil).image), Contains("evil 644"));
  const Brought both = count(honest_image);
  EXPECT_EQ(both.fetched, 2);
  EXPECT_EQ(shown(both.image), expected);
}

TEST_F(KnownLayersTest, AreWhatTheirDiffIdsSayWhateverElseTheManifestDoes) {
  fetched(two_layers());
  TestImage from;
  from.add_layer(image::kTarType, "no tar", Digest::of(lower_tar()).text());
  from.add_layer(image::kTarType, "no tar either", Digest::of(upper_tar()).text());
  const Brought brought = count(from);
  EXPECT_EQ(brought.fetched, 0);
  EXPECT_EQ(shown(brought.image), honest(two_layers()));
}

TEST_F(KnownLayersTest, AreNoneThatWereMadeHere) {
  const Image image = must(bring(two_layers()));
  Store& store = *stores_.back();
  const std::string path = must(store.scratch_directory()) + "/layer";
  image::write_file(path, "made here");
  const auto made = must(store.adopt_file(image::kLayerMediaType, path));
  must(store.put_image({"made", "1"}, image.config, {image.layers[0], image.layers[1], made}));
  // A tar of which it is said that it unpacks to that layer file.
  TestImage from = two_layers();
  from.add_layer(image::kTarType, "x", made.digest.text());
  from.blobs.erase(Digest::of("x").text());
  CountingSource source(from);
  EXPECT_EQ(bring(source).error().error_number, ENOENT);
  EXPECT_EQ(source.fetched, 1);
}

// --- what is not as it says ---

TEST_F(BringInTest, RefusesBlobsThatAreNotWhatTheyClaim) {
  const TestImage good = two_layers("gzip");
  for (const std::size_t which : {std::size_t{0}, std::size_t{1}}) {
    const std::string name = "layer " + std::to_string(which + 1);
    const std::string digest = good.layers[which]["digest"];
    TestImage wrong = good;
    wrong.blobs[digest].back() ^= 1;
    expect_failure(wrong, EBADMSG, name + ": is not what its digest");
    wrong = good;
    wrong.blobs[digest][0] = 'x';  // no archive of any kind any more
    expect_failure(wrong, EBADMSG, name + ": is not what its digest");
    wrong = good;
    wrong.blobs[digest].pop_back();
    expect_failure(wrong, EBADMSG, name + ": has less than");
    wrong = good;
    wrong.blobs[digest] += "x";
    expect_failure(wrong, EBADMSG, name + ": has more than");
    wrong = good;
    wrong.layers[which]["size"] = 5;
    expect_failure(wrong, EBADMSG, name + ": has more than the 5 bytes");
    MemorySource endless(good);
    endless.endless = digest;
    expect_failure(endless, EBADMSG, name + ": has more than");
    wrong = good;
    wrong.blobs.erase(digest);
    expect_failure(wrong, ENOENT, "no blob " + digest);
    wrong = good;
    wrong.config["rootfs"]["diff_ids"][which] = Digest::of("another tar").text();
    expect_failure(wrong, EBADMSG, name + ": unpacked it is not what");
    wrong.config["rootfs"]["diff_ids"][which] = "sha256:../../etc/passwd";
    expect_failure(wrong, EBADMSG, name + ": unpacked it is not what");
  }
}

TEST_F(BringInTest, RefusesLayersThatMakeNoSense) {
  const std::string gzip = image::packed(lower_tar(), "gzip");
  const std::string type = std::string(image::kTarType) + "+gzip";
  const auto over_good = [](const std::string& media_type, const std::string& bytes,
                            const std::string& diff_id) {
    return TestImage().add_tar(lower_tar()).add_layer(media_type, bytes, Digest::of(diff_id).text());
  };
  expect_failure(over_good(type, gzip.substr(0, gzip.size() / 2), lower_tar()), EINVAL,
                 "layer 2: cannot be unpacked");
  expect_failure(over_good(type, "no archive at all", "no archive at all"), EINVAL,
                 "layer 2: not a tar archive");
  const std::string cut = lower_tar().substr(0, 100'000);
  expect_failure(over_good(type, cut, cut), EINVAL, "layer 2: cannot be read as a tar archive");
  const std::string varve(image::kLayerMediaType);
  expect_failure(over_good(varve, "no layer", ""), EINVAL, "layer 2: ");
  for (const char* path : {"../escape", "a/../../escape", "/../escape"}) {
    const std::string tar = TarBytes().file(path, "x").finished();
    expect_failure(TestImage().add_tar(lower_tar()).add_tar(tar), EINVAL, "layer 2: member");
  }
  const std::string bad_link = TarBytes().link("a", "/etc/shadow").finished();
  expect_failure(TestImage().add_tar(lower_tar()).add_tar(bad_link), EINVAL, "which is not in the archive");
}

TEST_F(BringInTest, RefusesAVarveLayerWithoutItsParents) {
  const Image image = must(bring(two_layers(), "first"));
  TestImage from;
  from.add_layer(std::string(image::kLayerMediaType), image::read_file(image.layer_paths[1]),
                 "sha256:of a tar");
  expect_failure(from, ENOENT, "layer 1: ");
}

TEST_F(BringInTest, RefusesManifestsThatMakeNoSense) {
  const TestImage good = two_layers();
  const auto text = [&](const std::string& manifest, int error_number, const std::string& says) {
    MemorySource source({std::string(image::kManifestMediaType), manifest}, good.blobs);
    expect_failure(source, error_number, says);
  };
  text("", EINVAL, "not valid JSON");
  text("[]", EINVAL, "not a JSON object");
  text("{\"layers\":" + std::string(100'000, '['), EINVAL, "not usable JSON: nested too deeply");
  text("{}", EINVAL, "\"config\" is not a descriptor");
  text(R"({"mediaType":"application/vnd.oci.image.index.v1+json","config":{},"layers":[]})", EINVAL,
       "is not what its type");
  text(R"({"layers":[]})", EINVAL, "\"config\" is not a descriptor");
  text(R"({"config":{},"layers":[]})", EINVAL, "\"digest\" is not");
  text(R"({"config":{},"layers":{}})", EINVAL, "\"layers\" is not an array");
  text(R"({"config":{},"layers":[],"manifests":[]})", EINVAL, "an index at the same time");
  text(R"({"schemaVersion":1,"fsLayers":[]})", ENOTSUP, "schema 1");
  text(R"({"mediaType":"application/x\u001b[31m","config":{}})", ENOTSUP, "of type \"application/x?[31m\"");
  text(std::string(transport::kMostManifestBytes + 1, ' '), EFBIG, "more than 4194304 bytes");
  for (const char* digest : {"sha256:../../../../etc/passwd", "sha512:00", "md5:x", "", "sha256:ABCDEF"}) {
    TestImage wrong = good;
    wrong.layers[0]["digest"] = digest;
    expect_failure(wrong, EINVAL, "\"digest\" is not");
  }
  for (const Json& size : {Json(-1), Json("5"), Json(1.5), Json(1e300)}) {
    TestImage wrong = good;
    wrong.layers[0]["size"] = size;
    expect_failure(wrong, EINVAL, "\"size\" is not");
  }
  TestImage many;
  for (int i = 0; i < 1001; ++i) many.add_tar(lower_tar());
  expect_failure(many, EINVAL, "has 1001 layers, more than 1000");
}

TEST_F(BringInTest, RefusesWhatIsNoImageForHere) {
  TestImage other = TestImage().add_layer("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "x", "y");
  expect_failure(other, ENOTSUP, "layer 1 is encrypted");
  other = TestImage().add_layer("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "x", "y");
  expect_failure(other, ENOTSUP, "layer 1 is of type \"application/vnd.cncf.helm.chart");
  other = two_layers();
  other.config_type = "application/vnd.oci.empty.v1+json";
  expect_failure(other, ENOTSUP, "an artifact");
  other = two_layers();
  other.config["os"] = "windows";
  expect_failure(other, ENOTSUP, "operating system \"windows\"");
  other = two_layers();
  other.config["rootfs"]["diff_ids"].erase(0);
  expect_failure(other, EINVAL, "diff_ids of 1 layers, its manifest has 2");
  other = two_layers();
  other.config["config"] = "sh";
  expect_failure(other, EINVAL, "image configuration");
  other = two_layers();
  other.config["padding"] = std::string(transport::kMostManifestBytes, ' ');
  expect_failure(other, EFBIG, "its configuration: has more than");
}

TEST_F(BringInTest, RefusesIndexesThatDoNotEnd) {
  const auto index_of = [](const Json& entry) {
    return Json{{"schemaVersion", 2}, {"manifests", {entry}}}.dump();
  };
  TestImage good = two_layers();
  std::string index = good.index_text();
  for (int i = 0; i < 3; ++i) index = index_of(good.put(image::kIndexMediaType, index));
  MemorySource nested({"", index}, good.blobs);
  must(bring(nested, "nested"));
  for (int i = 0; i < 3; ++i) index = index_of(good.put(image::kIndexMediaType, index));
  MemorySource deeper({"", index}, good.blobs);
  expect_failure(deeper, EINVAL, "without an end");
  // One that claims to lead to itself.
  std::map<std::string, std::string> blobs;
  const std::string digest = Digest::of("itself").text();
  const std::string self =
      index_of({{"mediaType", std::string(image::kIndexMediaType)}, {"digest", digest}, {"size", 1}});
  blobs[digest] = self;
  MemorySource itself({std::string(image::kIndexMediaType), self}, blobs);
  expect_failure(itself, EBADMSG, "manifest: has more than the 1 bytes");
}

TEST_F(BringInTest, WarnsOfAnotherArchitecture) {
  TestImage from = two_layers();
  from.config["architecture"] = "vax";
  must(bring(from));
  EXPECT_THAT(monitor_.warnings, ElementsAre(HasSubstr("is made for linux/vax, not for ")));
}

}  // namespace
}  // namespace varve::transfer
