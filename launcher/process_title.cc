#include "launcher/process_title.h"

#include <sys/prctl.h>

#include <algorithm>
#include <cstring>

namespace varve::launcher {

ArgumentArea ArgumentArea::of(int argc, char** argv) {
  if (argc < 1) return {};
  const char* end = argv[argc - 1] + std::strlen(argv[argc - 1]) + 1;
  return {argv[0], static_cast<std::size_t>(end - argv[0])};
}

void set_process_title(ArgumentArea area, const char* title) {
  ::prctl(PR_SET_NAME, title, 0, 0, 0);
  if (area.size_bytes == 0) return;
  std::memset(area.begin, 0, area.size_bytes);
  std::memcpy(area.begin, title, std::min(std::strlen(title), area.size_bytes - 1));
}

}  // namespace varve::launcher
