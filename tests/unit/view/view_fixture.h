#pragma once

// UnionViewTest: a view over two layers in memory and a real upper directory, driven by paths as a caller of the mount would.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fs/view/union_view.h"
#include "tests/unit/view/memory_layer.h"

namespace varve::view {

inline constexpr Caller kRootCaller{0, 0, 022};

class UnionViewTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: whiteouts are made by mknod";
    scratch_ = ::testing::TempDir() + "/union_view_XXXXXX";
    ASSERT_NE(::mkdtemp(scratch_.data()), nullptr);
    std::filesystem::create_directories(upper());
    std::filesystem::create_directories(work());
  }
  void TearDown() override {
    view_.reset();
    std::filesystem::remove_all(scratch_);
  }

  std::string upper() const { return scratch_ + "/upper"; }
  std::string work() const { return scratch_ + "/work"; }

  void mount(std::optional<upper::OverrideUse> overrides = {}) {
    view_.reset();
    auto stack = std::make_unique<LowerStack>(std::vector<std::shared_ptr<layer::Layer>>{top_, bottom_});
    auto store = upper::UpperStore::open(upper::UpperStore::Options{
        .upper_path = upper(), .work_path = work(), .base_stack = stack->describe(), .overrides = overrides});
    ASSERT_TRUE(store.ok()) << store.error().message;
    auto view = UnionView::make(std::move(stack), std::move(store).value(), 64);
    ASSERT_TRUE(view.ok());
    view_ = std::move(view).value();
  }
  void remount() {
    ASSERT_TRUE(view_->close().ok());
    mount();
  }

  // --- by path, as a caller of the mount would ---
  Result<EntryReply> find(const std::string& path) {
    EntryReply at{UnionView::kRoot, 0, {}};
    if (path == "/") return view_->getattr(UnionView::kRoot);
    for (std::size_t start = 1; start <= path.size();) {
      const std::size_t end = std::min(path.find('/', start), path.size());
      VARVE_ASSIGN(at, view_->lookup(at.id, path.substr(start, end - start)));
      start = end + 1;
    }
    return at;
  }
  static std::string leaf(const std::string& path) { return path.substr(path.rfind('/') + 1); }
  NodeId parent(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == 0 ? UnionView::kRoot : find(path.substr(0, slash)).value().id;
  }
  int error_of(const std::string& path) {
    const auto found = find(path);
    return found.ok() ? 0 : found.error().value;
  }
  std::uint64_t inode(const std::string& path) { return find(path).value().inode_number; }
  Attributes attributes(const std::string& path) { return find(path).value().attributes; }

  std::string read(const std::string& path) {
    const HandleId handle = view_->open(find(path).value().id, O_RDONLY).value();
    const std::string content = read_handle(handle);
    view_->release(handle);
    return content;
  }
  std::string read_handle(HandleId handle) {
    std::string content(1 << 16, '\0');
    const auto count = view_->read(handle, 0, std::as_writable_bytes(std::span(content)));
    EXPECT_TRUE(count.ok());
    content.resize(count.ok() ? *count : 0);
    return content;
  }
  Status write_handle(HandleId handle, std::uint64_t offset, std::string_view data) {
    const auto written = view_->write(handle, offset, std::as_bytes(std::span(data)));
    if (!written.ok()) return written.error();
    EXPECT_EQ(*written, data.size());
    return {};
  }
  void write(const std::string& path, std::uint64_t offset, std::string_view data, int flags = O_RDWR) {
    const HandleId handle = view_->open(find(path).value().id, flags).value();
    EXPECT_TRUE(write_handle(handle, offset, data).ok());
    view_->release(handle);
  }
  void create(const std::string& path, std::string_view content) {
    const auto made = view_->create(parent(path), leaf(path), 0644, kRootCaller);
    ASSERT_TRUE(made.ok()) << made.error().value;
    EXPECT_TRUE(write_handle(made->handle, 0, content).ok());
    view_->release(made->handle);
  }
  int mkdir(const std::string& path) {
    const auto made = view_->mkdir(parent(path), leaf(path), 0755, kRootCaller);
    return made.ok() ? 0 : made.error().value;
  }
  int unlink(const std::string& path) { return error_number(view_->unlink(parent(path), leaf(path))); }
  int rmdir(const std::string& path) { return error_number(view_->rmdir(parent(path), leaf(path))); }
  int rename(const std::string& from, const std::string& to, unsigned flags = 0) {
    const std::string from_leaf = leaf(from), to_leaf = leaf(to);
    // As the kernel does, both names are looked up first.
    (void)find(from);
    (void)find(to);
    const auto renamed = view_->rename({parent(from), from_leaf, parent(to), to_leaf}, flags);
    return renamed.ok() ? 0 : renamed.error().value;
  }
  int link(const std::string& from, const std::string& to) {
    const auto made = view_->link(find(from).value().id, parent(to), leaf(to));
    return made.ok() ? 0 : made.error().value;
  }
  // Every name once, and d_ino equal to st_ino for each.
  std::set<std::string> list(const std::string& path) {
    std::map<std::string, std::uint64_t> found;
    const auto add = [&](const DirectoryEntry& entry) {
      if (entry.name == "." || entry.name == "..") return true;
      EXPECT_TRUE(found.emplace(entry.name, entry.inode_number).second) << entry.name << " twice";
      return true;
    };
    EXPECT_TRUE(view_->readdir(find(path).value().id, 0, add).ok());
    std::set<std::string> names;
    for (const auto& [name, number] : found) {
      EXPECT_EQ(number, inode((path == "/" ? "" : path) + "/" + name)) << name;
      names.insert(name);
    }
    return names;
  }

  std::string scratch_;
  std::shared_ptr<MemoryLayer> top_ = std::make_shared<MemoryLayer>("0123456789abcdef");
  std::shared_ptr<MemoryLayer> bottom_ = std::make_shared<MemoryLayer>("fedcba9876543210");
  std::unique_ptr<UnionView> view_;
};

}  // namespace varve::view
