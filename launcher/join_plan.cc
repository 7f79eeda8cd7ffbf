#include "launcher/join_plan.h"

#include "launcher/commands/running.h"
#include "launcher/explain.h"
#include "launcher/kernel/pidfd.h"
#include "launcher/outside/process_record.h"

namespace varve::launcher {
namespace {

constexpr const char* kDoing = "joining the namespaces of a container";

}  // namespace

ResultOrFailure<JoinedContainer> find_joined(const std::string& name, const std::string& store_directory) {
  const image::ContainerStore store(store_directory);
  VARVE_ASSIGN(RunningContainer running, find_running(store, name, kDoing));
  JoinedContainer found;
  found.name = running.state.name;
  found.process = {running.state.command_pid, running.state.command_started_ticks};
  found.network = std::move(running.state.network);
  VARVE_ASSIGN(found.namespaces, NamespaceSet::parse(running.state.namespaces));
  const Result<UniqueFd> process = open_identified(found.process);
  if (!process.ok()) return explain(process.error(), kDoing, name, "its own command has ended");
  if (found.namespaces.contains(Namespace::kUser)) {
    VARVE_ASSIGN(found.id_map, id_map_of(found.process.pid));
    // Only now is it certain that the number was not another's.
    const Status alive = send_signal(process->get(), 0);
    if (!alive.ok()) return explain(alive.error(), kDoing, name, "it has just ended");
  }
  if (found.namespaces.contains(Namespace::kUts)) {
    VARVE_ASSIGN(const std::string text, store.process_of(name));
    VARVE_ASSIGN(const ProcessRecord record, parse_process_record(text, name));
    found.hostname = record.process.environment.get("HOSTNAME").value_or("");
  }
  return found;
}

ResultOrFailure<JoinPlan> plan_join(const JoinWords& words, const JoinedContainer& container,
                                    NamespaceSet shared) {
  if (shared.contains(Namespace::kUser) && container.namespaces.contains(Namespace::kUser)) {
    return refuse(kDoing, container.name, "its user namespace comes with them, and the host's is asked for",
                  "leave --userns and --share user out");
  }
  NamespaceSet wanted = words.namespaces;
  wanted.add(Namespace::kUser);
  if (!shared.contains(Namespace::kCgroup)) wanted.add(Namespace::kCgroup);
  JoinPlan plan{container.name, wanted.common(container.namespaces), container.process};
  plan.shared_memory =
      plan.namespaces.contains(Namespace::kIpc) && container.namespaces.contains(Namespace::kMount);
  return plan;
}

}  // namespace varve::launcher
