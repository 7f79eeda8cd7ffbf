#include "tests/unit/image/union_snapshot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "fs/format/hash.h"
#include "fs/view/union_view.h"

namespace varve::image {
namespace {

template <class T>
T value_of(Result<T> result, const std::string& path) {
  if (!result.ok()) throw std::runtime_error(path + ": " + std::strerror(result.error().value));
  return std::move(result).value();
}

class Snapshot {
 public:
  Snapshot(view::UnionView& view, bool link_counts) : view_(view), link_counts_(link_counts) {}

  std::vector<std::string> take() {
    add("", value_of(view_.getattr(view::UnionView::kRoot), "/"));
    visit("", view::UnionView::kRoot);
    return std::move(lines_);
  }

 private:
  void visit(const std::string& path, NodeId directory) {
    std::vector<std::string> names;
    const auto listed = view_.readdir(directory, 0, [&](const view::DirectoryEntry& entry) {
      if (entry.name != "." && entry.name != "..") names.emplace_back(entry.name);
      return true;
    });
    EXPECT_TRUE(listed.ok()) << path;
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      const view::EntryReply entry = value_of(view_.lookup(directory, name), path + "/" + name);
      add(path + "/" + name, entry);
      if (entry.attributes.is_directory()) visit(path + "/" + name, entry.id);
      view_.forget(entry.id, 1);
    }
  }

  void add(const std::string& path, const view::EntryReply& entry) {
    const Attributes& attributes = entry.attributes;
    std::string line = fmt::format("{} {:o} {}:{} {}.{:09}", path, attributes.mode, attributes.uid,
                                   attributes.gid, attributes.mtime.seconds, attributes.mtime.nanoseconds);
    if (!attributes.is_directory()) {
      line += " is " + links_.emplace(entry.inode_number, path).first->second;
      if (link_counts_) line += fmt::format(" nlink {}", attributes.nlink);
    }
    if (attributes.rdev != 0) line += fmt::format(" device {}", attributes.rdev);
    if (attributes.is_symlink()) line += " -> " + value_of(view_.readlink(entry.id), path);
    if (attributes.is_regular()) line += fmt::format(" {} {}", attributes.size_bytes, digest(path, entry));
    std::vector<std::string> xattrs = value_of(view_.listxattr(entry.id), path);
    std::sort(xattrs.begin(), xattrs.end());
    for (const std::string& name : xattrs) {
      line += " " + name + "=" + value_of(view_.getxattr(entry.id, name), path);
    }
    lines_.push_back(std::move(line));
  }

  std::string digest(const std::string& path, const view::EntryReply& entry) {
    const view::HandleId handle = value_of(view_.open(entry.id, O_RDONLY), path);
    std::vector<std::byte> bytes(entry.attributes.size_bytes);
    EXPECT_EQ(value_of(view_.read(handle, 0, bytes), path), bytes.size()) << path;
    view_.release(handle);
    return format::to_hex(format::xxh3_128(bytes));
  }

  view::UnionView& view_;
  const bool link_counts_;
  std::map<std::uint64_t, std::string> links_;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> snapshot_of_union(std::vector<std::shared_ptr<layer::Layer>> layers,
                                           bool link_counts) {
  const auto view = value_of(
      view::UnionView::make(std::make_unique<view::LowerStack>(std::move(layers)), nullptr, 16), "the view");
  return Snapshot(*view, link_counts).take();
}

}  // namespace varve::image
