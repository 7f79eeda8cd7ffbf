// Where images go to: what is written is what was given, whole or not at all, and the same each time.

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>

#include "imagetool/image/store/json_text.h"
#include "imagetool/image/writer/layer_output_file.h"
#include "imagetool/transport/archive_destination.h"
#include "imagetool/transport/checked_copy.h"
#include "imagetool/transport/layout_destination.h"
#include "tests/unit/image/scratch_directory.h"

namespace varve::transport {
namespace {

using image::Descriptor;
using image::Digest;
using image::must;
using image::read_file;
using image::write_file;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr const char* kTarLayer = "application/vnd.oci.image.layer.v1.tar";

Descriptor described(std::string_view media_type, std::string_view bytes) {
  return {std::string(media_type), Digest::of(bytes), bytes.size()};
}

StatusOrFailure put(ImageDestination& to, std::string_view media_type, const std::string& bytes) {
  TextStream stream(bytes);
  return to.put_blob(described(media_type, bytes), stream);
}

image::Json json_of(const Descriptor& blob) {
  return {{"mediaType", blob.media_type}, {"digest", blob.digest.text()}, {"size", blob.size_bytes}};
}

// An image of one layer, with all that belongs to it.
std::string manifest_of(const std::string& config, const std::string& layer) {
  return image::json_text({{"schemaVersion", 2},
                           {"config", json_of(described(image::kConfigMediaType, config))},
                           {"layers", {json_of(described(kTarLayer, layer))}}});
}

StatusOrFailure put_image(ImageDestination& to, const std::string& config, const std::string& layer) {
  VARVE_RETURN_IF_ERROR(put(to, kTarLayer, layer));
  VARVE_RETURN_IF_ERROR(put(to, image::kConfigMediaType, config));
  return to.put_manifest({std::string(image::kManifestMediaType), manifest_of(config, layer)});
}

class DestinationTest : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return scratch_ / name; }
  std::string layout() const { return at("layout"); }
  std::string blob(const std::string& bytes) const {
    return layout() + "/blobs/sha256/" + std::string(Digest::of(bytes).hex());
  }
  // name -> digest
  std::map<std::string, std::string> names() const {
    std::map<std::string, std::string> found;
    const image::Json index = image::Json::parse(read_file(layout() + "/index.json"));
    for (const image::Json& one : index["manifests"]) {
      found[one["annotations"]["org.opencontainers.image.ref.name"]] = one["digest"];
    }
    return found;
  }
  std::vector<std::string> files_in(const std::string& directory) const {
    std::vector<std::string> found;
    for (const auto& one : std::filesystem::directory_iterator(directory))
      found.push_back(one.path().filename());
    return found;
  }
  std::unique_ptr<ArchiveDestination> archive(const std::string& name, ArchiveKind kind,
                                              const std::string& image_name = "web:1") {
    return must(ArchiveDestination::open(must(image::LayerOutputFile::create(at(name))), kind, image_name));
  }
  // Members in their order, "PATH" -> bytes.
  std::vector<std::pair<std::string, std::string>> members(const std::string& name) const {
    std::vector<std::pair<std::string, std::string>> found;
    archive_entry* entry = nullptr;
    struct archive* reader = ::archive_read_new();
    ::archive_read_support_format_tar(reader);
    EXPECT_EQ(::archive_read_open_filename(reader, at(name).c_str(), 10240), ARCHIVE_OK);
    while (::archive_read_next_header(reader, &entry) == ARCHIVE_OK) {
      std::string bytes(static_cast<std::size_t>(::archive_entry_size(entry)), '\0');
      EXPECT_EQ(::archive_read_data(reader, bytes.data(), bytes.size()),
                static_cast<la_ssize_t>(bytes.size()));
      EXPECT_EQ(::archive_entry_mtime(entry), 0);
      found.emplace_back(::archive_entry_pathname(entry), bytes);
    }
    ::archive_read_free(reader);
    return found;
  }

  image::ScratchDirectory scratch_;
};

TEST_F(DestinationTest, LayoutHoldsWhatWasPut) {
  must(put_image(*must(LayoutDestination::open(layout(), "web:1")), "config", "layer"));
  EXPECT_EQ(read_file(layout() + "/oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}");
  EXPECT_EQ(read_file(blob("layer")), "layer");
  EXPECT_EQ(read_file(blob("config")), "config");
  const std::string manifest = manifest_of("config", "layer");
  EXPECT_EQ(read_file(blob(manifest)), manifest);
  EXPECT_THAT(names(), ElementsAre(std::pair("web:1", Digest::of(manifest).text())));
  EXPECT_THAT(files_in(layout()), UnorderedElementsAre("blobs", "index.json", "oci-layout"));
}

TEST_F(DestinationTest, LayoutKeepsOthersAndGivesTheNameToTheLast) {
  must(put_image(*must(LayoutDestination::open(layout(), "web:1")), "config", "layer"));
  must(put_image(*must(LayoutDestination::open(layout(), "web:2")), "config 2", "layer"));
  must(put_image(*must(LayoutDestination::open(layout(), "web:1")), "config 3", "layer"));
  EXPECT_THAT(names(), ElementsAre(std::pair("web:1", Digest::of(manifest_of("config 3", "layer")).text()),
                                   std::pair("web:2", Digest::of(manifest_of("config 2", "layer")).text())));
}

TEST_F(DestinationTest, LayoutKnowsWhatItHas) {
  must(put_image(*must(LayoutDestination::open(layout(), "web:1")), "config", "layer"));
  const auto again = must(LayoutDestination::open(layout(), "web:2"));
  EXPECT_TRUE(must(again->has_blob(described(kTarLayer, "layer"))));
  EXPECT_FALSE(must(again->has_blob(described(kTarLayer, "other"))));
  write_file(blob("other"), "oth");  // broken off
  EXPECT_FALSE(must(again->has_blob(described(kTarLayer, "other"))));
}

TEST_F(DestinationTest, LayoutMayLieInDirectoriesThatAreMissing) {
  must(put(*must(LayoutDestination::open(at("a//b/c/"), "web:1")), kTarLayer, "layer"));
  EXPECT_FALSE(std::filesystem::exists(at("a")));
  must(put_image(*must(LayoutDestination::open(at("a/b/c"), "web:1")), "config", "layer"));
  EXPECT_TRUE(std::filesystem::exists(at("a/b/c/index.json")));
}

TEST_F(DestinationTest, LayoutWithoutItsManifestLeavesNothing) {
  must(put(*must(LayoutDestination::open(layout(), "web:1")), kTarLayer, "layer"));
  EXPECT_FALSE(std::filesystem::exists(layout()));

  must(put_image(*must(LayoutDestination::open(layout(), "web:1")), "config", "layer"));
  const std::string index = read_file(layout() + "/index.json");
  {
    const auto broken_off = must(LayoutDestination::open(layout(), "web:1"));
    must(put(*broken_off, kTarLayer, "layer"));
    must(put(*broken_off, kTarLayer, "layer 2"));
  }
  EXPECT_EQ(read_file(layout() + "/index.json"), index);
  EXPECT_EQ(files_in(layout() + "/blobs/sha256").size(), 3U);
  EXPECT_EQ(read_file(blob("layer")), "layer");
}

TEST_F(DestinationTest, BytesThatAreNotTheDescriptorsAreRefused) {
  const auto to = must(LayoutDestination::open(layout(), "web:1"));
  const Descriptor blob_of_layer = described(kTarLayer, "layer");
  for (const char* other : {"laye", "layer!", "lAyer", ""}) {
    TextStream bytes{std::string(other)};
    const StatusOrFailure done = to->put_blob(blob_of_layer, bytes);
    ASSERT_FALSE(done.ok()) << other;
    EXPECT_EQ(done.error().error_number, EBADMSG);
    EXPECT_THAT(done.error().message, HasSubstr(blob_of_layer.digest.short_hex()));
  }
  EXPECT_THAT(files_in(layout() + "/blobs/sha256"), ElementsAre());
}

TEST_F(DestinationTest, DirectoriesOfOthersAreNoLayouts) {
  std::filesystem::create_directory(layout());
  write_file(layout() + "/precious", "mine");
  const auto foreign = LayoutDestination::open(layout(), "web:1");
  ASSERT_FALSE(foreign.ok());
  EXPECT_THAT(foreign.error().message, HasSubstr("precious"));
  EXPECT_THAT(files_in(layout()), ElementsAre("precious"));

  auto store = must(image::Store::open(at("store")));
  must(store.scratch_directory());
  const auto ours = LayoutDestination::open(at("store"), "web:1");
  ASSERT_FALSE(ours.ok());
  EXPECT_THAT(ours.error().message, HasSubstr("image store of varve"));
}

TEST_F(DestinationTest, OciArchiveIsALayout) {
  must(put_image(*archive("a.tar", ArchiveKind::kOci), "config", "layer"));
  const std::string manifest = manifest_of("config", "layer");
  const auto path = [](const std::string& bytes) {
    return "blobs/sha256/" + std::string(Digest::of(bytes).hex());
  };
  const auto found = members("a.tar");
  ASSERT_EQ(found.size(), 7U);
  EXPECT_EQ(found[0].first, "oci-layout");
  EXPECT_EQ(found[3], std::pair(path("layer"), std::string("layer")));
  EXPECT_EQ(found[4], std::pair(path("config"), std::string("config")));
  EXPECT_EQ(found[5], std::pair(path(manifest), manifest));
  EXPECT_EQ(found[6].first, "index.json");
  const image::Json entry = image::Json::parse(found[6].second)["manifests"][0];
  EXPECT_EQ(entry["digest"], Digest::of(manifest).text());
  EXPECT_EQ(entry["annotations"]["org.opencontainers.image.ref.name"], "web:1");
}

TEST_F(DestinationTest, DockerArchiveNamesItsLayers) {
  must(put_image(*archive("d.tar", ArchiveKind::kDocker), "config", "layer"));
  const std::string layer = std::string(Digest::of("layer").hex()) + ".tar";
  const std::string config = std::string(Digest::of("config").hex()) + ".json";
  const auto found = members("d.tar");
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0], std::pair(layer, std::string("layer")));
  EXPECT_EQ(found[1], std::pair(config, std::string("config")));
  EXPECT_EQ(found[2].first, "manifest.json");
  const image::Json expected = {{{"Config", config}, {"RepoTags", {"web:1"}}, {"Layers", {layer}}}};
  EXPECT_EQ(image::Json::parse(found[2].second), expected);
}

TEST_F(DestinationTest, DockerArchiveRefusesWhatItsReadersWould) {
  const auto to = archive("d.tar", ArchiveKind::kDocker);
  const StatusOrFailure compressed = put(*to, std::string(kTarLayer) + "+gzip", "layer");
  ASSERT_FALSE(compressed.ok());
  EXPECT_EQ(compressed.error().error_number, ENOTSUP);
  for (const char* name : {"Web:1", "web", "web:", "a//b:1", "-web:1", "web_:1", "a..b:1"}) {
    const auto opened = ArchiveDestination::open(must(image::LayerOutputFile::create(at("x.tar"))),
                                                 ArchiveKind::kDocker, name);
    EXPECT_FALSE(opened.ok()) << name;
  }
  for (const char* name : {"web:1", "host:5000/team/app:v1.2", "Host.example/a__b/c-d:T", "a.b_c:1"}) {
    archive("x.tar", ArchiveKind::kDocker, name);
  }
}

TEST_F(DestinationTest, ArchivesOfEqualImagesAreEqual) {
  for (const ArchiveKind kind : {ArchiveKind::kOci, ArchiveKind::kDocker}) {
    must(put_image(*archive("1.tar", kind), "config", "layer"));
    must(put_image(*archive("2.tar", kind), "config", "layer"));
    EXPECT_TRUE(read_file(at("1.tar")) == read_file(at("2.tar")));
  }
}

TEST_F(DestinationTest, ArchiveHoldsABlobOnce) {
  const auto to = archive("a.tar", ArchiveKind::kDocker);
  must(put(*to, kTarLayer, "layer"));
  EXPECT_TRUE(must(to->has_blob(described(kTarLayer, "layer"))));
  must(put_image(*to, "config", "layer"));
  EXPECT_EQ(members("a.tar").size(), 3U);
}

TEST_F(DestinationTest, ArchiveThatIsNotCompleteHasNoName) {
  write_file(at("a.tar"), "before");
  must(put(*archive("a.tar", ArchiveKind::kOci), kTarLayer, "layer"));
  EXPECT_EQ(read_file(at("a.tar")), "before");
  EXPECT_THAT(files_in(scratch_.path()), ElementsAre("a.tar"));
}

class FullOutput : public image::LayerOutput {
 public:
  const std::string& name() const override { return name_; }
  StatusOrFailure write_at(std::uint64_t, std::span<const std::byte>) override {
    return Failure{ENOSPC, "full"};
  }
  int readable_fd() const override { return -1; }
  StatusOrFailure publish() override {
    ADD_FAILURE() << "published";
    return {};
  }

 private:
  const std::string name_ = "full";
};

TEST_F(DestinationTest, ArchiveSaysWhyItCannotBeWritten) {
  const auto to = must(ArchiveDestination::open(std::make_unique<FullOutput>(), ArchiveKind::kOci, "web:1"));
  const StatusOrFailure done = put_image(*to, "config", std::string(100'000, 'x'));
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().error_number, ENOSPC);
  EXPECT_EQ(done.error().message, "full");
}

}  // namespace
}  // namespace varve::transport
