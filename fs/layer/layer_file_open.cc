// Opening of a LayerFile: everything that can be wrong with a file is found and named here.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "fs/format/layer_check.h"
#include "fs/format/layer_validate.h"
#include "fs/layer/layer_file.h"
#include "fs/layer/read_fully.h"

namespace varve::layer {
namespace {

constexpr std::uint64_t kLeastFileBytes = format::kDataOffset + sizeof(format::LayerFooter);

Failure cannot_open(const std::string& path, Errno error) {
  switch (error.value) {
    case ENOENT:
      return Failure{ENOENT, path + ": no such layer (check the path)"};
    case EACCES:
    case EPERM:
      return Failure{error.value, path + ": permission denied (make it readable to this user)"};
    default:
      return Failure{error.value, fmt::format("{}: cannot be opened: {}", path, std::strerror(error.value))};
  }
}

Failure cannot_read(const std::string& path, Errno error) {
  if (error == Errno{ENODATA}) {
    return Failure{EUCLEAN,
                   path + ": truncated while it was opened (let the copying end, or fetch it again)"};
  }
  return Failure{EIO,
                 fmt::format("{}: cannot be read: {} (check the disk)", path, std::strerror(error.value))};
}

Failure bad_format(const std::string& path, const format::FormatError& error) {
  if (error.kind == format::FormatError::Kind::kUnsupported) {
    return Failure{ENOTSUP,
                   fmt::format("{}: unsupported layer: {} (use a newer varve)", path, error.message)};
  }
  return Failure{EUCLEAN,
                 fmt::format("{}: corrupted layer: {} (fetch or build it again)", path, error.message)};
}

}  // namespace

LayerFile::LayerFile(UniqueFd fd, std::string path, std::shared_ptr<BlockCache> cache)
    : fd_(std::move(fd)),
      name_(std::move(path)),
      cache_(std::move(cache)),
      cache_id_(cache_->add_layer()),
      frames_(fd_.get(), tables_) {}

ResultOrFailure<std::unique_ptr<LayerFile>> LayerFile::open(const std::string& path,
                                                            const LayerContext& context,
                                                            const LayersBelow& below) {
  VARVE_CHECK(context.cache != nullptr);
  // O_NONBLOCK: a FIFO must be refused, not waited for.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return cannot_open(path, Errno::last());
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return cannot_open(path, Errno::last());
  if (!S_ISREG(status.st_mode)) {
    return Failure{EINVAL,
                   path + ": not a layer file (give a directory or a file made by 'imagetool layer build')"};
  }
  // As long as it is open nobody may take it for unused (Store::gc of imagetool). Where there are no locks nobody looks for one.
  [[maybe_unused]] const int locked = ::flock(fd.get(), LOCK_SH | LOCK_NB);
  std::unique_ptr<LayerFile> layer(new LayerFile(std::move(fd), path, context.cache));
  VARVE_RETURN_IF_ERROR(layer->load(static_cast<std::uint64_t>(status.st_size), context.lazy_from_bytes));
  VARVE_RETURN_IF_ERROR(layer->find_parents(below));
  return layer;
}

StatusOrFailure LayerFile::load(std::uint64_t file_bytes, std::uint64_t lazy_from_bytes) {
  std::array<std::byte, format::kDataOffset> start{};
  const std::size_t start_bytes = static_cast<std::size_t>(std::min<std::uint64_t>(file_bytes, start.size()));
  if (const Status status = read_fully(fd_.get(), 0, std::span(start).first(start_bytes)); !status.ok()) {
    return cannot_read(name_, status.error());
  }
  if (!format::has_layer_magic(std::span(start).first(start_bytes))) {
    return Failure{EINVAL,
                   name_ + ": not a layer file (give a directory or a file made by 'imagetool layer build')"};
  }
  if (file_bytes < kLeastFileBytes) {
    return Failure{EUCLEAN, name_ + ": truncated layer: its end is missing (fetch or build it again)"};
  }
  auto geometry = format::decode_header(start);
  if (!geometry.ok()) return bad_format(name_, geometry.error());

  std::array<std::byte, sizeof(format::LayerFooter)> end{};
  if (const Status status = read_fully(fd_.get(), file_bytes - end.size(), end); !status.ok()) {
    return cannot_read(name_, status.error());
  }
  auto footer = format::decode_footer(end, file_bytes);
  if (!footer.ok()) return bad_format(name_, footer.error());
  footer_ = *footer;
  identity_ = Identity{Identity::Kind::kLayerFile, format::to_hex(footer_.root_hash)};
  bool is_lazy = false;
  if (footer_.file_size - format::metadata_offset(footer_) >= lazy_from_bytes) {
    VARVE_ASSIGN(is_lazy, load_lazily(*geometry));
  }
  if (!is_lazy) VARVE_RETURN_IF_ERROR(load_metadata(*geometry));
  auto seen = SeenEntries::make(tables_.inodes.size());
  if (!seen.ok()) return cannot_read(name_, seen.error());
  seen_ = std::move(seen).value();
  return {};
}

StatusOrFailure LayerFile::load_metadata(const format::Geometry& geometry) {
  const std::uint64_t offset = format::metadata_offset(footer_);
  auto metadata = MetadataBytes::load(fd_.get(), offset, footer_.file_size - offset);
  if (!metadata.ok()) return cannot_read(name_, metadata.error());
  metadata_ = std::move(metadata).value();
  auto tables = format::decode_tables(metadata_.bytes(), geometry, footer_);
  if (!tables.ok()) return bad_format(name_, tables.error());
  tables_ = *tables;
  if (const auto valid = format::validate(tables_); !valid.ok()) return bad_format(name_, valid.error());
  is_checked_.store(true, std::memory_order_release);
  return {};
}

ResultOrFailure<bool> LayerFile::load_lazily(const format::Geometry& geometry) {
  const auto read = [&](std::uint64_t begin, std::uint64_t end) -> Result<std::vector<std::byte>> {
    std::vector<std::byte> bytes(end - begin);
    VARVE_RETURN_IF_ERROR(read_fully(fd_.get(), begin, bytes));
    return bytes;
  };
  const auto table_bytes =
      read(footer_.section_table_offset, footer_.section_table_offset + footer_.section_table_size);
  if (!table_bytes.ok()) return cannot_read(name_, table_bytes.error());
  auto sections = format::SectionTable::decode(*table_bytes, footer_);
  if (!sections.ok()) return bad_format(name_, sections.error());
  if (!sections->is_paged()) return false;

  // What lies before and behind the pages is verified now; the hashes of the pages stand first in the latter.
  const auto before = read(footer_.data_end, sections->paged_begin());
  if (!before.ok()) return cannot_read(name_, before.error());
  const auto behind = read(sections->paged_end(), footer_.section_table_offset);
  if (!behind.ok()) return cannot_read(name_, behind.error());
  for (const auto& good : {sections->check_bytes(*before, footer_.data_end),
                           sections->check_bytes(*behind, sections->paged_end())}) {
    if (!good.ok()) return bad_format(name_, good.error());
  }
  std::vector<Le64> hashes(sections->find(format::SectionType::kPageHash)->length / sizeof(Le64));
  if (!hashes.empty())
    std::memcpy(static_cast<void*>(hashes.data()), behind->data(), hashes.size() * sizeof(Le64));

  if (hashes.empty()) return bad_format(name_, format::corrupted("it has no root directory"));
  auto pages = MetadataPages::make(
      {.fd = fd_.get(), .name = name_, .sections = std::move(sections).value(), .hashes = std::move(hashes)});
  if (!pages.ok()) return cannot_read(name_, pages.error());
  pages_ = std::move(pages).value();
  const format::SectionTable& kept = pages_->sections();
  auto tables = format::make_tables(pages_->bytes(), kept.paged_begin(), kept, geometry, footer_);
  if (!tables.ok()) return bad_format(name_, tables.error());
  tables_ = *tables;
  tables_.gate = pages_.get();
  VARVE_RETURN_IF_ERROR(check_start());
  return true;
}

// What a mount needs at once: the root, and the parents, which stay in memory.
StatusOrFailure LayerFile::check_start() const {
  const auto check = [&]() -> format::FormatStatus {
    VARVE_RETURN_IF_ERROR(format::check_root(tables_));
    VARVE_RETURN_IF_ERROR(format::check_inode(tables_, format::kRootInode));
    if (!pages_->admit(tables_.parents.data(), tables_.parents.size_bytes())) return format::unreadable();
    return {};
  };
  const format::FormatStatus good = check();
  if (good.ok()) return {};
  if (good.error().kind != format::FormatError::Kind::kUnreadable) return bad_format(name_, good.error());
  return Failure{EUCLEAN,
                 name_ + ": corrupted layer: its metadata is not what was written (fetch or build it again)"};
}

StatusOrFailure LayerFile::find_parents(const LayersBelow& below) {
  parents_.resize(tables_.parents.size());
  for (std::size_t i = 1; i < parents_.size(); ++i) {
    const std::string root = format::to_hex(tables_.parents[i].root_hash);
    for (const std::shared_ptr<Layer>& layer : below.layers) {
      if (layer->identity() != Identity{Identity::Kind::kLayerFile, root}) continue;
      parents_[i] = std::dynamic_pointer_cast<const LayerFile>(layer);
    }
    if (parents_[i] == nullptr && below.all_there && (tables_.incompat & format::kNeedsParents) != 0) {
      return Failure{
          ENOENT,
          fmt::format("{}: the layer that it was built on, with root hash {}, is not below it (give the "
                      "layers that 'imagetool layer inspect' lists as its parents)",
                      name_, root)};
    }
  }
  return {};
}

}  // namespace varve::layer
