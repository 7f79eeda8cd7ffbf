#include "imagetool/image/extract/tar_writer.h"
#include "fs/format/posix_acl.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <limits>

#include "fs/layer/open_layer.h"
#include "imagetool/image/extract/layer_extract.h"
#include "imagetool/image/source/tar_source.h"
#include "imagetool/image/writer/layer_output_file.h"
#include "tests/unit/image/scratch_directory.h"

namespace varve::image {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class MemoryOutput : public LayerOutput {
 public:
  const std::string& name() const override { return name_; }
  StatusOrFailure write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes) override {
    EXPECT_EQ(offset_bytes, text.size());
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  int readable_fd() const override { return -1; }
  StatusOrFailure publish() override { return {}; }

  std::string text;

 private:
  std::string name_ = "memory";
};

InodeSpec regular(std::uint64_t size_bytes) {
  InodeSpec spec;
  spec.attributes.mode = S_IFREG | 0640;
  spec.attributes.size_bytes = size_bytes;
  return spec;
}

std::string archive_of(const InodeSpec& spec, std::string_view path = "f") {
  MemoryOutput output;
  TarWriter writer(output);
  must(writer.begin({.path = path, .hard_link = {}, .spec = spec, .data = {}}));
  must(writer.finish());
  return output.text;
}

// What TarSource makes of an archive with one member.
InodeSpec read_back(const std::string& archive) {
  const ScratchDirectory scratch;
  write_file(scratch / "a.tar", archive);
  RememberingMonitor monitor;
  const auto source = must(TarSource::open(scratch / "a.tar", {}, monitor));
  const Tree tree = must(source->scan());
  EXPECT_THAT(monitor.warnings, IsEmpty());
  EXPECT_EQ(tree.node_count(), 2U);
  InodeSpec spec = tree.node(1).spec;
  std::sort(spec.xattrs.begin(), spec.xattrs.end());
  return spec;
}

TEST(TarWriter, AHoleOfEightExbibytesCostsNothing) {
  constexpr std::uint64_t kSize = std::numeric_limits<std::int64_t>::max();
  const std::string archive = archive_of(regular(kSize));
  EXPECT_EQ(archive.size(), 10240U);
  EXPECT_THAT(archive, HasSubstr("GNU.sparse.realsize=9223372036854775807\n"));
  EXPECT_EQ(read_back(archive).attributes.size_bytes, kSize);
}

TEST(TarWriter, DataAroundHolesComesBackWhereItWas) {
  MemoryOutput output;
  TarWriter writer(output);
  const std::string data = std::string(512, 'a') + std::string(100, 'b');
  const std::vector<layer::Range> ranges = {{4096, 512}, {1ULL << 40, 100}};
  const InodeSpec spec = regular((1ULL << 40) + 100);
  must(writer.begin({.path = "dir/s", .hard_link = {}, .spec = spec, .data = ranges}));
  must(writer.put(std::as_bytes(std::span(data)).first(512)));
  must(writer.put(std::as_bytes(std::span(data)).subspan(512)));
  must(writer.finish());

  const ScratchDirectory scratch;
  write_file(scratch / "a.tar", output.text);
  RememberingMonitor monitor;
  const auto source = must(TarSource::open(scratch / "a.tar", {}, monitor));
  const Tree tree = must(source->scan());
  std::vector<std::pair<std::uint64_t, std::string>> found;
  must(source->for_each_content(tree, [&](TreeIndex, ContentSource& content) -> StatusOrFailure {
    for (;;) {
      VARVE_ASSIGN(const std::optional<Chunk> chunk, content.next());
      if (!chunk) return {};
      found.emplace_back(chunk->offset_bytes, std::string(reinterpret_cast<const char*>(chunk->bytes.data()),
                                                          chunk->bytes.size()));
    }
  }));
  EXPECT_THAT(found, ElementsAre(std::pair(4096U, std::string(512, 'a')),
                                 std::pair(1ULL << 40, std::string(100, 'b'))));
}

using Tag = format::AclEntry::Tag;

// As the kernel gives it to stat(2), and GNU tar to archives: the group's bits are those of the mask.
TEST(TarWriter, TheHeadersModeHasTheMaskOfAnAcl) {
  InodeSpec spec = regular(0);
  spec.attributes.mode = S_IFREG | 0670;
  spec.xattrs = {{std::string(format::kAccessAclXattr), format::format_acl({{Tag::kOwner, 6},
                                                                            {Tag::kUser, 6, 1234},
                                                                            {Tag::kOwningGroup, 4},
                                                                            {Tag::kMask, 7},
                                                                            {Tag::kOther, 0}})}};
  const std::string archive = archive_of(spec);
  EXPECT_THAT(archive,
              HasSubstr("SCHILY.acl.access=user::rw-,user:1234:rw-,group::r--,mask::rwx,other::---\n"));
  EXPECT_EQ(archive.substr(1024 + 100, 7), "0000670");
  EXPECT_EQ(read_back(archive).attributes.mode, spec.attributes.mode);
  EXPECT_EQ(read_back(archive).xattrs, spec.xattrs);
}

TEST(TarWriter, AnAclWithNumbersThatReadersCutGoesOutInTheKernelsForm) {
  InodeSpec spec = regular(0);
  spec.attributes.mode = S_IFREG | 0660;
  spec.xattrs = {{std::string(format::kAccessAclXattr), format::format_acl({{Tag::kOwner, 6},
                                                                            {Tag::kUser, 6, 4000000000},
                                                                            {Tag::kOwningGroup, 4},
                                                                            {Tag::kMask, 6},
                                                                            {Tag::kOther, 0}})}};
  const std::string archive = archive_of(spec);
  EXPECT_THAT(archive, Not(HasSubstr("SCHILY.acl")));
  EXPECT_EQ(read_back(archive).xattrs, spec.xattrs);
}

TEST(TarWriter, AttributesWithAnyNameAndValueComeBack) {
  InodeSpec spec = regular(0);
  spec.xattrs = {{"user.a=b%c", "x"}, {"user.binary", std::string("\0=\n\xff", 4)}, {"user.empty", ""}};
  EXPECT_EQ(read_back(archive_of(spec)).xattrs, spec.xattrs);
}

TEST(TarWriter, NumbersBeyondTheHeaderAreRecords) {
  InodeSpec spec = regular(0);
  spec.attributes.uid = 2097152;
  spec.attributes.gid = 4000000000;
  spec.attributes.mtime = {-3, 750000000};
  const std::string archive = archive_of(spec);
  EXPECT_THAT(archive, HasSubstr(" uid=2097152\n"));
  EXPECT_THAT(archive, HasSubstr(" gid=4000000000\n"));
  EXPECT_THAT(archive, HasSubstr(" mtime=-2.25\n"));
  const Attributes attributes = read_back(archive).attributes;
  EXPECT_EQ(attributes.uid, 2097152U);
  EXPECT_EQ(attributes.gid, 4000000000U);
  EXPECT_EQ(attributes.mtime, spec.attributes.mtime);
}

TEST(TarWriter, DeviceNumbersBeyondOctalAreBinary) {
  InodeSpec spec = regular(0);
  spec.attributes.mode = S_IFCHR | 0600;
  for (const auto& [major_number, minor_number] :
       {std::pair(2097151U, 2097152U), std::pair(4294967295U, 0U), std::pair(4095U, 0xfedcba98U)}) {
    spec.attributes.rdev = makedev(major_number, minor_number);
    EXPECT_EQ(read_back(archive_of(spec)).attributes.rdev, spec.attributes.rdev);
  }
  EXPECT_EQ(archive_of(spec).substr(329, 16), std::string("0007777\0\x80\0\0\0\xfe\xdc\xba\x98", 16));
}

TEST(TarWriter, TheLastSecondOf1969IsWritten) {
  InodeSpec spec = regular(0);
  spec.attributes.mtime = {-1, 500000000};
  EXPECT_THAT(archive_of(spec), HasSubstr(" mtime=-0.5\n"));
}

TEST(TarWriter, WhatFitsTheHeaderNeedsNoRecords) {
  const std::string archive = archive_of(regular(0), std::string(100, 'n'));
  EXPECT_EQ(archive[156], '0');
  EXPECT_EQ(archive.substr(0, 100), std::string(100, 'n'));
  EXPECT_EQ(archive_of(regular(0), std::string(101, 'n'))[156], 'x');
}

// GNU tar complains of the record hdrcharset, so it stands only where it must.
TEST(TarWriter, NamesThatAreNoUtf8AreMarkedAsSuchInRecords) {
  const std::string long_name(101, 'n');
  EXPECT_THAT(archive_of(regular(0), "not-\xff"), Not(HasSubstr("hdrcharset")));
  EXPECT_EQ(archive_of(regular(0), "not-\xff")[156], '0');
  EXPECT_THAT(archive_of(regular(0), long_name + "\xff"), HasSubstr("hdrcharset=BINARY\n"));
  EXPECT_THAT(archive_of(regular(0), long_name + "\xed\xa0\x80"), HasSubstr("hdrcharset=BINARY\n"))
      << "a surrogate";
  EXPECT_THAT(archive_of(regular(0), long_name + "\xc3\xa4"), Not(HasSubstr("hdrcharset")));
}

TEST(TarExtract, AWhiteoutWhoseMarkHasNoRoomIsALoss) {
  const ScratchDirectory scratch;
  const auto writer = must(LayerWriter::create({.output_path = scratch / "a.layer"}));
  InodeSpec directory;
  directory.attributes.mode = S_IFDIR | 0755;
  const std::uint32_t root = must(writer->add_inode(directory));
  must(writer->add_whiteout(root, std::string(251, 'a')));
  must(writer->add_whiteout(root, std::string(252, 'b')));
  must(writer->finish());
  MemoryOutput output;
  RememberingMonitor monitor;
  const auto layer = must(layer::open_layer(scratch / "a.layer", {}));
  EXPECT_EQ(must(extract_to_tar(*layer, output, monitor)).losses, 1U);
  ASSERT_THAT(monitor.warnings, SizeIs(1));
  EXPECT_THAT(monitor.warnings[0], HasSubstr("/" + std::string(252, 'b') + ": the mark that deletes it"));
  EXPECT_THAT(output.text, HasSubstr(".wh." + std::string(251, 'a')));
  EXPECT_THAT(output.text, Not(HasSubstr(".wh.b")));
}

}  // namespace
}  // namespace varve::image
