#pragma once

// MarkStore: the xattrs in which the upper keeps what a plain tree cannot say (docs/upper-format.md). A value
// that knows the namespace in use, "trusted." or "user."; every method may be called from any thread.

#include <cstdint>
#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "fs/upper/upper_store.h"

namespace varve::upper {

// A number of links that changes with the link count of the object itself, in the same instant.
struct NlinkChange {
  std::int64_t delta = 0;         // Marks::nlink_delta until then
  std::uint64_t links_after = 0;  // st_nlink that says that it happened
  std::int64_t delta_after = 0;
};

class MarkStore {
 public:
  enum class Namespace : std::uint8_t { kTrusted, kUser };

  MarkStore() = default;
  explicit MarkStore(Namespace space) : space_(space) {}
  // The namespace in which `directory` lets us set an xattr, "trusted." before "user.".
  // Returns: the errno of setxattr(2) when neither works.
  static Result<Namespace> probe(ObjectRef directory);
  Namespace space() const { return space_; }

  // Returns: EIO for a mark that cannot be decoded (one log line).
  Result<Marks> read(ObjectRef object) const;
  // True for a character device 0:0 that a user made: it is no whiteout.
  Result<bool> is_users_device(ObjectRef object) const;
  // The map of a partly copied file, or one that is only to be removed; 0 when there is none.
  Result<std::uint64_t> map_id_of(ObjectRef object) const;

  Status write_origin(ObjectRef object, const Origin& origin) const;
  // Says what `write_origin` would, too.
  Status write_base(ObjectRef object, const Base& base, std::uint64_t map_id) const;
  // Requires: write_origin was called; the base mark may have stood for it.
  Status remove_base(ObjectRef object) const;
  // That the file has a map which nothing needs once the base mark is gone.
  Status write_idle_map(ObjectRef object, std::uint64_t map_id) const;
  Status remove_idle_map(ObjectRef object) const;
  Status write_opaque(ObjectRef object) const;
  Status write_redirect(ObjectRef object, std::string_view lower_path) const;
  // 0 removes the mark.
  Status write_nlink_delta(ObjectRef object, std::int64_t delta) const;
  // Marks::nlink_delta depends on the link count until write_nlink_delta: the caller keeps others from changing that count.
  Status write_nlink_change(ObjectRef object, const NlinkChange& change) const;
  // Writes down as a plain number what a kill left as a change.
  Status settle_nlink(ObjectRef object) const;
  Status write_users_device(ObjectRef object) const;

  // Marks of the whole store, on the upper's and the work directory's root: plain text under `name`.
  // Returns: ENODATA when there is none.
  Result<std::string> read_text(ObjectRef object, std::string_view name) const;
  Status write_text(ObjectRef object, std::string_view name, std::string_view text) const;
  Status remove_text(ObjectRef object, std::string_view name) const;

 private:
  std::string name_of(std::string_view mark) const;
  std::string opaque_name() const;
  Status read_one(ObjectRef object, const std::string& stored_name, Marks& marks) const;

  Namespace space_ = Namespace::kTrusted;
};

}  // namespace varve::upper
