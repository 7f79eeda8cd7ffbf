#include "fs/upper/part_directory.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "fs/upper/object_path.h"

namespace varve::upper {

Result<UniqueFd> open_or_make_directory(int parent, const std::string& name) {
  Result<UniqueFd> fd = open_object({parent, name}, O_RDONLY | O_DIRECTORY);
  if (fd.ok() || fd.error().value != ENOENT) return fd;
  if (::mkdirat(parent, name.c_str(), 0700) != 0 && errno != EEXIST) return Errno::last();
  return open_object({parent, name}, O_RDONLY | O_DIRECTORY);
}

Result<int> PartDirectory::make() {
  if (const int made = fd(); made >= 0) return made;
  const MutexLock lock(mutex_);
  if (const int made = fd(); made >= 0) return made;
  VARVE_ASSIGN(UniqueFd made, open_or_make_directory(parent_, name_));
  const int number = made.release();
  fd_.store(number, std::memory_order_release);
  return number;
}

}  // namespace varve::upper
