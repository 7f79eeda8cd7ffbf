#include "imagetool/image/store/store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <thread>

#include "imagetool/image/store/container_state.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/image/store/platform.h"
#include "tests/unit/image/scratch_directory.h"

namespace varve::image {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StoreTest : public ::testing::Test {
 protected:
  Store open() { return must(Store::open(scratch_ / "store")); }
  Descriptor add_layer(Store& store, std::string_view bytes) {
    const std::string path = must(store.scratch_directory()) + "/layer";
    write_file(path, bytes);
    return must(store.adopt_file(kLayerMediaType, path));
  }
  Image add_image(Store& store, std::string_view name, std::string_view layer_bytes) {
    const Descriptor layer = add_layer(store, layer_bytes);
    ImageConfig config;
    config.architecture = "amd64";
    return must(store.put_image(must(parse_image_name(name)), config, {layer}));
  }
  std::string index() { return read_file(scratch_ / "store/index.json"); }
  void replace_index(const std::string& text) { write_file(scratch_ / "store/index.json", text); }

  ScratchDirectory scratch_;
};

TEST(ImageName, TakesRepositoryAndTag) {
  EXPECT_EQ(must(parse_image_name("debian")).text(), "debian:latest");
  EXPECT_EQ(must(parse_image_name("debian:12")).text(), "debian:12");
  EXPECT_EQ(must(parse_image_name("host:5000/team/app:v1")).text(), "host:5000/team/app:v1");
  EXPECT_EQ(must(parse_image_name("host:5000/team/app")).tag, "latest");
}

TEST(ImageName, RefusesWhatCannotBeOne) {
  for (const char* bad :
       {"", ":", "a:", ":tag", "/a", "a/", "../a", "a b", "-a", "a:b:c", "a:b/", "sha256:ab"}) {
    EXPECT_FALSE(parse_image_name(bad).ok()) << bad;
  }
}

TEST(DigestText, MustBeWholeAndLowerCase) {
  const Digest digest = Digest::of("");
  EXPECT_EQ(digest.text(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_TRUE(Digest::parse(digest.text()).ok());
  EXPECT_FALSE(Digest::parse("sha256:../../../../etc/passwd").ok());
  EXPECT_FALSE(Digest::parse(digest.text() + "0").ok());
  EXPECT_FALSE(Digest::parse("sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855").ok());
  EXPECT_FALSE(Digest::parse("md5:" + std::string(64, '0')).ok());
}

TEST(PlatformText, TakesTheNamesOfUnameAndRefusesTheRest) {
  EXPECT_EQ(must(parse_platform("linux/arm64")).text(), "linux/arm64");
  EXPECT_EQ(must(parse_platform("linux/aarch64/v8")).text(), "linux/arm64/v8");
  for (const char* bad : {"", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux/a b", "linux/\x1b[1m"})
    EXPECT_FALSE(parse_platform(bad).ok()) << bad;
}

std::string index_of(const std::vector<std::pair<std::string, std::string>>& offers) {
  std::string text;
  for (const auto& [name, platform] : offers) {
    text += (text.empty() ? "" : ",") + std::string(R"({"mediaType":"m","size":1,"digest":")") +
            Digest::of(name).text() + R"(","platform":)" + platform + "}";
  }
  return R"({"schemaVersion":2,"manifests":[)" + text + "]}";
}
std::string chosen(const std::string& index, std::string_view wanted) {
  const auto found = choose_manifest(index, must(parse_platform(wanted)), "it");
  return found.ok() ? found->digest.text() : found.error().message;
}

TEST(PlatformChoice, TakesTheNewestVariantThatTheMachineRuns) {
  const std::string index = index_of({{"attestation", R"({"os":"unknown","architecture":"unknown"})"},
                                      {"v5", R"({"os":"linux","architecture":"arm","variant":"v5"})"},
                                      {"v6", R"({"os":"linux","architecture":"arm","variant":"v6"})"},
                                      {"v8", R"({"os":"linux","architecture":"arm64","variant":"v8"})"},
                                      {"pc", R"({"os":"linux","architecture":"amd64"})"},
                                      {"pc3", R"({"os":"linux","architecture":"amd64","variant":"v3"})"},
                                      {"win", R"({"os":"windows","architecture":"amd64"})"}});
  EXPECT_EQ(chosen(index, "linux/amd64"), Digest::of("pc").text());
  EXPECT_EQ(chosen(index, "linux/amd64/v2"), Digest::of("pc").text());
  EXPECT_EQ(chosen(index, "linux/amd64/v3"), Digest::of("pc3").text());
  EXPECT_EQ(chosen(index, "linux/arm"), Digest::of("v6").text());
  EXPECT_EQ(chosen(index, "linux/arm/v5"), Digest::of("v5").text());
  EXPECT_EQ(chosen(index, "linux/arm64"), Digest::of("v8").text());
  EXPECT_EQ(chosen(index, "linux/s390x"),
            "it: has no image for linux/s390x (there are linux/arm/v5, linux/arm/v6, linux/arm64/v8, "
            "linux/amd64, linux/amd64/v3, windows/amd64; choose with --platform)");
}

TEST(PlatformChoice, OfTextThatIsNoIndexIsAnError) {
  const Platform here = host_platform();
  for (const char* bad :
       {"", "[]", "{}", R"({"manifests":{}})", R"({"manifests":[{"digest":"sha256:../x"}]})",
        R"({"manifests":[7]})", R"({"manifests":[{"platform":"linux/amd64"}]})"}) {
    const auto found = choose_manifest(bad, here, "it");
    ASSERT_FALSE(found.ok()) << bad;
    EXPECT_EQ(found.error().error_number, EINVAL) << found.error().message;
  }
}

TEST_F(StoreTest, ResolvesAnIndexToTheImageOfThisMachine) {
  Store store = open();
  const Image image = add_image(store, "app", "layer");
  const auto put_index = [&](const std::string& architecture) {
    const std::string manifest = read_file(store.blob_path(image.digest));
    const Descriptor index = must(store.put_blob(
        kIndexMediaType,
        R"({"manifests":[{"mediaType":")" + std::string(kManifestMediaType) + R"(","digest":")" +
            image.digest.text() + R"(","size":)" + std::to_string(manifest.size()) +
            R"(,"platform":{"os":"linux","architecture":")" + architecture + R"("}},{"mediaType":")" +
            std::string(kManifestMediaType) + R"(","digest":")" + Digest::of("elsewhere").text() +
            R"(","size":1,"platform":{"os":"linux","architecture":"pdp11"}}]})"));
    replace_index(R"({"manifests":[{"mediaType":")" + std::string(kIndexMediaType) + R"(","digest":")" +
                  index.digest.text() +
                  R"(","size":9,"annotations":{"org.opencontainers.image.ref.name":"many:1"}}]})");
  };
  put_index(host_architecture());
  EXPECT_EQ(must(store.resolve("many:1")).digest, image.digest);
  put_index("vax");
  const auto missing = store.resolve("many:1");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().error_number, ENOTSUP);
  EXPECT_THAT(missing.error().message, HasSubstr("linux/vax"));
}

TEST_F(StoreTest, KeepsTheDiffIdsOfLayersThatWereTars) {
  Store store = open();
  const Descriptor lower = add_layer(store, "lower");
  const Descriptor upper = add_layer(store, "upper");
  ImageConfig config;
  config.diff_ids = {"sha256:of-a-tar"};
  const Image image = must(store.put_image(must(parse_image_name("app")), config, {lower, upper}));
  EXPECT_THAT(image.config.diff_ids, ElementsAre("sha256:of-a-tar", upper.digest.text()));
}

TEST_F(StoreTest, DirectoryThatIsMissingIsEmptyAndStaysMissing) {
  EXPECT_TRUE(must(open().list()).empty());
  EXPECT_NE(::access((scratch_ / "store").c_str(), F_OK), 0);
}

TEST_F(StoreTest, ImageIsFoundByNameDigestAndItsFirstDigits) {
  Store store = open();
  const Image image = add_image(store, "debian:12", "layer bytes");
  for (const std::string& reference : {std::string("debian:12"), image.digest.text(),
                                       image.digest.short_hex(), std::string(image.digest.hex())}) {
    const Image found = must(open().resolve(reference));
    EXPECT_EQ(found.digest, image.digest) << reference;
    ASSERT_EQ(found.layer_paths.size(), 1U);
    EXPECT_EQ(read_file(found.layer_paths[0]), "layer bytes");
    EXPECT_EQ(found.config.diff_ids, std::vector<std::string>{found.layers[0].digest.text()});
  }
}

TEST_F(StoreTest, BlobsAreNamedByContentAndReadOnly) {
  Store store = open();
  const Image image = add_image(store, "a", "x");
  struct stat status {};
  ASSERT_EQ(::stat(image.layer_paths[0].c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0444U);
  EXPECT_EQ(image.layers[0].digest, Digest::of("x"));
}

TEST_F(StoreTest, UnknownImageIsOneSentence) {
  const auto missing = open().resolve("nothing");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().error_number, ENOENT);
  EXPECT_THAT(missing.error().message, HasSubstr("nothing: no such image"));
}

TEST_F(StoreTest, ANameMovesToTheNewImage) {
  Store store = open();
  add_image(store, "a", "one");
  const Image second = add_image(store, "a", "two");
  EXPECT_EQ(must(store.resolve("a")).digest, second.digest);
  EXPECT_EQ(must(store.list()).size(), 1U);
}

TEST_F(StoreTest, TagAddsANameAndRemoveTakesOne) {
  Store store = open();
  const Image image = add_image(store, "a", "one");
  must(store.tag("a", must(parse_image_name("b:2"))));
  EXPECT_EQ(must(store.resolve("b:2")).digest, image.digest);
  must(store.remove("a"));
  EXPECT_FALSE(store.resolve("a").ok());
  EXPECT_TRUE(store.resolve("b:2").ok());
}

TEST_F(StoreTest, RemoveByDigestTakesAllNames) {
  Store store = open();
  const Image image = add_image(store, "a", "one");
  must(store.tag("a", must(parse_image_name("b"))));
  must(store.remove(image.digest.text()));
  EXPECT_TRUE(must(store.list()).empty());
}

TEST_F(StoreTest, GcKeepsWhatNamesAndContainersNeed) {
  Store store = open();
  const Image named = add_image(store, "named", "one");
  const Image used = add_image(store, "used", "two");
  const Image gone = add_image(store, "gone", "three");
  must(store.remove("used"));
  must(store.remove("gone"));
  ContainerState container;
  container.name = "c";
  container.image_digest = used.digest.text();
  container.layer_paths = used.layer_paths;
  must(ContainerStore(scratch_ / "store").create(container, {}));
  EXPECT_FALSE(open().gc({}).ok());  // `store` may be adding an image
  { Store closed = std::move(store); }
  EXPECT_EQ(must(open().gc({.dry_run = true})).blobs_removed, 3U);
  EXPECT_EQ(::access(gone.layer_paths[0].c_str(), F_OK), 0) << "a dry run removes nothing";
  EXPECT_EQ(must(open().gc({})).blobs_removed, 3U);
  EXPECT_NE(::access(gone.layer_paths[0].c_str(), F_OK), 0);
  EXPECT_TRUE(open().resolve("named").ok());
  EXPECT_TRUE(open().resolve(used.digest.text()).ok());
}

TEST_F(StoreTest, ForeignDirectoryIsNotMadeAStore) {
  ASSERT_EQ(::mkdir((scratch_ / "store").c_str(), 0755), 0);
  write_file(scratch_ / "store/thesis.txt", "mine");
  Store store = open();
  const auto refused = store.put_blob(kConfigMediaType, "{}");
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("thesis.txt"));
  EXPECT_NE(::access((scratch_ / "store/blobs").c_str(), F_OK), 0);
}

TEST_F(StoreTest, ChangedManifestIsRefused) {
  Store store = open();
  const Image image = add_image(store, "a", "one");
  const std::string path = store.blob_path(image.digest);
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  write_file(path, read_file(path) + " ");
  const auto damaged = store.resolve("a");
  ASSERT_FALSE(damaged.ok());
  EXPECT_THAT(damaged.error().message, HasSubstr("damaged"));
}

TEST_F(StoreTest, APutReplacesADamagedBlobOfThatDigest) {
  Store store = open();
  const Descriptor blob = must(store.put_blob(kConfigMediaType, "{}"));
  const std::string path = store.blob_path(blob.digest);
  for (const char* damage : {"[]", "{} ", ""}) {
    ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
    write_file(path, damage);
    must(store.put_blob(kConfigMediaType, "{}"));
    EXPECT_EQ(read_file(path), "{}");
  }
}

TEST_F(StoreTest, SetsAsideWhatIsDamagedAndNothingElse) {
  const Image image = [&] {
    Store store = open();
    return add_image(store, "a", "one");
  }();
  Store store = open();
  const Digest& layer = image.layers[0].digest;
  EXPECT_FALSE(must(store.set_aside(layer)));
  EXPECT_FALSE(must(store.set_aside(Digest::of("elsewhere"))));
  ASSERT_EQ(::chmod(image.layer_paths[0].c_str(), 0644), 0);
  write_file(image.layer_paths[0], "0ne");
  EXPECT_TRUE(must(store.set_aside(layer)));
  EXPECT_EQ(read_file(scratch_ / ("store/damaged/" + std::string(layer.hex()))), "0ne");
  EXPECT_FALSE(store.resolve("a").ok());
  EXPECT_TRUE(store.read_image("a").ok());
  add_layer(store, "one");
  EXPECT_TRUE(store.resolve("a").ok());
  EXPECT_EQ(open().set_aside(layer).error().error_number, EBUSY) << "`store` may be adding an image";
}

TEST_F(StoreTest, KnowsWhereAnImageCameFrom) {
  Store store = open();
  const ImageName name = must(parse_image_name("a"));
  add_image(store, "a", "one");
  EXPECT_EQ(must(store.list())[0].source, "");
  must(store.note_source(name, "registry.example/a:1"));
  must(store.tag("a", must(parse_image_name("b"))));
  add_image(store, "a", "two");
  EXPECT_EQ(must(store.list())[0].source, "") << "another image";
  EXPECT_EQ(must(store.list())[1].source, "registry.example/a:1");
  EXPECT_FALSE(store.note_source(must(parse_image_name("c")), "x").ok());
}

TEST_F(StoreTest, MissingAndTruncatedLayersAreNamed) {
  Store store = open();
  const Image image = add_image(store, "a", "layer bytes");
  ASSERT_EQ(::truncate(image.layer_paths[0].c_str(), 3), 0);
  EXPECT_THAT(store.resolve("a").error().message, HasSubstr(image.layer_paths[0]));
  ASSERT_EQ(::unlink(image.layer_paths[0].c_str()), 0);
  EXPECT_THAT(store.resolve("a").error().message, HasSubstr(image.layer_paths[0]));
}

TEST_F(StoreTest, HostileIndexIsOneLine) {
  Store store = open();
  add_image(store, "a", "one");
  const std::string good = index();
  const std::string deep(100000, '[');
  for (const std::string& bad :
       {std::string("{"), std::string("[]"), std::string("{\"manifests\": 3}"),
        std::string("{\"manifests\":[{\"digest\":\"sha256:../../x\",\"size\":1,\"mediaType\":\"a\"}]}"),
        std::string("{\"manifests\":[{\"digest\":7}]}"), std::string("{\"manifests\":[null]}"), deep,
        std::string("\xff\xfe{}")}) {
    replace_index(bad);
    const auto listed = store.list();
    ASSERT_FALSE(listed.ok()) << bad.substr(0, 80);
    EXPECT_THAT(listed.error().message, HasSubstr("index.json"));
    EXPECT_EQ(listed.error().message.find('\n'), std::string::npos);
  }
  replace_index(good);
  EXPECT_TRUE(store.resolve("a").ok());
}

TEST_F(StoreTest, EntriesOfOthersStayInTheIndex) {
  Store store = open();
  const Image image = add_image(store, "a", "one");
  Json text = must(parse_json_object(index()));
  text["manifests"].push_back(
      {{"mediaType", kIndexMediaType},
       {"digest", image.digest.text()},
       {"size", 5},
       {"annotations", {{"org.opencontainers.image.ref.name", "theirs"}, {"x", "y"}}}});
  text["annotations"] = {{"kept", "yes"}};
  replace_index(json_text(text));
  add_image(store, "b", "two");
  const Json after = must(parse_json_object(index()));
  EXPECT_EQ(after["annotations"]["kept"], "yes");
  EXPECT_EQ(after["manifests"][1]["annotations"]["x"], "y");
  EXPECT_EQ(after["manifests"].size(), 3U);
}

TEST_F(StoreTest, WritersAtOnceLoseNoName) {
  std::vector<std::thread> writers;
  for (int i = 0; i < 8; ++i) {
    writers.emplace_back([&, i] {
      Store store = open();
      const std::string path = must(store.scratch_directory()) + "/layer" + std::to_string(i);
      write_file(path, "layer " + std::to_string(i));
      const Descriptor layer = must(store.adopt_file(kLayerMediaType, path));
      must(store.put_image(ImageName{"image" + std::to_string(i), "latest"}, {}, {layer}));
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(must(open().list()).size(), 8U);
}

TEST(ImageConfigJson, KeepsWhatItDoesNotKnow) {
  const std::string text =
      R"({"architecture":"arm64","os":"linux","variant":"v8","config":{"Env":["A=b"],"Healthcheck":{"Test":["x"]},)"
      R"("Cmd":["sh","-c","x"],"Labels":{"k":"v"},"ExposedPorts":{"80/tcp":{}},"StopSignal":"SIGINT"},)"
      R"("rootfs":{"type":"layers","diff_ids":["sha256:x"]},"history":[{"created_by":"a","empty_layer":true}]})";
  ImageConfig config = must(parse_image_config(text));
  EXPECT_THAT(config.cmd, ElementsAre("sh", "-c", "x"));
  EXPECT_EQ(config.stop_signal, "SIGINT");
  EXPECT_THAT(config.exposed_ports, ElementsAre("80/tcp"));
  EXPECT_TRUE(config.history.at(0).empty_layer);
  config.env.push_back("C=d");
  const Json after = must(parse_json_object(image_config_to_json(config)));
  EXPECT_EQ(after["variant"], "v8");
  EXPECT_EQ(after["config"]["Healthcheck"]["Test"][0], "x");
  EXPECT_EQ(after["config"]["Env"].size(), 2U);
}

TEST(ImageConfigJson, NamesTheFieldThatIsWrong) {
  EXPECT_THAT(parse_image_config(R"({"config":{"Env":"A=b"}})").error().message, HasSubstr("\"Env\""));
  EXPECT_THAT(parse_image_config(R"({"history":[1,{"created":2}]})").error().message,
              HasSubstr("\"created\""));
}

class ContainerStoreTest : public ::testing::Test {
 protected:
  ScratchDirectory scratch_;
  ContainerStore store_{scratch_.path()};
  ContainerState state_ = [] {
    ContainerState state;
    state.name = "web.1";
    state.id = new_container_id();
    state.image_name = "debian:12";
    state.layer_paths = {"/a", "/b,c:d"};
    state.command = {"sh", "-c", "echo \xc3\xa9"};
    state.status = ContainerStatus::kExited;
    state.exit_status = 137;
    state.network = {.mode = "bridge",
                     .address = "10.201.0.2",
                     .gateway = "10.201.0.1",
                     .host_link = "varve0v0002",
                     .published = {"0.0.0.0:8080->80/tcp"}};
    return state;
  }();
};

TEST_F(ContainerStoreTest, StateComesBackAsItWasWritten) {
  must(store_.create(state_, {}));
  const ContainerState back = must(store_.read("web.1"));
  EXPECT_EQ(back.id, state_.id);
  EXPECT_EQ(back.layer_paths, state_.layer_paths);
  EXPECT_EQ(back.command, state_.command);
  EXPECT_EQ(back.status, ContainerStatus::kExited);
  EXPECT_EQ(back.exit_status, 137);
  EXPECT_EQ(back.network.mode, "bridge");
  EXPECT_EQ(back.network.address, "10.201.0.2");
  EXPECT_EQ(back.network.gateway, "10.201.0.1");
  EXPECT_EQ(back.network.host_link, "varve0v0002");
  EXPECT_EQ(back.network.published, state_.network.published);
  EXPECT_EQ(must(store_.list()).size(), 1U);
}

TEST_F(ContainerStoreTest, TheLastWholeLineCounts) {
  must(store_.create(state_, {.upper = false, .process = R"({"arguments":["sh"]})"}));
  EXPECT_EQ(::access(store_.upper_path("web.1").c_str(), F_OK), -1);
  state_.exit_status = 3;
  ASSERT_TRUE(store_.write(state_).ok());
  const std::string path = store_.directory_of("web.1") + "/container.jsonl";
  // As a power loss may leave the last one.
  std::ofstream(path, std::ios::app) << R"({"name":"web.1","exit_st)" << '\0';
  EXPECT_EQ(must(store_.read("web.1")).exit_status, 3);
  EXPECT_EQ(must(store_.process_of("web.1")), R"({"arguments":["sh"]})");
  EXPECT_EQ(store_.process_of("web.2").error().error_number, ENOENT);
}

TEST_F(ContainerStoreTest, OneThatKeepsNothingElseIsAFile) {
  const ContainerParts file = {.upper = false, .files = false, .process = R"({"arguments":["sh"]})"};
  std::optional<UniqueFd> lock = must(store_.create(state_, file));
  EXPECT_TRUE(std::filesystem::is_regular_file(store_.directory_of("web.1")));
  EXPECT_FALSE(must(store_.lock_stopped("web.1")).has_value());
  state_.exit_status = 3;
  ASSERT_TRUE(store_.write(state_).ok());
  EXPECT_EQ(must(store_.read("web.1")).exit_status, 3);
  EXPECT_EQ(must(store_.process_of("web.1")), R"({"arguments":["sh"]})");
  EXPECT_EQ(must(store_.list()).size(), 1U);
  EXPECT_EQ(store_.create(state_, file).error().error_number, EEXIST);
  EXPECT_EQ(store_.create(state_, {}).error().error_number, EEXIST);
  lock.reset();
  EXPECT_TRUE(must(store_.lock_stopped("web.1")).has_value());
  EXPECT_TRUE(remove_tree(store_.directory_of("web.1") + "/volumes").ok());
  must(store_.remove("web.1"));
  EXPECT_EQ(store_.read("web.1").error().error_number, ENOENT);
  EXPECT_FALSE(std::filesystem::exists(store_.directory_of("web.1")));
  must(store_.create(state_, {}));
  EXPECT_EQ(store_.create(state_, file).error().error_number, EEXIST);
}

TEST_F(ContainerStoreTest, ATakenNameIsRefusedAndRemovedOnesAreGone) {
  must(store_.create(state_, {}));
  EXPECT_EQ(store_.create(state_, {}).error().error_number, EEXIST);
  must(store_.remove("web.1"));
  EXPECT_EQ(store_.read("web.1").error().error_number, ENOENT);
  EXPECT_EQ(::access(store_.directory_of("web.1").c_str(), F_OK), -1);
}

TEST_F(ContainerStoreTest, IsLockedFromItsFirstMomentToItsEnd) {
  std::optional<UniqueFd> lock = must(store_.create(state_, {}));
  EXPECT_FALSE(must(store_.lock_stopped("web.1")).has_value());
  lock.reset();
  EXPECT_TRUE(must(store_.lock_stopped("web.1")).has_value());
}

TEST_F(ContainerStoreTest, LeftoversOfKilledOnesAreRemovedAndNothingElse) {
  const UniqueFd lock = must(store_.create(state_, {}));
  const std::string containers = store_.directory_of("web.1") + "/../";
  // As a create() leaves it that was killed, at its beginning and near its end, and a remove().
  for (const char* name : {".new-1", ".new-2/upper", ".old-3/upper/etc"}) {
    std::filesystem::create_directories(containers + name);
  }
  write_file(containers + ".new-2/container.jsonl", "{}");
  write_file(containers + ".new-4", "{}\n");
  EXPECT_EQ(must(store_.list()).size(), 1U);
  EXPECT_EQ(must(store_.remove_leftovers()), 4U);
  EXPECT_EQ(must(store_.remove_leftovers()), 0U);
  EXPECT_TRUE(must(store_.read("web.1")).id == state_.id);
}

TEST_F(ContainerStoreTest, OneThatWasToBeRemovedDoesNotOutliveAReboot) {
  state_.boot_id = "of another boot";
  must(store_.create(state_, {}));
  EXPECT_EQ(store_.read("web.1").error().error_number, ENOENT);
  EXPECT_TRUE(must(store_.list()).empty());
  EXPECT_EQ(must(store_.remove_leftovers()), 1U);
  state_.boot_id = current_boot_id();
  must(store_.create(state_, {}));
  EXPECT_EQ(must(store_.list()).size(), 1U);
  // As a power loss may leave it.
  write_file(store_.directory_of("web.1") + "/container.jsonl", "{}\n{\"name\":");
  EXPECT_TRUE(must(store_.list()).empty());
  EXPECT_EQ(must(store_.remove_leftovers()), 1U);
}

TEST_F(ContainerStoreTest, NamesAreNeverPaths) {
  for (const char* bad : {"", ".", "..", "a/b", "../x", "-a", ".a", "a b", "a\n"}) {
    EXPECT_FALSE(is_container_name(bad)) << bad;
    EXPECT_FALSE(store_.read(bad).ok()) << bad;
    EXPECT_FALSE(store_.remove(bad).ok()) << bad;
  }
}

TEST_F(ContainerStoreTest, BrokenStateIsOneLineThatNamesTheFile) {
  must(store_.create(state_, {}));
  for (const char* bad : {"", "{", "[1]", R"({"name":"other"})", R"({"name":"web.1","status":"flying"})"}) {
    write_file(store_.directory_of("web.1") + "/container.jsonl", "{}\n" + std::string(bad) + "\n");
    const auto read = store_.read("web.1");
    ASSERT_FALSE(read.ok()) << bad;
    EXPECT_THAT(read.error().message, HasSubstr("container.jsonl"));
    EXPECT_EQ(read.error().message.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace varve::image
