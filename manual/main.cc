// varve_manual PROSE ENGINES OUT DATE: writes the pages of the manual and the completion scripts, when the project is built. PROSE: docs/man;
// ENGINES: the directory of engine.bash and its kin; OUT: where the tree of `share` is made; DATE: of the pages.
// varve_manual --list: what the pages must name, a line each, for their test.

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "fs/fuse/mount_options.h"
#include "manual/completion.h"
#include "manual/page.h"
#include "manual/programs.h"

namespace varve::manual {
namespace {

namespace filesystem = std::filesystem;

std::string read_file(const filesystem::path& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path.string() + ": cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const filesystem::path& path, const std::string& text) {
  filesystem::create_directories(path.parent_path());
  std::ofstream file(path);
  file << text;
  if (!file.flush()) throw std::runtime_error(path.string() + ": cannot be written");
}

class Writer {
 public:
  Writer(filesystem::path prose, filesystem::path engines, filesystem::path out, std::string date)
      : prose_(std::move(prose)),
        engines_(std::move(engines)),
        out_(std::move(out)),
        date_(std::move(date)) {}

  void write(const Command& program) {
    write_pages(program, nullptr, read_prose(prose_ / (program.name + "-commands.mdoc")));
    write_file(out_ / "bash-completion/completions" / program.name,
               bash_completion(program, read_file(engines_ / "engine.bash")));
    write_file(out_ / "zsh/site-functions" / ("_" + program.name),
               zsh_completion(program, read_file(engines_ / "engine.zsh")));
    write_file(out_ / "fish/vendor_completions.d" / (program.name + ".fish"),
               fish_completion(program, read_file(engines_ / "engine.fish")));
  }
  // mount(8) knows its helper by this name.
  void write_link(const std::string& name, const std::string& page) {
    write_file(out_ / "man/man8" / (name + ".8"), ".so man1/" + page + ".1\n");
  }

 private:
  void write_pages(const Command& command, const Command* parent, const Prose& common) {
    const std::string name = page_name(command.name);
    const Prose own = read_prose(prose_ / (name + ".mdoc"));
    write_file(out_ / "man/man1" / (name + ".1"),
               write_page({.command = command, .parent = parent, .own = own, .common = common}, date_));
    for (const Command& below : command.commands) write_pages(below, &command, common);
  }

  filesystem::path prose_;
  filesystem::path engines_;
  filesystem::path out_;
  std::string date_;
};

void list(const Command& command) {
  std::printf("page %s\n", page_name(command.name).c_str());
  for (const Command& below : command.commands) list(below);
}

int run(int argc, char** argv) {
  const std::vector<Command> programs = all_programs();
  if (argc == 2 && std::string(argv[1]) == "--list") {
    for (const Command& program : programs) list(program);
    for (const fuse::KnownMountOption& option : fuse::known_mount_options())
      std::printf("mount-option %s\n", option.name.c_str());
    return 0;
  }
  if (argc != 5) {
    std::fputs("usage: varve_manual PROSE ENGINES OUT DATE | --list\n", stderr);
    return 2;
  }
  // What a command that is no more has left must not be installed.
  filesystem::remove_all(argv[3]);
  Writer writer(argv[1], argv[2], argv[3], argv[4]);
  for (const Command& program : programs) writer.write(program);
  writer.write_link("mount.fuse.varvefs", "varvefs");
  return 0;
}

}  // namespace
}  // namespace varve::manual

int main(int argc, char** argv) {
  try {
    return varve::manual::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "varve_manual: %s\n", error.what());
    return 1;
  }
}
