#include "imagetool/image/source/tree_source.h"

#include <fnmatch.h>

#include <algorithm>

namespace varve::image {
namespace {

std::string_view last_component_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
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
  if (empty()) return false;
  if (asked_) return asked_(path);
  const std::string whole(path);
  const std::string last(last_component_of(path));
  const auto matches = [](const std::vector<std::string>& patterns, const std::string& text) {
    return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
      return ::fnmatch(pattern.c_str(), text.c_str(), FNM_PATHNAME) == 0;
    });
  };
  return matches(whole_path_, whole) || matches(last_component_, last);
}

}  // namespace varve::image
