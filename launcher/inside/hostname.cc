#include "launcher/inside/hostname.h"

#include <unistd.h>

#include "launcher/explain.h"

namespace varve::launcher {

StatusOrFailure set_hostname(const std::string& hostname) {
  if (::sethostname(hostname.data(), hostname.size()) != 0) {
    return explain(Errno::last(), "setting the host name", hostname);
  }
  return {};
}

}  // namespace varve::launcher
