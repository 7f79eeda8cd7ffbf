#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <vector>

#include "imagetool/transport/file_stream.h"
#include "imagetool/transport/image_files.h"
#include "imagetool/transport/unpacked_stream.h"

namespace varve::transport {
namespace {

constexpr std::size_t kReadBytes = 1 << 18;
constexpr std::size_t kMostMembers = 100'000;
constexpr int kMostLinks = 16;

struct Member {
  std::uint64_t header_offset = 0;  // of its first header, in the plain archive
  std::string target;               // of a link; empty: a regular file
};
using Members = std::map<std::string, Member, std::less<>>;

// `path` without empty and "." components; ".." takes one away. Nothing when it leads out of the archive.
std::optional<std::string> tidied(std::string_view path) {
  std::vector<std::string_view> components;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, slash - at);
    at = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      components.push_back(part);
    } else if (components.empty()) {
      return std::nullopt;
    } else {
      components.pop_back();
    }
  }
  std::string text;
  for (const std::string_view part : components) text += (text.empty() ? "" : "/") + std::string(part);
  return text;
}

// What libarchive reads a tar from: a file, through which it may skip, or a stream, of which a copy is kept in `copy`.
class Input {
 public:
  explicit Input(FileStream& file) : file_(&file), stream_(file), buffer_(kReadBytes) {}
  Input(ByteStream& stream, int copy) : stream_(stream), copy_(copy), buffer_(kReadBytes) {}

  // Borrows this object. Returns: null when it is no archive.
  ArchiveReader start() {
    ArchiveReader reader(archive_read_new());
    if (!reader) return nullptr;
    archive_read_support_format_tar(reader.get());
    archive_read_set_callback_data(reader.get(), this);
    archive_read_set_read_callback(reader.get(), &Input::on_read);
    if (file_ != nullptr) archive_read_set_skip_callback(reader.get(), &Input::on_skip);
    if (archive_read_open1(reader.get()) != ARCHIVE_OK) return nullptr;
    return reader;
  }
  const std::optional<Failure>& failed() const { return failed_; }

 private:
  static ssize_t on_read(archive* reader, void* self, const void** buffer) {
    Input& input = *static_cast<Input*>(self);
    *buffer = input.buffer_.data();
    auto got = input.stream_.read(input.buffer_);
    StatusOrFailure kept;
    if (got.ok()) kept = input.keep(std::span(input.buffer_).first(*got));
    if (got.ok() && kept.ok()) return static_cast<ssize_t>(*got);
    input.failed_ = got.ok() ? kept.error() : got.error();
    archive_set_error(reader, EIO, "cannot be read");
    return ARCHIVE_FATAL;
  }
  static std::int64_t on_skip(archive*, void* self, std::int64_t request) {
    return static_cast<std::int64_t>(static_cast<Input*>(self)->file_->skip(
        static_cast<std::uint64_t>(std::max<std::int64_t>(request, 0))));
  }
  StatusOrFailure keep(std::span<const std::byte> bytes) const {
    while (copy_ >= 0 && !bytes.empty()) {
      const ssize_t put = ::write(copy_, bytes.data(), bytes.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return failure_from(Errno::last(), "keeping it unpacked");
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
    return {};
  }

  FileStream* file_ = nullptr;
  ByteStream& stream_;
  int copy_ = -1;
  std::vector<std::byte> buffer_;
  std::optional<Failure> failed_;
};

// What is in a root file system and in no archive of images.
bool is_foreign(std::string_view path, unsigned type) {
  constexpr std::array<std::string_view, 20> kOfRoots = {
      "bin", "boot", "dev",  "etc", "home", "lib",  "lib32", "lib64", "libx32", "media",
      "mnt", "opt",  "proc", "run", "root", "sbin", "srv",   "sys",   "usr",    "var"};
  if (type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK && type != 0) return true;
  const std::string_view first = path.substr(0, path.find('/'));
  if (first != "blobs" && std::count(path.begin(), path.end(), '/') > 1) return true;
  return std::find(kOfRoots.begin(), kOfRoots.end(), first) != kOfRoots.end();
}

// Returns: nothing when it is no archive of images.
ResultOrFailure<std::optional<Members>> index_members(Input& input) {
  Members members;
  const std::optional<Members> none;
  const ArchiveReader reader = input.start();
  if (!reader) return none;
  for (std::size_t count = 0;; ++count) {
    archive_entry* entry = nullptr;
    const int result = archive_read_next_header(reader.get(), &entry);
    // EINVAL: what is packed is damaged, or no archive: who reads it as a root file system will say so.
    if (input.failed())
      return input.failed()->error_number == EINVAL ? ResultOrFailure<std::optional<Members>>(none)
                                                    : *input.failed();
    if (result == ARCHIVE_EOF) break;
    if ((result != ARCHIVE_OK && result != ARCHIVE_WARN) || count == kMostMembers) return none;
    const char* raw = archive_entry_pathname(entry);
    const std::optional<std::string> path = tidied(raw != nullptr ? raw : "");
    if (!path || is_foreign(*path, archive_entry_filetype(entry))) return none;
    Member member{.header_offset = static_cast<std::uint64_t>(archive_read_header_position(reader.get()))};
    if (const char* hard = archive_entry_hardlink(entry)) {
      member.target = hard;
    } else if (const char* symbolic = archive_entry_symlink(entry)) {
      const std::size_t slash = path->rfind('/');
      member.target = (slash == std::string::npos ? "" : path->substr(0, slash + 1)) + symbolic;
    } else if (archive_entry_filetype(entry) != AE_IFREG) {
      continue;
    }
    members.insert_or_assign(*path, std::move(member));
  }
  const bool is_image =
      members.contains("manifest.json") || (members.contains("oci-layout") && members.contains("index.json"));
  return is_image ? std::optional(std::move(members)) : none;
}

class MemberStream : public ByteStream {
 public:
  MemberStream(SharedFile archive, std::uint64_t header_offset, std::string name)
      : file_(std::move(archive), header_offset, name), input_(file_), name_(std::move(name)) {}
  StatusOrFailure start(std::uint64_t skip_bytes) {
    reader_ = input_.start();
    archive_entry* entry = nullptr;
    if (!reader_ || archive_read_next_header(reader_.get(), &entry) < ARCHIVE_WARN) return failure();
    std::vector<std::byte> passed(std::min<std::uint64_t>(skip_bytes, kReadBytes));
    while (skip_bytes > 0) {
      VARVE_ASSIGN(const std::size_t got,
                   read(std::span(passed).first(std::min<std::uint64_t>(skip_bytes, passed.size()))));
      if (got == 0) break;
      skip_bytes -= got;
    }
    return {};
  }
  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override {
    for (;;) {
      const la_ssize_t got = archive_read_data(reader_.get(), into.data(), into.size());
      if (got == ARCHIVE_RETRY) continue;
      if (got < 0) return failure();
      return static_cast<std::size_t>(got);
    }
  }

 private:
  Failure failure() const {
    if (input_.failed()) return *input_.failed();
    const char* why = reader_ ? archive_error_string(reader_.get()) : nullptr;
    return Failure{EINVAL, name_ + ": " + (why != nullptr ? why : "cannot be read")};
  }

  FileStream file_;
  Input input_;
  const std::string name_;
  ArchiveReader reader_;
};

class ArchiveFiles : public ImageFiles {
 public:
  ArchiveFiles(SharedFile plain, Members members, std::string name)
      : plain_(std::move(plain)), members_(std::move(members)), name_(std::move(name)) {}
  const std::string& name() const override { return name_; }
  bool has(std::string_view path) const override { return find(path) != nullptr; }
  ResultOrFailure<std::unique_ptr<ByteStream>> open(std::string_view path,
                                                    std::uint64_t offset_bytes) const override {
    const Member* member = find(path);
    const std::string shown = name_ + ": " + std::string(path);
    if (member == nullptr) return Failure{ENOENT, shown + ": there is no such member"};
    auto stream = std::make_unique<MemberStream>(plain_, member->header_offset, shown);
    VARVE_RETURN_IF_ERROR(stream->start(offset_bytes));
    return std::unique_ptr<ByteStream>(std::move(stream));
  }

 private:
  const Member* find(std::string_view path) const {
    std::optional<std::string> at = tidied(path);
    for (int links = 0; at && links <= kMostLinks; ++links) {
      const auto found = members_.find(*at);
      if (found == members_.end()) return nullptr;
      if (found->second.target.empty()) return &found->second;
      at = tidied(found->second.target);
    }
    return nullptr;
  }

  const SharedFile plain_;
  const Members members_;
  const std::string name_;
};

bool is_packed(int file) {
  constexpr std::array<std::string_view, 4> kMagics = {
      std::string_view("\x1f\x8b", 2), std::string_view("\x28\xb5\x2f\xfd", 4), std::string_view("BZh", 3),
      std::string_view("\xfd\x37zXZ\0", 6)};
  std::array<char, 6> start{};
  const ssize_t got = ::pread(file, start.data(), start.size(), 0);
  const std::string_view have(start.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return std::any_of(kMagics.begin(), kMagics.end(),
                     [&](std::string_view magic) { return have.starts_with(magic); });
}

}  // namespace

ResultOrFailure<std::unique_ptr<ImageFiles>> files_of_archive(const std::string& path,
                                                              const std::string& scratch_directory,
                                                              const std::string& name) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) return failure_from(Errno::last(), name);
  if (!S_ISREG(status.st_mode)) return std::unique_ptr<ImageFiles>();
  auto shared = std::make_shared<const UniqueFd>(std::move(file));
  FileStream stream(shared, 0, name);
  std::optional<Members> members;
  if (is_packed(shared->get())) {
    UniqueFd plain(::open(scratch_directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!plain.valid()) return failure_from(Errno::last(), scratch_directory);
    UnpackedStream unpacked(stream, name);
    Input input(unpacked, plain.get());
    VARVE_ASSIGN(members, index_members(input));
    shared = std::make_shared<const UniqueFd>(std::move(plain));
  } else {
    Input input(stream);
    VARVE_ASSIGN(members, index_members(input));
  }
  if (!members) return std::unique_ptr<ImageFiles>();
  return std::unique_ptr<ImageFiles>(
      std::make_unique<ArchiveFiles>(std::move(shared), std::move(*members), name));
}

}  // namespace varve::transport
