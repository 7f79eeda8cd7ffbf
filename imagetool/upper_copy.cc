#include "imagetool/upper_copy.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "imagetool/image/store/atomic_file.h"
#include "imagetool/neighbour.h"

namespace varve::imagetool {
namespace {

constexpr const char* kCopying = "copying what was written";
constexpr std::uint64_t kMostStateBytes = 1 << 20;

std::string last_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

ResultOrFailure<UpperCopy> UpperCopy::make(const std::string& upper, const std::string& work,
                                           const std::string& scratch) {
  if (last_name(upper) == last_name(work)) {
    return Failure{
        EINVAL, fmt::format("{}: {} and its work directory have the same last name (stop what uses it first)",
                            kCopying, upper)};
  }
  UpperCopy copy;
  std::string pattern = scratch + "/upper.XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) return failure_from(Errno::last(), pattern);
  copy.directory_ = pattern;
  copy.upper_ = pattern + "/" + last_name(upper);
  copy.work_ = pattern + "/" + last_name(work);
  VARVE_ASSIGN(const std::string program, find_neighbour("cp"));
  // Both at once: files of the upper have further names in the index of the work directory.
  VARVE_ASSIGN(
      const int status,
      run_neighbour({program, "--recursive", "--no-dereference", "--sparse=auto", "--reflink=auto",
                     "--preserve=mode,ownership,timestamps,links,xattr", "--", upper, work, pattern}));
  if (status != 0) return Failure{EIO, fmt::format("{}: {}: cp ended with {}", kCopying, upper, status)};
  VARVE_RETURN_IF_ERROR(copy.make_usable());
  return copy;
}

StatusOrFailure UpperCopy::make_usable() {
  bool was_to_be_thrown_away = false;
  for (const char* mark : {"trusted.varve.thrown-away", "user.varve.thrown-away"}) {
    was_to_be_thrown_away |= ::removexattr(upper_.c_str(), mark) == 0;
  }
  // The mount has the other one.
  for (const char* mark : {"trusted.varve.mount", "user.varve.mount"}) ::removexattr(upper_.c_str(), mark);
  const std::string own = work_ + "/varve";
  if (was_to_be_thrown_away && ::access(own.c_str(), F_OK) != 0) {
    // The parts lie in the work directory itself then (docs/upper-format.md).
    if (::mkdir(own.c_str(), 0700) != 0) return failure_from(Errno::last(), own);
    for (const char* part : {"maps", "index"}) {
      if (::rename((work_ + "/" + part).c_str(), (own + "/" + part).c_str()) != 0 && errno != ENOENT)
        return failure_from(Errno::last(), own);
    }
  }
  const std::string path = own + "/state";
  Result<std::string> state = image::read_small_file(path, kMostStateBytes);
  if (!state.ok())
    return state.error().value == ENOENT ? StatusOrFailure() : failure_from(state.error(), path);
  const std::size_t is_volatile = state->find("\nvolatile yes\n");
  if (is_volatile == std::string::npos) return {};
  state->replace(is_volatile, sizeof "\nvolatile yes\n" - 1, "\nvolatile no\n");
  const Status written = image::write_file_atomically(path, *state, 0600);
  if (!written.ok()) return failure_from(written.error(), path);
  return {};
}

UpperCopy::UpperCopy(UpperCopy&& other) noexcept
    : directory_(std::exchange(other.directory_, {})),
      upper_(std::move(other.upper_)),
      work_(std::move(other.work_)) {}

UpperCopy::~UpperCopy() {
  // What cannot be removed is found by gc.
  if (!directory_.empty()) [[maybe_unused]]
    const Status ignored = image::remove_tree(directory_);
}

}  // namespace varve::imagetool
