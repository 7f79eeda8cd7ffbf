// Images in OCI layouts and in what `docker save` writes: directories and archives.

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>

#include "imagetool/transport/image_at.h"
#include "imagetool/transport/image_files.h"
#include "tests/unit/image/scratch_directory.h"
#include "tests/unit/image/tar_bytes.h"
#include "tests/unit/image/test_image.h"

namespace varve::transport {
namespace {

using image::Digest;
using image::Json;
using image::must;
using image::TarBytes;
using image::TestImage;
using ::testing::HasSubstr;

using Files = std::map<std::string, std::string>;

TestImage small_image() {
  return TestImage()
      .add_tar(TarBytes().file("a", "lower").finished())
      .add_tar(TarBytes().file("a", "upper").finished());
}

// As `docker save` before version 25 writes it: layers in directories, equal ones as links.
TarBytes saved(const TestImage& from, const Json& tags) {
  const std::string config = from.config_text();
  TarBytes tar;
  Json layers = Json::array();
  for (std::size_t i = 0; i < from.layers.size(); ++i) {
    const std::string path = "layer" + std::to_string(i) + "/layer.tar";
    tar.file(path, from.blobs.at(from.layers[i]["digest"]));
    layers.push_back(path);
  }
  tar.add({.path = "again/layer.tar", .type = '2', .link = "../layer0/layer.tar"});
  tar.link("hard.tar", "again/layer.tar");
  layers.push_back("again/layer.tar");
  layers.push_back("hard.tar");
  tar.file("config.json", config);
  tar.file("manifest.json", Json{{{"Config", "config.json"}, {"Layers", layers}, {"RepoTags", tags}}}.dump());
  return tar;
}

class ImageSourcesTest : public ::testing::Test {
 protected:
  std::string write_directory(const Files& files, const std::string& name = "dir") {
    for (const auto& [path, bytes] : files) {
      const std::filesystem::path full = scratch_ / (name + "/" + path);
      std::filesystem::create_directories(full.parent_path());
      image::write_file(full, bytes);
    }
    return scratch_ / name;
  }
  std::string write_archive(const Files& files, const std::string& how = "none") {
    TarBytes tar;
    for (const auto& [path, bytes] : files) tar.file("./" + path, bytes);
    return write_tar(tar, how);
  }
  std::string write_tar(const TarBytes& tar, const std::string& how = "none") {
    image::write_file(scratch_ / "image.tar", image::packed(tar.finished(), how));
    return scratch_ / "image.tar";
  }
  ResultOrFailure<ImageAt> at(const std::string& location) { return image_at(location, scratch_.path()); }
  std::string blob(ImageSource& source, const Json& descriptor, std::uint64_t offset_bytes = 0) {
    const auto stream = must(
        source.open_blob({"", *Digest::parse(descriptor["digest"].get<std::string>()), 0}, offset_bytes));
    return must(read_rest(*stream, "blob", 1 << 20));
  }
  void expect_same(const std::string& location, TestImage& expected) {
    const ImageAt found = must(at(location));
    ASSERT_NE(found.source, nullptr) << location;
    EXPECT_EQ(found.source->name(), location);
    EXPECT_EQ(must(found.source->manifest()).bytes, expected.manifest_text());
    for (const Json& layer : expected.layers)
      EXPECT_EQ(blob(*found.source, layer), expected.blobs.at(layer["digest"]));
    EXPECT_EQ(blob(*found.source, expected.layers[0], 700),
              expected.blobs.at(expected.layers[0]["digest"]).substr(700));
  }
  void expect_failure(const std::string& location, int error_number, const std::string& text) {
    auto found = at(location);
    if (found.ok()) {
      ASSERT_NE(found->source, nullptr) << text;
      const auto manifest = found->source->manifest();
      ASSERT_FALSE(manifest.ok()) << text;
      EXPECT_EQ(manifest.error().error_number, error_number) << manifest.error().message;
      EXPECT_THAT(manifest.error().message, HasSubstr(text));
      return;
    }
    EXPECT_EQ(found.error().error_number, error_number) << found.error().message;
    EXPECT_THAT(found.error().message, HasSubstr(text));
    EXPECT_THAT(found.error().message, HasSubstr(scratch_.path()));
  }

  image::ScratchDirectory scratch_;
};

TEST_F(ImageSourcesTest, ReadsALayoutAsDirectoryAndArchive) {
  TestImage image = small_image();
  const std::string directory = write_directory(image.layout("v1"));
  for (const std::string& location :
       {directory, directory + "/", directory + ":v1", "oci:" + directory + ":v1"})
    expect_same(location, image);
  for (const char* how : {"none", "gzip", "zstd", "bzip2", "xz"}) {
    const std::string archive = write_archive(image.layout("v1"), how);
    for (const std::string& location : {archive, archive + ":v1", "oci-archive:" + archive})
      expect_same(location, image);
  }
}

TEST_F(ImageSourcesTest, TakesWhatIsThereForAPath) {
  TestImage image = small_image();
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(scratch_.path());
  write_directory(image.layout("v1"), "oci");
  write_directory(image.layout("v1"), "a:b");
  for (const char* location : {"oci", "oci:v1", "oci:oci", "oci:oci:v1", "a:b", "a:b:v1", "oci:a:b:v1"})
    expect_same(location, image);
  std::filesystem::current_path(before);
}

TEST_F(ImageSourcesTest, ReadsWhatDockerSaves) {
  TestImage image = small_image();
  for (const char* how : {"none", "gzip"}) {
    const std::string archive = write_tar(saved(image, {"docker.io/library/app:1", "app:latest"}), how);
    for (const std::string& location :
         {archive, archive + ":app:latest", "docker-archive:" + archive + ":app:1",
          archive + ":docker.io/library/app:1"}) {
      const ImageAt found = must(at(location));
      ASSERT_NE(found.source, nullptr) << location;
      EXPECT_EQ(found.suggested_name, "app:1");
      const Json manifest = Json::parse(must(found.source->manifest()).bytes);
      EXPECT_EQ(blob(*found.source, manifest["config"]), image.config_text());
      ASSERT_EQ(manifest["layers"].size(), 4U);
      for (const std::size_t link : {2, 3}) EXPECT_EQ(manifest["layers"][link], manifest["layers"][0]);
      for (const std::size_t i : {0, 1}) {
        EXPECT_EQ(manifest["layers"][i]["digest"], image.layers[i]["digest"]);
        EXPECT_EQ(manifest["layers"][i]["size"], image.layers[i]["size"]);
        EXPECT_EQ(blob(*found.source, manifest["layers"][i]), image.blobs.at(image.layers[i]["digest"]));
      }
    }
  }
}

TEST_F(ImageSourcesTest, OfAnArchiveOfBothKindsTheLayoutCounts) {
  TestImage image = small_image();
  Files files = image.layout("v1");
  files["manifest.json"] = R"([{"Config":"nowhere","Layers":["nowhere"],"RepoTags":["app:1"]}])";
  expect_same(write_archive(files), image);
}

TEST_F(ImageSourcesTest, SuggestsTheNameThatThePlaceHas) {
  const auto name = [&](const Json& annotations) {
    TestImage image = small_image();
    Files files = image.layout();
    Json index = Json::parse(files["index.json"]);
    index["manifests"][0]["annotations"] = annotations;
    files["index.json"] = index.dump();
    return must(at(write_directory(files, "debian"))).suggested_name;
  };
  const char* const ref = "org.opencontainers.image.ref.name";
  EXPECT_EQ(name({{ref, "12"}}), "debian:12");
  EXPECT_EQ(name({{ref, "app:3"}}), "app:3");
  EXPECT_EQ(name({{ref, "host:5000/app"}}), "host:5000/app:latest");
  EXPECT_EQ(name({{ref, "latest"}, {"io.containerd.image.name", "docker.io/library/alpine:3"}}), "alpine:3");
  EXPECT_EQ(name({{ref, "docker.io/team/app:3"}}), "team/app:3");
  EXPECT_EQ(name({{ref, "../../x\x1b[m"}}), "debian:latest");
  EXPECT_EQ(name(Json::object()), "debian:latest");
}

TEST_F(ImageSourcesTest, SaysWhichImagesThereAre) {
  TestImage image = small_image();
  Files files = image.layout("one");
  Json index = Json::parse(files["index.json"]);
  index["manifests"].push_back(index["manifests"][0]);
  index["manifests"][1]["annotations"]["org.opencontainers.image.ref.name"] = "two";
  files["index.json"] = index.dump();
  const std::string directory = write_directory(files);
  expect_same(directory + ":two", image);
  expect_failure(directory, EINVAL, "holds several images: one, two");
  expect_failure(directory + ":three", ENOENT, "(there are: one, two)");
  // Those that say for which platform they are form an index.
  for (Json& entry : index["manifests"]) entry["platform"] = {{"os", "linux"}, {"architecture", "amd64"}};
  write_directory({{"index.json", index.dump()}});
  EXPECT_EQ(must(must(at(directory)).source->manifest()).bytes, index.dump());
  write_directory({{"index.json", R"({"manifests":[]})"}});
  expect_failure(directory, ENOENT, "holds no image");
}

TEST_F(ImageSourcesTest, LeavesRootFileSystemsAlone) {
  const auto none = [&](const std::string& location) { return must(at(location)).source == nullptr; };
  EXPECT_TRUE(none(write_directory({{"etc/passwd", "root"}, {"manifest.json", "[]"}})));
  EXPECT_TRUE(none(write_directory({{"index.html", "x"}, {"manifest.json", R"({"name":"web"})"}}, "web")));
  for (const char* how : {"none", "gzip", "xz"}) {
    EXPECT_TRUE(
        none(write_tar(TarBytes().directory("./").directory("./etc").file("manifest.json", "[]"), how)));
    EXPECT_TRUE(
        none(write_tar(TarBytes().file("manifest.json", R"({"name":"web"})").file("index.html", "x"), how)));
    EXPECT_TRUE(none(
        write_tar(TarBytes().file("a/b/c/d", "x").file("oci-layout", "{}").file("index.json", "{}"), how)));
  }
  image::write_file(scratch_ / "text", "no archive");
  EXPECT_TRUE(none(scratch_ / "text"));
  image::write_file(scratch_ / "cut.gz", image::packed(std::string(100'000, 'x'), "gzip").substr(0, 50));
  EXPECT_TRUE(none(scratch_ / "cut.gz"));
  EXPECT_TRUE(none("/dev/null"));
}

TEST_F(ImageSourcesTest, RefusesWhatIsNotOfTheKindThatIsSaid) {
  TestImage image = small_image();
  const std::string layout = write_directory(image.layout());
  const std::string archive = write_tar(saved(image, nullptr));
  expect_failure("docker-archive:" + layout, EINVAL, "is no archive as `docker save` writes it");
  expect_failure("oci:" + archive, EINVAL, "is no OCI image layout");
  const std::string root = write_directory({{"etc/passwd", "root"}}, "root");
  expect_failure(root + ":v1", EINVAL, "is no OCI image layout, archive");
  expect_failure(scratch_ / "missing", ENOENT, "missing");
  expect_failure(scratch_ / "missing:v1", ENOENT, "missing:v1");
}

TEST_F(ImageSourcesTest, RefusesALayoutThatMakesNoSense) {
  const Files good = small_image().layout();
  const auto with = [&](const std::string& path, const std::string& bytes) {
    Files files = good;
    files[path] = bytes;
    return files;
  };
  const Json index = Json::parse(good.at("index.json"));
  const std::string manifest_path =
      "blobs/sha256/" + index["manifests"][0]["digest"].get<std::string>().substr(7);
  Json escaping = index;
  escaping["manifests"][0]["digest"] = "sha256:../../../../../../../etc/passwd";
  Json wrong_size = index;
  wrong_size["manifests"][0]["size"] = 3;
  Json wrong_names = index;
  wrong_names["manifests"][0]["annotations"] = {{"org.opencontainers.image.ref.name", 5}};
  struct Case {
    std::string path, bytes;
    int error_number;
    const char* says;
  };
  const std::vector<Case> cases = {
      {"oci-layout", "x", EINVAL, "not valid JSON"},
      {"oci-layout", R"({"imageLayoutVersion":"2.0"})", ENOTSUP, "version \"2.0\""},
      {"index.json", "[]", EINVAL, "not a JSON object"},
      {"index.json", R"({"manifests":5})", EINVAL, "\"manifests\" is not an array"},
      {"index.json", escaping.dump(), EINVAL, "\"digest\" is not"},
      {"index.json", wrong_size.dump(), EBADMSG, "is damaged"},
      {"index.json", wrong_names.dump(), EINVAL, "\"annotations\" is not"},
      {"index.json", std::string(kMostManifestBytes + 1, ' '), EFBIG, "more than"},
      {manifest_path, "{}", EBADMSG, "is damaged"},
      {manifest_path, std::string(kMostManifestBytes + 1, ' '), EFBIG, "more than"},
  };
  int number = 0;
  for (const Case& one : cases) {
    expect_failure(write_directory(with(one.path, one.bytes), "dir" + std::to_string(++number)),
                   one.error_number, one.says);
    expect_failure(write_archive(with(one.path, one.bytes)), one.error_number, one.says);
  }
  Files missing = good;
  missing.erase(manifest_path);
  expect_failure(write_directory(missing, "missing"), ENOENT, manifest_path.c_str());
  expect_failure(write_archive(missing), ENOENT, "there is no such member");
}

TEST_F(ImageSourcesTest, WaitsForNoPipeInALayout) {
  TestImage image = small_image();
  const std::string directory = write_directory(image.layout());
  const std::string path =
      directory + "/blobs/sha256/" + image.layers[0]["digest"].get<std::string>().substr(7);
  std::filesystem::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const ImageAt found = must(at(directory));
  const auto opened =
      found.source->open_blob({"", *Digest::parse(image.layers[0]["digest"].get<std::string>()), 1}, 0);
  ASSERT_FALSE(opened.ok());
  EXPECT_THAT(opened.error().message, HasSubstr("not a regular file"));
}

TEST_F(ImageSourcesTest, RefusesASaveThatMakesNoSense) {
  const auto with = [&](const std::string& manifest) {
    return write_tar(TarBytes()
                         .file("config.json", "{}")
                         .add({.path = "loop", .type = '2', .link = "loop"})
                         .add({.path = "out", .type = '2', .link = "../../etc/passwd"})
                         .file("manifest.json", manifest));
  };
  expect_failure(with(R"([{"Config":"","Layers":[]}])"), EINVAL, "\"Config\" is not there");
  expect_failure(with(R"([{"Config":5,"Layers":[]}])"), EINVAL, "\"Config\" is not a string");
  expect_failure(with(R"([{"Config":"config.json","Layers":5}])"), EINVAL, "\"Layers\" is not");
  expect_failure(with(R"([{"Config":"config.json","Layers":[]},5])"), EINVAL, "an array of objects");
  for (const char* layer : {"missing", "loop", "out", "../../../etc/passwd", "/etc/passwd", ""}) {
    expect_failure(with(R"([{"Config":"config.json","Layers":[")" + std::string(layer) + R"("]}])"), ENOENT,
                   "there is no such member");
  }
  const std::string two = R"({"Config":"config.json","Layers":[],"RepoTags":[")";
  const std::string several = with("[" + two + "a:1\"]}," + two + "b:1\"]}]");
  expect_failure(several, EINVAL, "holds several images: a:1, b:1");
  EXPECT_EQ(must(at(several + ":b:1")).suggested_name, "b:1");
  std::string many = R"([{"Config":"config.json","Layers":["config.json")";
  for (int i = 0; i < 1000; ++i) many += R"(,"config.json")";
  expect_failure(with(many + "]}]"), EINVAL, "has 1001 layers");
}

}  // namespace
}  // namespace varve::transport
