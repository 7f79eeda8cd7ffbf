#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launcher/plan.h"

namespace varve::launcher {
namespace {

// A word as a shell would take it, so that lines can be read back by eye without doubt.
std::string quoted(const std::string& word) {
  constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=/.,:@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

std::string quoted(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + quoted(word);
  return text;
}

std::string root_text(const Plan& plan) {
  const RootPlan& root = plan.root;
  const char* access = root.read_only ? "read-only" : "writable";
  if (root.kind == RootPlan::Kind::kDirectory) {
    return fmt::format("root:         directory {} ({})\n", quoted(root.directory), access);
  }
  std::string text =
      fmt::format("root:         stack ({}), mounted by {}\n", access, quoted(plan.daemon_path));
  if (!plan.image_name.empty() || !plan.image_digest.empty()) {
    text += fmt::format("  image:      {} {}\n", plan.image_name, plan.image_digest);
  }
  if (!root.upper.empty()) {
    text += fmt::format("  upper:      {}\n  work:       {}\n", quoted(root.upper), quoted(root.work));
  }
  for (const std::string& lower : root.lowers) text += fmt::format("  lower:      {}\n", quoted(lower));
  return text;
}

}  // namespace

std::string to_text(const Plan& plan) {
  const ProcessPlan& process = plan.process;
  std::string text = fmt::format("container:    {}{}{}\n", plan.name, plan.recorded ? "" : ", not recorded",
                                 plan.remove_afterwards ? ", removed afterwards" : "");
  text += root_text(plan);
  text += to_text(plan.mounts);
  text += fmt::format("namespaces:   {}\n", plan.own_namespaces.text());
  if (!plan.joined.container.empty()) {
    text += fmt::format("joined:       {} of {}{}\n", plan.joined.namespaces.text(), plan.joined.container,
                        plan.joined.shared_memory ? ", with its /dev/shm" : "");
  }
  if (!plan.id_map.uids.empty()) {
    text += fmt::format("uid map:      {}\ngid map:      {}\n", to_text(plan.id_map.uids),
                        to_text(plan.id_map.gids));
  }
  if (!plan.id_note.empty()) text += fmt::format("ids:          one alone: {}\n", plan.id_note);
  if (!plan.hostname.empty()) text += fmt::format("hostname:     {}\n", plan.hostname);
  text += to_text(plan.lifetime);
  text += to_text(plan.network);
  text += fmt::format("user:         {}\n", process.user.empty() ? "0" : process.user);
  text += fmt::format("capabilities: {}\n", process.capabilities.text());
  text += fmt::format("privileges:   {}\n",
                      process.no_new_privileges ? "no new ones" : "set-user-id programs work");
  text += fmt::format("seccomp:      {}\n", to_text(process.seccomp));
  text += fmt::format("masked paths: {}\n", to_text(plan.masked_paths));
  text += to_text(plan.sysctls) + to_text(process.limits);
  text += fmt::format("umask:        {:04o}\n", process.umask);
  text += to_text(plan.limits);
  text += fmt::format("process 1:    {}\n", process.init ? "varve's init" : "the command");
  text += fmt::format("stdin:        {}\n", process.interactive ? "passed on" : "/dev/null");
  text += fmt::format("terminal:     {}\n", process.terminal ? "its own" : "none");
  text += fmt::format("directory:    {}\n", quoted(process.working_directory));
  for (const std::string& entry : process.environment.entries()) {
    text += fmt::format("environment:  {}\n", quoted(entry));
  }
  return text + fmt::format("command:      {}\n", quoted(process.arguments));
}

}  // namespace varve::launcher
