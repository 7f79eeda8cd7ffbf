#pragma once

// PartLines: the parts of a PartProgress as lines of text. Thread rule: one thread. Ownership: plain values.

#include <cstddef>
#include <string>
#include <vector>

#include "imagetool/image/source/part_progress.h"

namespace varve::imagetool {

// So many parts have a line of their own while they are under way.
inline constexpr std::size_t kMostLiveParts = 6;

class PartLines {
 public:
  using Parts = std::vector<image::PartProgress::Part>;
  using Time = image::PartProgress::Clock::time_point;

  // `what`: as PartProgress has it. `begin`: when work began, for the rate of all.
  PartLines(std::string what, Time begin) : what_(std::move(what)), begin_(begin) {}

  // A line for each part that ended since the last call, and, with `begins`, before it one for each that began; in the order of
  // the parts.
  std::vector<std::string> news(const Parts& parts, bool begins);
  // How far all are, then a line for each that is under way: kMostLiveParts at most, and how many more there are.
  std::vector<std::string> live(const Parts& parts, Time now) const;

 private:
  std::string head(const Parts& parts, Time now) const;

  const std::string what_;
  const Time begin_;
  std::vector<image::PartProgress::State> told_;  // of each part, by news()
};

}  // namespace varve::imagetool
