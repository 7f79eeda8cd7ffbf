#pragma once

// Where this process stands among user namespaces. Thread rule: any thread.

namespace varve {

// Whether it is in the initial user namespace, the one that maps all ids to themselves (user_namespaces(7)): asked once.
bool in_initial_user_namespace();

}  // namespace varve
