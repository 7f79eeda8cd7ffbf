#include "launcher/capabilities.h"

#include <linux/capability.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr std::array<int, 11> kDefaults = {CAP_CHOWN,   CAP_DAC_OVERRIDE,     CAP_FOWNER,    CAP_FSETID,
                                           CAP_KILL,    CAP_NET_BIND_SERVICE, CAP_SETFCAP,   CAP_SETGID,
                                           CAP_SETPCAP, CAP_SETUID,           CAP_SYS_CHROOT};

constexpr std::uint64_t bit(int capability) {
  return std::uint64_t{1} << static_cast<unsigned>(capability);
}

std::string lower(std::string_view word) {
  std::string text(word);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool names_all(const std::vector<std::string>& words) {
  return std::any_of(words.begin(), words.end(),
                     [](const std::string& word) { return lower(word) == "all"; });
}

}  // namespace

CapabilitySet CapabilitySet::defaults() {
  std::uint64_t mask = 0;
  for (const int capability : kDefaults) mask |= bit(capability);
  return CapabilitySet(mask);
}

CapabilitySet CapabilitySet::all() {
  std::uint64_t mask = 0;
  // PR_CAPBSET_READ answers EINVAL for a number that the kernel does not know.
  for (int capability = 0; capability < 64 && ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0;
       ++capability) {
    mask |= bit(capability);
  }
  return CapabilitySet(mask);
}

ResultOrFailure<CapabilitySet> CapabilitySet::parse(std::string_view word) {
  std::string name = lower(word);
  if (name == "all") return all();
  if (name.rfind("cap_", 0) != 0) name.insert(0, "cap_");
  cap_value_t value = 0;
  if (::cap_from_name(name.c_str(), &value) != 0 || value < 0 || value >= 64) {
    return refuse("choosing capabilities", word, "there is no such capability", "see capabilities(7)");
  }
  return CapabilitySet(bit(value));
}

std::string CapabilitySet::text() const {
  std::string words;
  for (int capability = 0; capability < 64; ++capability) {
    if ((mask_ & bit(capability)) == 0) continue;
    if (!words.empty()) words += ',';
    char* name = ::cap_to_name(capability);
    const std::string_view known = name == nullptr ? std::string_view() : std::string_view(name);
    words += known.rfind("cap_", 0) == 0 ? std::string(known.substr(4)) : std::to_string(capability);
    ::cap_free(name);
  }
  return words;
}

ResultOrFailure<CapabilitySet> choose_capabilities(const std::vector<std::string>& added,
                                                   const std::vector<std::string>& dropped) {
  if (names_all(added) && names_all(dropped)) {
    return refuse("choosing capabilities", "ALL", "it is both added and dropped");
  }
  const auto sum = [](const std::vector<std::string>& words) -> ResultOrFailure<CapabilitySet> {
    CapabilitySet set;
    for (const std::string& word : words) {
      VARVE_ASSIGN(const CapabilitySet one, CapabilitySet::parse(word));
      set = set.with(one);
    }
    return set;
  };
  VARVE_ASSIGN(const CapabilitySet add, sum(added));
  VARVE_ASSIGN(const CapabilitySet drop, sum(dropped));
  if (names_all(dropped)) return add;
  return CapabilitySet::defaults().with(add).without(drop);
}

Status limit_bounding_set(CapabilitySet kept) {
  const CapabilitySet known = CapabilitySet::all();
  for (int capability = 0; capability < 64; ++capability) {
    const CapabilitySet one(bit(capability));
    if (!known.contains(one) || kept.contains(one)) continue;
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return Errno::last();
  }
  return {};
}

Status set_capabilities(CapabilitySet kept, CapabilitySet ambient) {
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return Errno::last();
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> data{};
  for (std::size_t half = 0; half < data.size(); ++half) {
    const auto bits = static_cast<std::uint32_t>(kept.mask() >> (32 * half));
    const auto inheritable = static_cast<std::uint32_t>(ambient.mask() >> (32 * half));
    data[half] = {.effective = bits, .permitted = bits, .inheritable = inheritable};
  }
  if (::syscall(SYS_capset, &header, data.data()) != 0) return Errno::last();
  for (int capability = 0; capability < 64; ++capability) {
    if ((ambient.mask() & bit(capability)) == 0) continue;
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) return Errno::last();
  }
  return {};
}

}  // namespace varve::launcher
