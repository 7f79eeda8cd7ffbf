#include "imagetool/image/store/build_cache.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "tests/unit/image/scratch_directory.h"

namespace varve::image {
namespace {

class BuildCacheTest : public ::testing::Test {
 protected:
  Store open() { return must(Store::open(scratch_ / "store")); }
  Descriptor add_layer(Store& store, std::string_view bytes) {
    const std::string path = must(store.scratch_directory()) + "/layer";
    write_file(path, bytes);
    return must(store.adopt_file(kLayerMediaType, path));
  }
  BuildCache cache() { return BuildCache(scratch_ / "store"); }
  std::string entry_path(const Digest& key) {
    return scratch_ / ("store/build-cache/" + std::string(key.hex()));
  }

  const Digest key_ = Digest::of("step");
  ScratchDirectory scratch_;
};

TEST_F(BuildCacheTest, GivesBackWhatWasPut) {
  Store store = open();
  const Descriptor layer = add_layer(store, "bytes");
  EXPECT_FALSE(cache().find(key_, store).has_value());
  must(cache().put(key_, {.created = "2024-01-01T00:00:00Z", .layer = layer}));
  const auto found = cache().find(key_, store);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->created, "2024-01-01T00:00:00Z");
  ASSERT_TRUE(found->layer.has_value());
  EXPECT_EQ(found->layer->digest, layer.digest);
  EXPECT_EQ(found->layer->size_bytes, layer.size_bytes);
  EXPECT_EQ(found->layer->media_type, kLayerMediaType);
  EXPECT_FALSE(cache().find(Digest::of("other"), store).has_value());
}

TEST_F(BuildCacheTest, HoldsStepsWithoutLayers) {
  Store store = open();
  must(cache().put(key_, {.created = "now"}));
  const auto found = cache().find(key_, store);
  ASSERT_TRUE(found.has_value());
  EXPECT_FALSE(found->layer.has_value());
}

TEST_F(BuildCacheTest, BrokenEntriesAreNone) {
  Store store = open();
  must(cache().put(key_, {.created = "now"}));
  for (const char* broken :
       {"", "{", "[]", R"({"created":1})", R"({"created":"","layer":{"digest":"sha256:../x","size":1}})",
        R"({"created":"","layer":{"size":-1}})", R"({"created":"","layer":7})"}) {
    write_file(entry_path(key_), broken);
    EXPECT_FALSE(cache().find(key_, store).has_value()) << broken;
    EXPECT_TRUE(must(cache().layers()).empty()) << broken;
  }
}

TEST_F(BuildCacheTest, EntryOfALostLayerIsNone) {
  Store store = open();
  const Descriptor layer = add_layer(store, "bytes");
  must(cache().put(key_, {.created = "now", .layer = layer}));
  ASSERT_EQ(::unlink(store.blob_path(layer.digest).c_str()), 0);
  EXPECT_FALSE(cache().find(key_, store).has_value());
}

TEST_F(BuildCacheTest, KeepsItsLayersFromGcUntilToldOtherwise) {
  std::string path;
  {
    Store store = open();
    const Descriptor layer = add_layer(store, "bytes");
    path = store.blob_path(layer.digest);
    must(cache().put(key_, {.created = "now", .layer = layer}));
    must(store.put_image(must(parse_image_name("other")), {}, {}));
  }
  EXPECT_EQ(must(open().gc({})).blobs_removed, 0U);
  EXPECT_EQ(must(open().gc({.dry_run = true, .build_cache = true})).blobs_removed, 1U);
  EXPECT_EQ(::access(path.c_str(), F_OK), 0) << "a dry run removes nothing";
  EXPECT_EQ(::access(entry_path(key_).c_str(), F_OK), 0) << "a dry run forgets nothing";
  EXPECT_EQ(must(open().gc({.build_cache = true})).blobs_removed, 1U);
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
  EXPECT_NE(::access(entry_path(key_).c_str(), F_OK), 0);
}

}  // namespace
}  // namespace varve::image
