#include "imagetool/image/source/tree_source.h"

#include <fnmatch.h>

#include <algorithm>
#include <tuple>

namespace varve::image {
namespace {

std::string_view last_component_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// What follows the last '.'; ".profile" has none.
std::string_view extension_of(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos || dot == 0 ? std::string_view() : name.substr(dot + 1);
}

}  // namespace

PathFilter::PathFilter(std::vector<std::string> patterns) {
  for (std::string& pattern : patterns) {
    while (pattern.size() > 1 && pattern.back() == '/') pattern.pop_back();
    if (pattern.find('/') == std::string::npos) {
      last_component_.push_back(std::move(pattern));
    } else {
      whole_path_.push_back(pattern.substr(pattern.front() == '/' ? 1 : 0));
    }
  }
}

bool PathFilter::excludes(std::string_view path) const {
  if (whole_path_.empty() && last_component_.empty()) return false;
  const std::string whole(path);
  const std::string last(last_component_of(path));
  const auto matches = [](const std::vector<std::string>& patterns, const std::string& text) {
    return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
      return ::fnmatch(pattern.c_str(), text.c_str(), FNM_PATHNAME) == 0;
    });
  };
  return matches(whole_path_, whole) || matches(last_component_, last);
}

std::vector<ContentFile> files_in_layer_order(const Tree& tree, std::uint64_t large_bytes) {
  std::vector<ContentFile> files;
  std::vector<bool> seen(tree.node_count());
  const StatusOrFailure walked = tree.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    if (visit.node == kWhiteoutNode || seen[visit.node]) return {};
    seen[visit.node] = true;
    const Attributes& attributes = tree.node(visit.node).spec.attributes;
    if (attributes.is_regular() && attributes.size_bytes > 0) files.push_back({visit.path, visit.node});
    return {};
  });
  VARVE_CHECK(walked.ok());
  const auto key = [&](const ContentFile& file) {
    const bool small = tree.node(file.node).spec.attributes.size_bytes < large_bytes;
    const std::string_view name = small ? last_component_of(file.path) : std::string_view();
    return std::tuple(small, extension_of(name), name, std::string_view(file.path));
  };
  std::sort(files.begin(), files.end(),
            [&](const ContentFile& a, const ContentFile& b) { return key(a) < key(b); });
  return files;
}

}  // namespace varve::image
