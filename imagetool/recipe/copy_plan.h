#pragma once

// From the words of a COPY or ADD to a CopySource, as the Dockerfile reference says under "COPY": wildcards, directories, whether a
// '/' stands at the end of the destination, --chown, --chmod, archives that ADD unpacks. Thread rule: stateless.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "imagetool/recipe/copy_source.h"
#include "imagetool/recipe/lexer.h"

namespace varve::recipe {

struct CopyRequest {
  bool unpacks = false;                 // ADD: archives become what is in them
  std::vector<std::string> sources;     // expanded
  std::vector<HereDocument> documents;  // expanded
  std::string destination;              // expanded
  std::string chown, chmod;             // expanded; empty: not given
  std::string working_directory;        // absolute; empty: "/"
  std::string spool_directory;          // TarSource::Options
  Timestamp now;                        // of directories that are made
};

struct CopyOrigin {
  FileTree* tree = nullptr;
  bool keep_owners = false;
  const IgnorePatterns* ignored = nullptr;
};

// All borrowed, as long as the CopySource lives. Returns: ENOENT, EINVAL, ENOTSUP with a message that says what was expected.
ResultOrFailure<std::unique_ptr<CopySource>> plan_copy(const CopyRequest& request, const CopyOrigin& origin,
                                                       LayeredTree& stage, image::Monitor& monitor);

// WORKDIR: the directory `path`, made where it does not exist.
ResultOrFailure<std::unique_ptr<CopySource>> plan_directory(const std::string& path, Timestamp now,
                                                            LayeredTree& stage, image::Monitor& monitor);

// "USER[:GROUP]", names by the passwd(5) and group(5) files of the stage, or numbers. Without a group: the user's own, of a number
// the same number.
ResultOrFailure<image::Owner> parse_chown(std::string_view text, LayeredTree& stage);
// Octal permission bits.
ResultOrFailure<std::uint32_t> parse_chmod(std::string_view text);

}  // namespace varve::recipe
