// Joins operations of a recorded pass where nobody can see the difference.
#pragma once
#include "program.h"

namespace gs {

// Two products, their geluMul and its rounding become one operation that writes neither product, if a later
// operation of the pass overwrites both before anything reads them.
void fuse_gated_products(Program& program);

}  // namespace gs
