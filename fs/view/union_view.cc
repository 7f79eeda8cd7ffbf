#include "fs/view/union_view.h"

#include <sys/stat.h>

#include <utility>

namespace varve::view {

UnionView::UnionView(std::unique_ptr<LowerStack> stack, std::unique_ptr<upper::UpperStore> store,
                     std::size_t directory_fd_capacity)
    : stack_(std::move(stack)), store_(std::move(store)), directory_fds_(directory_fd_capacity) {}

UnionView::~UnionView() {
  // Nodes and handles refer to the stack, the store and the table: they go first, in an order of their own.
  handles_.clear();
  root_.reset();
  table_.clear();
}

Result<std::unique_ptr<UnionView>> UnionView::make(std::unique_ptr<LowerStack> stack,
                                                   std::unique_ptr<upper::UpperStore> store,
                                                   std::size_t directory_fd_capacity) {
  std::unique_ptr<UnionView> view(new UnionView(std::move(stack), std::move(store), directory_fd_capacity));
  VARVE_RETURN_IF_ERROR(view->make_root());
  return view;
}

Status UnionView::make_root() {
  const MergedDirectoryPtr& below = stack_->root();
  upper::UpperEntry entry;
  std::shared_ptr<const UniqueFd> fd;
  std::uint64_t inode_number = 0;
  if (store_ != nullptr) {
    const int root_fd = ::fcntl(store_->root_fd(), F_DUPFD_CLOEXEC, 0);
    if (root_fd < 0) return Errno::last();
    fd = std::make_shared<const UniqueFd>(root_fd);
    VARVE_ASSIGN(entry, store_->look_up(upper::ObjectRef{fd->get(), ""}));
    inode_number = LowerStack::make_inode_number(LayerSlot(0), entry.inode_number);
  }
  // A lower's number for the root, where there is one, as for every other merged directory.
  if (below != nullptr) {
    VARVE_ASSIGN(inode_number, stack_->inode_number(below->sources().front()));
  }
  if (below == nullptr && store_ == nullptr) return Errno{EINVAL};
  root_ = table_.find_or_make(inode_number, S_IFDIR, [&](Node& made) NO_THREAD_SAFETY_ANALYSIS {
    if (below != nullptr) {
      made.lower = below->sources().front();
      if (!entry.marks.opaque) made.directory().lower = below;
    }
    if (store_ == nullptr) return;
    made.upper().marks = entry.marks;
    made.upper().inode = entry.inode_number;
    made.upper().pinned = fd;
    made.in_upper = true;
  });
  VARVE_CHECK(root_->id() == kRoot);
  table_.reference(root_);  // the kernel holds the root for as long as it is mounted
  return {};
}

Result<struct statvfs> UnionView::statfs() {
  if (store_ != nullptr) return store_->statistics();
  struct statvfs none {};
  none.f_bsize = 4096;
  none.f_frsize = 4096;
  none.f_namemax = Name::kMaxSize;
  return none;
}

Status UnionView::sync() {
  return store_ != nullptr ? store_->sync() : Status();
}

Status UnionView::note_mount(const upper::MountNote& note) {
  VARVE_CHECK(store_ != nullptr);
  return store_->note_mount(note);
}

Status UnionView::close() {
  settler_.stop();
  // Open files first: their maps must be complete before the store says so.
  handles_.clear();
  return store_ != nullptr ? store_->close() : Status();
}

UnionView::Statistics UnionView::statistics() const {
  Statistics now;
  for (std::size_t slot = stack_->layer_count(); slot >= 1; --slot) {
    now.layers.push_back(stack_->layer(LayerSlot(static_cast<std::uint16_t>(slot))).name());
  }
  now.nodes = table_.size();
  now.open_files = handles_.size();
  if (store_ != nullptr) now.copied_up = store_->copied_up();
  return now;
}

}  // namespace varve::view
