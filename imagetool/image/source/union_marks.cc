#include "imagetool/image/source/union_marks.h"

#include <sys/sysmacros.h>

#include <algorithm>

#include "fs/layer/hidden_names.h"

namespace varve::image {
namespace {

// The part after the prefix; empty for xattrs of users.
std::string_view mark_of(std::string_view xattr_name) {
  for (const std::string_view prefix : layer::kHiddenXattrPrefixes) {
    if (xattr_name.starts_with(prefix)) return xattr_name.substr(prefix.size());
  }
  return {};
}

}  // namespace

AufsName classify_aufs_name(std::string_view name) {
  if (!name.starts_with(layer::kWhiteoutPrefix)) return AufsName::kOrdinary;
  if (name == layer::kOpaqueName) return AufsName::kOpaque;
  if (name.starts_with(layer::kAufsPrefix)) return AufsName::kLeftover;
  const std::string_view target = name.substr(layer::kWhiteoutPrefix.size());
  if (target.empty() || target == "." || target == "..") return AufsName::kBroken;
  return AufsName::kWhiteout;
}

bool is_overlay_whiteout(const Attributes& attributes) {
  return S_ISCHR(attributes.mode) && major(attributes.rdev) == 0 && minor(attributes.rdev) == 0;
}

bool is_xattr_whiteout(const InodeSpec& spec) {
  if (!spec.attributes.is_regular() || spec.attributes.size_bytes != 0) return false;
  return std::any_of(spec.xattrs.begin(), spec.xattrs.end(), [](const auto& xattr) {
    return xattr.first == "trusted.overlay.whiteout" || xattr.first == "user.overlay.whiteout";
  });
}

StatusOrFailure take_union_marks(InodeSpec& spec, std::string_view lower_path) {
  for (const auto& [name, value] : spec.xattrs) {
    const std::string_view mark = mark_of(name);
    const bool ours = name.starts_with("trusted.varve.") || name.starts_with("user.varve.");
    if (mark == "metacopy" || (ours && (mark == "base" || mark.starts_with("escaped")))) {
      return Failure{
          ENOTSUP,
          "parts of it lie in a layer below or are in varvefs's own form (commit the container or the upper "
          "instead: `imagetool commit`)"};
    }
    // overlayfs writes "y"; "x" on a directory says only that xattr whiteouts may be inside.
    if (mark == "opaque" && spec.attributes.is_directory()) spec.opaque = spec.opaque || value == "y";
    if (mark == "redirect" && spec.attributes.is_directory() && !value.empty()) {
      std::string path = value;
      if (path.front() != '/') path = std::string(lower_path == "/" ? "" : lower_path) + "/" + path;
      spec.redirect = std::move(path);
    }
  }
  // As overlayfs reads them (fs/overlayfs/namei.c, ovl_lookup_single): of an opaque directory the redirect is not looked at.
  if (spec.opaque) spec.redirect.reset();
  std::erase_if(spec.xattrs, [](const auto& xattr) { return layer::is_hidden_xattr(xattr.first); });
  return {};
}

void put_object(Tree& tree, TreeIndex directory, std::string_view name, TreeIndex node) {
  const TreeIndex* before = tree.find(directory, name);
  if (before != nullptr && *before == kWhiteoutNode && tree.is_directory(node)) tree.set_opaque(node);
  tree.set_name(directory, name, node);
}

void put_whiteout(Tree& tree, TreeIndex directory, std::string_view name) {
  const TreeIndex* before = tree.find(directory, name);
  if (before == nullptr) {
    tree.set_whiteout(directory, name);
  } else if (tree.is_directory(*before)) {
    tree.set_opaque(*before);
  }
}

}  // namespace varve::image
