// Where a product leaves its results: out[panel][token][16 rows], up to kTokenBlock tokens of a few panels.
#pragma once
#include <cstdint>

#include "kernels.h"
#include "matrix_format.h"

namespace gs {

// Floats from a panel's results to the next one's. Sixteen tokens (1 KiB) more than they take: at a distance
// of 8 KiB the results of two panels have the same address bits within a page, and each load waits for the
// store of the other panel just before it (measured: 57 to 75 % of the dot-product peak without, 77 % with).
constexpr int64_t kStripStride = (kTokenBlock + 16) * 16;

}  // namespace gs
