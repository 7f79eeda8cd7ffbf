#pragma once

// LayerBuilder: makes layer files for tests in a few lines. The assertions stay in the tests; what must not
// fail while a test is set up aborts with its message. One thread.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/layer/layer.h"
#include "imagetool/image/writer/layer_writer.h"

namespace varve::test {

template <class T>
T must(ResultOrFailure<T> result) {
  if (result.ok()) return std::move(result).value();
  std::fprintf(stderr, "test set-up failed: %s\n", result.error().message.c_str());
  std::abort();
}
inline void must(StatusOrFailure status) {
  if (status.ok()) return;
  std::fprintf(stderr, "test set-up failed: %s\n", status.error().message.c_str());
  std::abort();
}
template <class T>
T must(Result<T> result) {
  if (result.ok()) return std::move(result).value();
  std::fprintf(stderr, "test set-up failed: %s\n", std::strerror(result.error().value));
  std::abort();
}

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// Pieces of text at their offsets.
class TextSource final : public image::ContentSource {
 public:
  using Pieces = std::vector<std::pair<std::uint64_t, std::string>>;
  explicit TextSource(Pieces pieces) : pieces_(std::move(pieces)) {}
  ResultOrFailure<std::optional<image::Chunk>> next() override {
    if (next_ == pieces_.size()) return std::optional<image::Chunk>();
    const auto& [offset, text] = pieces_[next_++];
    return std::optional<image::Chunk>(image::Chunk{offset, as_bytes(text)});
  }

 private:
  Pieces pieces_;
  std::size_t next_ = 0;
};

inline image::InodeSpec spec(std::uint32_t mode, std::uint64_t size_bytes = 0) {
  image::InodeSpec result;
  result.attributes.mode = mode;
  result.attributes.size_bytes = size_bytes;
  return result;
}

class LayerBuilder {
 public:
  explicit LayerBuilder(std::string path)
      : LayerBuilder(image::LayerWriter::Options{.output_path = std::move(path)}) {}
  explicit LayerBuilder(image::LayerWriter::Options options)
      : path_(options.output_path), writer_(must(image::LayerWriter::create(options))) {
    must(writer_->add_inode(spec(S_IFDIR | 0755)));
  }

  image::LayerWriter& writer() { return *writer_; }
  const std::string& path() const { return path_; }

  std::uint32_t add(std::string_view name, const image::InodeSpec& inode_spec, std::uint32_t directory = 1) {
    const std::uint32_t inode = must(writer_->add_inode(inode_spec));
    must(writer_->add_name(directory, name, inode));
    return inode;
  }
  std::uint32_t directory(std::string_view name, std::uint32_t parent = 1) {
    return add(name, spec(S_IFDIR | 0755), parent);
  }
  std::uint32_t file(std::string_view name, const std::string& content, std::uint32_t directory = 1) {
    return sparse(name, content.size(), {{0, content}}, directory);
  }
  std::uint32_t sparse(std::string_view name, std::uint64_t size_bytes, TextSource::Pieces pieces,
                       std::uint32_t directory = 1) {
    const std::uint32_t inode = add(name, spec(S_IFREG | 0644, size_bytes), directory);
    TextSource source(std::move(pieces));
    must(writer_->add_content(inode, source));
    return inode;
  }
  image::LayerWriter::Summary finish() { return must(writer_->finish()); }

 private:
  std::string path_;
  std::unique_ptr<image::LayerWriter> writer_;
};

// Text that zstd can shrink, but not to nothing; the same for the same seed.
inline std::string sample_text(std::size_t size_bytes, std::uint32_t seed = 1) {
  static constexpr std::string_view kWords[] = {"clay ", "silt ", "sand ", "lake ",
                                                "melt ", "year ", "thin ", "dark "};
  std::string text;
  text.reserve(size_bytes + 8);
  std::uint32_t state = seed;
  while (text.size() < size_bytes) {
    state = state * 1664525 + 1013904223;
    text += kWords[state >> 29];
    text += static_cast<char>('a' + (state >> 16) % 26);
  }
  text.resize(size_bytes);
  return text;
}

// Bytes that do not shrink.
inline std::string noise(std::size_t size_bytes, std::uint64_t seed = 1) {
  std::string bytes(size_bytes, '\0');
  std::uint64_t state = seed;
  for (char& byte : bytes) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    byte = static_cast<char>(state >> 56);
  }
  return bytes;
}

// The object at `path` ("a/b") from the root.
inline layer::Entry find(const layer::Layer& layer, std::string_view path) {
  layer::Entry entry{.kind = layer::Entry::Kind::kObject, .id = layer.root(), .type = S_IFDIR};
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    entry = must(layer.look_up(entry.id, must(Name::parse(path.substr(0, slash)))));
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (entry.kind != layer::Entry::Kind::kObject) break;
  }
  return entry;
}

// The whole content of the file at `path`.
inline Result<std::string> content(const layer::Layer& layer, std::string_view path) {
  VARVE_ASSIGN(const std::unique_ptr<layer::LowerFile> file, layer.open_file(find(layer, path).id));
  std::string text(static_cast<std::size_t>(file->size_bytes()), '?');
  VARVE_ASSIGN(const std::size_t count, file->read(0, std::as_writable_bytes(std::span(text))));
  text.resize(count);
  return text;
}

}  // namespace varve::test
