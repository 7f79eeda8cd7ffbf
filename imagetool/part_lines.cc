#include "imagetool/part_lines.h"

#include <fmt/format.h>

#include <algorithm>

#include "imagetool/human_text.h"

namespace varve::imagetool {
namespace {

using Part = image::PartProgress::Part;
using State = image::PartProgress::State;

double seconds_between(PartLines::Time begin, PartLines::Time end) {
  return std::chrono::duration<double>(end - begin).count();
}

double rate_of(std::uint64_t bytes, double seconds) {
  return static_cast<double>(bytes) / std::max(seconds, 1e-3);
}

bool has_ended(State state) {
  return state == State::kDone || state == State::kThere;
}

std::string running_line(const Part& part, PartLines::Time now) {
  const double rate = rate_of(part.done_bytes, seconds_between(part.begin, now));
  return fmt::format("  {}  {} of {}, {}/s", part.name, human_bytes(part.done_bytes),
                     human_bytes(part.total_bytes), human_bytes(static_cast<std::uint64_t>(rate)));
}

std::string end_line(const Part& part) {
  if (part.state == State::kThere) return fmt::format("{}  already there", part.name);
  return fmt::format("{}  done, {} in {}", part.name, human_bytes(part.done_bytes),
                     human_seconds(seconds_between(part.begin, part.end)));
}

}  // namespace

std::vector<std::string> PartLines::news(const Parts& parts, bool begins) {
  told_.resize(parts.size(), State::kWaiting);
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    if (part.state == told_[i]) continue;
    if (begins && told_[i] == State::kWaiting && part.state != State::kThere) {
      lines.push_back(fmt::format("{}  {} {}", part.name, what_, human_bytes(part.total_bytes)));
    }
    if (has_ended(part.state)) lines.push_back(end_line(part));
    told_[i] = part.state;
  }
  return lines;
}

std::string PartLines::head(const Parts& parts, Time now) const {
  std::uint64_t total_bytes = 0;
  std::uint64_t done_bytes = 0;
  std::size_t ended = 0;
  for (const Part& part : parts) {
    if (has_ended(part.state)) ++ended;
    if (part.state == State::kThere) continue;
    total_bytes += part.total_bytes;
    done_bytes += part.done_bytes;
  }
  const double rate = rate_of(done_bytes, seconds_between(begin_, now));
  std::string line =
      fmt::format("{}: {} of {} layers, {} of {}, {}/s", what_, ended, parts.size(), human_bytes(done_bytes),
                  human_bytes(total_bytes), human_bytes(static_cast<std::uint64_t>(rate)));
  const std::uint64_t left_bytes = total_bytes - std::min(done_bytes, total_bytes);
  if (rate > 1 && left_bytes > 0) {
    line += fmt::format(", {} left", human_seconds(static_cast<double>(left_bytes) / rate));
  }
  return line;
}

std::vector<std::string> PartLines::live(const Parts& parts, Time now) const {
  std::vector<std::string> lines = {head(parts, now)};
  std::size_t more = 0;
  for (const Part& part : parts) {
    if (part.state != State::kRunning) continue;
    if (lines.size() <= kMostLiveParts) {
      lines.push_back(running_line(part, now));
    } else {
      ++more;
    }
  }
  if (more > 0) lines.back() = fmt::format("  and {} more", more + 1);
  return lines;
}

}  // namespace varve::imagetool
