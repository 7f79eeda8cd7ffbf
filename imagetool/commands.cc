#include "imagetool/commands.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <time.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "fs/format/layer_layout.h"
#include "fs/layer/open_layer.h"
#include "imagetool/image/source/directory_source.h"
#include "imagetool/image/source/tar_source.h"
#include "imagetool/image/writer/layer_output_file.h"
#include "imagetool/image/writer/layer_output_stream.h"

namespace varve::imagetool {
namespace {

struct Profile {
  std::string_view name;
  int level;
  std::uint32_t frame_bytes;
  bool by_similarity;
};
constexpr std::array<Profile, 3> kProfiles = {
    {{"default", 3, 64 << 10, false}, {"fast", 1, 64 << 10, false}, {"max", 19, 2 << 20, true}}};

const Profile& profile_named(std::string_view name) {
  for (const Profile& profile : kProfiles) {
    if (profile.name == name) return profile;
  }
  return kProfiles[0];
}

template <class Integer>
bool parse_whole(std::string_view text, Integer& to) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

ResultOrFailure<image::Owner> parse_owner(const std::string& text) {
  image::Owner owner;
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos || !parse_whole(std::string_view(text).substr(0, colon), owner.uid) ||
      !parse_whole(std::string_view(text).substr(colon + 1), owner.gid)) {
    return Failure{EINVAL, "--owner " + text + ": not two numbers (write UID:GID, as in 0:0)"};
  }
  return owner;
}

}  // namespace

ResultOrFailure<image::Store> Context::open_store() const {
  return image::Store::open(store_directory.empty() ? image::default_store_path() : store_directory);
}

void run_command(Context& context, std::string_view doing, const std::function<StatusOrFailure()>& work) {
  const StatusOrFailure done = work();
  if (!done.ok()) {
    std::fputs(fmt::format("imagetool: {}: {}\n", doing, done.error().message).c_str(), stderr);
    context.exit_status = 1;
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::fputs("imagetool: writing to standard output failed\n", stderr);
    context.exit_status = 1;
  }
}

void print_warning(std::string_view text) {
  std::fputs(fmt::format("imagetool: warning: {}\n", text).c_str(), stderr);
}

ResultOrFailure<std::shared_ptr<layer::Layer>> open_for_reading(const std::string& path,
                                                                const std::vector<std::string>& parents) {
  const layer::LayerContext context;
  VARVE_ASSIGN(const auto below, layer::open_stack(parents, context));
  return layer::open_layer(path, context, {.layers = below, .all_there = !parents.empty()});
}

void add_parent_option(CLI::App& command, std::vector<std::string>& parents) {
  command
      .add_option(
          "--parent", parents,
          "A layer that lies below, which holds what files inherit; may be repeated, the nearest first")
      ->type_name("LAYER")
      ->allow_extra_args(false);
}

std::string printable(std::string_view name) {
  std::string shown;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || c == '\\') {
      shown += fmt::format("\\{:03o}", byte);
    } else {
      shown.push_back(c);
    }
  }
  return shown;
}

std::string mode_text(std::uint32_t mode) {
  std::string text = "?rwxrwxrwx";
  switch (mode & S_IFMT) {
    case S_IFREG:
      text[0] = '-';
      break;
    case S_IFDIR:
      text[0] = 'd';
      break;
    case S_IFLNK:
      text[0] = 'l';
      break;
    case S_IFCHR:
      text[0] = 'c';
      break;
    case S_IFBLK:
      text[0] = 'b';
      break;
    case S_IFIFO:
      text[0] = 'p';
      break;
    case S_IFSOCK:
      text[0] = 's';
      break;
    default:
      break;
  }
  for (unsigned bit = 0; bit < 9; ++bit) {
    if ((mode & (0400U >> bit)) == 0) text[bit + 1] = '-';
  }
  const auto special = [&](std::uint32_t bit, std::size_t at, char letter) {
    if ((mode & bit) == 0) return;
    text[at] = text[at] == 'x' ? letter : static_cast<char>(letter - 'a' + 'A');
  };
  special(S_ISUID, 3, 's');
  special(S_ISGID, 6, 's');
  special(S_ISVTX, 9, 't');
  return text;
}

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

ResultOrFailure<std::unique_ptr<image::LayerOutput>> open_output(const std::string& path) {
  using Output = std::unique_ptr<image::LayerOutput>;
  if (path == "-") {
    if (::isatty(STDOUT_FILENO) == 1)
      return Failure{EINVAL, "standard output is a terminal (give a file, or redirect it)"};
    return Output(std::make_unique<image::LayerOutputStream>(STDOUT_FILENO, "standard output"));
  }
  // A device or fifo is written to, never replaced.
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
    UniqueFd special(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!special.valid()) return failure_from(Errno::last(), path);
    return Output(std::make_unique<image::LayerOutputStream>(std::move(special), path));
  }
  VARVE_ASSIGN(Output file, image::LayerOutputFile::create(path));
  return file;
}

StatusOrFailure check_losses(const std::string& what, std::uint64_t losses) {
  if (losses == 0) return {};
  return Failure{
      EPERM, fmt::format("{}: {} things could not be written as they are, each named above", what, losses)};
}

void add_layer_flags(CLI::App& command, BuildFlags& flags, const std::string& level) {
  command.add_option("--level", flags.level, level)->check(CLI::Range(1, 19));
  command.add_option("--jobs,-j", flags.jobs, "Threads that compress (default: one for each processor)")
      ->check(CLI::Range(1, 1024));
  command
      .add_option("--source-date-epoch", flags.source_date_epoch,
                  "Make later times this one, in seconds since 1970 (default: $SOURCE_DATE_EPOCH)")
      ->type_name("SECONDS");
}

void add_build_flags(CLI::App& command, BuildFlags& flags) {
  command
      .add_option(
          "--profile", flags.profile,
          "fast (level 1, frames of 64K), default (level 3, 64K), max (level 19, 2M, alike files of a "
          "directory side by side: small, slow to build, and each read at random decodes 2M)")
      ->check(CLI::IsMember({"fast", "default", "max"}))
      ->capture_default_str();
  add_layer_flags(command, flags, "zstd level, 1 to 19, in place of the profile's");
  command
      .add_option("--frame-size,--block-size", flags.frame_size,
                  "Bytes of a file compressed together, 4K to 8M, a power of two, in place of the profile's")
      ->transform(CLI::AsSizeValue(false));
  command.add_flag("--verify", flags.verify,
                   "Read the layer again and decode all of it before it gets its name");
  command.add_option("--exclude", flags.excludes, "Leave out what matches the pattern; may be repeated")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  command.add_option("--owner", flags.owner, "Give everything to this owner and group")->type_name("UID:GID");
  command.add_flag("--literal", flags.literal,
                   "Take whiteouts and marks of union file systems in a directory as ordinary files");
  command.add_flag("--one-file-system", flags.one_file_system,
                   "Leave out what is mounted in a directory; mount points become empty directories");
}

ResultOrFailure<image::BuildOptions> build_options(const BuildFlags& flags, const std::string& output_path) {
  image::BuildOptions options;
  const Profile& profile = profile_named(flags.profile);
  const std::uint64_t frame_size = flags.frame_size.value_or(profile.frame_bytes);
  if (frame_size < 4096 || frame_size > format::kMaxFrameBytes || (frame_size & (frame_size - 1)) != 0) {
    return Failure{EINVAL, "--frame-size: not a power of two from 4K to 8M"};
  }
  options.writer.output_path = output_path;
  options.writer.level = flags.level.value_or(profile.level);
  options.writer.frame_bytes = static_cast<std::uint32_t>(frame_size);
  options.writer.jobs = flags.jobs;
  options.verify = flags.verify;
  options.by_similarity = profile.by_similarity;
  if (!flags.owner.empty()) {
    VARVE_ASSIGN(options.owner, parse_owner(flags.owner));
  }
  const char* environment = std::getenv("SOURCE_DATE_EPOCH");
  const std::string epoch = !flags.source_date_epoch.empty() ? flags.source_date_epoch
                            : environment                    ? environment
                                                             : "";
  if (!epoch.empty()) {
    std::int64_t seconds = 0;
    if (!parse_whole(epoch, seconds))
      return Failure{EINVAL, "source date epoch \"" + epoch + "\": not a whole number"};
    options.latest_mtime_seconds = seconds;
  }
  return options;
}

ResultOrFailure<std::unique_ptr<image::TreeSource>> open_source(const std::string& source,
                                                                const BuildFlags& flags,
                                                                const std::string& spool_directory,
                                                                image::Monitor& monitor) {
  struct stat status {};
  if (source != "-" && ::stat(source.c_str(), &status) != 0) return failure_from(Errno::last(), source);
  const image::PathFilter filter(flags.excludes);
  if (source != "-" && S_ISDIR(status.st_mode)) {
    VARVE_ASSIGN(
        std::unique_ptr<image::TreeSource> opened,
        image::DirectorySource::open(
            source, {.filter = filter, .literal = flags.literal, .one_file_system = flags.one_file_system},
            monitor));
    return opened;
  }
  VARVE_ASSIGN(
      std::unique_ptr<image::TreeSource> opened,
      image::TarSource::open(source, {.filter = filter, .spool_directory = spool_directory}, monitor));
  return opened;
}

std::string creation_time(const image::BuildOptions& options) {
  return image::rfc3339(options.latest_mtime_seconds ? *options.latest_mtime_seconds : ::time(nullptr));
}

}  // namespace varve::imagetool
