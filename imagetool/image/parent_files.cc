#include "imagetool/image/parent_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

namespace varve::image {
namespace {

std::array<unsigned char, 32> bytes_of(const Digest& digest) {
  std::array<unsigned char, 32> bytes{};
  const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
  const std::string_view hex = digest.hex();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<unsigned char>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  }
  return bytes;
}

ResultOrFailure<Digest> digest_of_path(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return failure_from(Errno::last(), path);
  Result<DigestAndSize> digest = digest_of_file(fd.get());
  if (!digest.ok()) return failure_from(digest.error(), path);
  return digest->digest;
}

}  // namespace

std::size_t ParentFiles::DigestHash::operator()(const format::Hash128& digest) const noexcept {
  std::size_t value = 0;
  std::memcpy(&value, digest.data(), sizeof value);
  return value;
}

ResultOrFailure<std::unique_ptr<ParentFiles>> ParentFiles::make(
    std::vector<std::shared_ptr<layer::Layer>> stack, std::span<const Digest> digests) {
  VARVE_CHECK(digests.empty() || digests.size() == stack.size());
  std::unique_ptr<ParentFiles> files(new ParentFiles(std::move(stack)));
  for (std::size_t i = 0; i < files->stack().size(); ++i) {
    const auto parent = std::dynamic_pointer_cast<const layer::LayerFile>(files->stack()[i]);
    if (parent == nullptr) continue;
    VARVE_RETURN_IF_ERROR(parent->load_all());  // index_digests() goes over it
    ParentLayer record;
    record.root_hash = parent->footer().root_hash;
    if (digests.empty()) {
      VARVE_ASSIGN(const Digest digest, digest_of_path(parent->name()));
      record.sha256 = bytes_of(digest);
    } else {
      record.sha256 = bytes_of(digests[i]);
    }
    files->parents_.push_back(parent);
    files->records_.push_back(record);
  }
  return files;
}

StatusOrFailure ParentFiles::match(const Tree& tree) {
  std::unordered_map<TreeIndex, UnionDirectory> directories;  // of those that merge with some
  if (!tree.node(kTreeRoot).spec.opaque) {
    VARVE_ASSIGN(directories[kTreeRoot], stack_.root());
  }
  return tree.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    if (visit.node == kWhiteoutNode || visit.node == kTreeRoot) return {};
    const InodeSpec& spec = tree.node(visit.node).spec;
    const auto within = directories.find(visit.directory);
    if (spec.attributes.is_directory()) {
      UnionDirectory entered;
      if (spec.redirect) {
        VARVE_ASSIGN(entered, stack_.enter_path(*spec.redirect));
      } else if (within != directories.end() && !spec.opaque) {
        VARVE_ASSIGN(entered, stack_.enter(within->second, visit.name));
      }
      if (!entered.sources.empty()) directories.emplace(visit.node, std::move(entered));
    } else if (spec.attributes.is_regular() && within != directories.end()) {
      VARVE_ASSIGN(const UnionEntry below, stack_.look_up(within->second, visit.name));
      if (!below.is_object() || !S_ISREG(below.type)) return {};
      if (const auto found = in_layer(stack_.layer(below.object), below.object.id))
        matches_.try_emplace(visit.node, *found);
    }
    return {};
  });
}

std::optional<ParentFile> ParentFiles::in_layer(const layer::Layer& layer, LowerId id) const {
  for (std::size_t i = 0; i < parents_.size(); ++i) {
    if (parents_[i].get() != &layer) continue;
    const Result<const format::Inode*> inode = parents_[i]->inode(id);
    if (!inode.ok() || !S_ISREG((*inode)->mode) || (*inode)->size == 0) return std::nullopt;
    return ParentFile{static_cast<std::uint16_t>(i), id};
  }
  return std::nullopt;
}

std::optional<ParentFile> ParentFiles::at(TreeIndex node) const {
  const auto found = matches_.find(node);
  return found == matches_.end() ? std::nullopt : std::optional(found->second);
}

void ParentFiles::index_digests() {
  if (is_indexed_) return;
  is_indexed_ = true;
  for (std::size_t i = 0; i < parents_.size(); ++i) {
    const format::LayerTables& tables = parents_[i]->tables();
    for (std::uint64_t inode = format::kRootInode; inode < tables.inodes.size(); ++inode) {
      const format::Inode& record = tables.inodes[inode];
      if (!S_ISREG(record.mode) || record.size == 0 || record.digest == 0) continue;
      digests_.try_emplace(tables.digests[record.digest].xxh3_128,
                           ParentFile{static_cast<std::uint16_t>(i), LowerId{inode}});
      sizes_.insert(record.size);
    }
  }
}

bool ParentFiles::has_size(std::uint64_t size_bytes) {
  index_digests();
  return sizes_.contains(size_bytes);
}

std::optional<ParentFile> ParentFiles::with_digest(const format::Hash128& digest) {
  index_digests();
  const auto found = digests_.find(digest);
  return found == digests_.end() ? std::nullopt : std::optional(found->second);
}

ResultOrFailure<std::unique_ptr<layer::LowerFile>> ParentFiles::open(const ParentFile& file) const {
  Result<std::unique_ptr<layer::LowerFile>> opened = parents_[file.parent]->open_file(file.id);
  if (!opened.ok()) {
    const Result<std::string> path = parents_[file.parent]->path_of(file.id);
    return failure_from(opened.error(),
                        parents_[file.parent]->name() + ": " + (path.ok() ? *path : "(unknown)"));
  }
  return std::move(opened).value();
}

DeltaBase ParentFiles::base(const ParentFile& file, std::optional<std::string> path) const {
  const layer::LayerFile& layer = *parents_[file.parent];
  if (!path) {
    Result<std::string> found = layer.path_of(file.id);
    path = found.ok() ? std::move(found).value() : std::string();
  }
  return DeltaBase{.parent = file.parent,
                   .inode = static_cast<std::uint32_t>(file.id.value()),
                   .digest = layer.content_digest(file.id).value_or(format::Hash128{}),
                   .size_bytes = layer.tables().inodes[file.id.value()].size,
                   .path = std::move(*path),
                   .data_blocks = 0};
}

}  // namespace varve::image
