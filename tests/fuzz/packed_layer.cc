#include "tests/fuzz/packed_layer.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "fs/base/check.h"
#include "fs/format/hash.h"
#include "fs/format/layer_decode.h"
#include "fs/format/layer_layout.h"
#include "tests/support/seal_layer.h"

namespace varve::fuzz {
namespace {

using format::SectionType;

constexpr std::size_t kPieceHeaderBytes = 3;
constexpr std::size_t kFlipBytes = 5;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

template <class T>
T take(std::string_view text) {
  T value{};
  std::memcpy(static_cast<void*>(&value), text.data(), std::min(sizeof value, text.size()));
  return value;
}

template <class T>
std::string_view text_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// Pieces of one kind are joined.
std::map<std::uint8_t, std::string> split(std::string_view input) {
  std::map<std::uint8_t, std::string> pieces;
  while (input.size() > kPieceHeaderBytes) {
    const auto kind = static_cast<std::uint8_t>(input[0]);
    const std::size_t size = take<Le16>(input.substr(1, 2));
    input.remove_prefix(kPieceHeaderBytes);
    pieces[kind] += input.substr(0, size);
    input.remove_prefix(std::min(size, input.size()));
  }
  return pieces;
}

template <class T>
std::vector<T> records(const std::string& section) {
  std::vector<T> result(section.size() / sizeof(T));
  if (!result.empty())
    std::memcpy(static_cast<void*>(result.data()), section.data(), result.size() * sizeof(T));
  return result;
}

template <class T>
void put_back(std::string& section, const std::vector<T>& values) {
  if (!values.empty()) std::memcpy(section.data(), values.data(), values.size() * sizeof(T));
}

class Assembly {
 public:
  explicit Assembly(std::map<std::uint8_t, std::string> pieces) : pieces_(std::move(pieces)) {}

  std::string build(bool sort_entries) {
    if (sort_entries) repair_entries();
    start();
    repair_frames();
    section(SectionType::kPageHash);  // one has always to be there
    const std::string table = add_sections();
    add_footer(table);
    return std::move(file_);
  }
  const std::string& flips() { return pieces_[static_cast<std::uint8_t>(PieceKind::kFlips)]; }

 private:
  std::string& piece(PieceKind kind) { return pieces_[static_cast<std::uint8_t>(kind)]; }
  std::string& section(SectionType type) { return pieces_[static_cast<std::uint8_t>(type)]; }
  void pad() {
    file_.resize((file_.size() + format::kSectionAlignment - 1) / format::kSectionAlignment *
                 format::kSectionAlignment);
  }

  void repair_entries() {
    auto entries = records<format::Dirent>(section(SectionType::kDirent));
    const std::string& names = section(SectionType::kNames);
    const auto name_of = [&](const format::Dirent& entry) {
      const std::uint64_t offset = format::dirent_name_offset(entry);
      return offset > names.size() ? std::string_view()
                                   : std::string_view(names).substr(offset, entry.name_size);
    };
    for (format::Dirent& entry : entries) entry.hash = format::name_hash(name_of(entry));
    for (const auto& inode : records<format::Inode>(section(SectionType::kInode))) {
      const std::uint64_t first = inode.payload_a;
      const std::uint64_t count = inode.payload_b;
      if (first > entries.size() || count > entries.size() - first) continue;
      const auto begin = entries.begin() + static_cast<std::ptrdiff_t>(first);
      std::sort(begin, begin + static_cast<std::ptrdiff_t>(count), [&](const auto& a, const auto& b) {
        return std::pair(a.hash.get(), name_of(a)) < std::pair(b.hash.get(), name_of(b));
      });
    }
    put_back(section(SectionType::kDirent), entries);
  }

  void start() {
    auto header = take<format::LayerHeader>(piece(PieceKind::kHeader));
    header.magic = format::kLayerMagic;
    header.xxh3 = format::xxh3_64(format::bytes_of(header).first(offsetof(format::LayerHeader, xxh3)));
    file_ = text_of(header);
    file_.resize(format::kDataOffset);
    file_ += piece(PieceKind::kData);
    data_end_ = file_.size();
  }

  // Of every frame that lies in the file, so that its bytes reach the decoder.
  void repair_frames() {
    auto frames = records<format::Frame>(section(SectionType::kFrame));
    for (format::Frame& frame : frames) {
      const std::uint64_t offset = format::frame_offset(frame);
      if (offset > file_.size()) continue;
      frame.xxh3 = format::xxh3_64(bytes_of(std::string_view(file_).substr(offset, frame.stored_size)));
    }
    put_back(section(SectionType::kFrame), frames);
  }

  std::string add_sections() {
    std::string table;
    std::size_t first = 0;
    for (auto& [kind, bytes] : pieces_) {
      const bool is_page_hash = kind == static_cast<std::uint8_t>(SectionType::kPageHash);
      if (kind == 0 || kind > static_cast<std::uint8_t>(PieceKind::kLastSection) ||
          (bytes.empty() && !is_page_hash)) {
        continue;
      }
      pad();
      if (table.empty()) first = file_.size();
      // As long as the pages are many; seal_layer() fills it.
      if (is_page_hash) bytes.assign(test::page_hash_bytes(first, file_.size()), '\0');
      format::SectionEntry entry{};
      entry.type = kind;
      entry.flags = kind >= static_cast<std::uint8_t>(SectionType::kMeta) ? format::kSectionOptional : 0;
      entry.offset = file_.size();
      entry.length = bytes.size();
      table += text_of(entry);
      file_ += bytes;
    }
    pad();
    return table;
  }

  void add_footer(const std::string& table) {
    auto footer = take<format::LayerFooter>(piece(PieceKind::kFooter));
    footer.magic = format::kFooterMagic;
    footer.section_count = static_cast<std::uint32_t>(table.size() / sizeof(format::SectionEntry));
    footer.file_size = file_.size() + table.size() + sizeof footer;
    footer.data_end = data_end_;
    footer.section_table_offset = file_.size();
    footer.section_table_size = table.size();
    footer.inode_count = section(SectionType::kInode).size() / sizeof(format::Inode);
    footer.dirent_count = section(SectionType::kDirent).size() / sizeof(format::Dirent);
    footer.frame_count = section(SectionType::kFrame).size() / sizeof(format::Frame);
    footer.extent_count = section(SectionType::kExtent).size() / sizeof(format::Extent);
    file_ += table;
    file_ += text_of(footer);
    test::seal_layer(file_);
  }

  std::map<std::uint8_t, std::string> pieces_;
  std::string file_;
  std::size_t data_end_ = 0;
};

void add_piece(std::string& input, std::uint8_t kind, std::string_view bytes) {
  VARVE_CHECK(bytes.size() <= UINT16_MAX);
  const Le16 size = static_cast<std::uint16_t>(bytes.size());
  input += static_cast<char>(kind);
  input += text_of(size);
  input += bytes;
}

}  // namespace

std::string unpack_layer(std::span<const std::uint8_t> input) {
  if (input.empty()) return {};
  const std::uint8_t mode = input[0];
  Assembly assembly(split({reinterpret_cast<const char*>(input.data()) + 1, input.size() - 1}));
  std::string file = assembly.build((mode & kKeepOrder) == 0);
  if ((mode & kBreakChecksums) == 0) return file;
  for (std::string_view flips = assembly.flips(); flips.size() >= kFlipBytes;
       flips.remove_prefix(kFlipBytes)) {
    file[take<Le32>(flips) % file.size()] ^= flips[4];
  }
  return file;
}

std::string pack_layer(std::string_view file) {
  const auto footer = take<format::LayerFooter>(file.substr(file.size() - sizeof(format::LayerFooter)));
  std::string input(1, '\0');
  add_piece(input, static_cast<std::uint8_t>(PieceKind::kHeader),
            file.substr(0, sizeof(format::LayerHeader)));
  add_piece(input, static_cast<std::uint8_t>(PieceKind::kData),
            file.substr(format::kDataOffset, footer.data_end - format::kDataOffset));
  std::string_view table = file.substr(footer.section_table_offset, footer.section_table_size);
  for (; !table.empty(); table.remove_prefix(sizeof(format::SectionEntry))) {
    const auto entry = take<format::SectionEntry>(table);
    if (entry.type == static_cast<std::uint16_t>(SectionType::kPageHash))
      continue;  // made anew when it is unpacked
    add_piece(input, static_cast<std::uint8_t>(entry.type), file.substr(entry.offset, entry.length));
  }
  add_piece(input, static_cast<std::uint8_t>(PieceKind::kFooter), text_of(footer));
  return input;
}

}  // namespace varve::fuzz
