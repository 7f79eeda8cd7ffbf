// Layer files whose metadata is read by pages when it is touched: what holds while they are open, and what records that must not
// be believed do to those who touch them.

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "fs/format/hash.h"
#include "fs/layer/layer_file.h"
#include "tests/support/seal_layer.h"
#include "tests/unit/layer/layer_builder.h"
#include "tests/unit/layer/temporary_directory.h"

namespace varve::layer {
namespace {

using format::Dirent;
using format::Extent;
using format::Frame;
using format::Inode;
using format::SectionEntry;
using format::SectionType;
using test::find;
using test::LayerBuilder;
using test::must;
using test::spec;
using testing::HasSubstr;

constexpr Errno kDamaged{EIO};
constexpr int kFiles = 1500;  // so that INODE, DIRENT and NAMES have several pages each

class LazyLayerTest : public testing::Test {
 protected:
  void SetUp() override {
    LayerBuilder builder(image::LayerWriter::Options{.output_path = path_, .frame_bytes = 64 << 10});
    const std::uint32_t many = builder.directory("many");
    for (int i = 0; i < kFiles; ++i) {
      image::InodeSpec link = spec(S_IFLNK | 0777);
      link.symlink_target = "to " + std::to_string(i);
      builder.add("name " + std::to_string(i), link, many);
    }
    image::InodeSpec first = spec(S_IFDIR | 0755);
    first.xattrs = {{"user.a", "1"}, {"user.b", "2"}};
    const std::uint32_t directory = builder.add("directory", first);
    builder.directory("inner", directory);
    builder.directory("other", directory);
    builder.file("file", test::sample_text(1000), directory);
    image::InodeSpec link = spec(S_IFLNK | 0777);
    link.symlink_target = "file";
    builder.add("link", link, directory);
    builder.sparse("sparse", 40'000, {{8192, test::sample_text(5000, 2)}, {32'768, "end"}}, directory);
    builder.file("long", test::noise(200'000, 3), directory);  // a run of four frames
    builder.finish();
    bytes_ = test::read_file(path_);
  }

  std::unique_ptr<LayerFile> open_lazily() { return must(LayerFile::open(path_, {.lazy_from_bytes = 0})); }

  // The records in bytes_.
  template <class T>
  T* table(SectionType type) {
    auto* footer =
        reinterpret_cast<format::LayerFooter*>(bytes_.data() + bytes_.size() - sizeof(format::LayerFooter));
    auto* entry = reinterpret_cast<SectionEntry*>(bytes_.data() + footer->section_table_offset);
    while (entry->type != static_cast<std::uint16_t>(type)) ++entry;
    return reinterpret_cast<T*>(bytes_.data() + entry->offset);
  }
  std::size_t offset_of(const void* record) const {
    return static_cast<std::size_t>(static_cast<const char*>(record) - bytes_.data());
  }
  std::uint32_t number(std::string_view path) {
    return static_cast<std::uint32_t>(find(*must(LayerFile::open(original_path(), {})), path).id.value());
  }
  Inode& inode(std::string_view path) { return table<Inode>(SectionType::kInode)[number(path)]; }
  Dirent& entry(std::string_view directory, std::string_view name) {
    const Inode& record = inode(directory);
    Dirent* at = table<Dirent>(SectionType::kDirent) + record.payload_a;
    const char* names = table<char>(SectionType::kNames);
    return *std::find_if(at, at + record.payload_b, [&](const Dirent& one) {
      return std::string_view(names + format::dirent_name_offset(one), one.name_size) == name;
    });
  }

  // The layer as it was written, which `path_` is until it is written to.
  const std::string& original_path() {
    if (!std::filesystem::exists(original_)) std::filesystem::copy_file(path_, original_);
    return original_;
  }

  test::TemporaryDirectory directory_;
  std::string path_ = directory_.file("a.layer");
  std::string original_ = directory_.file("original.layer");
  std::string bytes_;
};

TEST_F(LazyLayerTest, SaysWhatOneThatWasReadAtOnceSays) {
  const auto whole = must(LayerFile::open(path_, {.lazy_from_bytes = UINT64_MAX}));
  const auto lazy = open_lazily();
  for (const char* path :
       {"", "directory", "directory/file", "directory/link", "directory/sparse", "many/name 700"}) {
    const LowerId id = find(*whole, path).id;
    EXPECT_EQ(find(*lazy, path).id, id) << path;
    EXPECT_EQ(must(lazy->path_of(id)), "/" + std::string(path)) << path;
    const Attributes a = must(lazy->attributes(id));
    const Attributes b = must(whole->attributes(id));
    EXPECT_EQ(std::tuple(a.mode, a.nlink, a.size_bytes, a.blocks_512),
              std::tuple(b.mode, b.nlink, b.size_bytes, b.blocks_512))
        << path;
  }
  EXPECT_EQ(must(lazy->xattr(find(*lazy, "directory").id, "user.b")), "2");
  EXPECT_EQ(find(*lazy, "many/none").kind, Entry::Kind::kAbsent);
  EXPECT_EQ(must(test::content(*lazy, "directory/long")), test::noise(200'000, 3));
  EXPECT_TRUE(lazy->load_all().ok());
}

TEST_F(LazyLayerTest, FindsThePathOfAnObjectThatNobodyCameUpon) {
  const LowerId id{number("directory/link")};
  EXPECT_EQ(must(open_lazily()->path_of(id)), "/directory/link");
}

TEST_F(LazyLayerTest, ReadsWhatIsDamagedAgainAndTellsOnce) {
  Inode& record = inode("many/name 600");
  const std::size_t offset = offset_of(&record) + offsetof(Inode, uid);
  const UniqueFd file(::open(path_.c_str(), O_WRONLY));
  const char damaged = static_cast<char>(bytes_[offset] ^ 4);
  ASSERT_EQ(::pwrite(file.get(), &damaged, 1, static_cast<off_t>(offset)), 1);
  const auto layer = open_lazily();
  testing::internal::CaptureStderr();
  const LowerId id{number("many/name 600")};
  EXPECT_EQ(layer->attributes(id).error(), kDamaged);
  EXPECT_EQ(layer->attributes(id).error(), kDamaged);
  EXPECT_FALSE(layer->load_all().ok());
  EXPECT_EQ(must(layer->read_link(find(*layer, "many/name 3").id)), "to 3");
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("layer " + path_ + ": metadata at offset "));
  EXPECT_THAT(log, HasSubstr(" (INODE): checksum mismatch (expected "));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
  ASSERT_EQ(::pwrite(file.get(), &bytes_[offset], 1, static_cast<off_t>(offset)), 1);
  EXPECT_EQ(must(layer->attributes(id)).uid, record.uid.get());
  EXPECT_TRUE(layer->load_all().ok());
}

TEST_F(LazyLayerTest, KeepsWhatWasTouchedWhenTheFileIsCut) {
  const auto layer = open_lazily();
  const LowerId id = find(*layer, "many/name 3").id;
  EXPECT_EQ(must(layer->read_link(id)), "to 3");
  const LowerId untouched{number("many/name 600")};
  ASSERT_EQ(::truncate(path_.c_str(), 0), 0);
  testing::internal::CaptureStderr();
  EXPECT_EQ(must(layer->read_link(id)), "to 3");
  EXPECT_EQ(must(layer->path_of(id)), "/many/name 3");
  EXPECT_EQ(layer->attributes(untouched).error(), kDamaged);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("the file ends before it"));
}

TEST_F(LazyLayerTest, IsReadByManyThreadsAtOnce) {
  const auto layer = open_lazily();
  std::atomic<int> right{0};
  const auto walk = [&](int first) {
    const LowerId many = find(*layer, "many").id;
    for (int i = 0; i < kFiles; ++i) {
      const std::string which = std::to_string((i * 7 + first) % kFiles);
      const std::string name = "name " + which;
      const Entry found = must(layer->look_up(many, must(Name::parse(name))));
      if (must(layer->read_link(found.id)) == "to " + which &&
          must(layer->path_of(found.id)) == "/many/" + name)
        ++right;
    }
    if (first == 0 && !layer->load_all().ok()) right = -kFiles;
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(walk, i * 400);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 4 * kFiles);
}

// Changes records and makes all checksums right again. Read at once such a layer is refused.
class HostileLayerTest : public LazyLayerTest {
 protected:
  void SetUp() override {
    LazyLayerTest::SetUp();
    original_path();
    testing::internal::CaptureStderr();
  }
  void TearDown() override { testing::internal::GetCapturedStderr(); }

  std::unique_ptr<LayerFile> open_changed() {
    test::seal_layer(bytes_);
    test::write_file(path_, bytes_);
    EXPECT_FALSE(LayerFile::open(path_, {.lazy_from_bytes = UINT64_MAX}).ok());
    auto layer = open_lazily();
    EXPECT_EQ(find(*layer, "many/name 5").kind, Entry::Kind::kObject);
    return layer;
  }
  // Opens, and finds the directory whole but for what is asked then.
  Status list(const LayerFile& layer, std::string_view directory) {
    return layer.for_each_entry(find(layer, directory).id,
                                [](std::string_view, const Entry&) { return true; });
  }
  Result<Entry> look_up(const LayerFile& layer, std::string_view directory, std::string_view name) {
    return layer.look_up(find(layer, directory).id, must(Name::parse(name)));
  }
};

TEST_F(HostileLayerTest, WithAnEntryOfWrongType) {
  entry("directory", "file").type = DT_DIR;
  const auto layer = open_changed();
  EXPECT_EQ(look_up(*layer, "directory", "file").error(), kDamaged);
  EXPECT_EQ(list(*layer, "directory").error(), kDamaged);
  EXPECT_EQ(look_up(*layer, "directory", "link")->type, std::uint32_t{S_IFLNK});
}

TEST_F(HostileLayerTest, WithAnEntryWithoutInode) {
  entry("directory", "file").inode = 1'000'000;
  const auto layer = open_changed();
  EXPECT_EQ(look_up(*layer, "directory", "file").error(), kDamaged);
  EXPECT_EQ(list(*layer, "directory").error(), kDamaged);
}

TEST_F(HostileLayerTest, WithADirectoryThatHoldsTheRoot) {
  Dirent& inner = entry("directory", "inner");
  inner.inode = format::kRootInode;
  inode("").payload_c = format::kRootInode;
  const auto layer = open_changed();
  EXPECT_EQ(look_up(*layer, "directory", "inner").error(), kDamaged);
  EXPECT_EQ(list(*layer, "directory").error(), kDamaged);
}

TEST_F(HostileLayerTest, WithARootThatHoldsItself) {
  entry("", "directory").inode = format::kRootInode;
  const auto layer = open_changed();
  EXPECT_EQ(look_up(*layer, "", "directory").error(), kDamaged);
  EXPECT_EQ(list(*layer, "").error(), kDamaged);
}

TEST_F(HostileLayerTest, WithALoopOfDirectories) {
  entry("directory", "inner").inode = number("directory");
  const auto layer = open_changed();
  EXPECT_EQ(look_up(*layer, "directory", "inner").error(), kDamaged);
  EXPECT_EQ(list(*layer, "directory").error(), kDamaged);
}

TEST_F(HostileLayerTest, WithTwoNamesOfOneDirectory) {
  entry("directory", "inner").inode = number("directory/other");
  const auto layer = open_changed();
  EXPECT_EQ(list(*layer, "directory").error(), kDamaged);
}

TEST_F(HostileLayerTest, WithUnsortedEntries) {
  Dirent* first = table<Dirent>(SectionType::kDirent) + inode("directory").payload_a;
  std::swap(first[0], first[1]);
  EXPECT_EQ(list(*open_changed(), "directory").error(), kDamaged);
}

TEST_F(HostileLayerTest, WithAnIllegalName) {
  Dirent* last =
      table<Dirent>(SectionType::kDirent) + inode("directory").payload_a + inode("directory").payload_b - 1;
  last->name_size = 0;
  EXPECT_EQ(list(*open_changed(), "directory").error(), kDamaged);
}

TEST_F(HostileLayerTest, WithEntriesOutsideOfTheSection) {
  inode("directory").payload_a = UINT64_MAX - 1;
  const auto layer = open_changed();
  const LowerId id = find(*layer, "directory").id;
  EXPECT_EQ(layer->look_up(id, must(Name::parse("file"))).error(), kDamaged);
  EXPECT_EQ(layer->attributes(id).error(), kDamaged);
}

TEST_F(HostileLayerTest, WithAnImpossibleInode) {
  inode("directory/link").mtime_nanoseconds = 1'000'000'000;
  const auto layer = open_changed();
  const LowerId id = find(*layer, "directory/link").id;
  EXPECT_EQ(layer->attributes(id).error(), kDamaged);
  EXPECT_EQ(layer->read_link(id).error(), kDamaged);
}

TEST_F(HostileLayerTest, WithATargetThatHoldsNul) {
  table<char>(SectionType::kNames)[inode("directory/link").payload_a] = '\0';
  const auto layer = open_changed();
  EXPECT_EQ(layer->read_link(find(*layer, "directory/link").id).error(), kDamaged);
}

TEST_F(HostileLayerTest, WithUnsortedXattrs) {
  auto* entries = table<format::XattrEntry>(SectionType::kXattrEntry);
  std::swap(entries[0], entries[1]);
  const auto layer = open_changed();
  const LowerId id = find(*layer, "directory").id;
  EXPECT_EQ(layer->xattr_names(id).error(), kDamaged);
  EXPECT_EQ(layer->xattr(id, "user.a").error(), kDamaged);
}

TEST_F(HostileLayerTest, WithExtentsOverEachOther) {
  auto* extents = table<Extent>(SectionType::kExtent);
  extents[1].file_offset = extents[0].file_offset;
  const auto layer = open_changed();
  const LowerId id = find(*layer, "directory/sparse").id;
  EXPECT_EQ(layer->attributes(id).error(), kDamaged);
  EXPECT_FALSE(layer->open_file(id).ok());
}

TEST_F(HostileLayerTest, WithAnExtentThatLeavesItsFrame) {
  table<Extent>(SectionType::kExtent)[0].in_frame_offset = 1 << 20;
  const auto layer = open_changed();
  EXPECT_FALSE(layer->open_file(find(*layer, "directory/sparse").id).ok());
}

// The frames of a run are looked at when they are read; what the run does not hold is then EIO.
TEST_F(HostileLayerTest, WithARunOverAnotherFrame) {
  const Inode& record = inode("directory/long");
  const std::uint64_t first = format::extent_frame(record.payload_a);
  ASSERT_EQ(format::extent_kind(record.payload_a), format::ExtentKind::kDataRun);
  auto* frames = table<Frame>(SectionType::kFrame);
  std::uint64_t other = 0;  // of packed files, shorter
  while (other >= first && other < first + 4) ++other;
  ASSERT_NE(frames[other].content_size, std::uint32_t{64 << 10});
  const Frame kept = frames[first + 1];
  frames[first + 1] = frames[other];
  const auto layer = open_changed();
  const auto file = must(layer->open_file(find(*layer, "directory/long").id));
  std::vector<std::byte> buffer(64 << 10);
  EXPECT_EQ(must(file->read(0, buffer)), buffer.size());
  EXPECT_EQ(file->read(64 << 10, buffer).error(), kDamaged);
  EXPECT_EQ(file->read((64 << 10) + 60'000, buffer).error(), kDamaged);
  EXPECT_EQ(must(file->read(128 << 10, buffer)), buffer.size());
  EXPECT_NE(kept.content_size, frames[other].content_size);
}

TEST_F(HostileLayerTest, WithAFrameOfImpossibleSize) {
  const std::uint64_t first = format::extent_frame(inode("directory/long").payload_a);
  table<Frame>(SectionType::kFrame)[first].stored_size = UINT32_MAX;
  const auto layer = open_changed();
  EXPECT_EQ(test::content(*layer, "directory/long").error(), kDamaged);
}

TEST_F(HostileLayerTest, IsRefusedByLoadAll) {
  inode("directory").nlink = 17;
  const auto layer = open_changed();
  const StatusOrFailure loaded = layer->load_all();
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(loaded.error().message, HasSubstr("wrong link count"));
  EXPECT_EQ(loaded.error().error_number, EUCLEAN);
}

TEST_F(HostileLayerTest, WithoutRootIsNotOpened) {
  inode("").mode = S_IFREG | 0644;
  test::seal_layer(bytes_);
  test::write_file(path_, bytes_);
  const auto layer = LayerFile::open(path_, {.lazy_from_bytes = 0});
  ASSERT_FALSE(layer.ok());
  EXPECT_THAT(layer.error().message, HasSubstr("inode 1 is not a root directory"));
}

// Whole pages of another layer would be good pages elsewhere; and a hash that is not that of its page is told at once.
TEST_F(HostileLayerTest, WithAWrongPageHash) {
  test::seal_layer(bytes_);
  auto* hashes = table<Le64>(SectionType::kPageHash);
  hashes[1] = hashes[1] ^ 1;
  auto* footer =
      reinterpret_cast<format::LayerFooter*>(bytes_.data() + bytes_.size() - sizeof(format::LayerFooter));
  auto* entry = reinterpret_cast<SectionEntry*>(reinterpret_cast<char*>(footer) - sizeof(SectionEntry));
  ASSERT_EQ(entry->type, static_cast<std::uint16_t>(SectionType::kPageHash));
  entry->xxh3 = format::xxh3_64(std::as_bytes(std::span(hashes, entry->length / sizeof(Le64))));
  footer->root_hash = format::xxh3_128(
      std::as_bytes(std::span(bytes_.data() + footer->section_table_offset, footer->section_table_size)));
  footer->xxh3 = format::xxh3_64(format::bytes_of(*footer).first(offsetof(format::LayerFooter, xxh3)));
  test::write_file(path_, bytes_);
  const auto whole = LayerFile::open(path_, {.lazy_from_bytes = UINT64_MAX});
  ASSERT_FALSE(whole.ok());
  EXPECT_THAT(whole.error().message, HasSubstr("PAGE_HASH: the hash of page 1 is not that of its bytes"));
  const auto layer = open_lazily();
  EXPECT_FALSE(layer->load_all().ok());
}

}  // namespace
}  // namespace varve::layer
