#include "imagetool/image/source/tar_scan.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <algorithm>

#include "fs/base/name.h"
#include "fs/layer/hidden_names.h"
#include "imagetool/image/extract/tar_entry.h"
#include "imagetool/image/source/union_marks.h"

namespace varve::image {
namespace {

constexpr std::size_t kMaxPathBytes = 32 * 1024;
constexpr la_int64_t kMaxId = 0xfffffffe;

InodeSpec default_directory() {
  InodeSpec spec;
  spec.attributes.mode = S_IFDIR | 0755;
  return spec;
}

std::string joined(const std::vector<std::string_view>& components) {
  std::string path;
  for (const std::string_view component : components) {
    if (!path.empty()) path += "/";
    path += component;
  }
  return path;
}

}  // namespace

TarScan::TarScan(std::string name, const PathFilter& filter, const LayerUnion* below, Monitor& monitor)
    : name_(std::move(name)), filter_(filter), below_(below), monitor_(monitor), tree_(default_directory()) {}

Failure TarScan::refuse(std::string_view path, const std::string& why) const {
  constexpr std::size_t kShownBytes = 1024;
  const std::string_view shown = path.substr(0, kShownBytes);
  return Failure{EINVAL, fmt::format("{}: member \"{}{}\": {}", name_, shown,
                                     shown.size() < path.size() ? "..." : "", why)};
}

void TarScan::warn(std::string_view path, const std::string& what) {
  monitor_.warn(fmt::format("{}: \"{}\"{}", name_, path, what));
}

ResultOrFailure<TarScan::Components> TarScan::components_of(std::string_view path, std::string_view member) {
  if (path.size() > kMaxPathBytes) return refuse(member, "its path is too long");
  if (path.starts_with('/') && !warned_of_slash_) {
    warned_of_slash_ = true;
    monitor_.warn(name_ + ": removing the leading '/' of member names");
  }
  Components components;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, slash - at);
    at = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      return refuse(member, "\"..\" in its path or target (the archive may be hostile; pack it again)");
    }
    if (part.size() > Name::kMaxSize) return refuse(member, "a name in its path is longer than 255 bytes");
    components.push_back(part);
  }
  if (components.size() > kMaxDepth)
    return refuse(member, fmt::format("its path is more than {} names deep", kMaxDepth));
  return components;
}

StatusOrFailure TarScan::check_new_names(const Components& components, std::size_t first,
                                         std::string_view path, Place& place) const {
  for (std::size_t i = first; i + 1 < components.size(); ++i) {
    const AufsName kind = classify_aufs_name(components[i]);
    if (kind == AufsName::kOrdinary) continue;
    place.leftover = kind == AufsName::kLeftover;
    if (place.leftover) return {};
    return refuse(path,
                  fmt::format("it lies in \"{}\", which is a whiteout and holds nothing", components[i]));
  }
  if (filter_.empty()) return {};
  std::string prefix;
  for (std::size_t i = 0; i < components.size(); ++i) {
    if (i > 0) prefix += '/';
    prefix += components[i];
    if (i >= first && filter_.excludes(prefix)) {
      place.excluded = true;
      return {};
    }
  }
  return {};
}

StatusOrFailure TarScan::make_implied(std::string_view name, std::string_view path, Place& place) {
  const std::uint64_t most = kImpliedDirectories + kImpliedDirectoriesPerMember * member_count_;
  if (implied_count_ >= most) {
    return refuse(
        path, fmt::format("the archive implies more than {} directories that none of its {} members names "
                          "so far (it may be hostile; pack it again with its directories)",
                          most, member_count_));
  }
  const TreeIndex made = tree_.add(default_directory());
  put_object(tree_, place.directory, name, made);
  implied_.insert(made);
  ++implied_count_;
  place.directory = made;
  return {};
}

ResultOrFailure<TarScan::Place> TarScan::find_place(std::string_view path) {
  VARVE_ASSIGN(const Components components, components_of(path, path));
  Place place;
  if (components.empty()) return place;
  place.name = components.back();
  std::size_t at = 0;
  for (; at + 1 < components.size(); ++at) {
    const TreeIndex* known = tree_.find(place.directory, components[at]);
    if (known == nullptr || *known == kWhiteoutNode) break;
    if (!tree_.is_directory(*known)) {
      return refuse(path,
                    fmt::format("\"{}\" in its path is a file or link in the same archive, not a directory",
                                components[at]));
    }
    place.directory = *known;
  }
  // What is in the tree was looked at before.
  VARVE_RETURN_IF_ERROR(check_new_names(components, at, path, place));
  if (place.excluded || place.leftover) return place;
  for (; at + 1 < components.size(); ++at) VARVE_RETURN_IF_ERROR(make_implied(components[at], path, place));
  return place;
}

TreeIndex TarScan::find_target(const Components& components) const {
  TreeIndex found = kTreeRoot;
  for (const std::string_view component : components) {
    const TreeIndex* next = tree_.is_directory(found) ? tree_.find(found, component) : nullptr;
    if (next == nullptr) {
      if (excluded_.empty()) return kWhiteoutNode;
      const auto excluded = excluded_.find(joined(components));
      return excluded == excluded_.end() ? kWhiteoutNode : excluded->second;
    }
    found = *next;
  }
  return found;
}

void TarScan::keep_excluded(archive_entry* entry, std::string_view path, std::uint64_t key) {
  const auto type = archive_entry_filetype(entry);
  const bool may_be_linked = type == AE_IFREG || type == AE_IFLNK || type == AE_IFCHR;
  if (!may_be_linked || archive_entry_hardlink(entry) != nullptr) return;
  const auto components = components_of(path, path);
  auto spec = read_spec(entry, path);
  if (!components.ok() || !spec.ok())
    return;  // what is wrong with it does not matter until something needs it
  if (type == AE_IFCHR) {
    if (is_overlay_whiteout(spec->attributes)) whiteouts_.insert(joined(*components));
    return;
  }
  const TreeIndex node = tree_.add(std::move(spec).value());
  tree_.set_source_key(node, key);
  excluded_.insert_or_assign(joined(*components), node);
}

StatusOrFailure TarScan::add_hard_link(const Place& place, archive_entry* entry, std::string_view path) {
  const char* raw_target = archive_entry_hardlink(entry);
  const std::string target = raw_target != nullptr ? raw_target : "";
  VARVE_ASSIGN(const Components components, components_of(target, path));
  if (place.name.empty()) return refuse(path, "the root cannot be a hard link");
  if (archive_entry_size(entry) > 0) {
    warn(path, ", a hard link, comes with content of its own; that of \"" + target + "\" is taken");
  }
  TreeIndex found = find_target(components);
  if (tree_.is_directory(found)) return refuse(path, "a hard link to a directory, \"" + target + "\"");
  if (found == kWhiteoutNode && whiteouts_.contains(joined(components))) {
    tree_.set_whiteout(place.directory, place.name);
    return {};
  }
  if (found == kWhiteoutNode) {
    found = tree_.add(InodeSpec{});
    waiting_links_.emplace(found, WaitingLink{std::string(path), target});
  }
  put_object(tree_, place.directory, place.name, found);
  return {};
}

// `resolved` keeps what is known already, so that long chains are followed once.
ResultOrFailure<TreeIndex> TarScan::resolve(TreeIndex link,
                                            std::unordered_map<TreeIndex, TreeIndex>& resolved) {
  std::vector<TreeIndex> chain;
  TreeIndex found = link;
  for (;;) {
    const auto waiting = waiting_links_.find(found);
    if (waiting == waiting_links_.end()) break;
    const auto& [path, target] = waiting->second;
    // kWhiteoutNode: being followed.
    const auto [known, fresh] = resolved.try_emplace(found, kWhiteoutNode);
    if (!fresh && known->second == kWhiteoutNode)
      return refuse(path, "a hard link that leads to itself, by \"" + target + "\"");
    if (!fresh) {
      found = known->second;
      break;
    }
    chain.push_back(found);
    VARVE_ASSIGN(const Components components, components_of(target, path));
    found = find_target(components);
    if (tree_.is_directory(found)) return refuse(path, "a hard link to a directory, \"" + target + "\"");
    if (found == kWhiteoutNode && below_ != nullptr) {
      VARVE_ASSIGN(found, copy_up(components, path));
    }
    if (found == kWhiteoutNode) {
      return refuse(path, "a hard link to \"" + target + "\", which is not in the archive" +
                              (below_ == nullptr ? "" : " and no file of the layers below") +
                              (filter_.empty() ? "" : ", or is excluded and no file"));
    }
  }
  for (const TreeIndex one : chain) resolved[one] = found;
  return found;
}

StatusOrFailure TarScan::finish() {
  VARVE_RETURN_IF_ERROR(settle_links());
  return inherit_directories();
}

StatusOrFailure TarScan::settle_links() {
  if (waiting_links_.empty()) return {};
  struct NamedLink {
    TreeIndex directory;
    std::string name;
    TreeIndex link;
  };
  std::vector<NamedLink> links;  // without those whose name was given to a later member
  VARVE_RETURN_IF_ERROR(tree_.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    if (waiting_links_.contains(visit.node))
      links.push_back({visit.directory, std::string(visit.name), visit.node});
    return {};
  }));
  std::unordered_map<TreeIndex, TreeIndex> resolved;
  // All before the first is changed: the tree still says which names are links.
  for (NamedLink& one : links) {
    VARVE_ASSIGN(one.link, resolve(one.link, resolved));
  }
  for (const NamedLink& one : links) tree_.set_name(one.directory, one.name, one.link);
  waiting_links_.clear();
  return {};
}

// True when the member was a mark and is dealt with.
ResultOrFailure<bool> TarScan::add_aufs_mark(const Place& place, archive_entry* entry,
                                             std::string_view path) {
  const AufsName kind = place.leftover ? AufsName::kLeftover : classify_aufs_name(place.name);
  if (kind == AufsName::kOrdinary) return false;
  if (kind == AufsName::kBroken) return refuse(path, "a whiteout of nothing");
  if (kind == AufsName::kLeftover) {
    warn(path, " is bookkeeping of AUFS, left out");
    return true;
  }
  // Those of AUFS itself are hard links of one empty file.
  const bool empty = archive_entry_hardlink(entry) != nullptr ||
                     (archive_entry_filetype(entry) == AE_IFREG && archive_entry_size(entry) == 0);
  if (!empty) warn(path, " is a whiteout by its name; what else it is, and its content, are left out");
  if (kind == AufsName::kOpaque) {
    tree_.set_opaque(place.directory);
  } else {
    put_whiteout(tree_, place.directory, std::string_view(place.name).substr(layer::kWhiteoutPrefix.size()));
  }
  return true;
}

void TarScan::set_directory(TreeIndex directory, InodeSpec spec) {
  spec.opaque = spec.opaque || tree_.node(directory).spec.opaque;
  tree_.set_spec(directory, std::move(spec));
  implied_.erase(directory);
}

StatusOrFailure TarScan::add_object(const Place& place, std::string_view path, InodeSpec spec,
                                    std::uint64_t key) {
  // Redirects of overlayfs are relative to what layers below call the parent, which only their own tree
  // tells; the parent's path in the archive is that unless the parent was moved too.
  const std::size_t slash = path.find_last_of('/', path.size() < 2 ? 0 : path.size() - 2);
  const std::string parent = slash == std::string_view::npos ? "/" : "/" + std::string(path.substr(0, slash));
  const StatusOrFailure marks = take_union_marks(spec, parent);
  if (!marks.ok()) return refuse(path, marks.error().message);
  const bool is_directory = spec.attributes.is_directory();
  if (place.name.empty()) {
    if (!is_directory) return refuse(path, "the root is not a directory");
    set_directory(kTreeRoot, std::move(spec));
    return {};
  }
  if (is_overlay_whiteout(spec.attributes)) {
    VARVE_ASSIGN(const Components components, components_of(path, path));
    whiteouts_.insert(joined(components));
    tree_.set_whiteout(place.directory, place.name);
    return {};
  }
  const TreeIndex* before = tree_.find(place.directory, place.name);
  if (is_directory && before != nullptr && tree_.is_directory(*before)) {
    set_directory(*before, std::move(spec));
    return {};
  }
  const TreeIndex node = tree_.add(std::move(spec));
  tree_.set_source_key(node, key);
  put_object(tree_, place.directory, place.name, node);
  return {};
}

ResultOrFailure<InodeSpec> TarScan::read_spec(archive_entry* entry, std::string_view path) {
  const la_int64_t uid = archive_entry_uid(entry);
  const la_int64_t gid = archive_entry_gid(entry);
  if (uid < 0 || uid > kMaxId || gid < 0 || gid > kMaxId)
    return refuse(path, "its owner or group is no number that Linux knows");
  std::vector<std::string> losses;
  InodeSpec spec = spec_from_entry(entry, losses);
  for (const std::string& loss : losses) warn(path, ": " + loss);
  return spec;
}

StatusOrFailure TarScan::add(archive_entry* entry, std::uint64_t key) {
  ++member_count_;
  const char* raw_path = archive_entry_pathname(entry);
  if (raw_path == nullptr || *raw_path == '\0')
    return Failure{EINVAL, name_ + ": member " + std::to_string(key) + " has no usable name"};
  const std::string path = raw_path;
  VARVE_ASSIGN(const Place place, find_place(path));
  if (place.excluded) {
    keep_excluded(entry, path, key);
    return {};
  }
  VARVE_ASSIGN(const bool was_mark, add_aufs_mark(place, entry, path));
  if (was_mark) return {};
  if (archive_entry_hardlink(entry) != nullptr) return add_hard_link(place, entry, path);
  VARVE_ASSIGN(InodeSpec spec, read_spec(entry, path));
  switch (spec.attributes.mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
      return add_object(place, path, std::move(spec), key);
    default:
      warn(path, " is of a type that is not known, left out");
      return {};
  }
}

}  // namespace varve::image
