#include "imagetool/registry_flags.h"

#include "imagetool/image/store/atomic_file.h"
#include "imagetool/transport/registry_credentials.h"

namespace varve::imagetool {

void add_registry_flags(CLI::App& command, RegistryFlags& flags) {
  command
      .add_option(
          "--creds", flags.credentials,
          "For the registry, in place of what podman login or docker login wrote (others see it in ps)")
      ->type_name("USER:PASSWORD");
  command
      .add_option("--authfile", flags.auth_file,
                  "Credentials (default: $REGISTRY_AUTH_FILE, else those of podman, then of docker)")
      ->type_name("FILE");
  command
      .add_option(
          "--cert-dir", flags.cert_dir,
          "*.crt: authorities trusted besides the system's; NAME.cert and NAME.key: shown to the registry "
          "(default: /etc/containers/certs.d/HOST, /etc/docker/certs.d/HOST)")
      ->type_name("DIR");
  command.add_flag("--tls-verify", flags.tls_verify,
                   "--tls-verify=false: trust any certificate, and speak plain http where there is no TLS "
                   "(to this machine it is spoken anyway)");
}

ResultOrFailure<transport::RegistryOptions> registry_options(const RegistryFlags& flags,
                                                             const ProgressMonitor& monitor) {
  transport::RegistryOptions options;
  options.tls_verify = flags.tls_verify;
  options.cert_dir = flags.cert_dir;
  options.auth_file = flags.auth_file;
  if (!flags.credentials.empty()) {
    VARVE_ASSIGN(options.credentials, transport::parse_credentials(flags.credentials));
  }
  options.http.cancelled = [&monitor] { return monitor.cancelled(); };
  return options;
}

StatusOrFailure write_digest_file(const std::string& path, const std::string& digest) {
  if (path.empty()) return {};
  const Status written = image::write_file_atomically(path, digest, 0644, image::Durability::kUntilReboot);
  if (!written.ok()) return failure_from(written.error(), path);
  return {};
}

}  // namespace varve::imagetool
