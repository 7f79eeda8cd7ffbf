#include "imagetool/image/store/conversions.h"

namespace varve::image {
namespace {

// The number is that of the rules by which tars are converted: what was made by others is not used again.
Digest key_of(const Digest& diff_id, const std::vector<Descriptor>& below) {
  std::string text = "varve conversion 1\n" + diff_id.text() + "\n";
  for (const Descriptor& layer : below) text += layer.digest.text() + "\n";
  return Digest::of(text);
}

}  // namespace

std::optional<Descriptor> Conversions::find(const Digest& diff_id, const std::vector<Descriptor>& below,
                                            const Store& store) const {
  const auto entry = entries_.find(key_of(diff_id, below), store);
  return entry ? entry->layer : std::nullopt;
}

StatusOrFailure Conversions::put(const Digest& diff_id, const std::vector<Descriptor>& below,
                                 const Descriptor& layer) const {
  return entries_.put(key_of(diff_id, below), {.created = "", .layer = layer});
}

}  // namespace varve::image
