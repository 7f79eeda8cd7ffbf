#include "imagetool/transfer/give_out.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <optional>
#include <thread>

#include "fs/layer/open_layer.h"
#include "imagetool/image/extract/layer_extract.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/image/store/store_index.h"
#include "imagetool/image/union_layer.h"
#include "imagetool/transfer/relay_monitor.h"
#include "imagetool/transfer/tar_blob.h"
#include "imagetool/transport/checked_copy.h"

namespace varve::transfer {
namespace {

constexpr unsigned kMostLayersAtOnce = 4;  // each has a compression of several threads

// A file from its beginning, whatever its position is.
class FileStream : public transport::ByteStream {
 public:
  // `is_work`: what is read is told to the monitor.
  FileStream(int fd, std::string name, image::Monitor& monitor, bool is_work)
      : fd_(fd), name_(std::move(name)), monitor_(monitor), is_work_(is_work) {}
  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override {
    if (monitor_.cancelled()) return image::cancelled_failure();
    for (;;) {
      const ssize_t count = ::pread(fd_, into.data(), into.size(), static_cast<off_t>(offset_bytes_));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return failure_from(Errno::last(), name_);
      offset_bytes_ += static_cast<std::uint64_t>(count);
      if (is_work_ && offset_bytes_ > told_bytes_) monitor_.advance(offset_bytes_ - told_bytes_);
      told_bytes_ = std::max(told_bytes_, offset_bytes_);
      return static_cast<std::size_t>(count);
    }
  }
  StatusOrFailure rewind() override {
    offset_bytes_ = 0;
    return {};
  }

 private:
  const int fd_;
  const std::string name_;
  image::Monitor& monitor_;
  const bool is_work_;
  std::uint64_t offset_bytes_ = 0;
  std::uint64_t told_bytes_ = 0;
};

void fit_history(std::vector<image::HistoryEntry>& history, std::size_t layers) {
  const auto made_layer = [](const image::HistoryEntry& entry) { return !entry.empty_layer; };
  auto count = static_cast<std::size_t>(std::count_if(history.begin(), history.end(), made_layer));
  for (auto entry = history.begin(); count > layers; ++entry) {
    if (!made_layer(*entry)) continue;
    entry->empty_layer = true;
    --count;
  }
  for (; count < layers; ++count) history.emplace_back();
}

// With the annotations of `before`, a manifest.
ResultOrFailure<std::string> manifest_text(const image::Manifest& manifest, const std::string& before) {
  std::string text = image::manifest_to_json(manifest);
  VARVE_ASSIGN(const image::Json old, image::parse_json_object(before));
  const auto annotations = old.find("annotations");
  if (annotations == old.end() || !annotations->is_object()) return text;
  VARVE_ASSIGN(image::Json json, image::parse_json_object(text));
  json["annotations"] = *annotations;
  return image::json_text(json);
}

class GiveOut {
 public:
  GiveOut(image::Store& store, const image::Image& image, transport::ImageDestination& destination,
          const GiveOutOptions& options, image::Monitor& monitor)
      : store_(store),
        image_(image),
        destination_(destination),
        options_(options),
        monitor_(monitor),
        relay_(monitor) {
    if (options_.jobs == 0) options_.jobs = std::max(std::thread::hardware_concurrency(), 1U);
  }
  ResultOrFailure<GivenOut> run();

 private:
  // What a layer is outside.
  struct Given {
    std::optional<image::Descriptor> blob;
    std::string diff_id;
  };
  ResultOrFailure<std::uint64_t> blob_bytes() const;
  ResultOrFailure<std::uint64_t> open_layers();
  bool as_it_is() const { return options_.form == LayerForm::kVarve; }
  void work();
  StatusOrFailure give_layer(std::size_t index);
  StatusOrFailure make_tar(std::size_t index, std::unique_ptr<TarBlob>& tar);
  bool wait_for_turn(std::size_t index);
  StatusOrFailure put(const image::Descriptor& blob, int fd, const std::string& name, bool is_layer);
  StatusOrFailure put_text(const image::Descriptor& blob, const std::string& text);
  StatusOrFailure put_from_store(const image::Descriptor& blob, bool is_layer);
  ResultOrFailure<GivenOut> put_as_it_is();
  ResultOrFailure<GivenOut> put_new();

  image::Store& store_;
  const image::Image& image_;
  transport::ImageDestination& destination_;
  GiveOutOptions options_;
  image::Monitor& monitor_;
  RelayMonitor relay_;
  std::string scratch_;
  std::vector<std::unique_ptr<image::UnionLayer>> layers_;  // what the tars are made of; none for kVarve
  std::vector<Given> given_;                                // each written by one thread

  Mutex mutex_;
  CondVar turned_;
  std::size_t next_ GUARDED_BY(mutex_) = 0;  // to be begun
  std::size_t turn_ GUARDED_BY(mutex_) = 0;  // whose blob may go out, where they go in order
  StatusOrFailure status_ GUARDED_BY(mutex_);
  std::uint64_t layers_written_ GUARDED_BY(mutex_) = 0;
  std::uint64_t bytes_written_ GUARDED_BY(mutex_) = 0;
  std::uint64_t losses_ GUARDED_BY(mutex_) = 0;
};

void GiveOut::work() {
  for (;;) {
    std::size_t index = 0;
    {
      MutexLock lock(mutex_);
      if (!status_.ok() || next_ == image_.layers.size()) return;
      index = next_++;
    }
    StatusOrFailure given;
    try {
      given = give_layer(index);
    } catch (const std::bad_alloc&) {
      given = failure_from(Errno{ENOMEM}, image_.name);
    }
    MutexLock lock(mutex_);
    if (status_.ok()) status_ = std::move(given);
    turned_.notify_all();
  }
}

// Those before are out; false when one of them failed.
bool GiveOut::wait_for_turn(std::size_t index) {
  MutexLock lock(mutex_);
  while (destination_.in_order() && turn_ != index && status_.ok()) turned_.wait(mutex_);
  return status_.ok();
}

StatusOrFailure GiveOut::give_layer(std::size_t index) {
  std::unique_ptr<TarBlob> tar;
  if (!as_it_is()) VARVE_RETURN_IF_ERROR(make_tar(index, tar));
  if (!wait_for_turn(index)) return {};
  if (tar) {
    given_[index] = {tar->blob(), tar->diff_id().text()};
    VARVE_RETURN_IF_ERROR(put(tar->blob(), tar->readable_fd(), tar->name(), true));
  } else {
    VARVE_RETURN_IF_ERROR(put_from_store(image_.layers[index], true));
  }
  MutexLock lock(mutex_);
  ++turn_;
  return {};
}

StatusOrFailure GiveOut::make_tar(std::size_t index, std::unique_ptr<TarBlob>& tar) {
  VARVE_ASSIGN(tar, TarBlob::create(scratch_, options_.form,
                                    CompressorOptions{.level = options_.level, .threads = options_.jobs}));
  VARVE_ASSIGN(const image::ExtractSummary summary,
               image::extract_to_tar(*layers_[index], *tar, relay_, image::TarStyle::kForLayers));
  {
    MutexLock lock(mutex_);
    losses_ += summary.losses;
  }
  return tar->publish();
}

StatusOrFailure GiveOut::put(const image::Descriptor& blob, int fd, const std::string& name, bool is_layer) {
  VARVE_ASSIGN(const bool present, destination_.has_blob(blob));
  if (present) return {};
  FileStream bytes(fd, name, relay_, as_it_is());
  VARVE_RETURN_IF_ERROR(destination_.put_blob(blob, bytes));
  if (!is_layer) return {};
  MutexLock lock(mutex_);
  ++layers_written_;
  bytes_written_ += blob.size_bytes;
  return {};
}

StatusOrFailure GiveOut::put_from_store(const image::Descriptor& blob, bool is_layer) {
  const std::string path = store_.blob_path(blob.digest);
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return failure_from(Errno::last(), path);
  return put(blob, fd.get(), path, is_layer);
}

StatusOrFailure GiveOut::put_text(const image::Descriptor& blob, const std::string& text) {
  VARVE_ASSIGN(const bool present, destination_.has_blob(blob));
  if (present) return {};
  transport::TextStream bytes(text);
  return destination_.put_blob(blob, bytes);
}

ResultOrFailure<std::uint64_t> GiveOut::blob_bytes() const {
  std::uint64_t total = image_.config_descriptor.size_bytes;
  for (const image::Descriptor& layer : image_.layers) total += layer.size_bytes;
  return total;
}

// Returns: how many bytes of content they have.
ResultOrFailure<std::uint64_t> GiveOut::open_layers() {
  const std::vector<std::string> paths(image_.layer_paths.rbegin(), image_.layer_paths.rend());
  VARVE_ASSIGN(const auto stack, layer::open_stack(paths, {}));  // the topmost first
  std::uint64_t total = 0;
  for (auto first = stack.rbegin(); first != stack.rend(); ++first) {
    VARVE_ASSIGN(auto layer, image::UnionLayer::make({first.base() - 1, stack.end()},
                                                     image::UnionLayer::Shows::kTopmost));
    VARVE_ASSIGN(const std::uint64_t bytes, image::content_bytes(*layer, monitor_));
    total += bytes;
    layers_.push_back(std::move(layer));
  }
  return total;
}

ResultOrFailure<GivenOut> GiveOut::run() {
  // Others' gc() waits from here on.
  VARVE_ASSIGN(scratch_, store_.scratch_directory());
  VARVE_ASSIGN(const std::uint64_t total_bytes, as_it_is() ? blob_bytes() : open_layers());
  monitor_.begin("exporting", total_bytes);
  given_.resize(image_.layers.size());
  const auto layers = static_cast<unsigned>(std::min<std::size_t>(image_.layers.size(), kMostLayersAtOnce));
  relay_.run(std::min(options_.jobs, layers), [&] { work(); });
  {
    MutexLock lock(mutex_);
    VARVE_RETURN_IF_ERROR(std::move(status_));
  }
  VARVE_ASSIGN(GivenOut done, as_it_is() ? put_as_it_is() : put_new());
  MutexLock lock(mutex_);
  done.layers_written = layers_written_;
  done.bytes_written = bytes_written_;
  done.losses = losses_;
  return done;
}

ResultOrFailure<GivenOut> GiveOut::put_as_it_is() {
  VARVE_RETURN_IF_ERROR(put_from_store(image_.config_descriptor, false));
  Result<std::string> manifest = store_.read_blob(image_.digest, transport::kMostManifestBytes);
  if (!manifest.ok()) return failure_from(manifest.error(), store_.blob_path(image_.digest));
  VARVE_RETURN_IF_ERROR(
      destination_.put_manifest({std::string(image::kManifestMediaType), std::move(manifest).value()}));
  return GivenOut{image_.digest, image_.config_descriptor.digest};
}

ResultOrFailure<GivenOut> GiveOut::put_new() {
  image::ImageConfig config = image_.config;
  fit_history(config.history, given_.size());
  config.diff_ids.clear();
  std::vector<image::Descriptor> layers;
  for (const Given& one : given_) {
    config.diff_ids.push_back(one.diff_id);
    layers.push_back(*one.blob);
  }
  const std::string config_text = image::image_config_to_json(config);
  const image::Descriptor config_blob{std::string(image::kConfigMediaType), image::Digest::of(config_text),
                                      config_text.size()};
  VARVE_RETURN_IF_ERROR(put_text(config_blob, config_text));
  Result<std::string> before = store_.read_blob(image_.digest, transport::kMostManifestBytes);
  if (!before.ok()) return failure_from(before.error(), store_.blob_path(image_.digest));
  VARVE_ASSIGN(const std::string manifest, manifest_text({config_blob, std::move(layers)}, *before));
  const image::Digest digest = image::Digest::of(manifest);
  VARVE_RETURN_IF_ERROR(destination_.put_manifest({std::string(image::kManifestMediaType), manifest}));
  return GivenOut{digest, config_blob.digest};
}

}  // namespace

ResultOrFailure<GivenOut> give_out(image::Store& store, const image::Image& image,
                                   transport::ImageDestination& destination, const GiveOutOptions& options,
                                   image::Monitor& monitor) {
  auto done = GiveOut(store, image, destination, options, monitor).run();
  monitor.end();
  return done;
}

}  // namespace varve::transfer
