#include "tests/unit/image/random_tree.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <span>

namespace varve::image {
namespace {

constexpr std::size_t kBlock = 4096;
constexpr unsigned kMaxDepth = 3;
constexpr std::string_view kNames = "abcd";

bool one_in(std::mt19937& random, unsigned n) {
  return random() % n == 0;
}

std::string random_content(std::mt19937& random) {
  static constexpr std::size_t kSizes[] = {0, 10, 10, kBlock, 5000, 3 * kBlock, 30'000, 90'000, 300'000};
  std::string bytes(kSizes[random() % std::size(kSizes)], '\0');
  std::mt19937 common(static_cast<std::uint32_t>(random() % 3));  // so that files have blocks in common
  for (char& byte : bytes) byte = static_cast<char>(common());
  for (std::size_t at = 0; at < bytes.size(); at += kBlock) {
    if (one_in(random, 8)) bytes[at] = static_cast<char>(random());
    if (one_in(random, 12)) {
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), std::min(kBlock, bytes.size() - at), '\0');
    }
  }
  return bytes;
}

// The blocks that are not zeros.
class Blocks : public ContentSource {
 public:
  explicit Blocks(const std::string& bytes) : bytes_(bytes) {}
  ResultOrFailure<std::optional<Chunk>> next() override {
    for (; offset_ < bytes_.size(); offset_ += kBlock) {
      const std::string_view block = std::string_view(bytes_).substr(offset_, kBlock);
      if (block.find_first_not_of('\0') == std::string_view::npos) continue;
      const Chunk chunk{.offset_bytes = offset_, .bytes = std::as_bytes(std::span(block)), .hole_bytes = 0};
      offset_ += kBlock;
      return std::optional(chunk);
    }
    return std::optional<Chunk>();
  }

 private:
  const std::string& bytes_;
  std::size_t offset_ = 0;
};

}  // namespace

RandomTree::RandomTree(std::mt19937& random, bool marks) {
  Object root;
  root.spec.attributes.mode = S_IFDIR | 0755;
  root.spec.opaque = marks && one_in(random, 20);
  objects_.push_back(std::move(root));
  names_.emplace("", 0);
  fill(random, "", 0, marks);
}

void RandomTree::fill(std::mt19937& random, const std::string& directory, unsigned depth, bool marks) {
  for (const char name : kNames) {
    if (random() % 5 < 3) put(random, join_path(directory, std::string(1, name)), depth, marks);
  }
}

std::size_t RandomTree::random_file(std::mt19937& random) {
  std::vector<std::size_t> files;
  for (const auto& [path, object] : names_) {
    if (object != kWhiteout && !objects_[object].spec.attributes.is_directory()) files.push_back(object);
  }
  return files.empty() ? kWhiteout : files[random() % files.size()];
}

// Requires: nothing has the path.
void RandomTree::put(std::mt19937& random, const std::string& path, unsigned depth, bool marks) {
  if (marks && one_in(random, 6)) {
    names_.emplace(path, kWhiteout);
    return;
  }
  if (one_in(random, 8)) {
    if (const std::size_t file = random_file(random); file != kWhiteout) {
      names_.emplace(path, file);
      return;
    }
  }
  Object object;
  const unsigned kind = static_cast<unsigned>(random() % 10);
  Attributes& attributes = object.spec.attributes;
  if (kind < 4 && depth < kMaxDepth) {
    attributes.mode = S_IFDIR | 0755;
    if (marks && one_in(random, 6)) {
      object.spec.opaque = true;
    } else if (marks && one_in(random, 4)) {
      object.spec.redirect = std::string("/") + kNames[random() % kNames.size()];
      if (one_in(random, 2)) *object.spec.redirect += std::string("/") + kNames[random() % kNames.size()];
    }
  } else if (kind == 8) {
    attributes.mode = S_IFLNK | 0777;
    object.spec.symlink_target = std::string(1 + random() % 3, 't');
  } else if (kind == 9) {
    attributes.mode = S_IFCHR | 0600;
    attributes.rdev = makedev(1, static_cast<unsigned>(1 + random() % 2));
  } else {
    attributes.mode = S_IFREG | 0644;
    object.content = random_content(random);
  }
  attributes.uid = static_cast<std::uint32_t>(random() % 2);
  attributes.mtime.seconds = static_cast<std::int64_t>(random() % 2);
  if (one_in(random, 5)) object.spec.xattrs.emplace_back("user.x", std::string(1 + random() % 2, 'v'));
  names_.emplace(path, objects_.size());
  const bool is_directory = attributes.is_directory();
  objects_.push_back(std::move(object));
  if (is_directory) fill(random, path, depth + 1, marks);
}

void RandomTree::erase(const std::string& path) {
  std::erase_if(names_, [&](const auto& name) {
    return name.first == path || name.first.compare(0, path.size() + 1, path + "/") == 0;
  });
}

void RandomTree::change_object(std::mt19937& random, Object& object) {
  Attributes& attributes = object.spec.attributes;
  switch (random() % 6) {
    case 0:
      attributes.mode ^= 0022;
      return;
    case 1:
      attributes.mtime.nanoseconds += 1;
      return;
    case 2:
      object.spec.xattrs = {{"user.y", std::string(random() % 3, 'w')}};
      return;
    default:
      if (!attributes.is_regular() || object.content.empty()) return;
      if (one_in(random, 4)) object.content.resize(1 + random() % 100'000);
      object.content[random() % object.content.size()] ^= 1;
  }
}

void RandomTree::change(std::mt19937& random) {
  for (std::size_t count = random() % 8; count > 0; --count) {
    std::vector<std::string> paths;
    for (const auto& [path, object] : names_) paths.push_back(path);
    const std::string path = paths[random() % paths.size()];
    Object& object = objects_[names_.at(path)];
    if (path.empty() || one_in(random, 2)) {
      change_object(random, object);
      continue;
    }
    const auto depth = static_cast<unsigned>(std::count(path.begin(), path.end(), '/'));
    erase(path);
    if (!one_in(random, 3)) put(random, path, depth, false);
  }
}

ResultOrFailure<Tree> RandomTree::scan() {
  std::map<std::size_t, TreeIndex> nodes;
  InodeSpec root = objects_[0].spec;
  Tree tree(std::move(root));
  nodes.emplace(0, kTreeRoot);
  for (const auto& [path, object] : names_) {
    if (path.empty()) continue;
    const std::size_t slash = path.rfind('/');
    const std::string parent = slash == std::string::npos ? "" : path.substr(0, slash);
    const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    const TreeIndex directory = nodes.at(names_.at(parent));
    if (object == kWhiteout) {
      tree.set_whiteout(directory, name);
      continue;
    }
    if (!nodes.contains(object)) {
      InodeSpec spec = objects_[object].spec;
      spec.attributes.size_bytes = objects_[object].content.size();
      nodes.emplace(object, tree.add(std::move(spec)));
      tree.set_source_key(nodes.at(object), object);
    }
    tree.set_name(directory, name, nodes.at(object));
  }
  return tree;
}

StatusOrFailure RandomTree::for_each_content(const Tree& tree, const ContentConsumer& take) {
  for (const ContentFile file : files_in_layer_order(tree, large_bytes_)) {
    Blocks blocks(objects_[tree.source_key(file.node)].content);
    VARVE_RETURN_IF_ERROR(take(file.node, blocks));
  }
  return {};
}

}  // namespace varve::image
