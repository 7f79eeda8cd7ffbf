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
    "  varvefs --status /mnt\n"
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
    "  wakeup_us=N               have processors wake up within N us while many requests come; root\n"
    "  threads=N                 worker threads\n"
    "  logfile=FILE              log of a mount in the background (default: syslog)\n"
    "  nodev nosuid noexec noatime allow_other ...  as for mount(8)\n\n"
    "A mount point /dev/fd/N is an open /dev/fuse that the starter has mounted, or a socket through which\n"
    "it will come (one message, SCM_RIGHTS); layers and upper are opened before it is waited for.";

struct Words {
  CommandLine line;
  std::vector<std::string> options;
  std::vector<std::string> positionals;
};

void declare(CLI::App& app, Words& words) {
  app.name("varvefs");
  app.description(kDescription);
  app.footer(kOptionsFooter);
  app.set_version_flag("--version", "varvefs " VARVE_VERSION);
  app.add_flag("-f,--foreground", words.line.foreground, "Stay in the foreground, log to standard error");
  app.add_flag("-d,--debug", words.line.debug, "Print every request; implies -f");
  app.add_option("-o", words.options, "Mount options, separated by commas; may be given several times")
      ->type_name("OPT[,OPT...]")
      ->expected(1)
      ->take_all();
  app.add_option("--image", words.line.image, "Mount this image of the store")
      ->type_name("NAME[:TAG]|DIGEST");
  app.add_option("--store", words.line.store, "Image store to take --image from")->type_name("DIR");
  CLI::Option* status = app.add_flag("--status", words.line.status,
                                     "Tell of the mount at MOUNTPOINT: layers, requests, cache, memory")
                            ->excludes("-o");
  app.add_flag("--json", words.line.json, "Tell it as JSON")->needs(status);
  app.add_option("MOUNTPOINT", words.positionals,
                 "Directory to mount on; a source before it is ignored (mount helper form)")
      ->expected(1, 2)
      ->required();
}

}  // namespace

void describe_command_line(const std::function<void(CLI::App&)>& look) {
  Words words;
  CLI::App app;
  declare(app, words);
  look(app);
}

ResultOrFailure<std::variant<CommandLine, int>> parse_command_line(int argc, char** argv) {
  Words words;
  CLI::App app;
  declare(app, words);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return std::variant<CommandLine, int>(app.exit(error) == 0 ? 0 : 2);
  }
  CommandLine& line = words.line;
  line.mount_point = words.positionals.back();
  line.foreground = line.foreground || line.debug;
  for (const std::string& options : words.options) {
    VARVE_RETURN_IF_ERROR(fuse::parse_mount_options(options, line.options));
  }
  return std::variant<CommandLine, int>(std::move(line));
}

}  // namespace varve::daemon
