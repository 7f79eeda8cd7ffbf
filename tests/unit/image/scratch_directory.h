#pragma once

// What the tests of imagetool's libraries share: a directory that vanishes, a monitor that remembers
// warnings, files.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "imagetool/image/source/tree_source.h"
#include "imagetool/image/store/atomic_file.h"

namespace varve::image {

class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = "/tmp/varve-image-test.XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no scratch directory";
    path_ = name;
  }
  ~ScratchDirectory() {
    if (!remove_tree(path_).ok()) ADD_FAILURE() << path_ << " stays";
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class RememberingMonitor : public Monitor {
 public:
  void warn(const std::string& text) override { warnings.push_back(text); }
  bool cancelled() const override { return stop; }
  std::vector<std::string> warnings;
  bool stop = false;
};

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

inline void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  ASSERT_TRUE(file.good()) << path;
}

template <class T>
T must(ResultOrFailure<T> result) {
  if (!result.ok()) throw std::runtime_error(result.error().message);
  return std::move(result).value();
}
inline void must(StatusOrFailure status) {
  if (!status.ok()) throw std::runtime_error(status.error().message);
}

}  // namespace varve::image
