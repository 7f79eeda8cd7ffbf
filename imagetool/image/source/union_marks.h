#pragma once

// The marks that union file systems leave in trees, told from the user's own xattrs: overlayfs
// (Documentation/filesystems/overlayfs.rst: trusted.overlay.*, user.overlay.* with -o userxattr),
// fuse-overlayfs (user.fuseoverlayfs.*) and this project's uppers (varve.*); and whiteouts in the manner of
// AUFS and OCI layers (image-spec layer.md: ".wh.NAME", ".wh..wh..opq"). Thread rule: stateless.

#include <optional>
#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "imagetool/image/source/tree.h"
#include "imagetool/image/writer/layer_writer.h"

namespace varve::image {

// What a name in the AUFS manner says.
enum class AufsName { kOrdinary, kWhiteout, kOpaque, kLeftover, kBroken };
// kWhiteout: `name` without the prefix is deleted. kLeftover: bookkeeping of AUFS (".wh..wh.plnk"). kBroken:
// ".wh." alone.
AufsName classify_aufs_name(std::string_view name);

// A character device 0:0.
bool is_overlay_whiteout(const Attributes& attributes);
// An empty file with {trusted,user}.overlay.whiteout.
bool is_xattr_whiteout(const InodeSpec& spec);

// Moves the marks from `spec.xattrs` to opaque and redirect and drops the rest of the bookkeeping.
// `lower_path`: the path, from the root ("/a"), under which the layers below know the parent of this object:
// a relative redirect names a sibling there. Returns: ENOTSUP when the object's content is not here but in a
// layer below (overlayfs metacopy, our partly copied files), with a message without the path.
StatusOrFailure take_union_marks(InodeSpec& spec, std::string_view lower_path);

// Whiteouts in the manner of AUFS lie beside the object of the same name, in any order: both together say
// that the object is new here, so that a directory is opaque (image-spec layer.md, "Whiteouts").
void put_object(Tree& tree, TreeIndex directory, std::string_view name, TreeIndex node);
void put_whiteout(Tree& tree, TreeIndex directory, std::string_view name);

}  // namespace varve::image
