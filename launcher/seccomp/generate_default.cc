// generate_default PROFILE OUTPUT: writes the definitions of default_filter.h. Runs when varve is built, on a machine of
// the architecture that varve is for.

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "launcher/seccomp/filter.h"
#include "launcher/seccomp/profile.h"

namespace varve::launcher {
namespace {

constexpr const char* kHead = R"(// Made by generate_default from default_profile.json.
#include "launcher/seccomp/default_filter.h"

#include <array>

namespace varve::launcher {{
namespace {{

constexpr std::uint64_t kNamed = {:#x};
constexpr std::string_view kText = R"json({})json";
)";

constexpr const char* kTail = R"(
}  // namespace

std::string_view default_profile_text() { return kText; }

std::span<const struct sock_filter> built_in_filter(CapabilitySet capabilities) {
  switch (capabilities.mask() & kNamed) {
)";

constexpr const char* kEnd = R"(    default:
      return {};
  }
}

}  // namespace varve::launcher
)";

std::string to_text(const SeccompFilter& filter, std::size_t number) {
  std::string text = fmt::format("\nconstexpr std::array<struct sock_filter, {}> kFilter{} = {{{{\n",
                                 filter.program.size(), number);
  for (const struct sock_filter& step : filter.program) {
    text += fmt::format("    {{{:#x}, {}, {}, {:#x}}},\n", step.code, step.jt, step.jf, step.k);
  }
  return text + "}};\n";
}

ResultOrFailure<std::string> generate(const std::string& profile_text, const std::string& name) {
  VARVE_ASSIGN(const SeccompProfile profile, parse_seccomp_profile(profile_text, name));
  const CapabilitySet named = capabilities_named_by(profile);
  std::string text = fmt::format(kHead, named.mask(), profile_text);
  std::string cases;
  // What nearly all containers have: the default capabilities, none, and all.
  const std::array<CapabilitySet, 3> kept = {CapabilitySet::defaults(), CapabilitySet(), named};
  for (std::size_t index = 0; index < kept.size(); ++index) {
    VARVE_ASSIGN(
        const SeccompFilter filter,
        compile_seccomp_filter(
            profile, {.capabilities = kept[index], .architecture = ::seccomp_arch_native(), .kernel = {}},
            name));
    text += to_text(filter, index);
    cases +=
        fmt::format("    case {:#x}:\n      return kFilter{};\n", kept[index].mask() & named.mask(), index);
  }
  return text + kTail + cases + kEnd;
}

int run(const char* profile, const char* output) {
  std::ifstream in(profile);
  std::stringstream text;
  if (!in || !(text << in.rdbuf())) {
    std::fprintf(stderr, "generate_default: reading the profile: %s\n", profile);
    return 1;
  }
  const ResultOrFailure<std::string> generated = generate(text.str(), profile);
  if (!generated.ok()) {
    std::fprintf(stderr, "generate_default: %s\n", generated.error().message.c_str());
    return 1;
  }
  std::ofstream out(output);
  if (!(out << *generated) || !out.flush()) {
    std::fprintf(stderr, "generate_default: writing: %s\n", output);
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace varve::launcher

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: generate_default PROFILE OUTPUT\n");
    return 2;
  }
  return varve::launcher::run(argv[1], argv[2]);
}
