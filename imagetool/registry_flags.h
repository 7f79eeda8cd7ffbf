#pragma once

// The options that pull and push share: who we are to a registry, and whom we trust. Thread rule: the main thread.

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "fs/base/result.h"
#include "imagetool/progress.h"
#include "imagetool/transport/registry_client.h"

namespace varve::imagetool {

struct RegistryFlags {
  std::string credentials;  // USER:PASSWORD
  std::string auth_file;
  std::string cert_dir;
  bool tls_verify = true;
};
void add_registry_flags(CLI::App& command, RegistryFlags& flags);
// `monitor` must outlive what is made with the options. Returns: EINVAL for credentials that are none.
ResultOrFailure<transport::RegistryOptions> registry_options(const RegistryFlags& flags,
                                                             const ProgressMonitor& monitor);

// Writes `digest` and nothing else to the file at `path`; nothing for an empty path.
StatusOrFailure write_digest_file(const std::string& path, const std::string& digest);

}  // namespace varve::imagetool
