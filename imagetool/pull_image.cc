#include "imagetool/pull_image.h"

#include "imagetool/transport/registry_source.h"

namespace varve::imagetool {

ResultOrFailure<PulledImage> pull_image(const transport::RegistryName& source, const image::ImageName& name,
                                        const RegistryFlags& flags, const transfer::BringInOptions& options,
                                        image::Store& store, ProgressMonitor& monitor) {
  VARVE_ASSIGN(const transport::RegistryOptions registry, registry_options(flags, monitor));
  VARVE_ASSIGN(const std::unique_ptr<transport::RegistrySource> opened,
               transport::RegistrySource::open(source, registry));
  VARVE_ASSIGN(image::Image image, transfer::bring_in(*opened, store, name, options, monitor));
  const std::string platform = options.platform ? " --platform " + options.platform->text() : "";
  VARVE_RETURN_IF_ERROR(store.note_source(name, source.text() + platform));
  return PulledImage{std::move(image), opened->manifest_digest()};
}

}  // namespace varve::imagetool
