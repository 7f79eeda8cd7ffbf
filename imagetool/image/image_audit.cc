#include "imagetool/image/image_audit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "fs/base/unique_fd.h"
#include "fs/layer/open_layer.h"
#include "fs/layer/read_fully.h"
#include "imagetool/image/layer_union.h"
#include "imagetool/image/layer_walk.h"

namespace varve::image {
namespace {

constexpr std::size_t kPieceBytes = 1 << 20;

using DamagedFile = VerifyReport::DamagedFile;
using Layers = std::vector<std::shared_ptr<layer::Layer>>;

ResultOrFailure<BlobHealth> check_blob(const Store& store, const Digest& digest,
                                       std::optional<std::uint64_t> size_bytes, Monitor& monitor) {
  BlobHealth health{digest};
  const std::string path = store.blob_path(digest);
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) {
    health.missing = errno == ENOENT;
    health.problem = health.missing ? "is missing" : std::string("cannot be read: ") + std::strerror(errno);
    return health;
  }
  const auto total = static_cast<std::uint64_t>(status.st_size);
  monitor.begin("checking digests", total);
  Sha256 hash;
  std::vector<std::byte> piece(kPieceBytes);
  while (health.size_bytes < total) {
    if (monitor.cancelled()) return cancelled_failure();
    const auto part =
        std::span(piece).first(std::min<std::uint64_t>(piece.size(), total - health.size_bytes));
    if (const Status read = layer::read_fully(file.get(), health.size_bytes, part); !read.ok()) {
      health.problem = std::string("cannot be read: ") + std::strerror(read.error().value);
      break;
    }
    hash.update(part);
    health.size_bytes += part.size();
    monitor.advance(part.size());
  }
  monitor.end();
  if (health.problem.empty() && (hash.finish() != digest || (size_bytes && *size_bytes != total)))
    health.problem = "its bytes do not match its digest";
  return health;
}

std::string key_of(const std::optional<format::Hash128>& digest) {
  return digest ? format::to_hex(*digest) : std::string();
}

class Auditor {
 public:
  Auditor(const Store& store, Monitor& monitor) : store_(store), monitor_(monitor) {}
  StatusOrFailure add_image(const std::string& reference, const ListedImage* listed);
  StatusOrFailure add_others();
  StatusOrFailure look_for_copies();
  Audit take() { return std::move(audit_); }

 private:
  // A layer over those below it, looked at once however many images have the two.
  struct Looked {
    std::shared_ptr<LayerHealth> health;
    std::shared_ptr<layer::Layer> layer;  // null: cannot be opened
  };
  ResultOrFailure<Looked> look_at(const Image& image, std::size_t index, const Layers& below);
  StatusOrFailure add_layers(ImageHealth& health);
  // What of an image that is open, its layers the topmost first, is damaged: by the layer, then by the object's id there.
  struct LostSearch {
    const LayerUnion& opened;
    std::vector<std::map<std::uint64_t, const DamagedFile*>> bad;
    ImageHealth& health;
  };
  // Files below `directory` that are seen and damaged.
  StatusOrFailure find_lost(LostSearch& search, const UnionDirectory& directory, const std::string& path);
  StatusOrFailure search_layer(const Digest& digest, const Looked& looked,
                               std::map<std::string, std::uint64_t>& wanted);

  const Store& store_;
  Monitor& monitor_;
  Audit audit_;
  std::map<std::string, Looked> looked_;  // by the digests of the layers up to it
  std::set<Digest> seen_;                 // blobs
};

ResultOrFailure<Auditor::Looked> Auditor::look_at(const Image& image, std::size_t index,
                                                  const Layers& below) {
  std::string key;
  for (std::size_t i = 0; i <= index; ++i) key += image.layers[i].digest.text();
  if (const auto known = looked_.find(key); known != looked_.end()) return known->second;
  const Descriptor& layer = image.layers[index];
  const std::string& path = image.layer_paths[index];
  VARVE_ASSIGN(BlobHealth blob, check_blob(store_, layer.digest, layer.size_bytes, monitor_));
  Looked looked{std::make_shared<LayerHealth>(LayerHealth{std::move(blob), {}}), nullptr};
  if (!looked.health->blob.missing) {
    auto report = verify_layer(path, below, monitor_);
    if (!report.ok() && report.error().error_number == ECANCELED) return std::move(report).error();
    if (report.ok()) {
      looked.health->report = std::move(report).value();
    } else {
      looked.health->report.problems.push_back(report.error().message);
    }
    auto opened = layer::open_layer(path, {}, {.layers = below, .all_there = false});
    if (opened.ok()) looked.layer = std::move(opened).value();
  }
  return looked_.emplace(std::move(key), std::move(looked)).first->second;
}

StatusOrFailure Auditor::add_layers(ImageHealth& health) {
  const Image& image = *health.image;
  Layers below;  // as far as they can be opened
  bool all_open = true;
  for (std::size_t i = 0; i < image.layers.size(); ++i) {
    VARVE_ASSIGN(const Looked looked, look_at(image, i, below));
    health.layers.push_back(looked.health);
    seen_.insert(image.layers[i].digest);
    if (looked.layer) {
      below.insert(below.begin(), looked.layer);
    } else {
      all_open = false;
    }
  }
  health.cannot_be_mounted = !all_open;
  const bool all_good = std::all_of(health.layers.begin(), health.layers.end(), [](const auto& one) {
    return one->report.good() && one->report.unchecked.empty();
  });
  if (!all_open || all_good || image.layers.empty()) return {};
  const LayerUnion opened(std::move(below));
  LostSearch search{opened, {}, health};
  for (auto layer = health.layers.rbegin(); layer != health.layers.rend(); ++layer) {
    auto& bad = search.bad.emplace_back();
    for (const auto* files : {&(*layer)->report.damaged_files, &(*layer)->report.unchecked}) {
      for (const DamagedFile& file : *files) bad.emplace(file.id.value(), &file);
    }
  }
  VARVE_ASSIGN(const UnionDirectory root, opened.root());
  return find_lost(search, root, "");
}

StatusOrFailure Auditor::find_lost(LostSearch& search, const UnionDirectory& directory,
                                   const std::string& path) {
  if (monitor_.cancelled()) return cancelled_failure();
  VARVE_ASSIGN(const auto entries, search.opened.entries(directory));
  for (const auto& [name, entry] : entries) {
    if (!entry.is_object()) continue;
    const std::string at = path + "/" + name;
    if (entry.type == S_IFDIR) {
      VARVE_ASSIGN(const UnionDirectory below, search.opened.enter(directory, name));
      VARVE_RETURN_IF_ERROR(find_lost(search, below, at));
    }
    if (entry.type != S_IFREG) continue;
    const auto& bad = search.bad[entry.object.layer];
    const auto found = bad.find(entry.object.id.value());
    if (found == bad.end()) continue;
    const std::size_t from_bottom = search.bad.size() - 1 - entry.object.layer;
    search.health.lost.push_back({at, from_bottom, found->second});
  }
  return {};
}

StatusOrFailure Auditor::add_image(const std::string& reference, const ListedImage* listed) {
  if (monitor_.cancelled()) return cancelled_failure();
  ImageHealth health;
  auto image = store_.read_image(reference);
  if (image.ok()) {
    health.name = image->name;
    health.digest = image->digest.text();
    seen_.insert(image->digest);
    seen_.insert(image->config_descriptor.digest);
    health.image = std::move(image).value();
    VARVE_RETURN_IF_ERROR(add_layers(health));
  } else {
    if (listed == nullptr) {
      VARVE_ASSIGN(const auto all, store_.list());
      const auto name = parse_image_name(reference);
      const auto found = std::find_if(all.begin(), all.end(), [&](const ListedImage& one) {
        return (name.ok() && one.name == name->text()) || one.digest.text() == reference;
      });
      if (found == all.end()) return std::move(image).error();
      return add_image(reference, &*found);
    }
    health.problem = image.error().message;
    health.name = listed->name;
    health.digest = listed->digest.text();
    seen_.insert(listed->digest);
  }
  audit_.images.push_back(std::move(health));
  return {};
}

StatusOrFailure Auditor::add_others() {
  VARVE_ASSIGN(const std::vector<Digest> blobs, store_.list_blobs());
  for (const Digest& digest : blobs) {
    if (seen_.contains(digest)) continue;
    VARVE_ASSIGN(BlobHealth health, check_blob(store_, digest, std::nullopt, monitor_));
    // gc may just have taken it.
    if (!health.missing) audit_.others.push_back(std::move(health));
  }
  return {};
}

// Takes from `wanted`, the digests of contents with their sizes, what is found in this layer and can be read there.
StatusOrFailure Auditor::search_layer(const Digest& digest, const Looked& looked,
                                      std::map<std::string, std::uint64_t>& wanted) {
  const auto* file = dynamic_cast<const layer::LayerFile*>(looked.layer.get());
  if (file == nullptr || !file->load_all().ok()) return {};
  return walk_layer(*file, [&](const LayerVisit& at) -> ResultOrFailure<bool> {
    if (monitor_.cancelled()) return cancelled_failure();
    if (wanted.empty()) return false;
    if (at.entry.kind != layer::Entry::Kind::kObject || at.entry.type != S_IFREG) return true;
    const auto found = wanted.find(key_of(file->content_digest(at.entry.id)));
    if (found == wanted.end()) return true;
    const Result<Attributes> attributes = file->attributes(at.entry.id);
    if (!attributes.ok() || attributes->size_bytes != found->second) return true;
    VARVE_ASSIGN(const std::string problem, check_content(*file, at.entry.id, monitor_));
    if (!problem.empty()) return true;
    audit_.copies.emplace(found->first, ContentCopy{digest, "/" + at.path});
    wanted.erase(found);
    return true;
  });
}

StatusOrFailure Auditor::look_for_copies() {
  std::map<std::string, std::uint64_t> wanted;
  for (const auto& [key, looked] : looked_) {
    for (const DamagedFile& file : looked.health->report.damaged_files) {
      if (file.digest) wanted.emplace(key_of(file.digest), file.size_bytes);
    }
  }
  for (const auto& [key, looked] : looked_) {
    if (wanted.empty()) break;
    VARVE_RETURN_IF_ERROR(search_layer(looked.health->blob.digest, looked, wanted));
  }
  return {};
}

}  // namespace

bool ImageHealth::good() const {
  return problem.empty() &&
         std::all_of(layers.begin(), layers.end(), [](const auto& layer) { return layer->good(); });
}

bool Audit::good() const {
  return std::all_of(images.begin(), images.end(), [](const auto& one) { return one.good(); }) &&
         std::all_of(others.begin(), others.end(), [](const auto& one) { return one.good(); });
}

const ContentCopy* Audit::copy_of(const DamagedFile& file) const {
  const auto found = copies.find(key_of(file.digest));
  return found == copies.end() ? nullptr : &found->second;
}

ResultOrFailure<Audit> audit(const Store& store, const std::vector<std::string>& references,
                             Monitor& monitor) {
  Auditor auditor(store, monitor);
  VARVE_ASSIGN(const std::vector<ListedImage> listed, store.list());
  for (const std::string& reference : references)
    VARVE_RETURN_IF_ERROR(auditor.add_image(reference, nullptr));
  if (references.empty()) {
    for (const ListedImage& one : listed) {
      VARVE_RETURN_IF_ERROR(auditor.add_image(one.name.empty() ? one.digest.text() : one.name, &one));
    }
    VARVE_RETURN_IF_ERROR(auditor.add_others());
  }
  VARVE_RETURN_IF_ERROR(auditor.look_for_copies());
  Audit found = auditor.take();
  for (ImageHealth& image : found.images) {
    for (const ListedImage& one : listed) {
      if (one.source.empty() || one.digest.text() != image.digest) continue;
      if (image.source.empty() || one.name == image.name) image.source = one.source;
    }
  }
  return found;
}

}  // namespace varve::image
