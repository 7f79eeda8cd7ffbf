#pragma once

// UpperFixture: an upper store over two directories of its own, on the file system of the temporary
// directory. Needs root for owners and device nodes, and says so where it is not.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "fs/upper/cow/cow_file.h"
#include "fs/upper/upper_store.h"
#include "fs/upper/whiteout.h"
#include "tests/support/memory_lower_file.h"

namespace varve::upper::testing {

namespace fs = std::filesystem;

inline constexpr const char* kBootA = "aaaaaaaa-0000-0000-0000-000000000000";
inline constexpr const char* kBootB = "bbbbbbbb-0000-0000-0000-000000000000";

class UpperFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: owners and device nodes";
    std::string pattern = (fs::temp_directory_path() / "varve-upper-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    top_ = pattern;
    fs::create_directory(upper());
    fs::create_directory(work());
    old_umask_ = ::umask(0);
    options_.upper_path = upper();
    options_.work_path = work();
    options_.base_stack = {"file 00112233445566778899aabbccddeeff"};
    options_.boot_id = kBootA;
  }
  void TearDown() override {
    store_.reset();
    if (top_.empty()) return;
    ::umask(old_umask_);
    fs::remove_all(top_);
  }

  std::string upper() const { return top_ + "/upper"; }
  std::string work() const { return top_ + "/work"; }
  std::string in_upper(const std::string& name) const { return upper() + "/" + name; }

  // Opens the store; the one before is dropped as a kill drops it.
  void open_store() {
    store_.reset();
    auto opened = UpperStore::open(options_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    store_ = std::move(*opened);
  }
  // The sentence of a refused opening; empty when it was not refused.
  std::string refusal() {
    auto opened = UpperStore::open(options_);
    return opened.ok() ? std::string() : opened.error().message;
  }

  ObjectRef root(std::string_view name) const { return {store_->root_fd(), name}; }
  UpperEntry look(std::string_view name) {
    auto entry = store_->look_up(root(name));
    EXPECT_TRUE(entry.ok()) << name;
    return entry.ok() ? *entry : UpperEntry{};
  }
  struct stat stat_of(const std::string& name) {
    struct stat status {};
    EXPECT_EQ(::lstat(in_upper(name).c_str(), &status), 0) << name;
    return status;
  }
  bool is_whiteout(const std::string& name) { return look(name).kind == UpperEntry::Kind::kWhiteout; }
  static std::size_t count_entries(const std::string& directory) {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
  }
  std::size_t maps() const { return count_entries(work() + "/varve/maps"); }
  // But for what whiteouts are links to.
  std::size_t staged() const {
    const std::string stage = work() + "/varve/stage";
    return count_entries(stage) -
           (fs::exists(fs::symlink_status(stage + "/" + SharedWhiteout::kName)) ? 1 : 0);
  }
  std::string contents(const std::string& name) {
    std::ostringstream text;
    text << std::ifstream(in_upper(name)).rdbuf();
    return text.str();
  }

  UpperEntry make(std::string_view name, std::uint32_t mode, bool over_whiteout = false) {
    auto made = store_->create(root(name), {.mode = mode, .symlink_target = "target"}, over_whiteout);
    EXPECT_TRUE(made.ok()) << name;
    return made.ok() ? *made : UpperEntry{};
  }
  CopyUp lower_file(std::size_t size) {
    CopyUp source;
    source.attributes.mode = S_IFREG | 0644;
    source.attributes.size_bytes = size;
    source.attributes.mtime = {1000, 5};
    source.attributes.atime = {-7, 999999999};
    source.origin = {LayerSlot(1), 42};
    if (size != 0) source.base = Base{LayerSlot(1), "/dir/file", 42, size};
    return source;
  }
  // Opens a partly copied file over base_bytes().
  std::unique_ptr<CowFile> open_cow(std::string_view name) {
    const UpperEntry entry = look(name);
    std::unique_ptr<layer::LowerFile> base;
    if (entry.marks.base)
      base = std::make_unique<varve::testing::MemoryLowerFile>(
          varve::testing::base_bytes(entry.marks.base->size_bytes));
    auto file = CowFile::open(*store_, root(name), entry.marks, std::move(base));
    EXPECT_TRUE(file.ok()) << name;
    return file.ok() ? std::move(*file) : nullptr;
  }

  std::string top_;
  mode_t old_umask_ = 0;
  UpperStore::Options options_;
  std::unique_ptr<UpperStore> store_;
};

// With the store open; each test leaves the stage empty.
class OpenUpperFixture : public UpperFixture {
 protected:
  void SetUp() override {
    UpperFixture::SetUp();
    if (!IsSkipped()) open_store();
  }
  void TearDown() override {
    if (store_ != nullptr) {
      EXPECT_EQ(staged(), 0u);
    }
    UpperFixture::TearDown();
  }
};

}  // namespace varve::upper::testing
