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
  for (std::size_t i = 0; i < files->stack_.size(); ++i) {
    const auto parent = std::dynamic_pointer_cast<const layer::LayerFile>(files->stack_[i]);
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

ParentFiles::Sources ParentFiles::roots() const {
  Sources sources;
  for (std::size_t i = 0; i < stack_.size(); ++i) sources.push_back({i, stack_[i]->root()});
  return sources;
}

Result<ParentFiles::Sources> ParentFiles::enter(const Sources& sources, std::string_view text,
                                                std::optional<Source>& file) const {
  VARVE_ASSIGN(const Name name, Name::parse(text));
  Sources entered;
  for (const Source& source : sources) {
    const layer::Layer& layer = *stack_[source.layer];
    VARVE_ASSIGN(const layer::Entry entry, layer.look_up(source.id, name));
    if (entry.kind == layer::Entry::Kind::kAbsent) continue;
    if (entry.kind == layer::Entry::Kind::kWhiteout) break;
    if (entry.type != S_IFDIR) {
      if (entered.empty()) file = Source{source.layer, entry.id};
      break;
    }
    entered.push_back({source.layer, entry.id});
    VARVE_ASSIGN(const layer::DirectoryMark mark, layer.directory_mark(entry.id));
    // What a redirect leads to is not looked for: files there are stored anew, or found by their digest.
    if (mark.opaque || mark.redirect) break;
  }
  return entered;
}

Result<ParentFiles::Sources> ParentFiles::enter_path(std::string_view path) const {
  Sources sources = roots();
  while (!path.empty() && !sources.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    std::optional<Source> file;
    if (name.empty()) continue;
    VARVE_ASSIGN(sources, enter(sources, name, file));
  }
  return sources;
}

Status ParentFiles::match(const Tree& tree) {
  std::unordered_map<TreeIndex, Sources> directories;
  directories.emplace(kTreeRoot, tree.node(kTreeRoot).spec.opaque ? Sources() : roots());
  Status status;
  const StatusOrFailure walked = tree.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    if (!status.ok() || visit.node == kWhiteoutNode || visit.node == kTreeRoot) return {};
    const auto within = directories.find(visit.directory);
    const InodeSpec& spec = tree.node(visit.node).spec;
    const auto enter_node = [&]() -> Status {
      std::optional<Source> file;
      Sources entered;
      if (spec.redirect) {
        VARVE_ASSIGN(entered, enter_path(*spec.redirect));
      } else if (within != directories.end()) {
        VARVE_ASSIGN(entered, enter(within->second, visit.name, file));
      }
      if (spec.attributes.is_directory()) {
        if (!spec.opaque && !entered.empty()) directories.emplace(visit.node, std::move(entered));
      } else if (spec.attributes.is_regular() && file) {
        if (const auto found = in_layer(*stack_[file->layer], file->id))
          matches_.try_emplace(visit.node, *found);
      }
      return {};
    };
    status = enter_node();
    return {};
  });
  VARVE_CHECK(walked.ok());
  return status;
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
  if (!opened.ok()) return failure_from(opened.error(), describe(file));
  return std::move(opened).value();
}

DeltaBase ParentFiles::base(const ParentFile& file) const {
  const layer::LayerFile& layer = *parents_[file.parent];
  return DeltaBase{.parent = file.parent,
                   .inode = static_cast<std::uint32_t>(file.id.value()),
                   .digest = layer.content_digest(file.id).value_or(format::Hash128{}),
                   .size_bytes = layer.tables().inodes[file.id.value()].size,
                   .path = layer.path_of(file.id).ok() ? *layer.path_of(file.id) : std::string(),
                   .data_blocks = 0};
}

std::string ParentFiles::describe(const ParentFile& file) const {
  const auto path = parents_[file.parent]->path_of(file.id);
  return parents_[file.parent]->name() + ": " + (path.ok() ? *path : "(unknown)");
}

}  // namespace varve::image
