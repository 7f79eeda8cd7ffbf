#include "launcher/outside/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "imagetool/image/store/container_state.h"
#include "launcher/explain.h"

namespace varve::launcher {

ResultOrFailure<std::unique_ptr<KeptOutput>> keep_output(const Plan& plan) {
  if (!plan.lifetime.detached) return std::unique_ptr<KeptOutput>();
  const std::string directory = image::ContainerStore(plan.store_directory).directory_of(plan.name);
  VARVE_ASSIGN(ContainerLog log, ContainerLog::open(directory + "/" + kLogName, plan.lifetime.log));
  auto kept = std::make_unique<KeptOutput>(std::move(log));
  if (plan.process.terminal) return kept;
  VARVE_ASSIGN(OutputRelay relay, OutputRelay::make(kept->log));
  kept->relay.emplace(std::move(relay));
  return kept;
}

void StandardStreams::take() const {
  const std::array<int, 3> wanted = {input.get(), output, error};
  for (int fd = 0; fd <= 2; ++fd) {
    const int from = wanted[static_cast<std::size_t>(fd)];
    // What cannot be put in place is one that the command does not have.
    if (from >= 0 && ::dup2(from, fd) < 0) ::close(fd);
  }
}

ResultOrFailure<StandardStreams> choose_streams(const Plan& plan, const KeptOutput* kept) {
  constexpr const char* kOpening = "opening the command's standard input";
  StandardStreams streams;
  if (plan.process.interactive && plan.lifetime.detached) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return explain(Errno::last(), kOpening, "pipe");
    streams.input.reset(ends[0]);
    streams.held_input.reset(ends[1]);
  } else if (!plan.process.interactive) {
    streams.input.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!streams.input.valid()) return explain(Errno::last(), kOpening, "/dev/null");
  }
  if (kept != nullptr && kept->relay) {
    streams.output = kept->relay->container_output();
    streams.error = kept->relay->container_error();
  }
  return streams;
}

void let_go_of_input_and_output() {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  // Without a /dev/null they stay open, which is untidy and nothing worse.
  if (!null.valid() || ::dup2(null.get(), STDIN_FILENO) < 0 || ::dup2(null.get(), STDOUT_FILENO) < 0) return;
}

}  // namespace varve::launcher
