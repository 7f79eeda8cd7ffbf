#include "imagetool/image/store/image_config.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <time.h>

#include <array>

#include "imagetool/image/store/json_text.h"

namespace varve::image {
namespace {

template <class Value>
void set_or_erase(Json& object, const char* key, const Value& value) {
  if (value.empty()) {
    object.erase(key);
  } else {
    object[key] = value;
  }
}

void set_keys(Json& object, const char* key, const std::vector<std::string>& names) {
  object.erase(key);
  for (const std::string& name : names) object[key][name] = Json::object();
}

ResultOrFailure<std::vector<HistoryEntry>> parse_history(const Json& items) {
  std::vector<HistoryEntry> history;
  for (const Json& item : items) {
    JsonReader reader(item, "image configuration, history");
    HistoryEntry entry;
    reader.read("created", entry.created);
    reader.read("created_by", entry.created_by);
    reader.read("author", entry.author);
    reader.read("comment", entry.comment);
    reader.read("empty_layer", entry.empty_layer);
    VARVE_RETURN_IF_ERROR(reader.status());
    history.push_back(std::move(entry));
  }
  return history;
}

Json history_to_json(const std::vector<HistoryEntry>& history) {
  Json items = Json::array();
  for (const HistoryEntry& entry : history) {
    Json item = Json::object();
    set_or_erase(item, "created", entry.created);
    set_or_erase(item, "created_by", entry.created_by);
    set_or_erase(item, "author", entry.author);
    set_or_erase(item, "comment", entry.comment);
    if (entry.empty_layer) item["empty_layer"] = true;
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace

ResultOrFailure<ImageConfig> parse_image_config(std::string_view text) {
  VARVE_ASSIGN(const Json root, parse_json_object(text));
  ImageConfig config;
  config.source_json = text;
  JsonReader reader(root, "image configuration");
  reader.read("architecture", config.architecture);
  reader.read("os", config.os);
  reader.read("created", config.created);
  reader.read("author", config.author);
  if (const Json* run = reader.object("config")) {
    JsonReader run_reader(*run, "image configuration, config");
    run_reader.read("Entrypoint", config.entrypoint);
    run_reader.read("Cmd", config.cmd);
    run_reader.read("Env", config.env);
    run_reader.read("WorkingDir", config.working_dir);
    run_reader.read("User", config.user);
    run_reader.read("StopSignal", config.stop_signal);
    run_reader.read("Labels", config.labels);
    run_reader.read_keys("ExposedPorts", config.exposed_ports);
    run_reader.read_keys("Volumes", config.volumes);
    VARVE_RETURN_IF_ERROR(run_reader.status());
  }
  if (const Json* rootfs = reader.object("rootfs")) {
    JsonReader rootfs_reader(*rootfs, "image configuration, rootfs");
    rootfs_reader.read("diff_ids", config.diff_ids);
    VARVE_RETURN_IF_ERROR(rootfs_reader.status());
  }
  if (const Json* history = reader.array("history")) {
    VARVE_ASSIGN(config.history, parse_history(*history));
  }
  VARVE_RETURN_IF_ERROR(reader.status());
  return config;
}

std::string image_config_to_json(const ImageConfig& config) {
  Json root = Json::object();
  if (!config.source_json.empty()) {
    auto source = parse_json_object(config.source_json);
    if (source.ok()) root = std::move(source).value();
  }
  root["architecture"] = config.architecture.empty() ? host_architecture() : config.architecture;
  root["os"] = config.os;
  set_or_erase(root, "created", config.created);
  set_or_erase(root, "author", config.author);
  Json run = root.contains("config") && root["config"].is_object() ? root["config"] : Json::object();
  set_or_erase(run, "Entrypoint", config.entrypoint);
  set_or_erase(run, "Cmd", config.cmd);
  set_or_erase(run, "Env", config.env);
  set_or_erase(run, "WorkingDir", config.working_dir);
  set_or_erase(run, "User", config.user);
  set_or_erase(run, "StopSignal", config.stop_signal);
  set_or_erase(run, "Labels", config.labels);
  set_keys(run, "ExposedPorts", config.exposed_ports);
  set_keys(run, "Volumes", config.volumes);
  root["config"] = std::move(run);
  root["rootfs"] = {{"type", "layers"}, {"diff_ids", config.diff_ids}};
  root["history"] = history_to_json(config.history);
  return json_text(root);
}

std::string host_architecture() {
  constexpr std::array<std::array<const char*, 2>, 8> kNames = {{{"x86_64", "amd64"},
                                                                 {"aarch64", "arm64"},
                                                                 {"armv7l", "arm"},
                                                                 {"i686", "386"},
                                                                 {"ppc64le", "ppc64le"},
                                                                 {"riscv64", "riscv64"},
                                                                 {"s390x", "s390x"},
                                                                 {"loongarch64", "loong64"}}};
  struct utsname host {};
  if (::uname(&host) != 0) return "unknown";
  for (const auto& [machine, architecture] : kNames) {
    if (std::string_view(machine) == host.machine) return architecture;
  }
  return host.machine;
}

std::string rfc3339(long long seconds) {
  const time_t when = static_cast<time_t>(seconds);
  struct tm parts {};
  if (::gmtime_r(&when, &parts) == nullptr) return "1970-01-01T00:00:00Z";
  // Not strftime(3), which reads /etc/localtime first.
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

}  // namespace varve::image
