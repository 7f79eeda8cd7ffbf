#pragma once

// TarSource: a tar archive as a TreeSource: ustar, pax, GNU, with GNU and pax sparse files, plain or
// compressed (gzip, bzip2, xz, lzma, zstd, lz4, compress), a file or a stream. Of several members with one
// path the last holds, as when the archive is extracted (a directory over a directory gives new attributes
// only). Whiteouts of OCI layers and AUFS, and those of overlayfs, become whiteouts.
//
// A hard link may come before its target; then it leads to what has the target's path at the end of the archive.
//
// The archive is not trusted: a path with "..", a member beneath something that is no directory, more than 2000 directories
// one in another, too many directories that no member names (tar_scan.h) and a hard link to what is not in the archive
// are refused by name; absolute paths lose their '/' with one warning. It is read twice, and must not change meanwhile.
// An archive without the mark of its end and one with something behind it are named in a warning.
// A stream is kept, as it came, in a file without a name in `spool_directory` meanwhile.
// Thread rule: one thread. Ownership: owns its descriptors; borrows the monitor.

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "imagetool/image/layer_union.h"
#include "imagetool/image/source/tree_source.h"

struct archive;

namespace varve::image {

class TarInput;

class TarSource : public TreeSource {
 public:
  struct Options {
    PathFilter filter;
    std::string spool_directory = "/tmp";
    // What messages call the archive; empty: its path.
    std::string name = {};
    // The archive is a layer over these: what it leaves to them is taken from there (tar_scan.h). Borrowed; may be null.
    const LayerUnion* below = nullptr;
  };
  // `path` "-" is standard input. Returns: a Failure "PATH: why".
  static ResultOrFailure<std::unique_ptr<TarSource>> open(const std::string& path, Options options,
                                                          Monitor& monitor);
  ~TarSource() override;

  ResultOrFailure<Tree> scan() override;
  StatusOrFailure for_each_content(const Tree& tree, const ContentConsumer& take) override;

 private:
  TarSource(std::unique_ptr<TarInput> input, Options options, Monitor& monitor);

  // What libarchive says of the member that comes next.
  void warn_of_member(archive* reader);
  StatusOrFailure give_copied_up(TreeIndex node, const ContentConsumer& take);

  std::unique_ptr<TarInput> input_;
  Options options_;
  Monitor& monitor_;
  std::uint64_t members_ = 0;                          // from scan() on
  std::unordered_map<TreeIndex, UnionRef> copied_up_;  // likewise
  bool told_of_rest_ = false;                          // that something follows the archive's end
};

}  // namespace varve::image
