#pragma once

// The processors that this process may use (sched_setaffinity(2)): those of its main thread, which is never bound to one.
// Thread rule: any thread.

#include <sched.h>

namespace varve {

// Empty when it cannot be found out.
cpu_set_t usable_processors();
// 1 when it cannot be found out.
unsigned count_usable_processors();

// Lets the calling thread run on all of them, for a thread takes over what the one that started it is bound to.
void use_all_processors();
// Binds the calling thread to one of them. Returns: false when the system refused it.
bool use_one_processor(unsigned number);

}  // namespace varve
