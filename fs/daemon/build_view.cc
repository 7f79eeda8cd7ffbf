#include "fs/daemon/build_view.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "fs/layer/open_layer.h"
#include "fs/upper/upper_store.h"
#include "fs/view/lower_stack.h"

namespace varve::daemon {
namespace {

Failure with_context(const std::string& what, Failure failure) {
  failure.message = what + ": " + failure.message;
  return failure;
}

// umount(8) returns before the daemon that served the mount has marked its upper clean and let go of it. Whoever mounts the
// same upper again at once should not have to know that.
ResultOrFailure<std::unique_ptr<upper::UpperStore>> open_upper(const upper::UpperStore::Options& options) {
  constexpr auto kPatience = std::chrono::seconds(2);
  constexpr auto kLongestPause = std::chrono::milliseconds(50);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (auto pause = std::chrono::milliseconds(1);; pause = std::min(2 * pause, kLongestPause)) {
    auto opened = upper::UpperStore::open(options);
    if (opened.ok() || opened.error().error_number != EBUSY || std::chrono::steady_clock::now() >= end) {
      return opened;
    }
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace

ResultOrFailure<std::unique_ptr<view::UnionView>> build_view(
    const view::Options& options, const std::shared_ptr<layer::BlockCache>& cache) {
  layer::LayerContext context;
  context.cache = cache;
  context.overrides = context.overrides || options.override_owners;
  auto layers = layer::open_stack(options.lower_paths, context);
  if (!layers.ok()) return with_context("opening a layer", std::move(layers).error());
  auto stack = std::make_unique<view::LowerStack>(std::move(layers).value());
  std::unique_ptr<upper::UpperStore> store;
  std::optional<upper::OverrideUse> overrides;
  if (options.override_owners) overrides = upper::OverrideUse::kAlways;
  if (!options.upper_path.empty()) {
    auto opened = open_upper(upper::UpperStore::Options{.upper_path = options.upper_path,
                                                        .work_path = options.work_path,
                                                        .base_stack = stack->describe(),
                                                        .volatile_upper = options.volatile_upper,
                                                        .thrown_away = options.thrown_away_upper,
                                                        .keep_access_times = options.keep_access_times,
                                                        .overrides = overrides});
    if (!opened.ok()) return with_context("opening the upper", std::move(opened).error());
    store = std::move(opened).value();
  }
  auto made = view::UnionView::make(std::move(stack), std::move(store), options.directory_fd_capacity);
  if (!made.ok()) return failure_from(made.error(), "building the union");
  return std::move(made).value();
}

}  // namespace varve::daemon
