#include "fs/daemon/command_line.h"

#include <CLI/CLI.hpp>
#include <vector>

namespace varve::daemon {
namespace {

constexpr const char* kDescription =
    "varvefs mounts a stack of read-only layers, optionally under a writable upper directory.\n\n"
    "Examples:\n"
    "  varvefs -o lowerdir=app.vrv:base.vrv /mnt\n"
    "  varvefs -o lowerdir=base.vrv,upperdir=up,workdir=work /mnt\n"
    "  varvefs --image debian:latest -o upperdir=up,workdir=work /mnt\n"
    "  mount -t fuse.varvefs none /mnt -o lowerdir=base.vrv\n"
    "  fusermount3 -u /mnt";

constexpr const char* kOptionsFooter =
    "Mount options (-o):\n"
    "  lowerdir=TOP:...:BOTTOM   layers: layer files or plain directories (escape ':' and ',' with '\\')\n"
    "  lowerlist=FILE            more layers, one a line, top first\n"
    "  upperdir=DIR,workdir=DIR  where writes go; both on one file system\n"
    "  ro, volatile, fsync=strict|auto|volatile|never\n"
    "  uidmapping=MAP, gidmapping=MAP   shift owners; MAP is CONTAINER:HOST:LENGTH[:...], stored and shown "
    "ids\n"
    "  xattr_permissions=2       keep owners and modes in xattrs (without it: where they cannot be given)\n"
    "  cache_mb=N                memory for decompressed data (64)\n"
    "  passthrough=auto|on|off   let the kernel read and write files of the upper itself (auto: where it "
    "allows it)\n"
    "  uring=auto|on|off         take requests over io_uring (auto: where the kernel offers it)\n"
    "  threads=N                 worker threads\n"
    "  logfile=FILE              log of a mount in the background (default: syslog)\n"
    "  nodev nosuid noexec noatime allow_other ...  as for mount(8)\n\n"
    "A mount point /dev/fd/N is an open /dev/fuse that the starter has mounted, or a socket through which\n"
    "it will come (one message, SCM_RIGHTS); layers and upper are opened before it is waited for.";

}  // namespace

ResultOrFailure<std::variant<CommandLine, int>> parse_command_line(int argc, char** argv) {
  CommandLine line;
  std::vector<std::string> option_strings;
  std::vector<std::string> positionals;
  CLI::App app(kDescription, "varvefs");
  app.footer(kOptionsFooter);
  app.set_version_flag("--version", "varvefs " VARVE_VERSION);
  app.add_flag("-f,--foreground", line.foreground, "Stay in the foreground, log to standard error");
  app.add_flag("-d,--debug", line.debug, "Print every request; implies -f");
  app.add_option("-o", option_strings, "Mount options, separated by commas; may be given several times")
      ->type_name("OPT[,OPT...]")
      ->expected(1)
      ->take_all();
  app.add_option("--image", line.image, "Mount this image of the store")->type_name("NAME[:TAG]|DIGEST");
  app.add_option("--store", line.store, "Image store to take --image from")->type_name("DIR");
  app.add_option("MOUNTPOINT", positionals,
                 "Directory to mount on; a source before it is ignored (mount helper form)")
      ->expected(1, 2)
      ->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return std::variant<CommandLine, int>(app.exit(error) == 0 ? 0 : 2);
  }
  line.mount_point = positionals.back();
  line.foreground = line.foreground || line.debug;
  for (const std::string& options : option_strings) {
    VARVE_RETURN_IF_ERROR(fuse::parse_mount_options(options, line.options));
  }
  return std::variant<CommandLine, int>(std::move(line));
}

}  // namespace varve::daemon
