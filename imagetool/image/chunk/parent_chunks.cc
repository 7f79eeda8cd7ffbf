#include "imagetool/image/chunk/parent_chunks.h"

#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "fs/format/hash.h"

namespace varve::image {
namespace {

constexpr std::size_t kFirstSlots = 1024;
constexpr std::uint32_t kFree = ~std::uint32_t{0};
constexpr std::size_t kOpenFiles = 8;
// Read at once; many chunks.
constexpr std::size_t kReadBytes = std::size_t{2} << 20;

// The frame in which the content of `inode` begins: files in this order are read with each frame decoded once.
std::uint64_t first_frame(const format::LayerTables& tables, const format::Inode& inode) {
  if ((inode.flags & format::kInodeInlineExtent) != 0) return format::extent_frame(inode.payload_a);
  const auto extents = tables.file_extents(inode);
  return !extents || extents->empty() ? 0 : format::extent_frame(extents->front().source_word);
}

// Whether `inode` holds bytes that are not all those of its base.
bool has_own_content(const format::Inode& inode) {
  const bool is_delta = (inode.flags & format::kInodeDelta) != 0;
  return S_ISREG(inode.mode) && inode.size >= kLeastHeldBytes && !(is_delta && inode.payload_b == 0);
}

}  // namespace

ParentChunks::ParentChunks(std::span<const std::shared_ptr<const layer::LayerFile>> parents,
                           const Options& options)
    : parents_(parents.begin(), parents.end()),
      cutter_(options.average_bytes),
      most_slots_(std::max(kFirstSlots, std::bit_floor(options.table_bytes / sizeof(Slot)))),
      slots_(kFirstSlots, Slot{0, kFree, 0}) {}

ResultOrFailure<std::unique_ptr<ParentChunks>> ParentChunks::make(
    std::span<const std::shared_ptr<const layer::LayerFile>> parents, const Options& options,
    Monitor& monitor) {
  std::unique_ptr<ParentChunks> chunks(new ParentChunks(parents, options));
  std::uint64_t content_bytes = 0;
  for (std::uint32_t parent = 0; parent < parents.size(); ++parent) {
    chunks->list_files(parent);
    content_bytes += parents[parent]->tables().content_bytes;
  }
  monitor.begin("reading the parents", content_bytes);
  for (std::uint32_t file = 0; file < chunks->files_.size() && !chunks->is_full_; ++file) {
    VARVE_RETURN_IF_ERROR(chunks->add_file(file, monitor));
  }
  monitor.end();
  return chunks;
}

void ParentChunks::list_files(std::uint32_t parent) {
  const format::LayerTables& tables = parents_[parent]->tables();
  std::vector<std::pair<std::uint64_t, std::uint32_t>> found;  // first frame, inode
  for (std::uint64_t inode = format::kRootInode; inode < tables.inodes.size(); ++inode) {
    const format::Inode& record = tables.inodes[inode];
    if (!has_own_content(record) || !parents_[parent]->has_all_parents(LowerId{inode})) continue;
    found.emplace_back(first_frame(tables, record), static_cast<std::uint32_t>(inode));
  }
  std::sort(found.begin(), found.end());
  for (const auto& [frame, inode] : found) {
    if (files_.size() < kFree) files_.push_back(File{parent, inode});
  }
}

StatusOrFailure ParentChunks::add_file(std::uint32_t file, Monitor& monitor) {
  VARVE_ASSIGN(const OpenFile* opened, open(file));
  for (std::uint64_t offset = 0;;) {
    const Result<std::optional<layer::Range>> range = opened->content->next_data(offset);
    if (!range.ok()) return failure_from(range.error(), opened->name);
    if (!range->has_value()) return {};
    VARVE_RETURN_IF_ERROR(add_range(file, *opened, **range, monitor));
    offset = (*range)->offset_bytes + (*range)->size_bytes;
  }
}

StatusOrFailure ParentChunks::add_range(std::uint32_t file, const OpenFile& open, layer::Range range,
                                        Monitor& monitor) {
  std::vector<std::byte> buffer(std::min<std::uint64_t>(range.size_bytes, kReadBytes));
  std::size_t held = 0;  // bytes of the buffer, which begins at `offset`
  std::uint64_t offset = range.offset_bytes;
  const std::uint64_t end = range.offset_bytes + range.size_bytes;
  while (offset < end && !is_full_) {
    if (monitor.cancelled()) return cancelled_failure();
    while (held < buffer.size() && offset + held < end) {
      const std::uint64_t want = std::min<std::uint64_t>(buffer.size() - held, end - offset - held);
      const Result<std::size_t> got =
          open.content->read(offset + held, std::span(buffer).subspan(held, want));
      if (!got.ok()) return failure_from(got.error(), open.name);
      if (*got == 0) return Failure{EIO, open.name + ": ends before its size"};
      monitor.advance(*got);
      held += *got;
    }
    const bool is_last = offset + held == end;
    std::size_t used = 0;
    while (used < held && (is_last || held - used >= cutter_.most_bytes())) {
      const auto rest = std::span<const std::byte>(buffer).subspan(used, held - used);
      const std::size_t length = cutter_.cut(rest);
      add(rest.first(length), Place{file, offset + used});
      used += length;
    }
    std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(used),
              buffer.begin() + static_cast<std::ptrdiff_t>(held), buffer.begin());
    held -= used;
    offset += used;
  }
  return {};
}

void ParentChunks::add(std::span<const std::byte> chunk, const Place& place) {
  if (chunk.size() < cutter_.least_bytes() || is_full_) return;
  if ((taken_ + 1) * 4 > slots_.size() * 3 && !grow()) {
    is_full_ = true;
    return;
  }
  const auto tag = static_cast<std::uint32_t>(format::xxh3_64(chunk));
  Slot& slot = slots_[slot_of(tag)];
  if (slot.file != kFree) return;
  slot = Slot{tag, place.file, place.offset_bytes};
  ++taken_;
}

std::size_t ParentChunks::slot_of(std::uint32_t tag) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = tag & mask;
  while (slots_[at].file != kFree && slots_[at].tag != tag) at = (at + 1) & mask;
  return at;
}

bool ParentChunks::grow() {
  if (slots_.size() * 2 > most_slots_) return false;
  const std::vector<Slot> before =
      std::exchange(slots_, std::vector<Slot>(slots_.size() * 2, Slot{0, kFree, 0}));
  for (const Slot& slot : before) {
    if (slot.file != kFree) slots_[slot_of(slot.tag)] = slot;
  }
  return true;
}

std::optional<ParentChunks::Place> ParentChunks::find(std::span<const std::byte> chunk) const {
  if (chunk.size() < cutter_.least_bytes()) return std::nullopt;
  const Slot& slot = slots_[slot_of(static_cast<std::uint32_t>(format::xxh3_64(chunk)))];
  if (slot.file == kFree) return std::nullopt;
  return Place{slot.file, slot.offset};
}

ResultOrFailure<const ParentChunks::OpenFile*> ParentChunks::open(std::uint32_t file) {
  const auto found =
      std::find_if(open_.begin(), open_.end(), [&](const OpenFile& open) { return open.file == file; });
  if (found != open_.end()) {
    open_.splice(open_.begin(), open_, found);
    return &open_.front();
  }
  const layer::LayerFile& parent = *parents_[files_[file].parent];
  const LowerId id{files_[file].inode};
  OpenFile opened;
  opened.file = file;
  const auto path = parent.path_of(id);
  opened.name = parent.name() + ": " + (path.ok() ? *path : "(unknown)");
  Result<std::unique_ptr<layer::LowerFile>> content = parent.open_file(id);
  if (!content.ok()) return failure_from(content.error(), opened.name);
  opened.content = std::move(content).value();
  Result<std::vector<layer::Piece>> pieces = layer::pieces_of(parent, id);
  if (!pieces.ok()) return failure_from(pieces.error(), opened.name);
  opened.pieces = std::move(pieces).value();
  if (open_.size() >= kOpenFiles) open_.pop_back();
  open_.push_front(std::move(opened));
  return &open_.front();
}

std::optional<std::uint16_t> ParentChunks::index_of(const layer::LayerFile* layer) const {
  for (std::size_t i = 0; i < parents_.size(); ++i) {
    if (parents_[i].get() == layer) return static_cast<std::uint16_t>(i);
  }
  return std::nullopt;
}

}  // namespace varve::image
