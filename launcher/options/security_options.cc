#include "launcher/options/security_options.h"

#include <unistd.h>

#include "fs/base/log.h"
#include "launcher/explain.h"
#include "launcher/options/option_list.h"

namespace varve::launcher {
namespace {

constexpr const char* kReading = "reading --security-opt";

StatusOrFailure choose_no_new_privileges(const std::string& option, const std::string& value, bool& chosen) {
  if (value != "" && value != "true" && value != "false") {
    return refuse(kReading, option, "it is neither true nor false");
  }
  chosen = value != "false";
  return {};
}

// varve sets no SELinux labels. Without SELinux a label means nothing, to podman neither; with it, leaving it out would
// take away a protection that was asked for.
StatusOrFailure check_label(const std::string& option, const std::string& value) {
  if (value == "disable") return {};
  if (::access("/sys/fs/selinux/enforce", F_OK) == 0) {
    return refuse(kReading, option, "varve sets no SELinux labels",
                  "label=disable says so; the container keeps the label of varve itself");
  }
  log_warning("{}: {}: nothing is done: this host has no SELinux", kReading, option);
  return {};
}

StatusOrFailure check_apparmor(const std::string& option, const std::string& value) {
  if (value == "unconfined") return {};
  return refuse(kReading, option, "varve changes to no AppArmor profile",
                "the container keeps the profile of varve itself; aa-exec(1) starts varve in another");
}

StatusOrFailure apply(const std::string& option, SecurityChoice& choice) {
  // podman takes both separators; the older one is ':'.
  const std::size_t separator = option.find_first_of("=:");
  const std::string key = option.substr(0, separator);
  const std::string value = separator == std::string::npos ? "" : option.substr(separator + 1);
  if (key == "no-new-privileges") return choose_no_new_privileges(option, value, choice.no_new_privileges);
  if (value.empty()) return refuse(kReading, option, "it has the form NAME=VALUE");
  if (key == "label") return check_label(option, value);
  if (key == "apparmor") return check_apparmor(option, value);
  if (key == "seccomp") {
    choice.seccomp = value;
    return {};
  }
  if (key == "mask" || key == "unmask") {
    (key == "mask" ? choice.masked : choice.unmasked).push_back(value);
    return {};
  }
  return refuse(kReading, option, "varve knows no such option",
                "known are no-new-privileges, seccomp, mask, unmask, label, apparmor");
}

}  // namespace

void declare_security_options(OptionList& list, SecurityOptions& options) {
  list.add_repeated(
      "--security-opt", options.words,
      "no-new-privileges[=true|false] (default: true); seccomp=FILE|unconfined (default: a profile "
      "that allows what programs need); mask=PATH[:PATH...]; unmask=ALL|PATH[:PATH...]",
      {.type = "no-new-privileges|seccomp=FILE|mask=PATH|unmask=PATH"});
  // Known so that it can be answered.
  list.add_flag("--privileged", options.privileged, "", {.group = ""});
}

ResultOrFailure<SecurityChoice> choose_security(const SecurityOptions& options) {
  if (options.privileged) {
    return refuse("reading the command line", "--privileged",
                  "varve has no containers with all rights over the host",
                  "give what is needed: --cap-add, --security-opt seccomp=unconfined, --share");
  }
  SecurityChoice choice;
  for (const std::string& option : options.words) VARVE_RETURN_IF_ERROR(apply(option, choice));
  return choice;
}

}  // namespace varve::launcher
