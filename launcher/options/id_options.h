#pragma once

// IdOptions: what a person typed of user and group ids after `varve run`. A plain value.

#include <string>

namespace varve::launcher {

class OptionList;

struct IdOptions {
  std::string user_namespace;  // --userns; empty: choose_ids (idmap.h) says
};

void declare_id_options(OptionList& list, IdOptions& options);

}  // namespace varve::launcher
