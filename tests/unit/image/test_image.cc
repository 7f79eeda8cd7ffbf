#include "tests/unit/image/test_image.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace varve::image {
namespace {

class MemoryStream : public transport::ByteStream {
 public:
  MemoryStream(std::string bytes, std::size_t offset, bool endless)
      : bytes_(std::move(bytes)), next_(std::min(offset, bytes_.size())), endless_(endless) {}
  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override {
    if (endless_ && next_ == bytes_.size()) {
      std::fill(into.begin(), into.end(), std::byte{0});
      return into.size();
    }
    // In small pieces, as a network gives them.
    const std::size_t count = std::min({into.size(), bytes_.size() - next_, std::size_t{1000}});
    std::memcpy(into.data(), bytes_.data() + next_, count);
    next_ += count;
    return count;
  }

 private:
  const std::string bytes_;
  std::size_t next_;
  const bool endless_;
};

}  // namespace

std::string packed(std::string_view bytes, const std::string& how) {
  if (how == "none") return std::string(bytes);
  archive* writer = archive_write_new();
  archive_write_set_format_raw(writer);
  archive_write_add_filter_by_name(writer, how.c_str());
  archive_write_set_bytes_in_last_block(writer, 1);
  std::string out(bytes.size() * 2 + 65536, '\0');
  std::size_t used = 0;
  archive_entry* entry = archive_entry_new();
  archive_entry_set_filetype(entry, AE_IFREG);
  const bool good = archive_write_open_memory(writer, out.data(), out.size(), &used) == ARCHIVE_OK &&
                    archive_write_header(writer, entry) == ARCHIVE_OK &&
                    archive_write_data(writer, bytes.data(), bytes.size()) >= 0 &&
                    archive_write_close(writer) == ARCHIVE_OK;
  archive_entry_free(entry);
  archive_write_free(writer);
  if (!good) throw std::runtime_error("cannot pack with " + how);
  out.resize(used);
  return out;
}

Json TestImage::descriptor_of(std::string_view media_type, std::string_view bytes) {
  return {
      {"mediaType", std::string(media_type)}, {"digest", Digest::of(bytes).text()}, {"size", bytes.size()}};
}

Json TestImage::put(std::string_view media_type, std::string_view bytes) {
  blobs[Digest::of(bytes).text()] = bytes;
  return descriptor_of(media_type, bytes);
}

TestImage& TestImage::add_tar(const std::string& tar, const std::string& how, std::string media_type) {
  if (media_type.empty()) media_type = kTarType + (how == "none" ? "" : "+" + how);
  return add_layer(media_type, packed(tar, how), Digest::of(tar).text());
}

TestImage& TestImage::add_layer(const std::string& media_type, const std::string& bytes,
                                const std::string& diff_id) {
  layers.push_back(put(media_type, bytes));
  config["rootfs"]["diff_ids"].push_back(diff_id);
  config["history"].push_back({{"created_by", "layer " + std::to_string(layers.size())}});
  return *this;
}

std::string TestImage::manifest_text() {
  Json all = manifest;
  if (!all.contains("config")) all["config"] = put(config_type, config_text());
  if (!all.contains("layers")) all["layers"] = layers;
  return all.dump();
}

std::string TestImage::index_text(const std::string& ref_name) {
  Json entry = put(kManifestMediaType, manifest_text());
  if (!ref_name.empty()) entry["annotations"] = {{"org.opencontainers.image.ref.name", ref_name}};
  return Json{{"schemaVersion", 2}, {"manifests", {entry}}}.dump();
}

std::map<std::string, std::string> TestImage::layout(const std::string& ref_name) {
  std::map<std::string, std::string> files = {{"oci-layout", R"({"imageLayoutVersion":"1.0.0"})"},
                                              {"index.json", index_text(ref_name)}};
  for (const auto& [digest, bytes] : blobs) files["blobs/sha256/" + digest.substr(7)] = bytes;
  return files;
}

ResultOrFailure<transport::ManifestText> MemorySource::manifest_of(const Digest& digest) {
  const auto found = blobs_.find(digest.text());
  if (found == blobs_.end()) return Failure{ENOENT, name_ + ": no manifest " + digest.text()};
  return transport::ManifestText{"", found->second};
}

ResultOrFailure<std::unique_ptr<transport::ByteStream>> MemorySource::open_blob(const Descriptor& blob,
                                                                                std::uint64_t offset_bytes) {
  const auto found = blobs_.find(blob.digest.text());
  if (found == blobs_.end()) return Failure{ENOENT, name_ + ": no blob " + blob.digest.text()};
  return std::unique_ptr<transport::ByteStream>(
      std::make_unique<MemoryStream>(found->second, offset_bytes, blob.digest.text() == endless));
}

}  // namespace varve::image
