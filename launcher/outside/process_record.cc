#include "launcher/outside/process_record.h"

#include <array>
#include <limits>
#include <optional>

#include "imagetool/image/store/json_text.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr std::uint64_t kAnyNumber = std::numeric_limits<std::uint64_t>::max();

constexpr const char* kReading = "reading how the container was started";
constexpr const char* kDefault = "default";

// The default profile is made again from the capabilities; any other is kept as the program that came of it, as numbers.
image::Json to_json(const SeccompPlan& seccomp) {
  image::Json program = image::Json::array();
  if (seccomp.profile != kDefault) {
    for (const struct sock_filter& one : seccomp.program)
      program.push_back({one.code, one.jt, one.jf, one.k});
  }
  return {{"profile", seccomp.profile}, {"flags", seccomp.flags}, {"program", std::move(program)}};
}

image::Json to_json(const std::vector<ResourceLimit>& limits) {
  image::Json list = image::Json::array();
  for (const ResourceLimit& limit : limits) {
    list.push_back({{"name", limit.name},
                    {"resource", static_cast<std::uint64_t>(limit.resource)},
                    {"soft", static_cast<std::uint64_t>(limit.value.rlim_cur)},
                    {"hard", static_cast<std::uint64_t>(limit.value.rlim_max)}});
  }
  return list;
}

// Returns: whether `value` is four whole numbers that fit.
bool read_instruction(const image::Json& value, struct sock_filter& to) {
  if (!value.is_array() || value.size() != 4) return false;
  constexpr std::array<std::uint64_t, 4> kLimits = {0xffff, 0xff, 0xff, 0xffffffff};
  std::array<std::uint64_t, 4> numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (!value[i].is_number_unsigned() || value[i].get<std::uint64_t>() > kLimits[i]) return false;
    numbers[i] = value[i].get<std::uint64_t>();
  }
  to = {static_cast<std::uint16_t>(numbers[0]), static_cast<std::uint8_t>(numbers[1]),
        static_cast<std::uint8_t>(numbers[2]), static_cast<std::uint32_t>(numbers[3])};
  return true;
}

ResultOrFailure<SeccompPlan> read_seccomp(const image::Json& root, CapabilitySet capabilities) {
  image::JsonReader outer(root, "process");
  const image::Json* json = outer.object("seccomp");
  if (json == nullptr) return refuse(kReading, "seccomp", "there is no such object");
  SeccompPlan plan;
  std::uint64_t flags = 0;
  image::JsonReader reader(*json, "seccomp");
  reader.read("profile", plan.profile);
  reader.read("flags", flags, 0xffffffff);
  if (const auto good = reader.status(); !good.ok()) return refuse(kReading, "seccomp", good.error().message);
  if (plan.profile == kDefault) return plan_seccomp(std::nullopt, capabilities);
  plan.flags = static_cast<unsigned>(flags);
  const auto program = json->find("program");
  if (program == json->end() || !program->is_array()) return refuse(kReading, "seccomp", "it has no program");
  for (const image::Json& value : *program) {
    if (!read_instruction(value, plan.program.emplace_back()))
      return refuse(kReading, "seccomp", "its program is none");
  }
  return plan;
}

ResultOrFailure<std::vector<ResourceLimit>> read_limits(const image::Json& root) {
  const auto list = root.find("limits");
  if (list == root.end() || !list->is_array()) return refuse(kReading, "limits", "there is no such list");
  constexpr std::uint64_t kMostResources = 64;
  std::vector<ResourceLimit> limits;
  for (const image::Json& json : *list) {
    if (!json.is_object()) return refuse(kReading, "limits", "one is no object");
    std::uint64_t resource = 0;
    std::uint64_t soft = 0;
    std::uint64_t hard = 0;
    ResourceLimit& limit = limits.emplace_back();
    image::JsonReader reader(json, "limits");
    reader.read("name", limit.name);
    reader.read("resource", resource, kMostResources);
    reader.read("soft", soft, kAnyNumber);
    reader.read("hard", hard, kAnyNumber);
    if (const auto good = reader.status(); !good.ok())
      return refuse(kReading, "limits", good.error().message);
    limit.resource = static_cast<int>(resource);
    limit.value = {.rlim_cur = soft, .rlim_max = hard};
  }
  return limits;
}

}  // namespace

std::string text_of(const ProcessRecord& record) {
  const ProcessPlan& process = record.process;
  const image::Json json = {{"arguments", process.arguments},
                            {"environment", process.environment.entries()},
                            {"working_directory", process.working_directory},
                            {"user", process.user},
                            {"capabilities", process.capabilities.mask()},
                            {"user_capabilities", process.user_capabilities.mask()},
                            {"no_new_privileges", process.no_new_privileges},
                            {"seccomp", to_json(process.seccomp)},
                            {"limits", to_json(process.limits)},
                            {"umask", process.umask},
                            {"setgroups_denied", record.setgroups_denied}};
  return image::json_text(json);
}

ResultOrFailure<ProcessRecord> parse_process_record(const std::string& text, const std::string& container) {
  const ResultOrFailure<image::Json> json = image::parse_json_object(text);
  if (!json.ok()) return refuse(kReading, container, json.error().message);

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
  std::uint64_t umask = 0;
  reader.read("umask", umask, 0777);
  process.umask = static_cast<mode_t>(umask);
  if (const auto good = reader.status(); !good.ok()) return refuse(kReading, container, good.error().message);
  process.capabilities = CapabilitySet(capabilities);
  process.user_capabilities = CapabilitySet(user_capabilities);
  VARVE_ASSIGN(process.seccomp, read_seccomp(*json, process.capabilities));
  VARVE_ASSIGN(process.limits, read_limits(*json));
  for (const std::string& entry : environment) {
    const std::size_t equals = entry.find('=');
    if (equals == 0 || equals == std::string::npos)
      return refuse(kReading, container, "its environment is none");
    process.environment.set(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return record;
}

}  // namespace varve::launcher
