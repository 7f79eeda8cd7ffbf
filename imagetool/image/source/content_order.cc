#include "imagetool/image/source/content_order.h"

#include <sys/stat.h>

#include <algorithm>
#include <tuple>

namespace varve::image {
namespace {

// From so many on, files of one name are taken for versions of one thing. Measured on a Debian tree, compilers, and node
// with python: by name alone or by path alone layers are larger by up to 1.1 %; numbers from 2 to 8 differ by less than 0.5 %.
constexpr std::ptrdiff_t kFrequent = 4;

// What follows the last '.'; ".profile" has none.
std::string_view extension_of(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos || dot == 0 ? std::string_view() : name.substr(dot + 1);
}

}  // namespace

ContentOrder::ContentOrder(const Tree& tree, std::uint64_t large_bytes) {
  std::vector<bool> seen(tree.node_count());
  std::uint32_t rank = 0;
  const StatusOrFailure walked = tree.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    ++rank;
    if (visit.node == kWhiteoutNode || seen[visit.node]) return {};
    seen[visit.node] = true;
    if (tree.is_directory(visit.node)) parents_.try_emplace(visit.node, Parent{visit.directory, visit.name});
    const std::uint64_t size = tree.size_bytes(visit.node);
    if (size == 0) return {};
    items_.push_back(Item{.name = visit.name.data(),
                          .node = visit.node,
                          .directory = visit.directory,
                          .rank = rank,
                          .name_size = static_cast<std::uint8_t>(visit.name.size()),
                          .small = size < large_bytes});
    return {};
  });
  VARVE_CHECK(walked.ok());
  mark_frequent_names();
  std::sort(items_.begin(), items_.end(), precedes);
}

void ContentOrder::mark_frequent_names() {
  std::sort(items_.begin(), items_.end(),
            [](const Item& a, const Item& b) { return a.name_text() < b.name_text(); });
  for (auto first = items_.begin(); first != items_.end();) {
    const auto last = std::find_if(first, items_.end(),
                                   [&](const Item& item) { return item.name_text() != first->name_text(); });
    const bool frequent =
        std::count_if(first, last, [](const Item& item) { return item.small; }) >= kFrequent;
    for (; first != last; ++first) first->frequent = frequent;
  }
}

bool ContentOrder::precedes(const Item& a, const Item& b) {
  const auto key = [](const Item& item) {
    const std::string_view name = item.small ? item.name_text() : std::string_view();
    return std::tuple(item.small, extension_of(name), item.frequent ? name : std::string_view(), item.rank);
  };
  return key(a) < key(b);
}

std::size_t ContentOrder::first_small() const {
  const auto first = std::find_if(items_.begin(), items_.end(), [](const Item& item) { return item.small; });
  return static_cast<std::size_t>(first - items_.begin());
}

void ContentOrder::reorder_small(std::span<const std::uint32_t> order) {
  const std::vector<Item> before(items_.begin() + static_cast<std::ptrdiff_t>(first_small()), items_.end());
  VARVE_CHECK(order.size() == before.size());
  Item* next = items_.data() + first_small();
  for (const std::uint32_t position : order) *next++ = before[position];
}

ContentFile ContentOrder::operator[](std::size_t position) const {
  const Item& item = items_[position];
  std::vector<std::string_view> names = {item.name_text()};
  for (TreeIndex directory = item.directory; directory != kTreeRoot;) {
    const Parent& parent = parents_.at(directory);
    names.push_back(parent.name);
    directory = parent.directory;
  }
  ContentFile file;
  file.node = item.node;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (!file.path.empty()) file.path.push_back('/');
    file.path += *name;
  }
  return file;
}

}  // namespace varve::image
