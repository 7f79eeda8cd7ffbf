#pragma once

// image_at: which image lies at a path. Thread rule: stateless.

#include <memory>
#include <string>

#include "imagetool/transport/transport.h"

namespace varve::transport {

struct ImageAt {
  std::unique_ptr<ImageSource> source;  // null: no image lies there; perhaps a root file system
  // What to call it, from what the place calls it: a name and tag that parse_image_name() takes; empty: it has none.
  std::string suggested_name;
};

// `location`: PATH, or PATH:NAME where several images lie, of an OCI layout or an archive of one, or of what `docker save` writes;
// an archive that is both is a layout. In front may stand which of them it is, as containers-transports(5) has it: "oci:",
// "oci-archive:", "docker-archive:"; then something else there is a failure. `shown`: what messages call it when the path says nothing
// to anybody, which is then not suggested as name either; empty: `location`.
// `scratch_directory`: for what compressed archives hold.
// Returns: ENOENT when nothing lies at the path; what the sources return.
ResultOrFailure<ImageAt> image_at(const std::string& location, const std::string& scratch_directory,
                                  const std::string& shown = {});

}  // namespace varve::transport
