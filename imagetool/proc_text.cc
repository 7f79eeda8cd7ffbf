#include "imagetool/proc_text.h"

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace varve::imagetool {

std::string unescaped_proc_text(const std::string& field) {
  std::string plain;
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && i + 3 < field.size()) {
      plain += static_cast<char>(std::strtol(field.substr(i + 1, 3).c_str(), nullptr, 8));
      i += 3;
    } else {
      plain += field[i];
    }
  }
  return plain;
}

ResultOrFailure<std::vector<VarvefsMount>> list_varvefs_mounts() {
  std::ifstream lines("/proc/self/mounts");
  if (!lines) return failure_from(Errno{ENOENT}, "/proc/self/mounts");
  std::vector<VarvefsMount> mounts;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string source;
    std::string target;
    std::string type;
    std::string options;
    words >> source >> target >> type >> options;
    if (type == "fuse.varvefs") mounts.push_back({unescaped_proc_text(target), options});
  }
  return mounts;
}

}  // namespace varve::imagetool
