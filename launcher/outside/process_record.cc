#include "launcher/outside/process_record.h"

#include <limits>

#include "imagetool/image/store/atomic_file.h"
#include "imagetool/image/store/json_text.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr std::uint64_t kLimitBytes = 4 << 20;
constexpr std::uint64_t kAnyNumber = std::numeric_limits<std::uint64_t>::max();

std::string path_in(const std::string& directory) {
  return directory + "/process.json";
}

}  // namespace

StatusOrFailure write_process_record(const std::string& directory, const ProcessRecord& record) {
  const ProcessPlan& process = record.process;
  const image::Json json = {{"arguments", process.arguments},
                            {"environment", process.environment.entries()},
                            {"working_directory", process.working_directory},
                            {"user", process.user},
                            {"capabilities", process.capabilities.mask()},
                            {"user_capabilities", process.user_capabilities.mask()},
                            {"no_new_privileges", process.no_new_privileges},
                            {"setgroups_denied", record.setgroups_denied}};
  const Status written =
      image::write_file_atomically(path_in(directory), image::json_text(json, 2) + "\n", 0600,
                                   image::Durability::kUntilReboot);  // no command runs any longer than that
  if (!written.ok())
    return explain(written.error(), "keeping how the container was started", path_in(directory));
  return {};
}

ResultOrFailure<ProcessRecord> read_process_record(const std::string& directory) {
  constexpr const char* kReading = "reading how the container was started";
  const std::string path = path_in(directory);
  const Result<std::string> text = image::read_small_file(path, kLimitBytes);
  if (!text.ok()) return explain(text.error(), kReading, path);
  const ResultOrFailure<image::Json> json = image::parse_json_object(*text);
  if (!json.ok()) return refuse(kReading, path, json.error().message);

  ProcessRecord record;
  ProcessPlan& process = record.process;
  image::JsonReader reader(*json, "process");
  std::vector<std::string> environment;
  std::uint64_t capabilities = 0;
  std::uint64_t user_capabilities = 0;
  reader.read("arguments", process.arguments);
  reader.read("environment", environment);
  reader.read("working_directory", process.working_directory);
  reader.read("user", process.user);
  reader.read("capabilities", capabilities, kAnyNumber);
  reader.read("user_capabilities", user_capabilities, kAnyNumber);
  reader.read("no_new_privileges", process.no_new_privileges);
  reader.read("setgroups_denied", record.setgroups_denied);
  if (const auto good = reader.status(); !good.ok()) return refuse(kReading, path, good.error().message);
  process.capabilities = CapabilitySet(capabilities);
  process.user_capabilities = CapabilitySet(user_capabilities);
  for (const std::string& entry : environment) {
    const std::size_t equals = entry.find('=');
    if (equals == 0 || equals == std::string::npos) return refuse(kReading, path, "its environment is none");
    process.environment.set(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return record;
}

}  // namespace varve::launcher
