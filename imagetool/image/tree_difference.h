#pragma once

// keep_difference: a tree that is whole becomes the layer that makes it of what lies below.
// Thread rule: one thread. Borrows everything.

#include "fs/base/result.h"
#include "imagetool/image/layer_union.h"
#include "imagetool/image/source/tree.h"
#include "imagetool/image/source/tree_source.h"

namespace varve::image {

// `tree`: what `source` gave, all of what is to be seen in the end, so whiteouts and opaque marks in it say nothing. Afterwards
// it has no path that `below` shows just so: with the same content, attributes (mode, owner, mtime, size, device), xattrs and
// the same other names. Directories stay where they differ themselves or something in them does. What `below` shows beyond
// the tree is a whiteout in it; a directory in place of something else is opaque.
// Contents are compared only of files that are alike in all else; `source` reads those once more later when they differ.
// Returns: EINVAL for a redirected directory, of which the rest lies elsewhere; what the source or a layer says.
StatusOrFailure keep_difference(Tree& tree, TreeSource& source, const LayerUnion& below, Monitor& monitor);

}  // namespace varve::image
