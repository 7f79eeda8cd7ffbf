#include "tests/soak/soak.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <string_view>

#include "tests/support/mounted/own_mounts.h"

namespace varve::test {
namespace {

constexpr int kUsage = 2;
constexpr int kSkipped = 77;

struct SoakOptions {
  std::uint64_t seconds = 60;
  std::uint64_t rounds = 0;  // ends after so many, too; 0: only the time counts
  std::uint64_t seed = 1;    // of the first round; the next has the next
  bool native = false;
};

bool parse_number(std::string_view text, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// Returns: false when a word is not understood.
bool parse(int argc, char** argv, SoakOptions& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    std::uint64_t* number = word == "--seconds"  ? &options.seconds
                            : word == "--rounds" ? &options.rounds
                            : word == "--seed"   ? &options.seed
                                                 : nullptr;
    if (word == "--native") {
      options.native = true;
    } else if (number == nullptr || ++i == argc || !parse_number(argv[i], *number)) {
      return false;
    }
  }
  return true;
}

void expect(const testing::AssertionResult& result, std::string_view doing) {
  if (!result) throw Fault(fmt::format("{}: {}", doing, result.message()));
}

}  // namespace

long expect_ok(long result, const std::string& what) {
  if (result < 0) throw Fault(fmt::format("{}: {}", what, strerrorname_np(errno)));
  return result;
}

std::uint64_t Random::next() {
  std::uint64_t mixed = state_ += 0x9e3779b97f4a7c15U;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
  return mixed ^ (mixed >> 31);
}

std::string Random::bytes(std::size_t size_bytes) {
  std::string bytes(size_bytes, '\0');
  switch (below(8)) {
    case 0:
      break;
    case 1:
      bytes.assign(size_bytes, static_cast<char>(between(1, 255)));
      break;
    case 2:
    case 3:
    case 4: {
      const std::string line = fmt::format("line of text {:x}\n", next());
      for (std::size_t i = 0; i < size_bytes; ++i) bytes[i] = line[i % line.size()];
      break;
    }
    default:
      for (std::size_t i = 0; i < size_bytes; i += sizeof(std::uint64_t)) {
        const std::uint64_t word = next();
        std::memcpy(bytes.data() + i, &word, std::min(sizeof word, size_bytes - i));
      }
  }
  return bytes;
}

void OperationLog::add(std::string operation) {
  last_.push_back(fmt::format("{:>8} {}", ++count_, operation));
  if (last_.size() > kKept) last_.pop_front();
}

std::string OperationLog::text() const {
  std::string text;
  for (const std::string& line : last_) text += line + "\n";
  return text;
}

SoakTree::SoakTree(Shape shape) {
  if (shape.native) {
    native_ = std::make_unique<ScratchDirectory>();
  } else {
    stack_ =
        std::make_unique<MountedStack>(StackShape{.lowers = 2,
                                                  .layer_files = shape.layer_files,
                                                  .options = shape.passthrough ? "" : "passthrough=off"});
  }
}

std::string SoakTree::lower(std::size_t index) const {
  return stack_ ? stack_->lower(index) : native_->path();
}

std::string SoakTree::root() const {
  return stack_ ? stack_->mount_point() : native_->path();
}

void SoakTree::begin() {
  if (stack_) expect(stack_->mount(), "mounting");
}

void SoakTree::remount() {
  if (stack_) expect(stack_->remount(), "unmounting and mounting again");
}

void SoakTree::kill_and_mount() {
  if (!stack_) return;
  stack_->kill();
  expect(stack_->mount(), "mounting after kill -9");
}

void SoakTree::expect_nothing_kept() const {
  if (!stack_) return;
  for (const char* folder : {"stage", "maps", "index"}) {
    const std::vector<std::string> kept = names_in(fmt::format("{}/varve/{}", stack_->work(), folder));
    if (!kept.empty())
      throw Fault(fmt::format("of removed files {}/{} is kept (one of {})", folder, kept[0], kept.size()));
  }
}

std::int64_t now_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int run_soak(int argc, char** argv, const std::function<RoundResult(const RoundPlan&)>& round) {
  SoakOptions options;
  if (!parse(argc, argv, options)) {
    fmt::print(stderr, "Usage: {} [--seconds N] [--rounds N] [--seed N] [--native]\n", argv[0]);
    return kUsage;
  }
  if (const char* reason = why_no_mounts(); reason != nullptr && !options.native) {
    fmt::print("skipped: {}\n", reason);
    return kSkipped;
  }
  if (!options.native) enter_own_mounts();
  ::umask(022);
  fmt::print("seeds from {}, {} s{}\n", options.seed, options.seconds, options.native ? ", natively" : "");
  std::fflush(stdout);
  const std::int64_t end_ns = now_ns() + static_cast<std::int64_t>(options.seconds) * 1'000'000'000;
  std::uint64_t rounds = 0;
  std::uint64_t operations = 0;
  while (now_ns() < end_ns && (options.rounds == 0 || rounds < options.rounds)) {
    const RoundPlan plan{.seed = options.seed + rounds++, .native = options.native, .end_ns = end_ns};
    const RoundResult result = round(plan);
    operations += result.operations;
    // What helpers report counts as well, and so does a daemon that did not end well.
    if (result.fault.empty() && !testing::UnitTest::GetInstance()->Failed()) continue;
    fmt::print("{}\nFAILED with the seed {}; again: {} --seed {} --rounds 1{}\n", result.fault, plan.seed,
               argv[0], plan.seed, plan.native ? " --native" : "");
    return 1;
  }
  fmt::print("passed: {} rounds, {} operations\n", rounds, operations);
  return 0;
}

}  // namespace varve::test
