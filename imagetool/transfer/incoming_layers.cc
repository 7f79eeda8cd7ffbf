#include "imagetool/transfer/incoming_layers.h"

#include <algorithm>
#include <chrono>

namespace varve::transfer {
namespace {

constexpr unsigned kDefaultJobs = 3;
constexpr std::chrono::milliseconds kTellEvery(100);

std::vector<image::PartProgress::Part> parts_of(const IncomingImage& image, std::size_t there) {
  using State = image::PartProgress::State;
  std::vector<image::PartProgress::Part> parts;
  for (const image::Descriptor& layer : image.layers) {
    parts.push_back({.name = layer.digest.short_hex(),
                     .total_bytes = layer.size_bytes,
                     .state = parts.size() < there ? State::kThere : State::kWaiting});
  }
  return parts;
}

}  // namespace

class IncomingLayers::OneFetch : public FetchState {
 public:
  OneFetch(const IncomingLayers& all, std::size_t index) : all_(all), index_(index) {
    all_.progress_->begin(index_);
  }
  void arrived(std::uint64_t bytes) override { all_.progress_->advance(index_, bytes); }
  bool stopped() const override { return all_.stop_; }

 private:
  const IncomingLayers& all_;
  const std::size_t index_;
};

IncomingLayers::IncomingLayers(transport::ImageSource& source, const IncomingImage& image, std::size_t there,
                               std::string directory, unsigned jobs, image::Monitor& monitor)
    : source_(source),
      image_(image),
      directory_(std::move(directory)),
      ahead_(2 * std::size_t{jobs == 0 ? kDefaultJobs : jobs}),
      monitor_(monitor),
      progress_(std::make_shared<image::PartProgress>("fetching", parts_of(image, there))),
      next_(there),
      taken_(there),
      is_there_(image.layers.size()) {
  monitor_.show_parts(progress_);
  const std::size_t count = std::min(ahead_ / 2, image.layers.size() - there);
  for (std::size_t i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
}

IncomingLayers::~IncomingLayers() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  monitor_.show_parts(nullptr);
}

std::size_t IncomingLayers::next() {
  MutexLock lock(mutex_);
  while (!stop_ && next_ < image_.layers.size() && next_ >= taken_ + ahead_) changed_.wait(mutex_);
  if (stop_ || next_ == image_.layers.size()) return image_.layers.size();
  return next_++;
}

StatusOrFailure IncomingLayers::fetch_one(std::size_t index) {
  const image::Descriptor& blob = image_.layers[index];
  const std::string name = layer_name(source_.name(), index);
  OneFetch state(*this, index);
  if (image_.kinds[index] == LayerKind::kVarve) {
    VARVE_RETURN_IF_ERROR(fetch(source_, blob, path_of(index), name, state));
  } else {
    VARVE_RETURN_IF_ERROR(
        fetch_unpacked(source_, blob, image_.config.diff_ids[index], path_of(index), name, state));
  }
  progress_->end(index);
  return {};
}

void IncomingLayers::work() {
  for (std::size_t index = next(); index < image_.layers.size(); index = next()) {
    StatusOrFailure fetched = fetch_one(index);
    MutexLock lock(mutex_);
    if (fetched.ok()) {
      is_there_[index] = true;
    } else {
      if (failed_.ok()) failed_ = std::move(fetched);
      stop_ = true;
    }
    changed_.notify_all();
  }
}

ResultOrFailure<std::string> IncomingLayers::wait_for(std::size_t index) {
  MutexLock lock(mutex_);
  taken_ = index + 1;
  changed_.notify_all();
  while (failed_.ok() && !is_there_[index]) {
    monitor_.advance(0);
    if (monitor_.cancelled()) return image::cancelled_failure();
    changed_.wait_for(mutex_, kTellEvery);
  }
  if (!failed_.ok()) return failed_.error();
  return path_of(index);
}

}  // namespace varve::transfer
