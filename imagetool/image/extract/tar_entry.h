#pragma once

// What one member of a tar says, read by libarchive, as this project's values: times to the nanosecond, devices, xattrs
// (SCHILY.xattr, LIBARCHIVE.xattr), ACLs (SCHILY.acl.*). tar_writer.h is the other direction. Thread rule: stateless.
// libarchive converts names by the thread's locale: hold a Utf8Locale around its use.

#include <locale.h>

#include <string>
#include <vector>

#include "imagetool/image/writer/layer_writer.h"

struct archive_entry;

namespace varve::image {

// Makes the calling thread's LC_CTYPE UTF-8, in which libarchive passes the bytes of names on as they are.
class Utf8Locale {
 public:
  Utf8Locale();
  ~Utf8Locale();
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  locale_t own_;
  locale_t before_;
};

// Names what cannot be kept, in half sentences, in `losses`. Path, hard link target and content are the
// caller's.
InodeSpec spec_from_entry(archive_entry* entry, std::vector<std::string>& losses);

}  // namespace varve::image
