#include "tests/soak/files_soak.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "tests/support/mounted/file_tools.h"

namespace varve::test {
namespace {

// Every name that a file of this test can have; the directory d comes from a layer.
constexpr std::array<const char*, 16> kNames = {"lower", "both", "sparse", "empty", "small", "middle",
                                                "large", "link", "other",  "d/f",   "d/g",   "new1",
                                                "new2",  "new3", "d/new1", "d/new2"};

std::string sparse_bytes(Random& random) {
  std::string bytes(600'000, '\0');
  for (const std::size_t at : {std::size_t{8192}, std::size_t{100'001}, std::size_t{409'600}}) {
    const std::string data = random.bytes(30'000);
    bytes.replace(at, data.size(), data);
  }
  return bytes;
}

std::string mixed_bytes(Random& random, std::size_t size) {
  std::string bytes;
  while (bytes.size() < size)
    bytes += random.bytes(std::min<std::size_t>(random.between(1, 90'000), size - bytes.size()));
  return bytes;
}

}  // namespace

FilesSoak::FilesSoak(const RoundPlan& plan)
    : plan_(plan),
      random_(plan.seed),
      tree_({.native = plan.native, .layer_files = !random_.one_in(4), .passthrough = random_.one_in(2)}),
      operations_({
          {"read", 120, &FilesSoak::read_some},        {"write", 120, &FilesSoak::write_some},
          {"append", 40, &FilesSoak::append_some},     {"ftruncate", 40, &FilesSoak::truncate_open},
          {"fallocate", 50, &FilesSoak::allocate},     {"store", 40, &FilesSoak::map_and_store},
          {"load", 40, &FilesSoak::map_and_load},      {"copy_file_range", 30, &FilesSoak::copy_range},
          {"seek", 30, &FilesSoak::seek_holes},        {"fsync", 20, &FilesSoak::sync},
          {"open", 60, &FilesSoak::open_one},          {"close", 30, &FilesSoak::close_one},
          {"truncate", 10, &FilesSoak::truncate_path}, {"rename", 8, &FilesSoak::rename_one},
          {"link", 10, &FilesSoak::link_one},          {"unlink", 3, &FilesSoak::unlink_one},
          {"create", 8, &FilesSoak::create_one},       {"replace", 3, &FilesSoak::replace_one},
          {"stat", 40, &FilesSoak::stat_one},          {"compare all", 2, &FilesSoak::compare_all},
          {"remount", 2, &FilesSoak::remount},         {"kill -9", 2, &FilesSoak::kill_daemon},
      }),
      buffer_(static_cast<char*>(std::aligned_alloc(kBlockBytes, kMaxTransferBytes + kBlockBytes))) {}

void FilesSoak::seed_file(std::size_t lower, const std::string& name, const std::string& bytes) {
  const std::string path = tree_.lower(lower) + "/" + name;
  write_file(path, "");
  const UniqueFd fd = open_file(path, O_WRONLY | O_TRUNC);
  expect_ok(::ftruncate(fd.get(), static_cast<off_t>(bytes.size())), "ftruncate of " + path);
  for (std::size_t at = 0; at < bytes.size(); at += kBlockBytes) {
    const std::string_view block = std::string_view(bytes).substr(at, kBlockBytes);
    if (block.find_first_not_of('\0') == std::string_view::npos) continue;  // a hole
    expect_number(
        static_cast<std::uint64_t>(::pwrite(fd.get(), block.data(), block.size(), static_cast<off_t>(at))),
        block.size(), "filling " + path);
  }
  names_[name] = std::make_shared<ModelFile>(ModelFile{.bytes = bytes, .names = 1});
}

void FilesSoak::seed() {
  seed_file(1, "lower", mixed_bytes(random_, 200'000));
  seed_file(1, "both", mixed_bytes(random_, 150'000));
  seed_file(1, "sparse", sparse_bytes(random_));
  seed_file(1, "empty", "");
  seed_file(1, "small", mixed_bytes(random_, 3 * 1024));
  seed_file(1, "middle", mixed_bytes(random_, 70 * 1024));
  seed_file(1, "link", mixed_bytes(random_, 100'000));
  expect_ok(::link((tree_.lower(1) + "/link").c_str(), (tree_.lower(1) + "/other").c_str()),
            "link in the layer");
  names_["other"] = names_["link"];
  names_["link"]->names = 2;
  seed_file(1, "d/f", mixed_bytes(random_, 12'288));
  seed_file(0, "both", mixed_bytes(random_, 90'000));
  seed_file(0, "large", mixed_bytes(random_, 1'500'000));
}

void FilesSoak::run() {
  seed();
  tree_.begin();
  unsigned all = 0;
  for (const Operation& operation : operations_) all += operation.weight;
  // In short rounds more of the layers is left to be read and copied up.
  const std::uint64_t length = random_.one_in(2) ? random_.between(20, 300) : random_.between(300, 2500);
  while (log_.count() < length && now_ns() < plan_.end_ns) {
    std::uint64_t choice = random_.below(all);
    for (const Operation& operation : operations_) {
      if (choice < operation.weight) {
        (this->*operation.run)();
        break;
      }
      choice -= operation.weight;
    }
  }
  remount();
}

void FilesSoak::compare_all() {
  did("compare all");
  std::vector<std::string> expected = {"d"};
  std::vector<std::string> expected_below;
  for (const auto& [name, file] : names_) {
    (name.starts_with("d/") ? expected_below : expected)
        .push_back(name.starts_with("d/") ? name.substr(2) : name);
    expect_bytes(read_file(tree_.at(name)), file->bytes, 0, "the whole of " + name);
    struct stat status {};
    expect_ok(::lstat(tree_.at(name).c_str(), &status), "lstat of " + name);
    check_stat(status, *file, name);
  }
  std::sort(expected.begin(), expected.end());
  if (names_in(tree_.root()) != expected) throw Fault("the listing of the root is wrong");
  if (names_in(tree_.at("d")) != expected_below) throw Fault("the listing of d is wrong");
}

void FilesSoak::remount() {
  did("remount");
  close_all();
  tree_.remount();
  for (const auto& [name, file] : names_) file->unsynced = false;
  compare_all();
}

void FilesSoak::kill_daemon() {
  for (const auto& [name, file] : names_) {
    if (!file->unsynced) continue;
    const UniqueFd fd = open_file(tree_.at(name), O_RDONLY);
    expect_ok(::fsync(fd.get()), "fsync of " + name);
    file->unsynced = false;
  }
  did("kill -9");
  tree_.kill_and_mount();
  close_all();
  compare_all();
}

OpenFile& FilesSoak::any_open() {
  if (open_.empty()) open_one();
  return open_[random_.below(open_.size())];
}

OpenFile& FilesSoak::any_writable() {
  for (int attempt = 0; attempt < 8; ++attempt) {
    OpenFile& open = any_open();
    if (open.writable()) return open;
  }
  const std::string name = any_name();
  OpenFile open{.fd = UniqueFd(::open(tree_.at(name).c_str(), O_RDWR | O_CLOEXEC)),
                .file = names_.at(name),
                .name = name,
                .flags = O_RDWR};
  did("open " + open.text());
  expect_ok(open.fd.get(), "open");
  return keep_open(std::move(open));
}

OpenFile& FilesSoak::keep_open(OpenFile open) {
  if (open_.size() >= kMaxOpen) close_one();
  open_.push_back(std::move(open));
  return open_.back();
}

std::string FilesSoak::any_name() {
  if (names_.empty()) create_one();
  auto chosen = names_.begin();
  std::advance(chosen, random_.below(names_.size()));
  return chosen->first;
}

std::string FilesSoak::free_name() {
  std::vector<std::string> names;
  for (const char* name : kNames) {
    if (names_.count(name) == 0) names.push_back(name);
  }
  return names.empty() ? "" : names[random_.below(names.size())];
}

std::size_t FilesSoak::any_offset(const ModelFile& file) {
  const std::size_t size = file.bytes.size();
  std::size_t offset = 0;
  switch (random_.below(8)) {
    case 0:  // past the end
      offset = size + random_.below(100'000);
      break;
    case 1:  // near the end
      offset = size - std::min<std::size_t>(size, random_.below(2 * kBlockBytes));
      break;
    case 2:
    case 3:
      offset = random_.below(size + 1) / kBlockBytes * kBlockBytes;
      break;
    default:
      offset = random_.below(size + 1);
  }
  return std::min(offset, kMaxFileBytes - kMaxTransferBytes);
}

std::size_t FilesSoak::any_length(std::size_t most) {
  const std::size_t length = random_.one_in(3) ? random_.between(1, 100)
                             : random_.one_in(3)
                                 ? random_.between(1, kMaxTransferBytes / kBlockBytes) * kBlockBytes
                             : random_.one_in(2) ? random_.between(1, 3 * kBlockBytes)
                                                 : random_.between(1, kMaxTransferBytes);
  return std::min(length, most);
}

std::size_t FilesSoak::any_size(const ModelFile& file) {
  std::size_t size = random_.one_in(25) ? 0 : any_offset(file);
  if (random_.one_in(4)) size = size / kBlockBytes * kBlockBytes + random_.below(3);
  return size;
}

}  // namespace varve::test
