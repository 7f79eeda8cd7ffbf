#pragma once

// ImageFiles: the files that an OCI layout or what `docker save` writes is made of, be it a directory or a tar archive. Paths are
// relative to it, as in "blobs/sha256/HEX"; in an archive they are names of members, and never anything on the disk.
// Thread rule: const, any thread; each stream belongs to one. Ownership: streams borrow it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "imagetool/transport/transport.h"

namespace varve::transport {

class ImageFiles {
 public:
  virtual ~ImageFiles() = default;
  // What messages call the directory or archive.
  virtual const std::string& name() const = 0;
  virtual bool has(std::string_view path) const = 0;
  // Reads a regular file from `offset_bytes` on. Returns: ENOENT with a message that names it when there is none.
  virtual ResultOrFailure<std::unique_ptr<ByteStream>> open(std::string_view path,
                                                            std::uint64_t offset_bytes) const = 0;
};

// What people call an image: "docker.io/library/app:1" is app:1.
std::string familiar_name(std::string name);

// A small file, whole. Returns: EFBIG over `limit_bytes`.
ResultOrFailure<std::string> read_whole(const ImageFiles& files, std::string_view path,
                                        std::uint64_t limit_bytes);
// The rest of a stream. `name`: how messages call it. Returns: EFBIG over `limit_bytes`.
ResultOrFailure<std::string> read_rest(ByteStream& stream, const std::string& name,
                                       std::uint64_t limit_bytes);

// A directory; symbolic links in it are followed, for some programs make their blobs so.
std::unique_ptr<ImageFiles> files_of_directory(std::string path);

// A tar archive, plain or compressed (gzip, bzip2, xz, zstd); a compressed one is kept unpacked in a file without a name in
// `scratch_directory` as long as the object lives. Hard and symbolic links among members are followed. `name`: what messages call it.
// Returns: null when it is something else than an archive of images: no tar archive, or one that holds a root file system; that is
// said after a look at the members up to the first that is in no such archive. Otherwise a Failure "NAME: why".
ResultOrFailure<std::unique_ptr<ImageFiles>> files_of_archive(const std::string& path,
                                                              const std::string& scratch_directory,
                                                              const std::string& name);

}  // namespace varve::transport
