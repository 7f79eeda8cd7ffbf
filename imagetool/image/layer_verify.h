#pragma once

// verify_layer: reads a layer file whole and checks everything it says against its checksums: structure and
// sections, every frame whether a file uses it or not, and the content of every file against its digest.
// Thread rule: one thread a call. Ownership: borrows the monitor.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/format/hash.h"
#include "fs/layer/layer.h"
#include "fs/layer/layer_file.h"
#include "imagetool/image/source/tree_source.h"

namespace varve::image {

struct VerifyReport {
  std::uint64_t files = 0;  // regular files, hard links counted once
  std::uint64_t frames = 0;
  std::uint64_t content_bytes = 0;
  std::uint64_t parent_bytes =
      0;  // that its extents take from frames of layers below it, inherited ones apart
  // What is wrong, a line each: header, sections, structure or frames.
  std::vector<std::string> problems;
  // Names of the files whose content cannot be had, from the root ("/a/b"), each with why.
  struct DamagedFile {
    std::string path;
    std::string reason;
    LowerId id;
    std::vector<std::string> sources;  // names of the layers below it that some of the content comes from
    std::optional<format::Hash128> digest;  // of the content as it was; empty when the layer does not say
    std::uint64_t size_bytes = 0;
  };
  std::vector<DamagedFile> damaged_files;
  // Files that inherit from a layer that is not at hand: what they store themselves is good if the frames are.
  std::uint64_t unchecked_files = 0;
  std::vector<DamagedFile> unchecked;  // by each of their names; why: which layer that is
  // Files whose frames are good but whose digest was not compared with their content, because hashing their holes would
  // take too long: more than 1 GiB in one file, or more than 16 GiB in all files before.
  std::uint64_t uncompared_files = 0;
  bool good() const { return problems.empty() && damaged_files.empty(); }
};

// Why the content of one regular file cannot be had, or is not what it was; empty when it is.
ResultOrFailure<std::string> check_content(const layer::LayerFile& layer, LowerId file, Monitor& monitor);

// A layer whose metadata is damaged cannot be looked into: then that is the only problem told.
// Returns: a Failure when `path` is missing, cannot be read or is no layer file.
// `below`: the layers below it, in any order; without them files that inherit are not read whole.
ResultOrFailure<VerifyReport> verify_layer(const std::string& path,
                                           std::span<const std::shared_ptr<layer::Layer>> below,
                                           Monitor& monitor);

}  // namespace varve::image
