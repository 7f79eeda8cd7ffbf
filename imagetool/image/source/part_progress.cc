#include "imagetool/image/source/part_progress.h"

namespace varve::image {

void PartProgress::begin(std::size_t index) {
  MutexLock lock(mutex_);
  parts_[index].state = State::kRunning;
  parts_[index].begin = Clock::now();
}

void PartProgress::advance(std::size_t index, std::uint64_t bytes) {
  MutexLock lock(mutex_);
  parts_[index].done_bytes += bytes;
}

void PartProgress::end(std::size_t index) {
  MutexLock lock(mutex_);
  parts_[index].state = State::kDone;
  parts_[index].end = Clock::now();
}

std::vector<PartProgress::Part> PartProgress::parts() const {
  MutexLock lock(mutex_);
  return parts_;
}

}  // namespace varve::image
