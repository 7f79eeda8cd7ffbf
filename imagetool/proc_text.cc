#include "imagetool/proc_text.h"

#include <cstdlib>

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

}  // namespace varve::imagetool
