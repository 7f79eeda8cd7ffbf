#pragma once

// Conversions: which varve layer a tar layer of others became when it was brought in (imagetool/transfer), so that it need be neither
// fetched nor converted again (docs/decisions/0018):
//
//   STORE/conversions/HEX      as an entry of the BuildCache has it; HEX is of the tar's diff_id and the digests of the layers below
//
// Only who has seen that a tar is what its diff_id says, and has converted it over those layers, may put an entry: what images say of
// themselves is no entry. gc() keeps nothing for it, and removes entries of layers that went. It may be deleted at any time.
// Thread rule: stateless calls; entries appear whole.

#include <optional>
#include <string>
#include <vector>

#include "imagetool/image/store/build_cache.h"

namespace varve::image {

class Conversions {
 public:
  // `store_directory`: of a Store. Nothing is created here.
  explicit Conversions(const std::string& store_directory) : entries_(store_directory, "conversions") {}

  // `below`: bottom first. Empty when there is none, or when its layer is not in the store any more.
  std::optional<Descriptor> find(const Digest& diff_id, const std::vector<Descriptor>& below,
                                 const Store& store) const;
  // Requires: `layer` is in the store for good.
  StatusOrFailure put(const Digest& diff_id, const std::vector<Descriptor>& below,
                      const Descriptor& layer) const;
  // Takes away the entries of layers that are not in the store.
  StatusOrFailure forget_absent(const Store& store) const { return entries_.forget_absent(store); }

 private:
  BuildCache entries_;
};

}  // namespace varve::image
