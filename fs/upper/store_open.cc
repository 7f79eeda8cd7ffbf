// Opening, syncing and closing the store.

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstring>
#include <utility>
#include <vector>

#include "fs/base/log.h"
#include "fs/upper/cow/cow_file.h"
#include "fs/upper/mount_note.h"
#include "fs/upper/object_path.h"
#include "fs/upper/store.h"

namespace varve::upper {

ResultOrFailure<std::unique_ptr<UpperStore>> UpperStore::open(const Options& options) {
  VARVE_ASSIGN(WorkDirectory work, WorkDirectory::open(options));
  auto store = std::make_unique<Store>(std::move(work), options);
  const Status recovered = store->recover();
  if (!recovered.ok()) {
    return failure_from(recovered.error(), options.work_path + ": taking up what the last mount left");
  }
  return std::unique_ptr<UpperStore>(std::move(store));
}

Store::Store(WorkDirectory work, const Options& options)
    : work_(std::move(work)),
      keep_access_times_(options.keep_access_times),
      thrown_away_(options.thrown_away),
      stage_(std::move(work_.stage)),
      whiteout_(stage_),
      maps_(work_.own.get(), kMapsName, std::move(work_.maps), work_.boot_id),
      index_(work_.own.get(), kIndexName, std::move(work_.index)) {}

Status Store::recover() {
  if (work_.is_new) return {};
  VARVE_RETURN_IF_ERROR(stage_.clear());
  if (!work_.was_clean && work_.same_boot) {
    // Killed under this boot: the kernel still has every write. Made durable now, or a reboot after a clean
    // unmount of this mount would lose claims that nobody opened again.
    if (::syncfs(work_.upper.get()) != 0) return Errno::last();
    VARVE_RETURN_IF_ERROR(maps_.promote_all());
  }
  if (!work_.was_clean) VARVE_RETURN_IF_ERROR(index_.settle_link_counts(marks()));
  const auto other_names = [this](ObjectRef entry) -> Result<std::int64_t> {
    VARVE_ASSIGN(const Marks found, marks().read(entry));
    return found.nlink_delta;
  };
  return index_.load(other_names, [this](ObjectRef entry) {
    const Result<std::uint64_t> map_id = marks().map_id_of(entry);
    if (map_id.ok() && *map_id != 0) remove_map(*map_id);
  });
}

// --- syncing ---

Status Store::sync_open_files() {
  std::vector<CowFile*> files;
  {
    const MutexLock lock(open_mutex_);
    for (const auto& [file, map_id] : open_files_) files.push_back(file);
  }
  for (CowFile* file : files) {
    // Held so that the file is not closed meanwhile; one file at a time, and its data was synced just before.
    const MutexLock lock(open_mutex_);
    if (open_files_.contains(file)) VARVE_RETURN_IF_ERROR(file->sync(false));
  }
  return {};
}

Status Store::promote_closed_files() {
  std::unordered_set<std::uint64_t> maps;
  {
    const MutexLock lock(open_mutex_);
    maps.swap(live_maps_);
  }
  Status result = ::syncfs(work_.upper.get()) == 0 ? Status() : Status(Errno::last());
  for (const std::uint64_t map_id : maps) {
    const MutexLock lock(open_mutex_);
    bool reopened = live_maps_.contains(map_id);
    for (const auto& [file, open_id] : open_files_) reopened = reopened || open_id == map_id;
    // Claims may have been added since the sync; whoever has the map now takes care of all of them.
    if (result.ok() && !reopened) result = maps_.promote(map_id);
    if (!result.ok() || reopened) live_maps_.insert(map_id);
  }
  return result;
}

Status Store::sync() {
  if (is_volatile()) return {};
  // Files that are opened or closed between the two steps are found by one of them, or again by the second
  // round.
  for (int round = 0; round < 2; ++round) {
    VARVE_RETURN_IF_ERROR(promote_closed_files());
    VARVE_RETURN_IF_ERROR(sync_open_files());
  }
  return ::syncfs(work_.upper.get()) == 0 ? Status() : Status(Errno::last());
}

Status Store::note_mount(const MountNote& note) {
  return marks().write_text({work_.upper.get(), {}}, kMountMark, format_mount_note(note));
}

Status Store::close() {
  if (thrown_away_) return {};  // and stays marked as such
  if (!is_volatile()) VARVE_RETURN_IF_ERROR(sync());
  // Idle files of a volatile upper keep claims that no sync made durable.
  {
    const MutexLock lock(open_mutex_);
    for (const auto& [file, map_id] : open_files_) {
      if (map_id != 0) live_maps_.insert(map_id);
    }
    if (::syncfs(work_.upper.get()) != 0) return Errno::last();
    for (const std::uint64_t map_id : live_maps_) VARVE_RETURN_IF_ERROR(maps_.promote(map_id));
    live_maps_.clear();
  }
  VARVE_RETURN_IF_ERROR(maps_.sync_names());
  VARVE_RETURN_IF_ERROR(stage_.clear());
  return work_.write(true);
}

Result<struct statvfs> Store::statistics() const {
  struct statvfs status {};
  if (::fstatvfs(work_.upper.get(), &status) != 0) return Errno::last();
  return status;
}

// --- cow files ---

Result<std::unique_ptr<block::BlockFile>> Store::open_map(std::uint64_t map_id, int data_fd) {
  VARVE_ASSIGN(auto file, maps_.open(map_id));
  if (file != nullptr) return file;
  VARVE_ASSIGN(const struct stat status, stat_object({data_fd, {}}));
  if (status.st_nlink == 0) return Errno{ESTALE};
  return file;
}

Result<std::unique_ptr<block::BlockFile>> Store::make_map(std::uint64_t map_id, int data_fd) {
  VARVE_RETURN_IF_ERROR(note_needs_work());
  return maps_.make(map_id, data_fd);
}

// The file is its own by now, whether its map can be removed or not.
Status Store::drop_base_mark(int data_fd, std::uint64_t map_id) {
  const ObjectRef file{data_fd, {}};
  VARVE_ASSIGN(const Marks now, marks().read(file));
  // Gone already: what is left is to remove the map.
  if (!now.base) return {};
  // The base mark stood for it.
  VARVE_RETURN_IF_ERROR(marks().write_origin(file, *now.origin));
  // Without the note, for which there may be no room, a kill could leave a map that nobody ever removes, and nothing worse.
  const Status noted = marks().write_idle_map(file, map_id);
  if (!noted.ok())
    log_debug("noting a map that is not needed any more: {}", std::strerror(noted.error().value));
  return marks().remove_base(file);
}

Status Store::delete_map(int data_fd, std::uint64_t map_id) {
  remove_map(map_id);
  const Status removed = marks().remove_idle_map({data_fd, {}});
  if (!removed.ok()) log_debug("a note of a map stays: {}", std::strerror(removed.error().value));
  return {};
}

void Store::cow_file_opened(CowFile& file, std::uint64_t map_id) {
  const MutexLock lock(open_mutex_);
  open_files_.emplace(&file, map_id);
}

void Store::cow_file_closed(CowFile& file, std::uint64_t map_id, bool live_claims) {
  const MutexLock lock(open_mutex_);
  open_files_.erase(&file);
  if (live_claims) live_maps_.insert(map_id);
}

Status Store::note_needs_work() {
  const MutexLock lock(needs_mutex_);
  if (needs_work_noted_) return {};
  VARVE_RETURN_IF_ERROR(marks().write_text({root_fd(), {}}, kNeedsWorkMark, "1"));
  needs_work_noted_ = true;
  return {};
}

}  // namespace varve::upper
