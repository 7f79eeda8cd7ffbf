// Cow files on a real file system: space, holes, and becoming an ordinary file.

#include <linux/falloc.h>

#include <thread>

#include "fs/upper/cow/cow_host.h"
#include "tests/unit/upper/upper_fixture.h"

namespace varve::upper {
namespace {

using varve::testing::base_bytes;
using varve::testing::MemoryLowerFile;
using Bytes = std::vector<std::byte>;
constexpr std::uint64_t kBlock = 4096;

class CowFileOnDisk : public upper::testing::OpenUpperFixture {
 protected:
  std::unique_ptr<CowFile> partly_copied(std::size_t size) {
    EXPECT_TRUE(store_->copy_up(root("f"), lower_file(size)).ok());
    return open_cow("f");
  }
  // Over a base of 10 blocks of which [2, 4) and [6, 8) are data.
  std::unique_ptr<CowFile> over_sparse_base() {
    EXPECT_TRUE(store_->copy_up(root("f"), lower_file(10 * kBlock)).ok());
    Bytes bytes = base_bytes(10 * kBlock);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::size_t block = i / kBlock;
      if (block != 2 && block != 3 && block != 6 && block != 7) bytes[i] = std::byte{0};
    }
    auto base = std::make_unique<MemoryLowerFile>(
        bytes, std::vector<layer::Range>{{2 * kBlock, 2 * kBlock}, {6 * kBlock, 2 * kBlock}});
    auto file = CowFile::open(*store_, root("f"), look("f").marks, std::move(base));
    EXPECT_TRUE(file.ok());
    return std::move(*file);
  }
};

TEST_F(CowFileOnDisk, AWriteTakesTheSpaceOfItsBlocksOnly) {
  const auto file = partly_copied(std::size_t{64} << 20);
  ASSERT_TRUE(file->write(5000, Bytes(10, std::byte{250})).ok());
  EXPECT_LE(stat_of("f").st_blocks, 16);
  EXPECT_EQ(stat_of("f").st_size, 64 << 20);
  EXPECT_EQ(maps(), 1u);
}

TEST_F(CowFileOnDisk, AnUntouchedCopyUpHasNoMap) {
  const auto file = partly_copied(100000);
  Bytes read(100000);
  EXPECT_EQ(*file->read(0, read), 100000u);
  EXPECT_EQ(read, base_bytes(100000));
  EXPECT_EQ(maps(), 0u);
}

TEST_F(CowFileOnDisk, ReadsEndWhereTheFileEnds) {
  const auto file = partly_copied(10000);
  Bytes read(100);
  EXPECT_EQ(*file->read(9990, read), 10u);
  EXPECT_EQ(*file->read(10000, read), 0u);
  EXPECT_EQ(*file->read(~std::uint64_t{0}, read), 0u);
}

TEST_F(CowFileOnDisk, TellsHolesOfUpperAndBase) {
  const auto file = over_sparse_base();
  EXPECT_EQ(*file->seek(0, SEEK_DATA), 2 * kBlock);
  EXPECT_EQ(*file->seek(2 * kBlock, SEEK_HOLE), 4 * kBlock);
  ASSERT_TRUE(file->write(4 * kBlock, Bytes(kBlock, std::byte{1})).ok());
  EXPECT_EQ(*file->seek(2 * kBlock, SEEK_HOLE), 5 * kBlock);
  ASSERT_TRUE(file->allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * kBlock, kBlock).ok());
  EXPECT_EQ(*file->seek(2 * kBlock, SEEK_HOLE), 3 * kBlock);
  EXPECT_EQ(*file->seek(3 * kBlock, SEEK_DATA), 4 * kBlock);
  EXPECT_EQ(*file->seek(8 * kBlock, SEEK_HOLE), 8 * kBlock);
  EXPECT_EQ(file->seek(8 * kBlock, SEEK_DATA).error().value, ENXIO);
  EXPECT_EQ(file->seek(10 * kBlock, SEEK_HOLE).error().value, ENXIO);
  EXPECT_EQ(file->seek(0, SEEK_SET).error().value, EINVAL);
}

TEST_F(CowFileOnDisk, CountsWhatItInheritsOnce) {
  const auto file = over_sparse_base();
  const std::uint64_t own = static_cast<std::uint64_t>(stat_of("f").st_blocks);
  EXPECT_EQ(*file->blocks_512(), own + 4 * 8);
  ASSERT_TRUE(file->write(2 * kBlock, Bytes(kBlock, std::byte{1})).ok());
  ASSERT_TRUE(file->sync(false).ok());
  EXPECT_EQ(*file->blocks_512(), own + 4 * 8);
  ASSERT_TRUE(file->allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 6 * kBlock, 2 * kBlock).ok());
  EXPECT_EQ(*file->blocks_512(), own + 2 * 8);
}

TEST_F(CowFileOnDisk, APunchCopiesNoData) {
  const auto file = partly_copied(std::size_t{64} << 20);
  ASSERT_TRUE(file->allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, std::size_t{32} << 20).ok());
  EXPECT_LE(stat_of("f").st_blocks, 8);
  Bytes read(2 * kBlock);
  EXPECT_EQ(*file->read(0, read), read.size());
  Bytes expected = base_bytes(2 * kBlock);
  std::fill(expected.begin() + kBlock, expected.end(), std::byte{0});
  EXPECT_EQ(read, expected);
}

TEST_F(CowFileOnDisk, RefusesWhatItCannotDo) {
  const auto file = partly_copied(10000);
  EXPECT_EQ(error_number(file->allocate(FALLOC_FL_COLLAPSE_RANGE, 0, 4096)), EOPNOTSUPP);
  EXPECT_EQ(error_number(file->allocate(FALLOC_FL_PUNCH_HOLE, 0, 4096)), EOPNOTSUPP);
  EXPECT_EQ(error_number(file->allocate(0, 0, 0)), EINVAL);
  EXPECT_EQ(error_number(file->write(~std::uint64_t{0} - 5, Bytes(10))), EFBIG);
  EXPECT_EQ(error_number(file->truncate(std::uint64_t{1} << 63)), EFBIG);
}

TEST_F(CowFileOnDisk, AllBlocksWrittenMakeAnOrdinaryFile) {
  auto file = partly_copied(10000);
  EXPECT_FALSE(file->is_complete());
  ASSERT_TRUE(file->write(0, Bytes(10000, std::byte{250})).ok());
  EXPECT_TRUE(file->is_complete());
  ASSERT_TRUE(file->sync(true).ok());
  EXPECT_FALSE(look("f").marks.base);
  EXPECT_TRUE(look("f").marks.origin);
  EXPECT_EQ(maps(), 0u);
  EXPECT_EQ(contents("f"), std::string(10000, '\xfa'));
}

TEST_F(CowFileOnDisk, TruncationToNothingMakesAnOrdinaryFile) {
  auto file = partly_copied(10000);
  ASSERT_TRUE(file->write(100, Bytes(1, std::byte{250})).ok());
  ASSERT_TRUE(file->truncate(0).ok());
  EXPECT_TRUE(file->is_complete());
  EXPECT_FALSE(look("f").marks.base);
  EXPECT_EQ(maps(), 0u);
  ASSERT_TRUE(file->truncate(5000).ok());
  EXPECT_EQ(contents("f"), std::string(5000, '\0'));
}

// As a kill between the steps of settling leaves it.
TEST_F(CowFileOnDisk, AMapThatIsNotNeededAnyMoreGoesWithItsFile) {
  {
    const auto file = partly_copied(10000);
    ASSERT_TRUE(file->write(0, Bytes(10000)).ok());
    ASSERT_TRUE(store_->cow_host().drop_base_mark(file->fd(), look("f").marks.map_id).ok());
  }
  EXPECT_FALSE(look("f").marks.base);
  EXPECT_EQ(maps(), 1u);
  ASSERT_TRUE(store_->remove(root("f"), false).ok());
  EXPECT_EQ(maps(), 0u);
}

TEST_F(CowFileOnDisk, AMapOfAnotherFileIsRefused) {
  {
    const auto file = partly_copied(10000);
    ASSERT_TRUE(file->write(0, Bytes(1)).ok());
  }
  for (const auto& map : std::filesystem::directory_iterator(work() + "/varve/maps")) {
    std::fstream(map.path(), std::ios::in | std::ios::out | std::ios::binary).seekp(16).write("zzzz", 4);
  }
  auto opened = CowFile::open(*store_, root("f"), look("f").marks,
                              std::make_unique<MemoryLowerFile>(base_bytes(10000)));
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().value, EIO);
}

TEST_F(CowFileOnDisk, ABaseOfAnotherSizeIsRefused) {
  ASSERT_TRUE(store_->copy_up(root("f"), lower_file(10000)).ok());
  auto opened =
      CowFile::open(*store_, root("f"), look("f").marks, std::make_unique<MemoryLowerFile>(base_bytes(9000)));
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().value, EIO);
}

TEST_F(CowFileOnDisk, AFileWithoutANameIsNotOpenedWithoutItsMap) {
  ASSERT_TRUE(store_->copy_up(root("f"), lower_file(10000)).ok());
  ASSERT_TRUE(open_cow("f")->write(0, Bytes(1)).ok());
  const auto fd = store_->open_path(root("f"));
  const Marks marks = look("f").marks;
  ASSERT_TRUE(store_->remove(root("f"), false).ok());
  auto opened =
      CowFile::open(*store_, {fd->get(), ""}, marks, std::make_unique<MemoryLowerFile>(base_bytes(10000)));
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().value, ESTALE);
}

TEST_F(CowFileOnDisk, WorksOverMoreThanOneMapPage) {
  constexpr std::uint64_t kSize = std::uint64_t{200} << 20;  // 51200 blocks, 4 pages
  ASSERT_TRUE(store_->copy_up(root("f"), lower_file(kSize)).ok());
  const std::uint64_t edge = 16128 * kBlock;
  {
    const auto file = open_cow("f");
    ASSERT_TRUE(file->write(edge - 10, Bytes(20, std::byte{250})).ok());
    ASSERT_TRUE(file->write(3 * edge, Bytes(1, std::byte{250})).ok());
    ASSERT_TRUE(file->sync(true).ok());
  }
  options_.boot_id = upper::testing::kBootB;
  open_store();
  const auto file = open_cow("f");
  Bytes read(40);
  ASSERT_EQ(*file->read(edge - 20, read), 40u);
  const Bytes base = base_bytes(kSize);
  for (std::size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i], i >= 10 && i < 30 ? std::byte{250} : base[edge - 20 + i]) << i;
  }
}

TEST_F(CowFileOnDisk, ThreadsSeeWholeWrites) {
  const auto file = partly_copied(64 * kBlock);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      // Each thread owns a quarter of every block: merging must not lose a neighbour's bytes.
      for (std::uint64_t block = 0; block < 64; ++block) {
        EXPECT_TRUE(
            file->write(block * kBlock + t * 1024, Bytes(1024, static_cast<std::byte>(200 + t))).ok());
        if (block % 16 == t) {
          EXPECT_TRUE(file->sync(true).ok());
        }
        Bytes read(1024);
        EXPECT_EQ(*file->read(block * kBlock + t * 1024, read), 1024u);
        EXPECT_EQ(read, Bytes(1024, static_cast<std::byte>(200 + t)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Bytes all(64 * kBlock);
  ASSERT_EQ(*file->read(0, all), all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    ASSERT_EQ(all[i], static_cast<std::byte>(200 + i % kBlock / 1024)) << i;
  }
  ASSERT_TRUE(file->sync(true).ok());
  EXPECT_FALSE(look("f").marks.base);
}

}  // namespace
}  // namespace varve::upper
