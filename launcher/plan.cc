#include "launcher/plan.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "imagetool/image/store/container_state.h"
#include "imagetool/image/store/store.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr const char* kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr std::size_t kMaxHostnameBytes = 64;  // __NEW_UTS_LEN of linux/utsname.h

// A JSON array of words, or one word (podman-run(1) --entrypoint).
ResultOrFailure<std::vector<std::string>> parse_entrypoint(const std::string& text) {
  if (text.empty()) return std::vector<std::string>();
  if (text[0] != '[') return std::vector<std::string>{text};
  const nlohmann::json parsed = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto is_text = [](const nlohmann::json& item) { return item.is_string(); };
  if (!parsed.is_array() || !std::all_of(parsed.begin(), parsed.end(), is_text)) {
    return refuse("reading --entrypoint", text, "this is no JSON array of strings");
  }
  return parsed.get<std::vector<std::string>>();
}

// Entrypoint and command of the image give way to what was typed (OCI image-spec config.md: Cmd are default arguments
// of Entrypoint; an entrypoint that is typed takes the image's Cmd away too).
ResultOrFailure<std::vector<std::string>> choose_arguments(const RunOptions& options,
                                                           const image::ImageConfig& config) {
  std::vector<std::string> words = config.entrypoint;
  if (options.entrypoint.has_value()) {
    VARVE_ASSIGN(words, parse_entrypoint(*options.entrypoint));
  }
  if (!options.arguments.empty()) {
    words.insert(words.end(), options.arguments.begin(), options.arguments.end());
  } else if (!options.entrypoint.has_value()) {
    words.insert(words.end(), config.cmd.begin(), config.cmd.end());
  }
  if (words.empty()) {
    return refuse("starting a container", options.image, "no command is given and the image names none",
                  "write it after the image: varve run IMAGE COMMAND");
  }
  return words;
}

ResultOrFailure<Environment> choose_environment(const RunOptions& options, const image::ImageConfig& config,
                                                const HostFacts& host) {
  Environment chosen;
  chosen.set("PATH", kDefaultPath);
  chosen.set("TERM", options.terminal ? host.variable("TERM").value_or("xterm") : "xterm");
  chosen.set("container", "varve");
  for (const std::string& entry : config.env) VARVE_RETURN_IF_ERROR(chosen.apply(entry, host.variable));
  for (const std::string& file : options.environment_files) {
    VARVE_RETURN_IF_ERROR(chosen.apply_file(file, host.variable));
  }
  for (const std::string& entry : options.environment) {
    VARVE_RETURN_IF_ERROR(chosen.apply(entry, host.variable));
  }
  return chosen;
}

ResultOrFailure<ProcessPlan> plan_process(const RunOptions& options, const image::ImageConfig& config,
                                          const HostFacts& host, const SecurityChoice& security) {
  ProcessPlan process;
  VARVE_ASSIGN(process.arguments, choose_arguments(options, config));
  VARVE_ASSIGN(process.environment, choose_environment(options, config, host));
  VARVE_ASSIGN(process.capabilities,
               choose_capabilities(options.capabilities_added, options.capabilities_dropped));
  for (const std::string& word : options.capabilities_added) {
    VARVE_ASSIGN(const CapabilitySet added, CapabilitySet::parse(word));
    process.user_capabilities = process.user_capabilities.with(added);
  }
  process.user_capabilities =
      process.user_capabilities.without(process.user_capabilities.without(process.capabilities));
  process.no_new_privileges = security.no_new_privileges;
  VARVE_ASSIGN(process.seccomp, plan_seccomp(security.seccomp, process.capabilities));
  VARVE_ASSIGN(process.limits, choose_limits(options.settings.limits));
  VARVE_ASSIGN(process.umask, choose_umask(options.settings.umask));
  const std::string& directory =
      options.working_directory.empty() ? config.working_dir : options.working_directory;
  if (!directory.empty()) process.working_directory = directory;
  if (process.working_directory[0] != '/') {
    return refuse("choosing the working directory", process.working_directory, "it is not an absolute path");
  }
  process.user = options.user.empty() ? config.user : options.user;
  process.interactive = options.interactive;
  process.terminal = options.terminal;
  process.init = options.init;
  return process;
}

bool is_executable_file(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

// Beside the launcher first, so that a build tree runs its own, then PATH.
ResultOrFailure<std::string> find_daemon(const HostFacts& host) {
  std::string candidate = host.program_directory + "/varvefs";
  if (is_executable_file(candidate)) return candidate;
  const std::string path = host.variable("PATH").value_or("");
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    candidate = path.substr(begin, end - begin) + "/varvefs";
    if (candidate[0] == '/' && candidate.size() > sizeof "/varvefs" - 1 && is_executable_file(candidate)) {
      return candidate;
    }
    begin = end + 1;
  }
  return refuse("finding varvefs", host.program_directory, "it is neither there nor in PATH",
                "it mounts images; install it beside varve");
}

// What the control group lets the container do with a device that it was given.
DeviceRule rule_of(const DevicePlan& device) {
  const auto may = [&device](char access) { return device.access.find(access) != std::string::npos; };
  return {.is_block = device.type == 'b',
          .major_number = device.major_number,
          .minor_number = device.minor_number,
          .read = may('r'),
          .write = may('w'),
          .make = may('m')};
}

StatusOrFailure give_devices(const std::vector<DevicePlan>& devices, LimitPlan& limits) {
  for (const DevicePlan& device : devices) {
    const DeviceRule rule = rule_of(device);
    // Nodes come from the host alone, so not making any asks for nothing; but one of reading and writing does.
    if (limits.device_filter == LimitPlan::DeviceFilter::kNone && !(rule.read && rule.write)) {
      return refuse("reading --device", device.path + ":" + device.access,
                    "without control groups a device is given for reading and writing, as its mode allows",
                    "leave the access out, or make a node with the wanted mode");
    }
    limits.devices.push_back(rule);
  }
  return {};
}

// The other container's name is ours, too, where its uts namespace is.
StatusOrFailure choose_joined_hostname(const RunOptions& options, const JoinedContainer& joined, Plan& plan) {
  if (!options.hostname.empty()) {
    return refuse("choosing the host name", options.hostname,
                  "it is that of the container " + joined.name + ", whose uts namespace is joined",
                  "leave one of the two out");
  }
  plan.hostname = joined.hostname;
  plan.process.environment.set("HOSTNAME", plan.hostname);
  return {};
}

StatusOrFailure choose_name_and_hostname(const RunOptions& options,
                                         const std::optional<JoinedContainer>& joined, Plan& plan) {
  plan.id = image::new_container_id();
  plan.name = options.name.empty() ? plan.id.substr(0, 12) : options.name;
  if (!image::is_container_name(plan.name)) {
    return refuse("naming the container", plan.name, "it is no name",
                  "letters, digits, '_', '.', '-', at most 64, the first a letter or digit");
  }
  if (plan.joined.namespaces.contains(Namespace::kUts)) return choose_joined_hostname(options, *joined, plan);
  if (!plan.own_namespaces.contains(Namespace::kUts)) {
    if (options.hostname.empty()) return {};
    return refuse("choosing the host name", options.hostname, "--share uts keeps the host's");
  }
  plan.hostname = options.hostname.empty() ? plan.name : options.hostname;
  if (plan.hostname.size() > kMaxHostnameBytes ||
      plan.hostname.find_first_of(" \t\n/") != std::string::npos) {
    return refuse("choosing the host name", plan.hostname,
                  "it is longer than 64 bytes or holds spaces or '/'");
  }
  plan.process.environment.set("HOSTNAME", plan.hostname);
  return {};
}

StatusOrFailure check_shared(const RunOptions& options, const HostFacts& host, const Plan& plan) {
  if (!plan.namespaces().contains(Namespace::kUser) && host.effective_uid != 0 &&
      !(plan.own_namespaces == NamespaceSet())) {
    return refuse("sharing namespaces", options.shared.text(),
                  "an ordinary user makes no namespaces without an own user namespace",
                  "leave user out of --share");
  }
  if (!plan.own_namespaces.contains(Namespace::kMount)) {
    if (plan.root.kind == RootPlan::Kind::kStack) {
      return refuse("sharing namespaces", "mnt", "the mount of an image would be seen on the host",
                    "mount it with varvefs and run the mount point");
    }
    if (plan.root.read_only) {
      return refuse("sharing namespaces", "mnt", "--read-only needs an own mount namespace");
    }
  }
  return {};
}

StatusOrFailure choose_network(const RunOptions& options, const HostFacts& host,
                               const image::ImageConfig& config, const std::optional<JoinedContainer>& joined,
                               Plan& plan) {
  NetworkFacts facts{.effective_uid = host.effective_uid,
                     .shares_namespace = !plan.namespaces().contains(Namespace::kNet),
                     .joined = {},
                     .exposed_ports = config.exposed_ports,
                     .variable = host.variable};
  if (plan.joined.namespaces.contains(Namespace::kNet)) {
    const bool same_name = plan.joined.namespaces.contains(Namespace::kUts);
    facts.joined = JoinedNetwork{joined->name, same_name ? "" : joined->hostname, joined->network};
  }
  read_resolver_files(facts);
  VARVE_ASSIGN(plan.network, plan_network(options.network, facts));
  if (plan.network.mode == NetworkMode::kHost) plan.own_namespaces.remove(Namespace::kNet);
  return {};
}

// Its own ones, and with an own user namespace the ids in it. Returns: who the command is unless someone says otherwise; empty: the
// image says it.
ResultOrFailure<std::string> choose_own_namespaces(const RunOptions& options, Plan& plan) {
  VARVE_ASSIGN(IdChoice ids, choose_ids(options.ids, id_sources_of_this_process()));
  plan.own_namespaces = NamespaceSet::all().without(options.shared);
  if (ids.shares_host) plan.own_namespaces.remove(Namespace::kUser);
  if (!plan.own_namespaces.contains(Namespace::kUser)) return std::string();
  plan.id_map = std::move(ids.map);
  plan.id_note = std::move(ids.note);
  return std::move(ids.process_user);
}

// Those of another container besides, with the ids that it has.
StatusOrFailure choose_joined_namespaces(const RunOptions& options, const JoinedContainer& joined,
                                         Plan& plan) {
  const std::string& word = options.ids.user_namespace;
  if (!word.empty() && word != "host" && !is_container_word(word)) {
    return refuse("reading --userns", word, "the ids are those of the container " + joined.name,
                  "leave --userns out");
  }
  NamespaceSet shared = options.shared;
  if (word == "host") shared.add(Namespace::kUser);
  VARVE_ASSIGN(plan.joined, plan_join(options.joined, joined, shared));
  plan.own_namespaces = NamespaceSet::all().without(shared).without(options.joined.namespaces);
  // They come with any other; where that container has the host's, so has this one.
  plan.own_namespaces.remove(Namespace::kUser);
  plan.own_namespaces.remove(Namespace::kCgroup);
  if (plan.joined.namespaces.contains(Namespace::kUser)) plan.id_map = joined.id_map;
  return {};
}

// Root inside may own what lies in the store of the caller.
bool volumes_fit(const Plan& plan, const HostFacts& host) {
  return host.effective_uid != 0 || plan.id_map.uids.empty() ||
         (plan.id_map.uids[0].inside == 0 && plan.id_map.uids[0].outside == 0);
}

// mknod(2) of a device takes the capability in the initial user namespace.
bool may_make_devices(const Plan& plan, const HostFacts& host) {
  return host.effective_uid == 0 && !plan.namespaces().contains(Namespace::kUser) &&
         plan.process.capabilities.contains(CapabilitySet(std::uint64_t{1} << CAP_MKNOD));
}

}  // namespace

ResultOrFailure<HostFacts> facts_of_this_host() {
  HostFacts host;
  host.effective_uid = ::geteuid();
  host.cgroups = cgroups_of_this_host();
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error)
    return explain(Errno{error.value()}, "finding the launcher's own place", "/proc/self/exe",
                   "is /proc mounted?");
  host.program_directory = program.parent_path().string();
  return host;
}

ResultOrFailure<Plan> make_plan(const RunOptions& options, const HostFacts& host) {
  Plan plan;
  plan.store_directory = options.store.empty() ? image::default_store_path() : options.store;
  std::error_code error;
  plan.store_directory = std::filesystem::absolute(plan.store_directory, error).string();
  std::optional<JoinedContainer> joined;
  std::string default_user;
  if (options.joined.container.empty()) {
    VARVE_ASSIGN(default_user, choose_own_namespaces(options, plan));
  } else {
    VARVE_ASSIGN(joined, find_joined(options.joined.container, plan.store_directory));
    VARVE_RETURN_IF_ERROR(choose_joined_namespaces(options, *joined, plan));
  }
  VARVE_ASSIGN(ImageRoot found, find_image_root(options, plan.store_directory));
  plan.root = std::move(found.root);
  plan.image_name = std::move(found.image_name);
  plan.image_digest = std::move(found.image_digest);
  VARVE_RETURN_IF_ERROR(choose_network(options, host, found.config, joined, plan));
  VARVE_ASSIGN(const SecurityChoice security, choose_security(options.security));
  VARVE_ASSIGN(plan.process, plan_process(options, found.config, host, security));
  VARVE_ASSIGN(plan.masked_paths, choose_masked_paths(security.masked, security.unmasked));
  VARVE_ASSIGN(plan.sysctls, choose_sysctls(options.settings.sysctls, plan.own_namespaces));
  VARVE_ASSIGN(plan.lifetime, plan_lifetime(options.lifetime, found.config));
  VARVE_RETURN_IF_ERROR(choose_name_and_hostname(options, joined, plan));
  VARVE_RETURN_IF_ERROR(check_shared(options, host, plan));
  if (options.user.empty() && !default_user.empty()) plan.process.user = std::move(default_user);
  const image::ContainerStore containers(plan.store_directory);
  VARVE_ASSIGN(plan.mounts,
               plan_mounts(options.mounts, {.image_volumes = found.config.volumes,
                                            .read_only_root = options.read_only,
                                            .own_mounts = plan.own_namespaces.contains(Namespace::kMount),
                                            .own_ipc = plan.own_namespaces.contains(Namespace::kIpc),
                                            .volumes_fit = volumes_fit(plan, host),
                                            .store_directory = plan.store_directory,
                                            .container_directory = containers.directory_of(plan.name)}));
  // A read-only root has an upper only for the mount points that the image lacks.
  plan.root.own_upper |=
      plan.root.kind == RootPlan::Kind::kStack && plan.root.read_only && !plan.mounts.mounts.empty();
  if (plan.root.own_upper) {
    plan.root.upper = containers.upper_path(plan.name);
    plan.root.work = containers.work_path(plan.name);
    plan.root.thrown_away = options.remove_afterwards;
  }
  if (plan.root.kind == RootPlan::Kind::kStack) {
    VARVE_ASSIGN(plan.daemon_path, find_daemon(host));
    // A daemon of root's can do more outside: trusted attributes, file handles, every owner as it is.
    plan.daemon_in_user_namespace = host.effective_uid != 0;
    // With one id nobody can be given a file. With more, links must be stored so that they can be given away later.
    plan.root.owners_in_xattrs = host.effective_uid != 0 && plan.id_map.maps_several();
  }
  VARVE_ASSIGN(plan.limits,
               plan_limits(options.limits, {.host = host.cgroups,
                                            .is_root = host.effective_uid == 0,
                                            .id = plan.id,
                                            .filter_devices = plan.own_namespaces.contains(Namespace::kMount),
                                            .root_is_fuse = plan.root.kind == RootPlan::Kind::kStack,
                                            .may_make_devices = may_make_devices(plan, host)}));
  VARVE_RETURN_IF_ERROR(give_devices(plan.mounts.devices, plan.limits));
  // A container over a directory that nobody asked to keep or to name leaves nothing behind, so it needs no store. One with
  // control groups is recorded, so that they are found when the launcher is killed; one that the host has interfaces or ports
  // for, so that those are found who wonder whose they are.
  const bool anonymous = plan.root.kind == RootPlan::Kind::kDirectory && options.name.empty();
  plan.recorded = !(anonymous && options.remove_afterwards) || plan.mounts.has_anonymous_volumes ||
                  plan.lifetime.detached || !plan.limits.groups.empty() || plan.network.is_connected();
  plan.remove_afterwards = options.remove_afterwards;
  return plan;
}

}  // namespace varve::launcher
