#include "imagetool/transfer/incoming_layers.h"

#include <algorithm>
#include <chrono>

namespace varve::transfer {
namespace {

constexpr unsigned kDefaultJobs = 3;
constexpr std::chrono::milliseconds kTellEvery(100);

}  // namespace

IncomingLayers::IncomingLayers(transport::ImageSource& source, const IncomingImage& image,
                               std::string directory, unsigned jobs)
    : source_(source),
      image_(image),
      directory_(std::move(directory)),
      ahead_(2 * std::size_t{jobs == 0 ? kDefaultJobs : jobs}),
      is_there_(image.layers.size()) {
  const std::size_t count = std::min(ahead_ / 2, image.layers.size());
  for (std::size_t i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
}

IncomingLayers::~IncomingLayers() {
  {
    MutexLock lock(mutex_);
    state_.stop = true;
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

std::size_t IncomingLayers::next() {
  MutexLock lock(mutex_);
  while (!state_.stop && next_ < image_.layers.size() && next_ >= taken_ + ahead_) changed_.wait(mutex_);
  if (state_.stop || next_ == image_.layers.size()) return image_.layers.size();
  return next_++;
}

StatusOrFailure IncomingLayers::fetch_one(std::size_t index) {
  const image::Descriptor& blob = image_.layers[index];
  const std::string name = layer_name(source_.name(), index);
  if (image_.kinds[index] == LayerKind::kVarve) return fetch(source_, blob, path_of(index), name, state_);
  return fetch_unpacked(source_, blob, image_.config.diff_ids[index], path_of(index), name, state_);
}

void IncomingLayers::work() {
  for (std::size_t index = next(); index < image_.layers.size(); index = next()) {
    StatusOrFailure fetched = fetch_one(index);
    MutexLock lock(mutex_);
    if (fetched.ok()) {
      is_there_[index] = true;
    } else {
      if (failed_.ok()) failed_ = std::move(fetched);
      state_.stop = true;
    }
    changed_.notify_all();
  }
}

ResultOrFailure<std::string> IncomingLayers::wait_for(std::size_t index, image::Monitor& monitor) {
  MutexLock lock(mutex_);
  taken_ = index + 1;
  changed_.notify_all();
  std::uint64_t told_bytes = 0;
  bool told = false;
  while (failed_.ok() && !is_there_[index]) {
    if (!told) {
      std::uint64_t total_bytes = 0;
      for (const image::Descriptor& layer : image_.layers) total_bytes += layer.size_bytes;
      monitor.begin("fetching", total_bytes);
      told = true;
    }
    const std::uint64_t bytes = state_.bytes;
    monitor.advance(bytes - told_bytes);
    told_bytes = bytes;
    if (monitor.cancelled()) return image::cancelled_failure();
    changed_.wait_for(mutex_, kTellEvery);
  }
  if (told) monitor.end();
  if (!failed_.ok()) return failed_.error();
  return path_of(index);
}

}  // namespace varve::transfer
