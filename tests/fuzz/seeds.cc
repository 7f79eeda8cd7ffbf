// Makes the seeds of the fuzz targets that read layers, and holds those in the repository to it that they are still good:
// a seed that the reader refuses would be fuzzed for hours in vain.
//
// Usage: fuzz_seeds make DIRECTORY     writes layer files in the form of packed_layer.h
//        fuzz_seeds check DIRECTORY    each file there opens as a layer; exit status 1 when one does not, or there is none

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstdio>
#include <filesystem>

#include "fs/layer/layer_file.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/packed_layer.h"
#include "tests/unit/layer/layer_builder.h"
#include "tests/unit/layer/temporary_directory.h"

namespace varve {
namespace {

using test::LayerBuilder;
using test::spec;

// Small frames, so that a run of several stays small.
image::LayerWriter::Options options(const std::string& path) {
  image::LayerWriter::Options options{
      .output_path = path, .frame_bytes = 4096, .packed_frame_bytes = 4096, .jobs = 1};
  options.parents.resize(1);
  return options;
}

void fill_empty(LayerBuilder&) {}

void fill_contents(LayerBuilder& builder) {
  builder.file("packed", test::sample_text(300));
  builder.file("same", test::sample_text(300));
  builder.file("stored", test::noise(100));
  builder.file("run", test::sample_text(9000, 3));
  builder.sparse("sparse", 40'000, {{8192, test::sample_text(200, 2)}, {32'768, "end"}});
  builder.sparse("hole", std::uint64_t{1} << 62, {});
}

void fill_names(LayerBuilder& builder) {
  image::InodeSpec directory = spec(S_IFDIR | 01777);
  directory.xattrs = {{"user.note", "value"}, {"system.posix_acl_default", std::string(44, '\2')}};
  directory.redirect = "/from/here";
  const std::uint32_t inner = builder.add("directory", directory);
  image::InodeSpec opaque = spec(S_IFDIR | 0700);
  opaque.opaque = true;
  builder.add("opaque", opaque, inner);
  image::InodeSpec link = spec(S_IFLNK | 0777);
  link.symlink_target = "directory/file";
  builder.add("link", link);
  image::InodeSpec device = spec(S_IFCHR | 0666);
  device.attributes.rdev = makedev(1, 3);
  builder.add("null", device, inner);
  builder.add("fifo", spec(S_IFIFO | 0600));
  const std::uint32_t file = builder.file("file", "hello\n", inner);
  test::must(builder.writer().add_name(1, "other name", file));
  test::must(builder.writer().add_whiteout(inner, "gone"));
}

// Their parent is no layer that anybody has.
void fill_deltas(LayerBuilder& builder) {
  image::InodeSpec file = spec(S_IFREG | 0644, 20'000);
  file.base = image::DeltaBase{
      .parent = 0, .inode = 7, .digest = {}, .size_bytes = 30'000, .path = "/was/here", .data_blocks = 5};
  builder.add("metadata only", file);
  const std::uint32_t changed = builder.add("changed", file);
  test::TextSource source({{4096, test::sample_text(4096)}});
  test::must(builder.writer().add_content(changed, source));
}

int make(const std::string& directory) {
  const std::pair<const char*, void (*)(LayerBuilder&)> kinds[] = {
      {"empty", fill_empty}, {"contents", fill_contents}, {"names", fill_names}, {"deltas", fill_deltas}};
  const test::TemporaryDirectory scratch;
  for (const auto& [name, fill] : kinds) {
    LayerBuilder builder(options(scratch.file(name)));
    fill(builder);
    builder.finish();
    test::write_file(directory + "/" + name, fuzz::pack_layer(test::read_file(scratch.file(name))));
  }
  return 0;
}

int check(const std::string& directory) {
  int good = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const std::string input = test::read_file(entry.path());
    const fuzz::MemoryFile file(
        fuzz::unpack_layer({reinterpret_cast<const std::uint8_t*>(input.data()), input.size()}));
    const auto layer = layer::LayerFile::open(file.path(), {});
    if (!layer.ok()) {
      std::fprintf(stderr, "%s: no layer any more: %s (make the seeds again: fuzz_seeds make)\n",
                   entry.path().c_str(), layer.error().message.c_str());
      return 1;
    }
    ++good;
  }
  std::printf("%d seeds are layers\n", good);
  return good > 0 ? 0 : 1;
}

}  // namespace
}  // namespace varve

int main(int count, char** words) {
  const std::string command = count == 3 ? words[1] : "";
  if (command == "make") return varve::make(words[2]);
  if (command == "check") return varve::check(words[2]);
  std::fputs("usage: fuzz_seeds make|check DIRECTORY\n", stderr);
  return 2;
}
