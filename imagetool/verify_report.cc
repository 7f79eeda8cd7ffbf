#include "imagetool/verify_report.h"

#include <fmt/format.h>

#include "fs/base/log.h"
#include "imagetool/commands.h"

namespace varve::imagetool {

void quiet_damage_log() {
  LogDestination log;
  log.program = "imagetool";
  log.least = LogLevel::kFatal;
  set_log_destination(log);
}

std::string report_text(const std::string& path, const image::VerifyReport& report) {
  const std::string shown = printable(path);
  if (report.good()) {
    std::string rest = report.unchecked_files == 0
                           ? ""
                           : fmt::format(" ({} of them inherit from layers that are not given, see --parent)",
                                         report.unchecked_files);
    if (report.uncompared_files > 0) {
      rest += fmt::format(" (the digests of {} were not compared, their holes are too large)",
                          report.uncompared_files);
    }
    const std::string above = report.parent_bytes == 0 ? ""
                                                       : fmt::format(", {} of it in frames of layers below",
                                                                     human_bytes(report.parent_bytes));
    return fmt::format("{}: good: {} files{}, {} in {} frames{}\n", shown, report.files, rest,
                       human_bytes(report.content_bytes), report.frames, above);
  }
  return fmt::format("{}: DAMAGED\n", shown) + damage_text(report);
}

std::string damage_text(const image::VerifyReport& report) {
  std::string text;
  for (const std::string& problem : report.problems) text += "  " + printable(problem) + "\n";
  for (const auto& file : report.damaged_files) {
    text += fmt::format("  damaged file {}: {}\n", printable(file.path), file.reason);
  }
  return text;
}

static image::Json files_json(const std::vector<image::VerifyReport::DamagedFile>& damaged) {
  image::Json files = image::Json::array();
  for (const auto& file : damaged)
    files.push_back({{"path", file.path}, {"reason", file.reason}, {"sources", file.sources}});
  return files;
}

image::Json report_json(const std::string& path, const image::VerifyReport& report) {
  return {{"path", path},
          {"good", report.good()},
          {"files", report.files},
          {"unchecked_files", report.unchecked_files},
          {"uncompared_files", report.uncompared_files},
          {"frames", report.frames},
          {"content_bytes", report.content_bytes},
          {"parent_bytes", report.parent_bytes},
          {"problems", report.problems},
          {"damaged_files", files_json(report.damaged_files)},
          {"unchecked", files_json(report.unchecked)}};
}

}  // namespace varve::imagetool
