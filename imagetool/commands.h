#pragma once

// The commands of imagetool, one .cc file each: every add_* puts its command and options into the parser,
// whose callback runs it. What they share: where results, messages and the image store are. Thread rule: the
// main thread; only interrupts (signals) come from outside.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "fs/layer/layer.h"
#include "imagetool/human_text.h"
#include "imagetool/image/layer_builder.h"
#include "imagetool/image/store/store.h"
#include "imagetool/image/writer/layer_output.h"
#include "imagetool/progress.h"

namespace varve::imagetool {

// What all commands know. Lives in main().
struct Context {
  std::string store_directory;  // --store; empty: the default
  std::string progress = "auto";
  int exit_status = 0;

  ResultOrFailure<image::Store> open_store() const;
  std::unique_ptr<ProgressMonitor> monitor() const { return ProgressMonitor::make(progress); }
};

// Runs `work` for a command: a failure becomes "imagetool: DOING: WHY" on standard error and exit status 1,
// and so does a standard output that cannot be written.
void run_command(Context& context, std::string_view doing, const std::function<StatusOrFailure()>& work);

// One line on standard error; does not disturb the exit status.
void print_warning(std::string_view text);

// The layer file or directory at `path`, its damage told in one line each by the log. `parents`: layers below it, the nearest
// first, in which it finds what it inherits.
ResultOrFailure<std::shared_ptr<layer::Layer>> open_for_reading(const std::string& path,
                                                                const std::vector<std::string>& parents);
// The option --parent LAYER, into `parents`.
void add_parent_option(CLI::App& command, std::vector<std::string>& parents);

// Names of others' making, safe on a terminal: control characters and backslashes as \ooo.
std::string printable(std::string_view name);
// "drwxr-xr-x", as ls(1).
std::string mode_text(std::uint32_t mode);
// Prints to standard output.
void print(std::string_view text);

// A new file, or one that is replaced when it is complete; what is there and no file is written to; "-": standard output.
// Returns: EINVAL for standard output that is a terminal.
ResultOrFailure<std::unique_ptr<image::LayerOutput>> open_output(const std::string& path);

// What an extraction that lost `losses` things, each told before, ends with.
StatusOrFailure check_losses(const std::string& what, std::uint64_t losses);

// Options that everything that builds a layer has.
struct BuildFlags {
  std::string profile = "default";
  std::optional<int> level;                 // instead of the profile's
  std::optional<std::uint64_t> frame_size;  // likewise, bytes
  unsigned jobs = 0;
  bool verify = false;
  std::vector<std::string> excludes;
  std::string owner;
  std::string source_date_epoch;
  bool literal = false;
  bool one_file_system = false;
};
void add_build_flags(CLI::App& command, BuildFlags& flags);
// Of these only how well and with how many threads a layer is compressed, and the latest time in it. `level`: the help for --level.
void add_layer_flags(CLI::App& command, BuildFlags& flags, const std::string& level);
// Returns: EINVAL for an owner or epoch that is none.
ResultOrFailure<image::BuildOptions> build_options(const BuildFlags& flags, const std::string& output_path);
// A directory, a tar file or "-". `spool_directory` for tar streams.
ResultOrFailure<std::unique_ptr<image::TreeSource>> open_source(const std::string& source,
                                                                const BuildFlags& flags,
                                                                const std::string& spool_directory,
                                                                image::Monitor& monitor);
// The time to record as creation: --source-date-epoch, $SOURCE_DATE_EPOCH, now.
std::string creation_time(const image::BuildOptions& options);

void add_layer_build(CLI::App& layer, Context& context);
void add_layer_inspect(CLI::App& layer, Context& context);
void add_layer_ls(CLI::App& layer, Context& context);
void add_layer_tree(CLI::App& layer, Context& context);
void add_layer_cat(CLI::App& layer, Context& context);
void add_layer_extract(CLI::App& layer, Context& context);
void add_layer_diff(CLI::App& layer, Context& context);
void add_layer_verify(CLI::App& layer, Context& context);
void add_build(CLI::App& app, Context& context);
void add_import(CLI::App& app, Context& context);
void add_pull(CLI::App& app, Context& context);
void add_push(CLI::App& app, Context& context);
void add_commit(CLI::App& app, Context& context);
void add_images(CLI::App& app, Context& context);
void add_inspect(CLI::App& app, Context& context);
void add_history(CLI::App& app, Context& context);
void add_tag(CLI::App& app, Context& context);
void add_rm(CLI::App& app, Context& context);
void add_verify(CLI::App& app, Context& context);
void add_diff(CLI::App& app, Context& context);
void add_squash(CLI::App& app, Context& context);
void add_stats(CLI::App& app, Context& context);
void add_mount(CLI::App& app, Context& context);
void add_umount(CLI::App& app, Context& context);
void add_gc(CLI::App& app, Context& context);
void add_export(CLI::App& app, Context& context);

}  // namespace varve::imagetool
