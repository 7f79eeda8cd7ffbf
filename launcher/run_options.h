#pragma once

// RunOptions: what a person typed after `varve run`, before anything is looked up. A plain value.

#include <optional>
#include <string>
#include <vector>

#include "launcher/namespaces.h"
#include "launcher/options/id_options.h"
#include "launcher/options/lifetime_options.h"
#include "launcher/options/limit_options.h"
#include "launcher/options/mount_options.h"
#include "launcher/options/namespace_options.h"
#include "launcher/options/network_options.h"
#include "launcher/options/security_options.h"
#include "launcher/options/setting_options.h"

namespace varve::launcher {

struct RunOptions {
  std::string image;                   // IMAGE or ROOTFS-DIR; empty with `layers`
  std::vector<std::string> arguments;  // COMMAND [ARG...]

  std::string store;                // empty: image::default_store_path()
  std::vector<std::string> layers;  // --layers, top first
  std::string upper;                // --upper, --work: both or neither
  std::string work;
  bool read_only = false;

  std::string name;  // empty: generated
  std::string hostname;
  bool remove_afterwards = false;
  NamespaceSet shared;
  JoinWords joined;

  bool interactive = false;
  bool terminal = false;
  bool init = true;
  std::vector<std::string> environment;        // -e
  std::vector<std::string> environment_files;  // --env-file
  std::string working_directory;
  std::string user;
  std::optional<std::string> entrypoint;  // "" resets the image's

  std::vector<std::string> capabilities_added;
  std::vector<std::string> capabilities_dropped;
  SecurityOptions security;
  SettingOptions settings;

  LifetimeOptions lifetime;
  MountOptions mounts;
  IdOptions ids;

  LimitOptions limits;

  NetworkOptions network;

  bool dry_run = false;
};

}  // namespace varve::launcher
