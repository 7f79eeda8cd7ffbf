#include "imagetool/live_lines.h"

#include <algorithm>

namespace varve::imagetool {
namespace {

// The last column stays free: a terminal that writes into it has its cursor between two lines.
std::string cut(const std::string& line, std::size_t columns) {
  return line.substr(0, columns - 1);
}

}  // namespace

std::string LiveLines::draw(const std::vector<std::string>& kept, const std::vector<std::string>& lines,
                            TerminalSize size) {
  if (drawn_.empty() && kept.empty() && lines.empty()) return "";
  size.columns = std::max<std::size_t>(size.columns, 2);
  std::size_t rows = 0;
  for (const std::size_t width : drawn_) {
    rows += std::max<std::size_t>(1, (width + size.columns - 1) / size.columns);
  }
  std::string text = "\r";
  if (rows > 0) text += "\x1b[" + std::to_string(rows) + "A";
  drawn_.clear();
  for (const std::string& line : kept) text += cut(line, size.columns) + "\x1b[K\n";
  // One row is the cursor's.
  const std::size_t most = std::max<std::size_t>(size.rows, 2) - 1;
  for (const std::string& line : lines) {
    if (drawn_.size() == most) break;
    const std::string shown = cut(line, size.columns);
    text += shown + "\x1b[K\n";
    drawn_.push_back(shown.size());
  }
  return text + "\x1b[J";
}

}  // namespace varve::imagetool
