#include "imagetool/image/extract/tar_writer.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "fs/base/check.h"
#include "fs/format/posix_acl.h"

namespace varve::image {
namespace {

constexpr std::uint64_t kBlockBytes = 512;
constexpr std::uint64_t kRecordBytes = 10240;  // tar(1)'s default: the archive is padded to a multiple of it
constexpr std::size_t kBufferBytes = 256 << 10;
constexpr std::uint64_t kMaxOctal7 = 07777777;       // of mode, owner, group and device numbers
constexpr std::uint64_t kMaxOctal11 = 077777777777;  // of size and time

// The ustar header (POSIX.1-2017, pax, "ustar Interchange Format").
struct Header {
  std::array<char, 100> name;
  std::array<char, 8> mode;
  std::array<char, 8> uid;
  std::array<char, 8> gid;
  std::array<char, 12> size;
  std::array<char, 12> mtime;
  std::array<char, 8> checksum;
  char type;
  std::array<char, 100> link;
  std::array<char, 8> magic;  // and version
  std::array<char, 32> user_name;
  std::array<char, 32> group_name;
  std::array<char, 8> device_major;
  std::array<char, 8> device_minor;
  std::array<char, 155> prefix;
  std::array<char, 12> unused;
};
static_assert(sizeof(Header) == kBlockBytes);

template <std::size_t kSize>
void set_text(std::array<char, kSize>& field, std::string_view text) {
  std::copy_n(text.begin(), std::min(text.size(), kSize), field.begin());
}

// What is too large stands in a pax record, which is read instead.
template <std::size_t kSize>
void set_octal(std::array<char, kSize>& field, std::uint64_t value) {
  constexpr std::uint64_t kMost = (std::uint64_t{1} << 3 * (kSize - 1)) - 1;
  set_text(field, fmt::format("{:0{}o}", std::min(value, kMost), kSize - 1));
}

// Device numbers have no record that all read. What is too large is binary, as GNU tar and libarchive write and read it: the first
// bit set, the value big-endian at the end. GNU tar refuses, by an error, numbers above 2^31 - 1, which Linux has not.
void set_device(std::array<char, 8>& field, std::uint32_t value) {
  if (value <= kMaxOctal7) return set_octal(field, value);
  field[0] = '\x80';
  for (std::size_t byte = 0; byte < sizeof value; ++byte)
    field[field.size() - 1 - byte] = static_cast<char>(value >> 8 * byte);
}

std::string_view last_component_of(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos || path.size() == 1 ? path : path.substr(slash + 1);
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// Well-formed by RFC 3629.
bool is_utf8(std::string_view text) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  for (std::size_t at = 0; at < text.size();) {
    const unsigned char lead = byte(at++);
    if (lead < 0x80) continue;
    const int more = lead >= 0xc2 && lead <= 0xdf   ? 1
                     : lead >= 0xe0 && lead <= 0xef ? 2
                     : lead >= 0xf0 && lead <= 0xf4 ? 3
                                                    : -1;
    if (more < 0 || text.size() - at < static_cast<std::size_t>(more)) return false;
    const unsigned char second = byte(at);
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
      return false;
    }
    for (int i = 0; i < more; ++i) {
      if ((byte(at++) & 0xc0) != 0x80) return false;
    }
  }
  return true;
}

// A name is ASCII or, in a record, UTF-8. Bytes that are neither are put into the header as they are where there is room, as all
// readers take them without a word; a record with them needs another, hdrcharset, that not all know.
bool fits_header(std::string_view name, std::size_t room) {
  return name.size() <= room && (is_ascii(name) || !is_utf8(name));
}

// Pax records: "SIZE KEY=VALUE\n", where SIZE counts itself.
class Records {
 public:
  void add(std::string_view key, std::string_view value) {
    const std::size_t rest = key.size() + value.size() + 3;
    std::size_t size = rest + 1;
    while (fmt::formatted_size("{}", size) + rest != size) ++size;
    text_ += fmt::format("{} {}=", size, key);
    text_ += value;
    text_ += '\n';
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// Decimal, with as many digits of the fraction as it has; -1.75 is a second and three quarters before 1970.
std::string time_text(const Timestamp& time) {
  std::uint32_t nanoseconds = time.nanoseconds;
  const bool negative = time.seconds < 0;
  auto whole = static_cast<std::uint64_t>(time.seconds);
  if (negative) {
    whole = ~whole + 1;
    if (nanoseconds > 0) {
      --whole;
      nanoseconds = 1'000'000'000 - nanoseconds;
    }
  }
  std::string text = fmt::format("{}{}", negative ? "-" : "", whole);
  if (nanoseconds == 0) return text;
  text += fmt::format(".{:09}", nanoseconds);
  while (text.ends_with('0')) text.pop_back();
  return text;
}

// As acl_to_text(3) with commas. Empty for a list that readers would not take as it is: libarchive counts ids in int.
std::string acl_text(const format::Acl& acl) {
  using Tag = format::AclEntry::Tag;
  std::string text;
  for (const format::AclEntry& entry : acl) {
    const bool has_id = format::has_id(entry.tag);
    if (has_id && entry.id >= static_cast<std::uint32_t>(std::numeric_limits<int>::max())) return "";
    std::string_view tag;
    switch (entry.tag) {
      case Tag::kOwner:
      case Tag::kUser:
        tag = "user";
        break;
      case Tag::kOwningGroup:
      case Tag::kGroup:
        tag = "group";
        break;
      case Tag::kMask:
        tag = "mask";
        break;
      case Tag::kOther:
        tag = "other";
        break;
    }
    const auto permission = [&](unsigned bit, char letter) {
      return (entry.permissions & bit) != 0 ? letter : '-';
    };
    text +=
        fmt::format("{}{}:{}:{}{}{}", text.empty() ? "" : ",", tag, has_id ? std::to_string(entry.id) : "",
                    permission(4, 'r'), permission(2, 'w'), permission(1, 'x'));
  }
  return text;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  std::uint32_t held = 0;
  unsigned held_bits = 0;
  for (const char c : bytes) {
    held = held << 8 | static_cast<unsigned char>(c);
    for (held_bits += 8; held_bits >= 6; held_bits -= 6) text += kDigits[held >> (held_bits - 6) & 63];
  }
  if (held_bits > 0) text += kDigits[held << (6 - held_bits) & 63];
  return text;
}

void add_xattr(Records& records, const std::string& name, std::string_view value, TarStyle style) {
  const bool is_access = name == format::kAccessAclXattr;
  if (style == TarStyle::kForTar && (is_access || name == format::kDefaultAclXattr)) {
    const auto acl = format::parse_acl(value);
    const std::string text = acl ? acl_text(*acl) : "";
    if (!text.empty()) return records.add(is_access ? "SCHILY.acl.access" : "SCHILY.acl.default", text);
  }
  if (name.find_first_of("=%") == std::string::npos) return records.add("SCHILY.xattr." + name, value);
  // A key ends at its first '=', and readers do not agree on what '%' means in this record; libarchive's own is clear.
  std::string coded;
  for (const char c : name) {
    if (c == '=' || c == '%' || static_cast<unsigned char>(c) >= 0x80) {
      coded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    } else {
      coded += c;
    }
  }
  records.add("LIBARCHIVE.xattr." + coded, base64(value));
}

char type_of(std::uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFLNK:
      return '2';
    case S_IFCHR:
      return '3';
    case S_IFBLK:
      return '4';
    case S_IFDIR:
      return '5';
    case S_IFIFO:
      return '6';
    default:
      VARVE_CHECK(S_ISREG(mode));
      return '0';
  }
}

void seal(Header& header) {
  set_text(header.magic, std::string_view("ustar\00000", 8));
  header.checksum.fill(' ');
  unsigned sum = 0;
  for (const std::byte byte : std::as_bytes(std::span(&header, 1))) sum += static_cast<unsigned>(byte);
  set_text(header.checksum, fmt::format("{:06o}", sum) + '\0');
}

bool is_whole(std::span<const layer::Range> data, std::uint64_t size_bytes) {
  return data.size() == 1 && data[0].offset_bytes == 0 && data[0].size_bytes == size_bytes;
}

// What the data of a sparse member begins with: the number of ranges, and offset and size of each. A hole at the end is
// told by an empty range there, as GNU tar tells it.
std::string sparse_map(std::span<const layer::Range> data, std::uint64_t size_bytes) {
  std::string ranges;
  std::size_t count = data.size();
  std::uint64_t end = 0;
  for (const layer::Range& range : data) {
    ranges += fmt::format("{}\n{}\n", range.offset_bytes, range.size_bytes);
    end = range.offset_bytes + range.size_bytes;
  }
  if (end < size_bytes) {
    ranges += fmt::format("{}\n0\n", size_bytes);
    ++count;
  }
  std::string map = fmt::format("{}\n", count) + ranges;
  map.append((kBlockBytes - map.size() % kBlockBytes) % kBlockBytes, '\0');
  return map;
}

// What one member becomes.
struct Encoded {
  Header header{};
  Records records;
  std::string map;               // of a sparse file
  std::uint64_t data_bytes = 0;  // without the map
};

void encode_names(const TarMember& member, bool is_sparse, Encoded& to) {
  const bool is_directory = member.spec.attributes.is_directory();
  const std::string path =
      std::string(member.path) + (is_directory && !member.path.ends_with('/') ? "/" : "");
  const std::string_view link = S_ISLNK(member.spec.attributes.mode) && member.hard_link.empty()
                                    ? std::string_view(member.spec.symlink_target)
                                    : member.hard_link;
  const bool path_fits = !is_sparse && fits_header(path, to.header.name.size());
  const bool link_fits = fits_header(link, to.header.link.size());
  if ((!path_fits && !is_utf8(path)) || (!link_fits && !is_utf8(link)))
    to.records.add("hdrcharset", "BINARY");
  // The name in the header is then for readers that know no records.
  const std::string_view last = last_component_of(path);
  if (path_fits) {
    set_text(to.header.name, path);
  } else if (is_sparse) {
    set_text(to.header.name, "GNUSparseFile.0/" + std::string(last));
  } else {
    set_text(to.header.name, last);
    to.records.add("path", path);
  }
  set_text(to.header.link, link);
  if (!link_fits) to.records.add("linkpath", link);
}

Encoded encode(const TarMember& member, TarStyle style) {
  const Attributes& attributes = member.spec.attributes;
  const bool has_content = attributes.is_regular() && member.hard_link.empty();
  const bool is_sparse =
      has_content && attributes.size_bytes > 0 && !is_whole(member.data, attributes.size_bytes);
  Encoded to;
  encode_names(member, is_sparse, to);
  if (has_content) {
    for (const layer::Range& range : member.data) {
      VARVE_CHECK(to.data_bytes % kBlockBytes == 0);
      to.data_bytes += range.size_bytes;
    }
  }
  if (is_sparse) to.map = sparse_map(member.data, attributes.size_bytes);
  const std::uint64_t size_bytes = to.data_bytes + to.map.size();
  set_octal(to.header.mode, attributes.mode & 07777);
  set_octal(to.header.uid, attributes.uid);
  set_octal(to.header.gid, attributes.gid);
  set_octal(to.header.size, size_bytes);
  set_octal(to.header.mtime,
            attributes.mtime.seconds < 0 ? 0 : static_cast<std::uint64_t>(attributes.mtime.seconds));
  to.header.type = member.hard_link.empty() ? type_of(attributes.mode) : '1';
  set_device(to.header.device_major, major(attributes.rdev));
  set_device(to.header.device_minor, minor(attributes.rdev));
  seal(to.header);
  if (size_bytes > kMaxOctal11) to.records.add("size", std::to_string(size_bytes));
  if (attributes.uid > kMaxOctal7) to.records.add("uid", std::to_string(attributes.uid));
  if (attributes.gid > kMaxOctal7) to.records.add("gid", std::to_string(attributes.gid));
  if (attributes.mtime.nanoseconds > 0 || attributes.mtime.seconds < 0 ||
      attributes.mtime.seconds > static_cast<std::int64_t>(kMaxOctal11)) {
    to.records.add("mtime", time_text(attributes.mtime));
  }
  if (is_sparse) {
    to.records.add("GNU.sparse.major", "1");
    to.records.add("GNU.sparse.minor", "0");
    to.records.add("GNU.sparse.name", member.path);
    to.records.add("GNU.sparse.realsize", std::to_string(attributes.size_bytes));
  }
  if (!member.hard_link.empty()) return to;  // the first name told them
  for (const auto& [name, value] : member.spec.xattrs) add_xattr(to.records, name, value, style);
  return to;
}

}  // namespace

StatusOrFailure TarWriter::begin(const TarMember& member) {
  VARVE_CHECK(remaining_bytes_ == 0);
  const Encoded encoded = encode(member, style_);
  const std::string& records = encoded.records.text();
  if (!records.empty()) {
    Header header{};
    set_text(header.name, "PaxHeaders/" + std::string(last_component_of(member.path)));
    set_octal(header.mode, 0644);
    set_octal(header.uid, 0);
    set_octal(header.gid, 0);
    set_octal(header.size, records.size());
    set_octal(header.mtime, 0);
    header.type = 'x';
    set_octal(header.device_major, 0);
    set_octal(header.device_minor, 0);
    seal(header);
    VARVE_RETURN_IF_ERROR(write(std::as_bytes(std::span(&header, 1))));
    VARVE_RETURN_IF_ERROR(write_text(records));
    VARVE_RETURN_IF_ERROR(pad(kBlockBytes));
  }
  VARVE_RETURN_IF_ERROR(write(std::as_bytes(std::span(&encoded.header, 1))));
  remaining_bytes_ = encoded.data_bytes;
  return write_text(encoded.map);
}

StatusOrFailure TarWriter::put(std::span<const std::byte> bytes) {
  VARVE_CHECK(bytes.size() <= remaining_bytes_);
  remaining_bytes_ -= bytes.size();
  VARVE_RETURN_IF_ERROR(write(bytes));
  return remaining_bytes_ == 0 ? pad(kBlockBytes) : StatusOrFailure();
}

StatusOrFailure TarWriter::finish() {
  VARVE_CHECK(remaining_bytes_ == 0);
  static constexpr std::array<std::byte, 2 * kBlockBytes> kEnd{};
  VARVE_RETURN_IF_ERROR(write(kEnd));
  VARVE_RETURN_IF_ERROR(pad(kRecordBytes));
  return flush();
}

StatusOrFailure TarWriter::write(std::span<const std::byte> bytes) {
  if (buffer_.size() + bytes.size() > kBufferBytes) VARVE_RETURN_IF_ERROR(flush());
  if (bytes.size() < kBufferBytes) {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    return {};
  }
  VARVE_RETURN_IF_ERROR(output_.write_at(written_bytes_, bytes));
  written_bytes_ += bytes.size();
  return {};
}

StatusOrFailure TarWriter::pad(std::uint64_t multiple_bytes) {
  static constexpr std::array<std::byte, kRecordBytes> kZeros{};
  const std::uint64_t over = (written_bytes_ + buffer_.size()) % multiple_bytes;
  return over == 0 ? StatusOrFailure() : write(std::span(kZeros).first(multiple_bytes - over));
}

StatusOrFailure TarWriter::flush() {
  VARVE_RETURN_IF_ERROR(output_.write_at(written_bytes_, buffer_));
  written_bytes_ += buffer_.size();
  buffer_.clear();
  return {};
}

}  // namespace varve::image
