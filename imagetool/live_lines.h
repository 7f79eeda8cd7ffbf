#pragma once

// LiveLines: lines at the end of what a terminal shows that are drawn again and again, with others above them that stay. No line is
// wider than the terminal, nor are there more of them than it has rows; neither the cursor's look nor any mode of the terminal is
// changed, and the cursor stands at the beginning of the line below between two drawings, so a program may be killed at any time.
// Text in, text out: what is returned is to be written as it is. Thread rule: one thread.

#include <cstddef>
#include <string>
#include <vector>

namespace varve::imagetool {

struct TerminalSize {
  std::size_t columns = 80;
  std::size_t rows = 24;
};

class LiveLines {
 public:
  // Draws `lines` in place of those that were drawn last, and `kept` above them, for good. Lines are printable ASCII. `size`: as
  // it is now; lines drawn before in a wider terminal are taken to have been broken by it, as most terminals do.
  std::string draw(const std::vector<std::string>& kept, const std::vector<std::string>& lines,
                   TerminalSize size);
  // Takes the lines away.
  std::string clear(TerminalSize size) { return draw({}, {}, size); }
  bool empty() const { return drawn_.empty(); }

 private:
  std::vector<std::size_t> drawn_;  // characters of each line that stands
};

}  // namespace varve::imagetool
