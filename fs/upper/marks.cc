#include "fs/upper/marks.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "fs/base/endian.h"
#include "fs/base/log.h"
#include "fs/upper/object_path.h"

namespace varve::upper {
namespace {

constexpr unsigned char kMarkVersion = 1;

struct OriginMark {
  unsigned char version;
  Le16 slot;
  Le64 inode_number;
};
static_assert(sizeof(OriginMark) == 11);

// Followed by the path, to the end of the value.
struct BaseMark {
  unsigned char version;
  Le16 slot;
  Le64 inode_number;
  Le64 size_bytes;
  Le64 map_id;
};
static_assert(sizeof(BaseMark) == 27);

template <class Mark>
std::string bytes_of(const Mark& mark) {
  std::string bytes(sizeof mark, '\0');
  std::memcpy(bytes.data(), &mark, sizeof mark);
  return bytes;
}

// The mark at the start of `bytes`; empty when they are too few or of another version.
template <class Mark>
std::optional<Mark> mark_from(std::string_view bytes) {
  Mark mark;
  if (bytes.size() < sizeof mark) return std::nullopt;
  std::memcpy(&mark, bytes.data(), sizeof mark);
  if (mark.version != kMarkVersion) return std::nullopt;
  return mark;
}

bool decode_origin(std::string_view bytes, Marks& marks) {
  const auto mark = mark_from<OriginMark>(bytes);
  if (!mark || bytes.size() != sizeof *mark) return false;
  marks.origin = Origin{LayerSlot(mark->slot), mark->inode_number};
  return true;
}

bool decode_base(std::string_view bytes, Marks& marks) {
  const auto mark = mark_from<BaseMark>(bytes);
  if (!mark || mark->map_id == 0) return false;
  marks.base = Base{.slot = LayerSlot(mark->slot),
                    .path = std::string(bytes.substr(sizeof *mark)),
                    .inode_number = mark->inode_number,
                    .size_bytes = mark->size_bytes};
  marks.map_id = mark->map_id;
  return true;
}

struct NlinkChangeMark {
  LeS64 delta;
  Le64 links_after;
  LeS64 delta_after;
};
static_assert(sizeof(NlinkChangeMark) == 24);

// A plain number is a change that never comes: no object has 0 links and a name.
std::optional<NlinkChange> decode_nlink(std::string_view bytes) {
  NlinkChangeMark mark{};
  if (bytes.size() != sizeof mark && bytes.size() != sizeof mark.delta) return std::nullopt;
  std::memcpy(&mark, bytes.data(), bytes.size());
  return NlinkChange{.delta = mark.delta, .links_after = mark.links_after, .delta_after = mark.delta_after};
}

Errno damaged(ObjectRef object, std::string_view mark) {
  log_error("{}: the mark {} cannot be decoded", object.name.empty() ? "(open object)" : object.name, mark);
  return Errno{EIO};
}

Result<std::int64_t> delta_now(ObjectRef object, const NlinkChange& change) {
  if (change.links_after == 0) return change.delta;
  VARVE_ASSIGN(const struct stat status, stat_object(object));
  return status.st_nlink == change.links_after ? change.delta_after : change.delta;
}

}  // namespace

Result<MarkStore::Namespace> MarkStore::probe(ObjectRef directory) {
  Status last = Errno{EOPNOTSUPP};
  for (const Namespace space : {Namespace::kTrusted, Namespace::kUser}) {
    const MarkStore store(space);
    last = store.write_text(directory, "probe", "1");
    // The choice is for ever: a disk that fails now must not make it.
    if (!last.ok() && is_disk_fault(last.error())) return last.error();
    if (!last.ok()) continue;
    VARVE_RETURN_IF_ERROR(store.remove_text(directory, "probe"));
    return space;
  }
  return last.error();
}

std::string MarkStore::name_of(std::string_view mark) const {
  return std::string(space_ == Namespace::kTrusted ? "trusted.varve." : "user.varve.").append(mark);
}

// The name that kernel overlayfs gives it (fs/overlayfs/overlayfs.h), with and without its option userxattr.
std::string MarkStore::opaque_name() const {
  return space_ == Namespace::kTrusted ? "trusted.overlay.opaque" : "user.overlay.opaque";
}

Result<Marks> MarkStore::read(ObjectRef object) const {
  Marks marks;
  VARVE_ASSIGN(const std::vector<std::string> names, list_object_xattrs(object));
  const std::string ours = name_of("");
  const std::string opaque = opaque_name();
  for (const std::string& name : names) {
    if (name == opaque || name.starts_with(ours)) VARVE_RETURN_IF_ERROR(read_one(object, name, marks));
  }
  if (marks.base) marks.origin = Origin{marks.base->slot, marks.base->inode_number};
  return marks;
}

Status MarkStore::read_one(ObjectRef object, const std::string& stored_name, Marks& marks) const {
  const bool is_opaque = stored_name == opaque_name();
  const std::string_view mark =
      is_opaque ? "opaque" : std::string_view(stored_name).substr(name_of("").size());
  if (!is_opaque && mark != "origin" && mark != "base" && mark != "redirect" && mark != "nlink") return {};
  const Result<std::string> stored = get_object_xattr(object, stored_name);
  // Gone since it was listed: a file is settled at any time, and has got its origin then.
  if (!stored.ok() && stored.error().value == ENODATA)
    return mark == "base" ? read_one(object, name_of("origin"), marks) : Status();
  if (!stored.ok()) return stored.error();
  const std::string& value = *stored;
  bool good = true;
  if (is_opaque) {
    marks.opaque = value == "y";
  } else if (mark == "origin") {
    good = decode_origin(value, marks);
  } else if (mark == "base") {
    good = decode_base(value, marks);
  } else if (mark == "nlink") {
    const std::optional<NlinkChange> change = decode_nlink(value);
    good = change.has_value();
    if (good) {
      VARVE_ASSIGN(marks.nlink_delta, delta_now(object, *change));
    }
  } else {
    marks.redirect = value;
  }
  if (!good) return damaged(object, mark);
  return {};
}

Result<bool> MarkStore::is_users_device(ObjectRef object) const {
  const Result<std::string> mark = get_object_xattr(object, name_of("device"));
  if (mark.ok()) return true;
  if (mark.error().value == ENODATA || mark.error().value == EOPNOTSUPP || mark.error().value == EPERM)
    return false;
  return mark.error();
}

// A file may be settled meanwhile: the mark "map" comes before the mark "base" goes, so one of the two is found as long as there is
// a map.
Result<std::uint64_t> MarkStore::map_id_of(ObjectRef object) const {
  VARVE_ASSIGN(const std::vector<std::string> names, list_object_xattrs(object));
  const auto has = [&](std::string_view mark) {
    return std::find(names.begin(), names.end(), name_of(mark)) != names.end();
  };
  if (!has("base") && !has("map")) return std::uint64_t{0};
  const Result<std::string> base = get_object_xattr(object, name_of("base"));
  if (base.ok()) {
    Marks marks;
    if (!decode_base(*base, marks)) return damaged(object, "base");
    return marks.map_id;
  }
  if (base.error().value != ENODATA) return base.error();
  const Result<std::string> idle = get_object_xattr(object, name_of("map"));
  if (!idle.ok()) return idle.error().value == ENODATA ? Result<std::uint64_t>(0) : idle.error();
  Le64 id{};
  if (idle->size() != sizeof id) return damaged(object, "map");
  std::memcpy(&id, idle->data(), sizeof id);
  return std::uint64_t{id};
}

Status MarkStore::write_idle_map(ObjectRef object, std::uint64_t map_id) const {
  return set_object_xattr(object, name_of("map"), bytes_of(Le64(map_id)));
}

Status MarkStore::remove_idle_map(ObjectRef object) const {
  return remove_text(object, "map");
}

Status MarkStore::write_origin(ObjectRef object, const Origin& origin) const {
  const OriginMark mark{kMarkVersion, Le16(origin.slot.value()), Le64(origin.inode_number)};
  return set_object_xattr(object, name_of("origin"), bytes_of(mark));
}

Status MarkStore::write_base(ObjectRef object, const Base& base, std::uint64_t map_id) const {
  VARVE_CHECK(map_id != 0);
  const BaseMark mark{kMarkVersion, Le16(base.slot.value()), Le64(base.inode_number), Le64(base.size_bytes),
                      Le64(map_id)};
  return set_object_xattr(object, name_of("base"), bytes_of(mark) + base.path);
}

Status MarkStore::remove_base(ObjectRef object) const {
  return remove_text(object, "base");
}

Status MarkStore::write_opaque(ObjectRef object) const {
  return set_object_xattr(object, opaque_name(), "y");
}

Status MarkStore::write_redirect(ObjectRef object, std::string_view lower_path) const {
  return set_object_xattr(object, name_of("redirect"), lower_path);
}

Status MarkStore::write_nlink_delta(ObjectRef object, std::int64_t delta) const {
  if (delta == 0) return remove_text(object, "nlink");
  return set_object_xattr(object, name_of("nlink"), bytes_of(LeS64(delta)));
}

Status MarkStore::write_nlink_change(ObjectRef object, const NlinkChange& change) const {
  const NlinkChangeMark mark{LeS64(change.delta), Le64(change.links_after), LeS64(change.delta_after)};
  return set_object_xattr(object, name_of("nlink"), bytes_of(mark));
}

Status MarkStore::settle_nlink(ObjectRef object) const {
  const Result<std::string> value = get_object_xattr(object, name_of("nlink"));
  if (!value.ok()) return value.error().value == ENODATA ? Status() : Status(value.error());
  if (value->size() != sizeof(NlinkChangeMark)) return {};
  VARVE_ASSIGN(const std::int64_t delta, delta_now(object, *decode_nlink(*value)));
  return write_nlink_delta(object, delta);
}

Status MarkStore::write_users_device(ObjectRef object) const {
  return set_object_xattr(object, name_of("device"), "1");
}

Result<std::string> MarkStore::read_text(ObjectRef object, std::string_view name) const {
  return get_object_xattr(object, name_of(name));
}

Status MarkStore::write_text(ObjectRef object, std::string_view name, std::string_view text) const {
  return set_object_xattr(object, name_of(name), text);
}

Status MarkStore::remove_text(ObjectRef object, std::string_view name) const {
  const Status removed = remove_object_xattr(object, name_of(name));
  if (!removed.ok() && removed.error().value != ENODATA) return removed;
  return {};
}

}  // namespace varve::upper
