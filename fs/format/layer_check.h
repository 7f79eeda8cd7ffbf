#pragma once

// Checks of what one record says, for tables whose checksums are good. validate() runs all of them over all records and adds
// what only the whole can tell; a reader that did not run it checks each record when it is touched. What such a reader
// then still does not know, and why it may live with that, is in docs/decisions/0007.
// Pure functions. Each touches the records that it names and no others. Errors: kUnreadable when the gate does not admit one.

#include <cstdint>

#include "fs/format/format_error.h"
#include "fs/format/layer_decode.h"

namespace varve::format {

// Its flags, its sizes, and that it lies in DATA.
FormatStatus check_frame(const LayerTables& tables, std::uint64_t index);

// The fields of the record by themselves, and what its origin says of parent and inode; indexes and ranges stay within their
// sections. Does not follow them further: check_symlink, check_directory, check_extents, check_xattr_set, check_origin do.
FormatStatus check_inode(const LayerTables& tables, std::uint64_t index);
// That there is a root and that it is one; inode 0 too.
FormatStatus check_root(const LayerTables& tables);

// The fields and the path of an origin. Requires: index is within the section.
FormatStatus check_origin(const LayerTables& tables, std::uint64_t index);

// Requires of the following: check_inode was good, and the type fits.
// The target of a symbolic link.
FormatStatus check_symlink(const LayerTables& tables, std::uint64_t index);
// One entry by itself: name, hash, flags, the type as its inode has it, and the inode's parent when it is a directory. So a
// directory is reached from one other only, and the root from none: what is reached from the root has no loops.
FormatStatus check_entry(const LayerTables& tables, std::uint32_t directory, const Dirent& entry);
// All entries of a directory, their order, that none of them leads to the same directory as another, and the link count.
// O(entries), and touches the inode of each.
FormatStatus check_directory(const LayerTables& tables, std::uint32_t index);
// Where the extents of a regular file lie in the file. Touches no frames.
FormatStatus check_extents(const LayerTables& tables, std::uint64_t index);
// Where the bytes of an extent come from: the frame holds a piece; the frames of a run are within the table. Whether they
// have the size of a run is to be checked for each when it is read. Frames of parents are not looked at.
FormatStatus check_source(const LayerTables& tables, std::uint64_t index, const Extent& extent);
// The one extent of a file with kInodeInlineExtent.
Extent inline_extent(const Inode& file);

// A set: the names and their order, sizes.
FormatStatus check_xattr_set(const LayerTables& tables, std::uint64_t index);

}  // namespace varve::format
