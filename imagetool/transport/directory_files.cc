#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/base/unique_fd.h"
#include "imagetool/transport/file_stream.h"
#include "imagetool/transport/image_files.h"

namespace varve::transport {
namespace {

class DirectoryFiles : public ImageFiles {
 public:
  explicit DirectoryFiles(std::string path) : path_(std::move(path)) {}
  const std::string& name() const override { return path_; }
  bool has(std::string_view path) const override { return ::access(full(path).c_str(), F_OK) == 0; }
  ResultOrFailure<std::unique_ptr<ByteStream>> open(std::string_view path,
                                                    std::uint64_t offset_bytes) const override {
    const std::string shown = full(path);
    // Without waiting for the writer of what may be a pipe.
    UniqueFd file(::open(shown.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file.valid()) return failure_from(Errno::last(), shown);
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return failure_from(Errno::last(), shown);
    if (!S_ISREG(status.st_mode)) return Failure{EINVAL, shown + ": not a regular file"};
    return std::unique_ptr<ByteStream>(
        std::make_unique<FileStream>(std::make_shared<const UniqueFd>(std::move(file)), offset_bytes, shown));
  }

 private:
  std::string full(std::string_view path) const { return path_ + "/" + std::string(path); }
  const std::string path_;
};

}  // namespace

std::unique_ptr<ImageFiles> files_of_directory(std::string path) {
  return std::make_unique<DirectoryFiles>(std::move(path));
}

}  // namespace varve::transport
