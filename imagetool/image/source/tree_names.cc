#include "imagetool/image/source/tree_names.h"

#include <algorithm>

#include "fs/base/check.h"

namespace varve::image {
namespace {

// Below it a map is as good as a table.
constexpr std::size_t kLeastMerge = 64;
// Waiting names are merged when they are a quarter of all: each is then copied a few times at most.
constexpr std::size_t kMergePart = 4;

}  // namespace

std::string_view TreeNames::name_of(const Entry& entry) const {
  const auto offset = static_cast<std::size_t>(std::uint64_t{entry.offset_high} << 32 | entry.offset_low);
  return std::string_view(text_).substr(offset, entry.size);
}

void TreeNames::append(std::vector<Entry>& to, std::string& text, std::string_view name, TreeIndex node) {
  const std::uint64_t offset = text.size();
  VARVE_CHECK(!name.empty() && name.size() <= 255 && offset >> 40 == 0);
  to.push_back(Entry{.offset_low = static_cast<std::uint32_t>(offset),
                     .offset_high = static_cast<std::uint8_t>(offset >> 32),
                     .size = static_cast<std::uint8_t>(name.size()),
                     .node = node});
  text += name;
}

std::size_t TreeNames::lower_bound(std::string_view name) const {
  const auto found = std::lower_bound(
      flat_.begin(), flat_.end(), name,
      [this](const Entry& entry, std::string_view wanted) { return name_of(entry) < wanted; });
  return static_cast<std::size_t>(found - flat_.begin());
}

void TreeNames::set(std::string_view name, TreeIndex node) {
  if (flat_.empty() || name_of(flat_.back()) < name) {
    append(flat_, text_, name, node);  // no name that waits is this large
    return;
  }
  if (const std::size_t at = lower_bound(name); name_of(flat_[at]) == name) {
    flat_[at].node = node;
    return;
  }
  late_.insert_or_assign(std::string(name), node);
  if (late_.size() >= kLeastMerge && late_.size() >= flat_.size() / kMergePart) merge();
}

const TreeIndex* TreeNames::find(std::string_view name) const {
  const std::size_t at = lower_bound(name);
  if (at < flat_.size() && name_of(flat_[at]) == name) return &flat_[at].node;
  const auto waiting = late_.find(name);
  return waiting == late_.end() ? nullptr : &waiting->second;
}

void TreeNames::merge() {
  std::vector<Entry> merged;
  std::string text;
  merged.reserve(flat_.size() + late_.size());
  text.reserve(text_.size());
  for (const auto& [name, node] : *this) append(merged, text, name, node);
  flat_ = std::move(merged);
  text_ = std::move(text);
  late_.clear();
}

bool TreeNames::Iterator::late_is_next() const {
  if (late_ == names_->late_.end()) return false;
  return flat_ == names_->flat_.size() || late_->first < names_->name_of(names_->flat_[flat_]);
}

TreeNames::Iterator::Value TreeNames::Iterator::operator*() const {
  if (late_is_next()) return {late_->first, late_->second};
  const Entry& entry = names_->flat_[flat_];
  return {names_->name_of(entry), entry.node};
}

TreeNames::Iterator& TreeNames::Iterator::operator++() {
  if (late_is_next()) {
    ++late_;
  } else {
    ++flat_;
  }
  return *this;
}

}  // namespace varve::image
