// Which weights the operations of a pass over few tokens read: more than half of the time of such a pass that
// is not spent reading goes by while one worker computes norms and the memory is idle.
#pragma once
#include "program.h"
#include "thread_pool.h"

namespace gs {

// Empty for operations that read no weights, or that many tokens share.
Reading reading_of(const Op& op);

}  // namespace gs
