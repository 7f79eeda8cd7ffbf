#pragma once

// ProgressMonitor: how far long work is, on standard error: a bar with rate and time left on a terminal, with lines of the parts of
// other work that goes on meanwhile above it; plain lines; or nothing. And Ctrl-C: install_interrupt_handlers() turns SIGINT, SIGTERM
// and SIGHUP into Monitor::cancelled(), so that work returns and leaves nothing half-written. Thread rule: one thread, as Monitor;
// signals may come at any time, and the terminal may get another size at any time.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "imagetool/image/source/tree_source.h"
#include "imagetool/live_lines.h"
#include "imagetool/part_lines.h"

namespace varve::imagetool {

void install_interrupt_handlers();

class ProgressMonitor : public image::Monitor {
 public:
  // `kind`: "auto" (a bar when standard error is a terminal, else nothing), "plain", "none".
  static std::unique_ptr<ProgressMonitor> make(std::string_view kind);
  ~ProgressMonitor() override;

  void begin(std::string_view label, std::uint64_t total_bytes) override;
  void advance(std::uint64_t bytes) override;
  void end() override;
  void show_parts(std::shared_ptr<const image::PartProgress> parts) override;
  void warn(const std::string& text) override;
  bool cancelled() const override;

 private:
  enum class Style { kBar, kPlain, kNone };
  using Clock = std::chrono::steady_clock;
  explicit ProgressMonitor(Style style) : style_(style) {}
  // The line of the work itself. `last`: it is at its end.
  std::string line(bool last) const;
  std::string bar() const;
  // On a terminal: all lines again, and `kept` above them for good.
  void draw(const std::vector<std::string>& kept);
  void clear();
  // What became of the parts since it was told last.
  void tell_parts();

  Style style_;
  std::string label_;
  bool running_ = false;
  std::uint64_t total_bytes_ = 0;
  std::uint64_t done_bytes_ = 0;
  Clock::time_point begin_;
  Clock::time_point next_line_;  // of kPlain
  std::shared_ptr<const image::PartProgress> parts_;
  std::optional<PartLines> part_lines_;  // of parts_
  Clock::time_point next_draw_;
  LiveLines live_;  // of kBar
};

}  // namespace varve::imagetool
