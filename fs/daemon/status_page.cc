#include "fs/daemon/status_page.h"

#include <fmt/format.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace varve::daemon {
namespace {

using nlohmann::json;

constexpr std::size_t kMostBytes = 65536;        // XATTR_SIZE_MAX
constexpr std::size_t kMostLayerBytes = 49'152;  // leaves room for all the rest

// VmRSS of this process; 0 where /proc is not to be had.
std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size_pages = 0;
  std::uint64_t resident_pages = 0;
  statm >> size_pages >> resident_pages;
  return resident_pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

json layer_names(const std::vector<std::string>& layers) {
  json names = json::array();
  std::size_t bytes = 0;
  for (const std::string& name : layers) {
    bytes += name.size() + 8;
    if (bytes > kMostLayerBytes) break;
    names.push_back(name);
  }
  return names;
}

std::string percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? "-"
                    : fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string mebibytes(std::uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

json wakeup_of(const fuse::MountStatus& mount) {
  const fuse::WakeupStatus wakeup = mount.wakeup.value_or(fuse::WakeupStatus{.why_not = "not asked for"});
  return {{"asked_us", mount.wakeup ? json(wakeup.asked_us) : json()},
          {"held", wakeup.held},
          {"taken", wakeup.taken},
          {"why_not", wakeup.why_not}};
}

std::string wakeup_text(const json& wakeup) {
  const std::string asked = wakeup.at("asked_us").is_null()
                                ? ""
                                : fmt::format("{} us: ", wakeup.at("asked_us").get<std::uint64_t>());
  if (const auto why_not = wakeup.at("why_not").get<std::string>(); !why_not.empty())
    return asked + "not used: " + why_not;
  return fmt::format("{}{}, taken {} times", asked, wakeup.at("held").get<bool>() ? "held" : "not held now",
                     wakeup.at("taken").get<std::uint64_t>());
}

std::string as_text(const json& page) {
  std::string text;
  const auto line = [&](std::string_view label, const std::string& value) {
    text += fmt::format("{:<22}{}\n", label, value);
  };
  const auto number = [&](const char* group, const char* member) {
    return page.at(group).at(member).get<std::uint64_t>();
  };
  line("varvefs", page.at("version").get<std::string>());
  line("layers", std::to_string(page.at("layer_count").get<std::uint64_t>()));
  for (const json& name : page.at("layers")) line("", name.get<std::string>());
  for (const char* way : {"passthrough", "uring"}) {
    const json& use = page.at(way);
    line(way, use.at("used").get<bool>() ? "used" : "not used: " + use.at("why_not").get<std::string>());
  }
  line("wakeup", wakeup_text(page.at("wakeup")));
  line("memory", mebibytes(page.at("memory_bytes").get<std::uint64_t>()));
  line("nodes", fmt::format("{} known to the kernel, {} files open", number("nodes", "known"),
                            number("nodes", "open_files")));
  const std::uint64_t hits = number("cache", "hits") + number("cache", "waits");
  line("cache", fmt::format("{} held, {} hits, {} misses ({})", mebibytes(number("cache", "bytes")), hits,
                            number("cache", "misses"), percent(hits, hits + number("cache", "misses"))));
  line("decompressed", mebibytes(number("cache", "decompressed_bytes")));
  line("copied up", fmt::format("{} objects, {} blocks of 4 KiB", number("copied_up", "objects"),
                                number("copied_up", "blocks")));
  line("requests", std::to_string(page.at("requests_total").get<std::uint64_t>()));
  for (const auto& [name, count] : page.at("requests").items()) {
    line("  " + name, std::to_string(count.get<std::uint64_t>()));
  }
  return text;
}

}  // namespace

std::string status_page(const fuse::MountStatus& mount, const view::UnionView& view,
                        const layer::BlockCache& cache) {
  const view::UnionView::Statistics now = view.statistics();
  const layer::BlockCache::Statistics cached = cache.statistics();
  json requests = json::object();
  std::uint64_t total = 0;
  for (const auto& [name, count] : mount.requests) {
    requests[std::string(name)] = count;
    total += count;
  }
  const json page = {
      {"version", VARVE_VERSION},
      {"read_only", view.read_only()},
      {"layer_count", now.layers.size()},
      {"layers", layer_names(now.layers)},
      {"passthrough", {{"used", mount.passthrough}, {"why_not", mount.why_no_passthrough}}},
      {"uring", {{"used", mount.why_no_rings.empty()}, {"why_not", mount.why_no_rings}}},
      {"wakeup", wakeup_of(mount)},
      {"requests", std::move(requests)},
      {"requests_total", total},
      {"nodes", {{"known", now.nodes}, {"open_files", now.open_files}}},
      {"cache",
       {{"bytes", cached.bytes},
        {"hits", cached.hits},
        {"waits", cached.waits},
        {"misses", cached.misses},
        {"evictions", cached.evictions},
        {"decompressed_bytes", cached.loaded_bytes}}},
      {"copied_up", {{"objects", now.copied_up.objects}, {"blocks", now.copied_up.blocks}}},
      {"memory_bytes", resident_bytes()},
  };
  // Names of files need not be UTF-8.
  return page.dump(-1, ' ', false, json::error_handler_t::replace);
}

StatusOrFailure show_status(const std::string& mount_point, bool as_json) {
  std::string page(kMostBytes, '\0');
  const ssize_t size =
      ::getxattr(mount_point.c_str(), std::string(fuse::kStatusXattr).c_str(), page.data(), page.size());
  if (size < 0) {
    const Errno why = Errno::last();
    if (why.value != ENODATA && why.value != EOPNOTSUPP)
      return failure_from(why, "asking for the status: " + mount_point);
    return Failure{why.value,
                   "asking for the status: " + mount_point +
                       ": this is not the root of a varvefs mount, or another user's, or a container's "
                       "(name a mount point of your own)"};
  }
  page.resize(static_cast<std::size_t>(size));
  const json parsed = json::parse(page, nullptr, false);
  if (parsed.is_discarded()) {
    return Failure{EBADMSG, "asking for the status: " + mount_point + ": the answer cannot be understood"};
  }
  try {
    const std::string text = as_json ? parsed.dump(2) + "\n" : as_text(parsed);
    // The process ends without its streams being written out.
    if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
      return failure_from(Errno::last(), "printing the status");
    }
  } catch (const json::exception& wrong) {
    return Failure{EBADMSG,
                   "asking for the status: " + mount_point +
                       ": the answer lacks something (is the mount of another version?): " + wrong.what()};
  }
  return {};
}

}  // namespace varve::daemon
