#include "fs/base/processors.h"

#include <unistd.h>

#include <algorithm>

namespace varve {

cpu_set_t usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // The number of the process is that of its main thread.
  if (::sched_getaffinity(::getpid(), sizeof set, &set) != 0) CPU_ZERO(&set);
  return set;
}

unsigned count_usable_processors() {
  const cpu_set_t set = usable_processors();
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

void use_all_processors() {
  const cpu_set_t set = usable_processors();
  if (CPU_COUNT(&set) > 0) ::sched_setaffinity(0, sizeof set, &set);
}

bool use_one_processor(unsigned number) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(number, &set);
  return ::sched_setaffinity(0, sizeof set, &set) == 0;
}

}  // namespace varve
