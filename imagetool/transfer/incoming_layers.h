#pragma once

// IncomingLayers: fetches the layers of an image, several at once and the lowest first, into files of a directory.
// Thread rule: one thread calls, that of the monitor; it has threads of its own, which tell a PartProgress. Ownership: borrows all that
// it is given; waits for its threads at the end.

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fs/base/mutex.h"
#include "imagetool/image/source/tree_source.h"
#include "imagetool/transfer/incoming_blob.h"
#include "imagetool/transfer/incoming_manifest.h"

namespace varve::transfer {

class IncomingLayers {
 public:
  // `directory`: for the files. The lowest `there` layers are there already, and not fetched. `monitor` is shown how far each layer is, until the end of this object.
  IncomingLayers(transport::ImageSource& source, const IncomingImage& image, std::size_t there,
                 std::string directory, unsigned jobs, image::Monitor& monitor);
  ~IncomingLayers();
  IncomingLayers(const IncomingLayers&) = delete;
  IncomingLayers& operator=(const IncomingLayers&) = delete;

  // Waits for a layer: a varve layer or a plain tar, checked; the file is the caller's. Requires: indexes ascend, from `there` on.
  // Returns: its path, or the failure of any layer as soon as there is one.
  ResultOrFailure<std::string> wait_for(std::size_t index);

 private:
  class OneFetch;

  void work();
  // Returns: the next layer to fetch; the number of layers when there is none.
  std::size_t next();
  StatusOrFailure fetch_one(std::size_t index);
  std::string path_of(std::size_t index) const { return directory_ + "/" + std::to_string(index); }

  transport::ImageSource& source_;
  const IncomingImage& image_;
  const std::string directory_;
  const std::size_t ahead_;  // so many layers may lie there unused: unpacked they are large
  image::Monitor& monitor_;
  const std::shared_ptr<image::PartProgress> progress_;  // a part is a layer
  std::atomic<bool> stop_{false};                        // nobody wants the rest
  Mutex mutex_;
  CondVar changed_;
  std::size_t next_ GUARDED_BY(mutex_);
  std::size_t taken_ GUARDED_BY(mutex_);           // layers that were waited for
  std::vector<bool> is_there_ GUARDED_BY(mutex_);  // by layer
  StatusOrFailure failed_ GUARDED_BY(mutex_);      // the first
  std::vector<std::thread> threads_;
};

}  // namespace varve::transfer
