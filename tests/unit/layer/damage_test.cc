// What a damaged, cut or foreign file does: an error with a sentence, or the right content; never anything
// else.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <random>

#include "fs/layer/layer_file.h"
#include "fs/layer/open_layer.h"
#include "tests/support/stride.h"
#include "tests/unit/layer/layer_builder.h"
#include "tests/unit/layer/temporary_directory.h"

namespace varve::layer {
namespace {

using test::LayerBuilder;
using test::must;
using test::spec;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// Everything that a layer says, as text by path: names, attributes, contents, xattrs, marks; and what look-ups find. What
// cannot be read is "EIO".
class Description {
 public:
  explicit Description(const Layer& layer) : layer_(layer) {
    add(layer.root(), "");
    for (const char* path : {"directory/packed", "directory/none", "link", "none", "gone"}) look_up(path);
  }
  const std::map<std::string, std::string>& lines() const { return lines_; }

  // True when all that is told is as in `wanted`, and what is not told is EIO, by itself or with a directory above it.
  bool is_right_or_missing(const Description& wanted) const {
    const auto told = [&](const std::string& path) {
      const auto line = lines_.find(path);
      return line == lines_.end() ? std::string() : line->second;
    };
    for (const auto& [path, line] : lines_) {
      const auto known = wanted.lines_.find(path);
      if (line != "EIO" && (known == wanted.lines_.end() || known->second != line)) return false;
    }
    for (const auto& [path, line] : wanted.lines_) {
      std::string above = path;
      while (told(above).empty() && !above.empty()) above.resize(above.rfind('/'));
      if (above != path && told(above) != "EIO") return false;
    }
    return true;
  }

 private:
  void add(LowerId id, const std::string& path) {
    const Result<std::string> line = line_of(id, path);
    lines_[path] = line.ok() ? *line : "EIO";
  }

  Result<std::string> line_of(LowerId id, const std::string& path) {
    VARVE_ASSIGN(const Attributes a, layer_.attributes(id));
    std::string line;
    for (const std::uint64_t value :
         {std::uint64_t{a.mode}, std::uint64_t{a.nlink}, std::uint64_t{a.uid}, a.size_bytes, a.rdev,
          static_cast<std::uint64_t>(a.mtime.seconds), std::uint64_t{a.mtime.nanoseconds}}) {
      line += " " + std::to_string(value);
    }
    VARVE_ASSIGN(const std::vector<std::string> names, layer_.xattr_names(id));
    for (const std::string& name : names) {
      VARVE_ASSIGN(const std::string value, layer_.xattr(id, name));
      line += " " + name + "=" + value;
    }
    if (a.is_symlink()) {
      VARVE_ASSIGN(const std::string target, layer_.read_link(id));
      line += " -> " + target;
    }
    if (a.is_regular()) {
      VARVE_ASSIGN(const auto file, layer_.open_file(id));
      std::string text(static_cast<std::size_t>(file->size_bytes()), '?');
      VARVE_RETURN_IF_ERROR(file->read(0, std::as_writable_bytes(std::span(text))));
      line += " " + text;
    }
    if (!a.is_directory()) return line;
    VARVE_ASSIGN(const DirectoryMark mark, layer_.directory_mark(id));
    VARVE_RETURN_IF_ERROR(layer_.for_each_entry(id, [&](std::string_view name, const Entry& entry) {
      const std::string child = path + "/" + std::string(name);
      if (entry.kind == Entry::Kind::kWhiteout) {
        lines_[child] = "whiteout";
      } else {
        add(entry.id, child);
      }
      return true;
    }));
    return line + (mark.opaque ? " opaque" : "") + " " + mark.redirect.value_or("");
  }

  void look_up(std::string_view path) {
    std::string& line = lines_["/?" + std::string(path)];
    Result<Entry> entry = Entry{.kind = Entry::Kind::kObject, .id = layer_.root(), .type = S_IFDIR};
    for (std::string_view rest = path; !rest.empty() && entry.ok();) {
      const std::size_t slash = std::min(rest.find('/'), rest.size());
      entry = layer_.look_up(entry->id, must(Name::parse(rest.substr(0, slash))));
      rest.remove_prefix(std::min(slash + 1, rest.size()));
    }
    line = !entry.ok()
               ? "EIO"
               : std::to_string(static_cast<int>(entry->kind)) + " " + std::to_string(entry->id.value());
  }

  const Layer& layer_;
  std::map<std::string, std::string> lines_;
};

constexpr std::uint64_t kAtOnce = UINT64_MAX;  // LayerContext::lazy_from_bytes
constexpr std::uint64_t kByPages = 0;

class DamageTest : public testing::Test {
 protected:
  void SetUp() override {
    LayerBuilder builder(path_);
    image::InodeSpec directory = spec(S_IFDIR | 0755);
    directory.xattrs = {{"user.note", "value"}};
    directory.redirect = "/from/here";
    const std::uint32_t inner = builder.add("directory", directory);
    image::InodeSpec link = spec(S_IFLNK | 0777);
    link.symlink_target = "directory/packed";
    builder.add("link", link);
    builder.file("packed", test::sample_text(1000), inner);
    builder.file("stored", test::noise(200, 5), inner);
    builder.sparse("sparse", 40'000, {{8192, test::sample_text(5000, 2)}, {32'768, "end"}});
    must(builder.writer().add_whiteout(1, "gone"));
    add_more(builder, inner);
    builder.finish();
    bytes_ = test::read_file(path_);
    layer_ = must(open_layer(path_, {}));
    wanted_.emplace(*layer_);
  }

  virtual void add_more(LayerBuilder&, std::uint32_t) {}

  ResultOrFailure<std::shared_ptr<Layer>> open_file(std::uint64_t lazy_from_bytes) {
    return open_layer(path_, {.lazy_from_bytes = lazy_from_bytes});
  }

  ResultOrFailure<std::shared_ptr<Layer>> open_bytes(const std::string& bytes) {
    test::write_file(path_, bytes);
    return open_layer(path_, {});
  }

  test::TemporaryDirectory directory_;
  std::string path_ = directory_.file("a.layer");
  std::string bytes_;
  std::shared_ptr<Layer> layer_;  // as it was written
  std::optional<Description> wanted_;
};

// One change to a good file, which the next call of back() takes back.
class OneChange {
 public:
  OneChange(const std::string& path, const std::string& bytes)
      : file_(::open(path.c_str(), O_WRONLY)), bytes_(bytes) {}
  bool put(std::size_t offset, unsigned char byte) {
    first_ = offset;
    return ::pwrite(file_.get(), &byte, 1, static_cast<off_t>(offset)) == 1;
  }
  bool cut(std::size_t size) {
    first_ = size;
    return ::ftruncate(file_.get(), static_cast<off_t>(size)) == 0;
  }
  bool back() {
    const std::size_t count = bytes_.size() - first_;
    return ::pwrite(file_.get(), bytes_.data() + first_, count, static_cast<off_t>(first_)) ==
           static_cast<ssize_t>(count);
  }

 private:
  UniqueFd file_;
  const std::string& bytes_;
  std::size_t first_ = 0;
};

TEST_F(DamageTest, OfAnyByteIsAnErrorOrChangesNothing) {
  testing::internal::CaptureStderr();
  const std::uint64_t data_end = must(LayerFile::open(path_, {}))->footer().data_end;
  OneChange change(path_, bytes_);
  for (const std::uint64_t lazy_from_bytes : {kAtOnce, kByPages}) {
    std::size_t refused = 0;
    std::size_t outside = 0;
    std::size_t unreadable = 0;
    for (std::size_t i = 0; i < bytes_.size(); i += test::stride()) {
      outside += i < format::kDataOffset || i >= data_end ? 1 : 0;
      for (const unsigned char mask : {0x01, 0xff}) {
        ASSERT_TRUE(change.put(i, static_cast<unsigned char>(static_cast<unsigned char>(bytes_[i]) ^ mask)));
        const auto layer = open_file(lazy_from_bytes);
        if (!layer.ok()) {
          ++refused;
          ASSERT_THAT(layer.error().message, StartsWith(path_ + ": ")) << i;
        } else {
          const Description found(**layer);
          ASSERT_TRUE(found.is_right_or_missing(*wanted_)) << "byte " << i;
          if (found.lines() != wanted_->lines()) ++unreadable;
        }
        ASSERT_TRUE(change.back());
      }
    }
    // All but the frames is refused at open: there is one page, in which the root lies. The frames answer EIO.
    EXPECT_EQ(refused, 2 * outside);
    EXPECT_GT(unreadable, 100U / test::stride());
  }
  testing::internal::GetCapturedStderr();
}

// With metadata of several pages, so that most damage is met after the layer was opened.
class PagedDamageTest : public DamageTest {
 protected:
  void add_more(LayerBuilder& builder, std::uint32_t directory) override {
    image::InodeSpec large = spec(S_IFREG | 0600);
    large.xattrs = {{"user.large", test::noise(20'000, 7)}};
    builder.add("large", large);
    for (int i = 0; i < 400; ++i) {
      image::InodeSpec link = spec(S_IFLNK | 0777);
      link.symlink_target = "target " + test::sample_text(30, static_cast<std::uint32_t>(i));
      builder.add("link " + std::to_string(i), link, i < 50 ? 1 : directory);
    }
  }

  void damage_at_random(std::uint64_t lazy_from_bytes);
};

// scripts/flip-layer runs this with many more: VARVE_FLIPS says how many, VARVE_FLIP_SEED which.
void PagedDamageTest::damage_at_random(std::uint64_t lazy_from_bytes) {
  const char* count_text = std::getenv("VARVE_FLIPS");
  const char* seed_text = std::getenv("VARVE_FLIP_SEED");
  const unsigned long count =
      count_text != nullptr ? std::strtoul(count_text, nullptr, 10) : 3000 / test::stride();
  std::mt19937_64 random(seed_text != nullptr ? std::strtoul(seed_text, nullptr, 10) : 1);
  ASSERT_GT(count, 0U);
  OneChange change(path_, bytes_);
  unsigned long refused = 0;
  unsigned long unreadable = 0;
  testing::internal::CaptureStderr();
  for (unsigned long i = 0; i < count; ++i) {
    const std::size_t offset = random() % bytes_.size();
    const auto before = static_cast<unsigned char>(bytes_[offset]);
    const unsigned kind = random() % 16;
    if (kind == 0) {
      ASSERT_TRUE(change.cut(offset));
    } else {
      const unsigned mask = kind < 12 ? 1U << random() % 8 : 1 + random() % 255;
      ASSERT_TRUE(change.put(offset, static_cast<unsigned char>(before ^ mask)));
    }
    const auto layer = open_file(lazy_from_bytes);
    if (layer.ok()) {
      const Description found(**layer);
      ASSERT_TRUE(found.is_right_or_missing(*wanted_)) << "change " << i << " at " << offset;
      if (found.lines() != wanted_->lines()) ++unreadable;
    } else {
      ++refused;
    }
    ASSERT_TRUE(change.back());
  }
  testing::internal::GetCapturedStderr();
  ASSERT_EQ(Description(*must(open_file(lazy_from_bytes))).lines(), wanted_->lines());
  std::printf("%lu changes, %lu refused at once, %lu EIO for a part, the others without effect\n", count,
              refused, unreadable);
  // Most of the file is metadata, and little of that is needed to open it by pages.
  EXPECT_GT(lazy_from_bytes == kByPages ? unreadable : refused, count / 2);
}

TEST_F(PagedDamageTest, AtRandomIsAnErrorOrChangesNothing) {
  damage_at_random(kAtOnce);
}

TEST_F(PagedDamageTest, AtRandomIsAnErrorOrChangesNothingByPages) {
  damage_at_random(kByPages);
}

TEST_F(DamageTest, OfAnyLengthIsRefused) {
  for (std::size_t cut = 1; cut <= bytes_.size(); cut += test::stride()) {
    const std::size_t size = bytes_.size() - cut;
    ASSERT_EQ(::truncate(path_.c_str(), static_cast<off_t>(size)), 0);
    for (const std::uint64_t lazy_from_bytes : {kAtOnce, kByPages}) {
      const auto layer = open_file(lazy_from_bytes);
      ASSERT_FALSE(layer.ok()) << size;
      ASSERT_THAT(layer.error().message, StartsWith(path_ + ": ")) << size;
    }
  }
}

TEST_F(DamageTest, ByBytesAddedAtTheEndIsRefused) {
  EXPECT_FALSE(open_bytes(bytes_ + "x").ok());
  EXPECT_FALSE(open_bytes(bytes_ + bytes_).ok());
}

TEST_F(DamageTest, IsLoggedOnceWithLayerFileAndFrame) {
  std::string damaged = bytes_;
  const auto whole = must(LayerFile::open(path_, {}));
  damaged[format::frame_offset(whole->tables().frames[0]) + 9] ^= 0x10;
  const auto layer = must(open_bytes(damaged));
  testing::internal::CaptureStderr();
  EXPECT_EQ(test::content(*layer, "directory/packed").error(), Errno{EIO});
  EXPECT_EQ(test::content(*layer, "directory/packed").error(), Errno{EIO});
  EXPECT_EQ(test::content(*layer, "directory/stored").error(), Errno{EIO});
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("layer " + path_ +
                             ": file /directory/packed: frame 0 at offset 64: checksum mismatch (expected "));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
}

TEST_F(DamageTest, IsFoundByCheckFrame) {
  auto layer = must(LayerFile::open(path_, {}));
  EXPECT_FALSE(layer->check_frame(0).has_value());
  std::string damaged = bytes_;
  damaged[format::kDataOffset] ^= 1;
  test::write_file(path_, damaged);
  layer = must(LayerFile::open(path_, {}));
  const auto damage = layer->check_frame(0);
  ASSERT_TRUE(damage.has_value());
  EXPECT_THAT(damage->message, HasSubstr("checksum mismatch"));
}

TEST_F(DamageTest, WhileItIsOpenCannotHurtTheMetadata) {
  const auto layer = must(LayerFile::open(path_, {}));
  ASSERT_EQ(::truncate(path_.c_str(), 0), 0);
  testing::internal::CaptureStderr();
  EXPECT_EQ(must(layer->path_of(test::find(*layer, "directory/packed").id)), "/directory/packed");
  EXPECT_EQ(test::content(*layer, "directory/packed").error(), Errno{EIO});
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("the file ends before it"));
}

class OpenLayer : public DamageTest {
 protected:
  std::string message(const std::string& path) {
    const auto layer = open_layer(path, {});
    return layer.ok() ? "opened" : layer.error().message;
  }
};

TEST_F(OpenLayer, NamesAMissingLayer) {
  EXPECT_THAT(message(directory_.file("none")),
              AllOf(StartsWith(directory_.file("none") + ": no such layer"), HasSubstr("(")));
}

TEST_F(OpenLayer, NamesAFileThatIsNoLayer) {
  test::write_file(directory_.file("text"), "just some text\n");
  test::write_file(directory_.file("empty"), "");
  EXPECT_THAT(message(directory_.file("text")), HasSubstr(": not a layer file (give a directory or"));
  EXPECT_THAT(message(directory_.file("empty")), HasSubstr(": not a layer file"));
  ASSERT_EQ(::mkfifo(directory_.file("fifo").c_str(), 0600), 0);
  EXPECT_THAT(message(directory_.file("fifo")), HasSubstr(": not a layer file"));
}

TEST_F(OpenLayer, NamesATruncatedLayer) {
  test::write_file(path_, bytes_.substr(0, bytes_.size() / 2));
  EXPECT_THAT(message(path_), HasSubstr("truncated"));
}

TEST_F(OpenLayer, NamesACorruptedLayer) {
  bytes_[bytes_.size() - 100] ^= 1;
  test::write_file(path_, bytes_);
  EXPECT_THAT(message(path_), HasSubstr(": corrupted layer: footer: checksum mismatch"));
}

TEST_F(OpenLayer, NamesAnUnsupportedVersion) {
  bytes_[8] = 2;
  test::write_file(path_, bytes_);
  EXPECT_THAT(message(path_),
              HasSubstr(": unsupported layer: layer format version 2, and this program reads version 1"));
  EXPECT_EQ(open_layer(path_, {}).error().error_number, ENOTSUP);
}

TEST_F(OpenLayer, NamesFeaturesItDoesNotKnow) {
  auto header = *reinterpret_cast<format::LayerHeader*>(bytes_.data());
  header.incompat = format::kIncompatDelta | 1ULL << 40;
  header.xxh3 = format::xxh3_64(format::bytes_of(header).first(offsetof(format::LayerHeader, xxh3)));
  std::memcpy(bytes_.data(), &header, sizeof header);
  test::write_file(path_, bytes_);
  EXPECT_THAT(message(path_), HasSubstr("it needs: unknown feature bits 0x10000000000"));
}

TEST_F(OpenLayer, NamesAMissingPermission) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  std::filesystem::create_directory(directory_.file("closed"));
  ASSERT_EQ(::chmod(directory_.file("closed").c_str(), 0700), 0);
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod(path_.c_str(), 0600), 0);
  // The effective user of this thread alone decides over permission; it is taken back before anything is
  // asserted.
  ASSERT_EQ(::seteuid(65534), 0);
  const std::string file = message(path_);
  const std::string folder = message(directory_.file("closed"));
  ASSERT_EQ(::seteuid(0), 0);
  EXPECT_THAT(file, StartsWith(path_ + ": permission denied ("));
  EXPECT_THAT(folder, StartsWith(directory_.file("closed") + ": permission denied ("));
}

TEST_F(OpenLayer, TakesPathsThroughLinks) {
  std::filesystem::create_directories(directory_.file("real/link-target"));
  std::filesystem::create_directories(directory_.file("real/diff"));
  std::filesystem::create_symlink("real/link-target", directory_.file("link"));
  EXPECT_EQ(message(directory_.file("link/../diff")), "opened");
}

}  // namespace
}  // namespace varve::layer
