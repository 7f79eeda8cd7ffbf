#pragma once

// ArgumentArea: where the kernel keeps this process's command line (/proc/PID/cmdline). The container's init writes a name
// of its own over it, since the launcher's command line holds paths and values of the host.
// Thread rule: one thread. The area belongs to the process and lives as long as it does.

#include <cstddef>

namespace varve::launcher {

struct ArgumentArea {
  char* begin = nullptr;
  std::size_t size_bytes = 0;

  // The area that main's arguments lie in, back to back.
  static ArgumentArea of(int argc, char** argv);
};

// What ps shows of this process becomes `title`, cut to the room there is.
void set_process_title(ArgumentArea area, const char* title);

}  // namespace varve::launcher
