// Layers built on others: what the parents hold is not stored again, and reads back all the same.

#include <gmock/gmock.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "fs/layer/layer_file.h"
#include "fs/layer/open_layer.h"
#include "fs/upper/cow/cow_file.h"
#include "imagetool/image/layer_builder.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/parent_content.h"
#include "imagetool/image/source/directory_source.h"
#include "imagetool/image/source/upper_source.h"
#include "tests/support/memory_lower_file.h"
#include "tests/unit/image/scratch_directory.h"

namespace varve::image {
namespace {

using testing::MemoryLowerFile;
using testing::sparse_lower_file;

constexpr std::size_t kBlock = 4096;

std::string noise(std::size_t size_bytes, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes(size_bytes, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// The data of a sparse file in pieces of odd sizes.
class PiecesOf final : public ContentSource {
 public:
  PiecesOf(const std::string& bytes, std::size_t piece)
      : bytes_(bytes), file_(sparse_lower_file(bytes)), piece_(piece) {}
  ResultOrFailure<std::optional<Chunk>> next() override {
    const auto range = *file_.next_data(offset_);
    if (!range) return std::optional<Chunk>();
    const std::size_t count = std::min<std::size_t>(piece_, range->size_bytes);
    offset_ = range->offset_bytes + count;
    return std::optional(Chunk{.offset_bytes = range->offset_bytes,
                               .bytes = std::as_bytes(std::span(bytes_)).subspan(range->offset_bytes, count),
                               .hole_bytes = 0});
  }

 private:
  const std::string& bytes_;
  MemoryLowerFile file_;
  std::size_t piece_;
  std::uint64_t offset_ = 0;
};

// What a reader makes of the pieces over the base.
std::string applied(ContentSource& changes, const std::string& base, std::size_t size_bytes) {
  std::string bytes = base.substr(0, size_bytes);
  bytes.resize(size_bytes, '\0');
  std::uint64_t position = 0;
  for (;;) {
    const auto chunk = must(changes.next());
    if (!chunk) return bytes;
    const std::size_t length = chunk->bytes.empty() ? chunk->hole_bytes : chunk->bytes.size();
    EXPECT_GE(chunk->offset_bytes, position);
    EXPECT_EQ(chunk->offset_bytes % kBlock, 0U);
    position = chunk->offset_bytes + length;
    EXPECT_TRUE(position % kBlock == 0 || position == size_bytes) << position;
    if (chunk->bytes.empty()) {
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(chunk->offset_bytes), length, '\0');
    } else {
      std::memcpy(bytes.data() + chunk->offset_bytes, chunk->bytes.data(), length);
    }
  }
}

TEST(ParentContent, GivesTheChangesAndNothingElse) {
  const std::string base = noise(600 * kBlock + 77, 1);
  std::string changed = base;
  changed.replace(300 * kBlock + 5, 3, "abc");
  PiecesOf content(changed, 1000);
  const MemoryLowerFile lower = sparse_lower_file(base);
  ParentContent changes(content, changed.size(), lower, "base");
  EXPECT_EQ(applied(changes, base, changed.size()), changed);
  EXPECT_EQ(changes.inherited_blocks(), 600U);
  EXPECT_EQ(changes.whole_digest(), format::xxh3_128(std::as_bytes(std::span(changed))));
}

TEST(ParentContent, StoresAFewEqualBlocksWithTheChangedOnesAroundThem) {
  const std::string base = noise(100 * kBlock, 1);
  std::string changed = base;
  for (const std::size_t block : {10, 14, 19})
    changed[block * kBlock] = static_cast<char>(~changed[block * kBlock]);
  PiecesOf content(changed, 1 << 20);
  const MemoryLowerFile lower = sparse_lower_file(base);
  ParentContent changes(content, changed.size(), lower, "base");
  EXPECT_EQ(applied(changes, base, changed.size()), changed);
  // 11, 12 and 13 lie between changed blocks; 15 to 18 are enough to be inherited.
  EXPECT_EQ(changes.inherited_blocks(), 100U - 3 - 3);
}

TEST(ParentContent, ComesOutRightWhateverBothFilesHold) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    const auto file = [&](std::size_t size_bytes) {
      std::string bytes = noise(size_bytes, 5);  // the same blocks in both
      for (std::size_t at = 0; at < bytes.size(); at += kBlock) {
        const std::size_t length = std::min(kBlock, bytes.size() - at);
        const unsigned kind = random() % 8;
        if (kind == 0) std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), length, '\0');
        if (kind == 1) bytes[at + random() % length] = static_cast<char>(random());
      }
      return bytes;
    };
    const std::string base = file(1 + random() % (700 * kBlock));
    const std::string changed = file(1 + random() % (700 * kBlock));
    PiecesOf content(changed, 1 + random() % 9000);
    const MemoryLowerFile lower = sparse_lower_file(base);
    ParentContent changes(content, changed.size(), lower, "base");
    ASSERT_TRUE(applied(changes, base, changed.size()) == changed) << seed;
  }
}

TEST(ParentContent, PassesOverHolesOfExabytes) {
  const std::string base = noise(kBlock, 1);
  const std::string head = base;
  class Huge final : public ContentSource {
   public:
    explicit Huge(const std::string& head) : head_(head) {}
    ResultOrFailure<std::optional<Chunk>> next() override {
      const std::uint64_t offset = step_++ == 0 ? 0 : (1ULL << 62);
      if (step_ > 2) return std::optional<Chunk>();
      return std::optional(
          Chunk{.offset_bytes = offset, .bytes = std::as_bytes(std::span(head_)), .hole_bytes = 0});
    }

   private:
    const std::string& head_;
    int step_ = 0;
  } content(head);
  const MemoryLowerFile lower = sparse_lower_file(base);
  ParentContent changes(content, (1ULL << 62) + kBlock, lower, "base");
  const auto chunk = must(changes.next());
  ASSERT_TRUE(chunk.has_value());
  EXPECT_EQ(chunk->offset_bytes, 1ULL << 62);
  EXPECT_FALSE(must(changes.next()).has_value());
}

class ParentsTest : public ::testing::Test {
 protected:
  std::string at(const std::string& path) const { return scratch_ / path; }
  void build(const std::string& directory, const std::string& layer,
             const std::vector<std::string>& parents) {
    const auto source = must(DirectorySource::open(at(directory), {}, monitor_));
    std::vector<std::string> paths;
    for (const std::string& parent : parents) paths.push_back(at(parent));
    const auto files = must(ParentFiles::make(must(layer::open_stack(paths, {})), {}));
    BuildOptions options;
    options.writer.output_path = at(layer);
    options.parents = parents.empty() ? nullptr : files.get();
    must(build_layer(*source, options, monitor_));
  }
  std::shared_ptr<layer::Layer> top(const std::vector<std::string>& names) const {
    std::vector<std::string> paths;
    for (const std::string& name : names) paths.push_back(at(name));
    return must(layer::open_stack(paths, {})).front();
  }
  static std::string content(const layer::Layer& layer, const std::string& path) {
    const auto file = std::move(layer.open_file(must(find_in_layer(layer, path)))).value();
    std::string bytes(file->size_bytes(), '\0');
    EXPECT_EQ(*file->read(0, std::as_writable_bytes(std::span(bytes))), bytes.size());
    return bytes;
  }
  static bool is_delta(const layer::Layer& layer, const std::string& path) {
    const auto& file = dynamic_cast<const layer::LayerFile&>(layer);
    return ((*file.inode(must(find_in_layer(layer, path))))->flags & format::kInodeDelta) != 0;
  }

  ScratchDirectory scratch_;
  RememberingMonitor monitor_;
};

TEST_F(ParentsTest, StoreNothingOfWhatTheyHold) {
  std::filesystem::create_directories(at("old/d"));
  std::filesystem::create_directories(at("new/d"));
  std::filesystem::create_directories(at("new/e"));
  const std::string same = noise(300'000, 1);
  std::string changed = noise(1 << 20, 2);
  write_file(at("old/d/same"), same);
  write_file(at("new/d/same"), same);
  write_file(at("new/e/copy"), same);
  write_file(at("old/d/changed"), changed);
  changed.replace(500'000, 10, "0123456789");
  write_file(at("new/d/changed"), changed);
  write_file(at("old/d/other"), noise(50'000, 3));
  write_file(at("new/d/other"), noise(50'000, 4));
  build("old", "old.layer", {});
  build("new", "new.layer", {"old.layer"});
  const auto layer = top({"new.layer", "old.layer"});
  for (const char* path : {"d/same", "e/copy", "d/changed", "d/other"}) {
    EXPECT_TRUE(content(*layer, path) == read_file(at("new") + "/" + path)) << path;
    EXPECT_EQ(is_delta(*layer, path), std::string_view(path) != "d/other") << path;
  }
  EXPECT_LT(std::filesystem::file_size(at("new.layer")), 50'000 + 3 * kBlock);
}

TEST_F(ParentsTest, AreBuiltOnInTurn) {
  std::filesystem::create_directories(at("tree"));
  std::string bytes = noise(1 << 20, 1);
  std::vector<std::string> layers;
  for (int i = 0; i < 5; ++i) {
    bytes.replace(static_cast<std::size_t>(i) * 100'000, 5, "layer");
    write_file(at("tree/f"), bytes);
    const std::string name = std::to_string(i) + ".layer";
    build("tree", name, layers);
    layers.insert(layers.begin(), name);
  }
  EXPECT_TRUE(content(*top(layers), "f") == bytes);
  EXPECT_LT(std::filesystem::file_size(at("4.layer")), 4 * kBlock);
}

TEST_F(ParentsTest, HiddenFilesAreNotTakenForTheOldOnes) {
  std::filesystem::create_directories(at("old/d"));
  write_file(at("old/d/f"), noise(5 << 20, 1));
  build("old", "old.layer", {});
  std::filesystem::create_directories(at("hides"));
  write_file(at("hides/.wh.d"), "");
  build("hides", "hides.layer", {"old.layer"});
  build("old", "new.layer", {"hides.layer", "old.layer"});
  EXPECT_FALSE(is_delta(*top({"new.layer", "hides.layer", "old.layer"}), "d/f"));
}

// A layer that renames /old to /new, above a layer with /old/f; the new layer is built over both.
TEST_F(ParentsTest, AreLookedIntoThroughTheirRedirects) {
  std::filesystem::create_directories(at("low/old/sub"));
  const std::string bytes = noise(5 << 20, 1);  // too large to be found by its digest
  write_file(at("low/old/sub/f"), bytes);
  build("low", "low.layer", {});
  const auto writer = must(LayerWriter::create({.output_path = at("moved.layer")}));
  InodeSpec directory;
  directory.attributes.mode = S_IFDIR | 0755;
  const std::uint32_t root = must(writer->add_inode(directory));
  directory.redirect = "/old";
  must(writer->add_name(root, "new", must(writer->add_inode(directory))));
  must(writer->add_whiteout(root, "old"));
  must(writer->finish());
  std::filesystem::create_directories(at("top/new/sub"));
  std::filesystem::create_directories(at("top/old/sub"));
  write_file(at("top/new/sub/f"), bytes);
  write_file(at("top/old/sub/f"), bytes);
  build("top", "top.layer", {"moved.layer", "low.layer"});
  const auto layer = top({"top.layer", "moved.layer", "low.layer"});
  EXPECT_TRUE(is_delta(*layer, "new/sub/f"));
  EXPECT_FALSE(is_delta(*layer, "old/sub/f"));  // nothing lies there any more
  EXPECT_TRUE(content(*layer, "new/sub/f") == bytes);
}

TEST_F(ParentsTest, TakeTheBlocksOfAnUpper) {
  if (::geteuid() != 0) GTEST_SKIP() << "trusted xattrs need root";
  for (const char* name : {"low", "upper", "work"}) std::filesystem::create_directories(at(name));
  std::string wanted = noise(100 * kBlock + 50, 1);
  write_file(at("low/f"), wanted);
  build("low", "low.layer", {});
  const auto stack = must(layer::open_stack(std::vector<std::string>{at("low.layer")}, {}));
  const LowerId id = must(find_in_layer(*stack[0], "f"));
  {
    const auto store = must(upper::UpperStore::open({.upper_path = at("upper"),
                                                     .work_path = at("work"),
                                                     .base_stack = {"layer " + stack[0]->identity().value},
                                                     .volatile_upper = false,
                                                     .boot_id = ""}));
    upper::CopyUp copy;
    copy.attributes = *stack[0]->attributes(id);
    copy.origin = {LayerSlot{1}, *stack[0]->inode_number(id)};
    copy.base = upper::Base{LayerSlot{1}, "/f", copy.origin.inode_number, copy.attributes.size_bytes};
    const upper::ObjectRef object{store->root_fd(), "f"};
    ASSERT_TRUE(store->copy_up(object, copy).ok());
    const auto file = upper::CowFile::open(*store, object, store->look_up(object)->marks,
                                           std::move(stack[0]->open_file(id)).value());
    ASSERT_TRUE(file.ok());
    const std::string block = noise(kBlock, 9);
    ASSERT_TRUE((*file)->write(7 * kBlock, std::as_bytes(std::span(block))).ok());
    ASSERT_TRUE((*file)->allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 20 * kBlock, 2 * kBlock).ok());
    ASSERT_TRUE((*file)->write(102 * kBlock, std::as_bytes(std::span(block))).ok());
    wanted.resize(103 * kBlock, '\0');
    wanted.replace(7 * kBlock, kBlock, block).replace(20 * kBlock, 2 * kBlock, 2 * kBlock, '\0');
    wanted.replace(102 * kBlock, kBlock, block);
    ASSERT_TRUE(store->close().ok());
  }
  const auto parents = must(ParentFiles::make(stack, {}));
  const auto source = must(UpperSource::open({at("upper"), at("work"), {stack[0]}, parents.get()}, monitor_));
  BuildOptions options;
  options.writer.output_path = at("top.layer");
  options.parents = parents.get();
  must(build_layer(*source, options, monitor_));
  must(source->close());
  const auto layer = top({"top.layer", "low.layer"});
  EXPECT_TRUE(content(*layer, "f") == wanted);
  EXPECT_TRUE(is_delta(*layer, "f"));
  // 101 blocks below, of which one was written and two are holes now; one behind them.
  EXPECT_EQ(layer->attributes(must(find_in_layer(*layer, "f")))->blocks_512, (101 - 2 + 1) * kBlock / 512);
  EXPECT_LT(std::filesystem::file_size(at("top.layer")), 4 * kBlock);
}

}  // namespace
}  // namespace varve::image
