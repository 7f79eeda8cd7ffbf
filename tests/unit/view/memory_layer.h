#pragma once

// MemoryLayer: a layer made up by a test, to drive the union without files.

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fs/layer/layer.h"

namespace varve::view {

class MemoryLayer final : public layer::Layer {
 public:
  explicit MemoryLayer(std::string name) : name_(std::move(name)) {
    identity_ = {layer::Identity::Kind::kLayerFile, name_};
    objects_.push_back({});                      // 0 is no object
    objects_.push_back(Object{S_IFDIR | 0755});  // 1 is the root
  }

  // Each makes the directories above the path that are missing, and returns the object's number.
  std::uint64_t add_directory(const std::string& path) { return add(path, Object{S_IFDIR | 0755}); }
  std::uint64_t add_file(const std::string& path, std::string content) {
    Object object{S_IFREG | 0644};
    object.content = std::move(content);
    return add(path, std::move(object));
  }
  std::uint64_t add_symlink(const std::string& path, std::string target) {
    Object object{S_IFLNK | 0777};
    object.content = std::move(target);
    return add(path, std::move(object));
  }
  void add_whiteout(const std::string& path) {
    enter(path, layer::Entry{layer::Entry::Kind::kWhiteout, {}, 0});
  }
  void add_hard_link(const std::string& path, std::uint64_t number) {
    ++objects_[number].nlink;
    enter(path, layer::Entry{layer::Entry::Kind::kObject, LowerId(number), objects_[number].mode & S_IFMT});
  }
  void mark_opaque(std::uint64_t directory) { objects_[directory].mark.opaque = true; }
  void mark_redirect(std::uint64_t directory, std::string to) {
    objects_[directory].mark.redirect = std::move(to);
  }
  void set_xattr(std::uint64_t number, const std::string& name, const std::string& value) {
    objects_[number].xattrs[name] = value;
  }

  // The inode number of this object cannot be told (EIO), as where a layer file is damaged.
  void damage(std::uint64_t number) { damaged_.insert(number); }

  const layer::Identity& identity() const override { return identity_; }
  const std::string& name() const override { return name_; }
  LowerId root() const override { return LowerId(1); }
  // How often this layer was asked for a name or a listing.
  std::size_t questions() const { return questions_; }
  Result<layer::Entry> look_up(LowerId directory, Name name) const override {
    ++questions_;
    const auto& entries = objects_[directory.value()].entries;
    const auto found = entries.find(name.str());
    return found == entries.end() ? layer::Entry{} : found->second;
  }
  Result<layer::DirectoryMark> directory_mark(LowerId directory) const override {
    return objects_[directory.value()].mark;
  }
  Status for_each_entry(LowerId directory, const layer::EntryVisitor& visit) const override {
    ++questions_;
    for (const auto& [name, entry] : objects_[directory.value()].entries) {
      if (!visit(name, entry)) break;
    }
    return {};
  }
  Result<Attributes> attributes(LowerId id) const override {
    const Object& object = objects_[id.value()];
    Attributes attributes;
    attributes.mode = object.mode;
    attributes.nlink = object.nlink;
    attributes.size_bytes = object.content.size();
    attributes.mtime = Timestamp{1000000000, 123456789};
    attributes.atime = attributes.ctime = attributes.mtime;
    return attributes;
  }
  Result<std::uint64_t> inode_number(LowerId id) const override {
    if (damaged_.contains(id.value())) return Errno{EIO};
    return id.value();
  }
  Result<std::string> path_of(LowerId id) const override { return objects_[id.value()].path; }
  Result<std::string> read_link(LowerId id) const override { return objects_[id.value()].content; }
  Result<std::vector<std::string>> xattr_names(LowerId id) const override {
    std::vector<std::string> names;
    for (const auto& [name, value] : objects_[id.value()].xattrs) names.push_back(name);
    return names;
  }
  Result<std::string> xattr(LowerId id, std::string_view name) const override {
    const auto& xattrs = objects_[id.value()].xattrs;
    const auto found = xattrs.find(std::string(name));
    if (found == xattrs.end()) return Errno{ENODATA};
    return found->second;
  }
  Result<std::unique_ptr<layer::LowerFile>> open_file(LowerId id) const override {
    return std::unique_ptr<layer::LowerFile>(std::make_unique<File>(objects_[id.value()].content));
  }

 private:
  struct Object {
    std::uint32_t mode = 0;
    std::uint32_t nlink = 1;
    std::string path = "/";
    std::string content;
    layer::DirectoryMark mark;
    std::map<std::string, layer::Entry> entries;
    std::map<std::string, std::string> xattrs;
  };

  class File final : public layer::LowerFile {
   public:
    explicit File(std::string content) : content_(std::move(content)) {}
    std::uint64_t size_bytes() const override { return content_.size(); }
    Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) const override {
      if (offset >= content_.size()) return std::size_t{0};
      const std::size_t count = std::min(out.size(), content_.size() - offset);
      std::memcpy(out.data(), content_.data() + offset, count);
      return count;
    }
    Result<std::optional<layer::Range>> next_data(std::uint64_t offset) const override {
      if (offset >= content_.size()) return std::optional<layer::Range>();
      return std::optional<layer::Range>(layer::Range{offset, content_.size() - offset});
    }

   private:
    const std::string content_;
  };

  std::uint64_t add(const std::string& path, Object object) {
    object.path = path;
    const std::uint64_t number = objects_.size();
    const layer::Entry entry{layer::Entry::Kind::kObject, LowerId(number), object.mode & S_IFMT};
    objects_.push_back(std::move(object));
    enter(path, entry);
    return number;
  }

  void enter(const std::string& path, const layer::Entry& entry) {
    const std::size_t slash = path.rfind('/');
    objects_[directory(path.substr(0, slash))].entries[path.substr(slash + 1)] = entry;
  }

  std::uint64_t directory(const std::string& path) {
    if (path.empty()) return 1;
    const std::size_t slash = path.rfind('/');
    const auto& entries = objects_[directory(path.substr(0, slash))].entries;
    const auto found = entries.find(path.substr(slash + 1));
    return found != entries.end() ? found->second.id.value() : add_directory(path);
  }

  std::string name_;
  layer::Identity identity_;
  std::vector<Object> objects_;
  mutable std::atomic<std::size_t> questions_ = 0;
  std::set<std::uint64_t> damaged_;
};

}  // namespace varve::view
