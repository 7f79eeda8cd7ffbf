#include "launcher/seccomp/profile.h"

#include <fmt/format.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "launcher/explain.h"

namespace varve::launcher {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxErrno = 4095;  // MAX_ERRNO of linux/err.h
constexpr std::uint64_t kArguments = 6;    // of a system call

// Reads one profile; knows its name and where in it the reading stands, for messages.
class Reader {
 public:
  explicit Reader(std::string name) : name_(std::move(name)) {}
  ResultOrFailure<SeccompProfile> read(const json& document);

 private:
  Failure wrong(std::string_view why) const {
    return refuse("reading a seccomp profile", name_ + place_, why);
  }

  ResultOrFailure<std::uint64_t> number(const json& object, const char* key, std::uint64_t otherwise,
                                        std::uint64_t most) const;
  ResultOrFailure<std::string> word(const json& object, const char* key) const;
  ResultOrFailure<std::vector<std::string>> words(const json& object, const char* key) const;
  // An array of objects, empty when it is missing or null.
  ResultOrFailure<std::vector<json>> objects(const json& object, const char* key) const;

  ResultOrFailure<std::uint32_t> errno_value(const json& object, const char* number_key,
                                             const char* name_key) const;
  // `data`: the errno of SCMP_ACT_ERRNO, the message of SCMP_ACT_TRACE.
  ResultOrFailure<std::uint32_t> action(const json& object, const char* key, std::uint32_t data) const;
  ResultOrFailure<struct scmp_arg_cmp> argument(const json& object) const;
  ResultOrFailure<SeccompPredicate> predicate(const json& object, const char* key) const;
  ResultOrFailure<SeccompRule> rule(const json& object) const;
  StatusOrFailure read_architectures(const json& document, SeccompProfile& profile) const;
  StatusOrFailure read_flags(const json& document, SeccompProfile& profile) const;

  std::string name_;
  std::string place_;
};

const json* find(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

ResultOrFailure<std::uint64_t> Reader::number(const json& object, const char* key, std::uint64_t otherwise,
                                              std::uint64_t most) const {
  const json* value = find(object, key);
  if (value == nullptr) return otherwise;
  if (!value->is_number_unsigned() || value->get<std::uint64_t>() > most) {
    return wrong(fmt::format("\"{}\" is no number from 0 to {}", key, most));
  }
  return value->get<std::uint64_t>();
}

ResultOrFailure<std::string> Reader::word(const json& object, const char* key) const {
  const json* value = find(object, key);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return wrong(fmt::format("\"{}\" is no string", key));
  return value->get<std::string>();
}

ResultOrFailure<std::vector<std::string>> Reader::words(const json& object, const char* key) const {
  const json* value = find(object, key);
  if (value == nullptr) return std::vector<std::string>();
  const auto is_word = [](const json& item) { return item.is_string(); };
  if (!value->is_array() || !std::all_of(value->begin(), value->end(), is_word)) {
    return wrong(fmt::format("\"{}\" is no array of strings", key));
  }
  return value->get<std::vector<std::string>>();
}

ResultOrFailure<std::vector<json>> Reader::objects(const json& object, const char* key) const {
  const json* value = find(object, key);
  if (value == nullptr) return std::vector<json>();
  const auto is_object = [](const json& item) { return item.is_object(); };
  if (!value->is_array() || !std::all_of(value->begin(), value->end(), is_object)) {
    return wrong(fmt::format("\"{}\" is no array of objects", key));
  }
  return std::vector<json>(value->begin(), value->end());
}

// As a number, else by name, else EPERM.
ResultOrFailure<std::uint32_t> Reader::errno_value(const json& object, const char* number_key,
                                                   const char* name_key) const {
  VARVE_ASSIGN(const std::string name, word(object, name_key));
  std::uint64_t named = EPERM;
  if (!name.empty() && find(object, number_key) == nullptr) {
    for (named = 1; named <= kMaxErrno; ++named) {
      const char* known = ::strerrorname_np(static_cast<int>(named));
      if (known != nullptr && name == known) break;
    }
    if (named > kMaxErrno) return wrong(fmt::format("\"{}\" is \"{}\", which is no errno", name_key, name));
  }
  VARVE_ASSIGN(const std::uint64_t value, number(object, number_key, named, kMaxErrno));
  return static_cast<std::uint32_t>(value);
}

ResultOrFailure<std::uint32_t> Reader::action(const json& object, const char* key, std::uint32_t data) const {
  VARVE_ASSIGN(const std::string name, word(object, key));
  if (name == "SCMP_ACT_ALLOW") return std::uint32_t{SCMP_ACT_ALLOW};
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(data);
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return std::uint32_t{SCMP_ACT_KILL_THREAD};
  if (name == "SCMP_ACT_KILL_PROCESS") return std::uint32_t{SCMP_ACT_KILL_PROCESS};
  if (name == "SCMP_ACT_TRAP") return std::uint32_t{SCMP_ACT_TRAP};
  if (name == "SCMP_ACT_LOG") return std::uint32_t{SCMP_ACT_LOG};
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(data);
  if (name == "SCMP_ACT_NOTIFY") return wrong("SCMP_ACT_NOTIFY needs a listener, which varve has not");
  return wrong(fmt::format("\"{}\" is \"{}\", which is no action", key, name));
}

ResultOrFailure<struct scmp_arg_cmp> Reader::argument(const json& object) const {
  constexpr std::array<std::pair<const char*, enum scmp_compare>, 7> kOperators = {
      {{"SCMP_CMP_NE", SCMP_CMP_NE},
       {"SCMP_CMP_LT", SCMP_CMP_LT},
       {"SCMP_CMP_LE", SCMP_CMP_LE},
       {"SCMP_CMP_EQ", SCMP_CMP_EQ},
       {"SCMP_CMP_GE", SCMP_CMP_GE},
       {"SCMP_CMP_GT", SCMP_CMP_GT},
       {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}}};
  if (find(object, "index") == nullptr) return wrong("an argument has no \"index\"");
  VARVE_ASSIGN(const std::uint64_t index, number(object, "index", 0, kArguments - 1));
  VARVE_ASSIGN(const std::uint64_t value, number(object, "value", 0, UINT64_MAX));
  VARVE_ASSIGN(const std::uint64_t value_two, number(object, "valueTwo", 0, UINT64_MAX));
  VARVE_ASSIGN(const std::string name, word(object, "op"));
  for (const auto& [known, compare] : kOperators) {
    if (name == known) return scmp_arg_cmp{static_cast<unsigned>(index), compare, value, value_two};
  }
  return wrong(fmt::format("\"op\" is \"{}\", which is no comparison", name));
}

std::optional<KernelVersion> parse_version(const std::string& text) {
  KernelVersion version;
  const char* const end = text.data() + text.size();
  const auto [dot, error] = std::from_chars(text.data(), end, version.major_number);
  if (error != std::errc() || dot == end || *dot != '.') return std::nullopt;
  const auto [rest, second_error] = std::from_chars(dot + 1, end, version.minor_number);
  if (second_error != std::errc() || (rest != end && *rest != '.')) return std::nullopt;
  return version;
}

ResultOrFailure<SeccompPredicate> Reader::predicate(const json& object, const char* key) const {
  SeccompPredicate predicate;
  const json* value = find(object, key);
  if (value == nullptr) return predicate;
  if (!value->is_object()) return wrong(fmt::format("\"{}\" is no object", key));
  VARVE_ASSIGN(const std::vector<std::string> names, words(*value, "caps"));
  for (const std::string& name : names) {
    const ResultOrFailure<CapabilitySet> known = CapabilitySet::parse(name);
    if (known.ok()) {
      predicate.capabilities = predicate.capabilities.with(*known);
    } else {
      predicate.names_unknown_capability = true;
    }
  }
  VARVE_ASSIGN(predicate.architectures, words(*value, "arches"));
  VARVE_ASSIGN(const std::string kernel, word(*value, "minKernel"));
  if (!kernel.empty()) {
    predicate.minimum_kernel = parse_version(kernel);
    if (!predicate.minimum_kernel) return wrong(fmt::format("\"minKernel\" is \"{}\", no version", kernel));
  }
  return predicate;
}

ResultOrFailure<SeccompRule> Reader::rule(const json& object) const {
  SeccompRule rule;
  VARVE_ASSIGN(rule.names, words(object, "names"));
  VARVE_ASSIGN(const std::string single, word(object, "name"));
  if (!single.empty()) rule.names.push_back(single);
  if (rule.names.empty()) return wrong("it names no system call");
  VARVE_ASSIGN(const std::uint32_t data, errno_value(object, "errnoRet", "errno"));
  VARVE_ASSIGN(rule.action, action(object, "action", data));
  VARVE_ASSIGN(const std::vector<json> arguments, objects(object, "args"));
  for (const json& one : arguments) {
    VARVE_ASSIGN(const struct scmp_arg_cmp compare, argument(one));
    rule.arguments.push_back(compare);
  }
  VARVE_ASSIGN(rule.includes, predicate(object, "includes"));
  VARVE_ASSIGN(rule.excludes, predicate(object, "excludes"));
  return rule;
}

// "SCMP_ARCH_X86_64" -> its token, 0 when this libseccomp knows none.
std::uint32_t architecture_token(const std::string& name) {
  constexpr std::string_view kPrefix = "SCMP_ARCH_";
  if (name.rfind(kPrefix, 0) != 0) return 0;
  std::string word = name.substr(kPrefix.size());
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return ::seccomp_arch_resolve_name(word.c_str());
}

StatusOrFailure Reader::read_architectures(const json& document, SeccompProfile& profile) const {
  VARVE_ASSIGN(const std::vector<json> map, objects(document, "archMap"));
  for (const json& entry : map) {
    VARVE_ASSIGN(const std::string name, word(entry, "architecture"));
    VARVE_ASSIGN(const std::vector<std::string> others, words(entry, "subArchitectures"));
    SeccompArchitecture architecture{architecture_token(name), {}};
    if (architecture.token == 0) continue;  // none of this machine's
    for (const std::string& other : others) {
      if (const std::uint32_t token = architecture_token(other); token != 0) {
        architecture.run_by_it.push_back(token);
      }
    }
    profile.architectures.push_back(std::move(architecture));
  }
  // The form of the runtime specification: a plain list, which holds for this machine. The first one takes the others in;
  // the machine's own is always part of a filter.
  VARVE_ASSIGN(const std::vector<std::string> list, words(document, "architectures"));
  if (list.empty()) return {};
  if (!map.empty()) return wrong("it has both \"archMap\" and \"architectures\"");
  SeccompArchitecture native{::seccomp_arch_native(), {}};
  for (const std::string& name : list) {
    const std::uint32_t token = architecture_token(name);
    if (token == 0) return wrong(fmt::format("\"{}\" is no architecture that libseccomp knows", name));
    if (token != native.token) native.run_by_it.push_back(token);
  }
  profile.architectures.push_back(std::move(native));
  return {};
}

StatusOrFailure Reader::read_flags(const json& document, SeccompProfile& profile) const {
  VARVE_ASSIGN(const std::vector<std::string> flags, words(document, "flags"));
  for (const std::string& flag : flags) {
    if (flag == "SECCOMP_FILTER_FLAG_LOG") {
      profile.flags |= SECCOMP_FILTER_FLAG_LOG;
    } else if (flag == "SECCOMP_FILTER_FLAG_SPEC_ALLOW") {
      profile.flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    } else if (flag != "SECCOMP_FILTER_FLAG_TSYNC") {  // there is one thread
      return wrong(fmt::format("\"{}\" is no flag that varve knows", flag));
    }
  }
  return {};
}

ResultOrFailure<SeccompProfile> Reader::read(const json& document) {
  if (!document.is_object()) return wrong("it is no JSON object");
  SeccompProfile profile;
  VARVE_ASSIGN(const std::uint32_t data, errno_value(document, "defaultErrnoRet", "defaultErrno"));
  VARVE_ASSIGN(profile.default_action, action(document, "defaultAction", data));
  VARVE_RETURN_IF_ERROR(read_architectures(document, profile));
  VARVE_RETURN_IF_ERROR(read_flags(document, profile));
  VARVE_ASSIGN(const std::vector<json> rules, objects(document, "syscalls"));
  for (std::size_t index = 0; index < rules.size(); ++index) {
    place_ = fmt::format(": syscalls[{}]", index);
    VARVE_ASSIGN(SeccompRule one, rule(rules[index]));
    profile.rules.push_back(std::move(one));
  }
  return profile;
}

}  // namespace

ResultOrFailure<SeccompProfile> parse_seccomp_profile(std::string_view text, const std::string& name) {
  constexpr const char* kReading = "reading a seccomp profile";
  if (text.size() > kMaxProfileBytes) {
    return refuse(kReading, name, fmt::format("it is longer than {} bytes", kMaxProfileBytes));
  }
  const json document = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return refuse(kReading, name, "it is no JSON");
  return Reader(name).read(document);
}

}  // namespace varve::launcher
