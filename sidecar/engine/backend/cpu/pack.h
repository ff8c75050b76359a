// Turns rows as they stand in a GGUF file into the panels of matrix_format.h. The same for every instruction
// set.
#pragma once
#include <cstdint>

#include "kernels/matrix_format.h"

namespace gs {

// Bytes of a row of `columns` values in the file.
int64_t file_row_bytes(MatrixFormat format, int64_t columns);

// Packs rows [16 panel, 16 panel + 16) of `file` (all rows, row after row) into `out`, which is panel_bytes()
// long and zeroed: rows past the end stay zero.
void pack_panel(MatrixFormat format, const uint8_t* file, int64_t rows, int64_t columns, int64_t panel,
                uint8_t* out);

}  // namespace gs
