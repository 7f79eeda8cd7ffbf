#pragma once

// loopback: the one interface of a new network namespace, which the kernel makes but leaves down. Thread rule: one thread.

#include "fs/base/result.h"

namespace varve::launcher {

// Brings `lo` up, which gives it 127.0.0.1/8 and ::1/128. Requires: CAP_NET_ADMIN in the network namespace.
StatusOrFailure bring_loopback_up();

}  // namespace varve::launcher
