// What lives on the device: packed matrices, vectors, activations, KV arenas.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/kernels.h"
#include "kernels/kv_bounds.h"
#include "memory.h"

namespace gs {

// A smaller copy of a matrix that tells where its greatest products may be (kernels/screen.cc).
struct ShadowObject {
  Region panels, errors;

  const float* bounds() const { return reinterpret_cast<const float*>(errors.data()); }
};

struct MatrixObject {
  Slice panels;
  MatrixFormat format;
  int64_t rows, columns;
  std::shared_ptr<const ShadowObject> shadow;  // or null
  // The dispatcher's: a shadow on its way, and how many of its panels are there.
  std::shared_ptr<ShadowObject> growing;
  int64_t grown = 0;
  // Rounded for products only. kBf16: `panels` holds BF16 pairs (bf16_matmul.cc), and `format` says nothing.
  // kCodes: `panels` and `rest` are codes and what they leave over (coded_matmul.cc).
  enum class Rounding { kNone, kBf16, kCodes };
  Rounding rounding = Rounding::kNone;
  Slice rest;

  PackedMatrix packed() const { return {panels.data(), format, rows, columns}; }
};

struct VectorObject {
  Slice values;
  int64_t length;

  const float* data() const { return reinterpret_cast<const float*>(values.data()); }
};

struct ActivationObject {
  Region values;
  int64_t tokens, width;

  float* data() const { return reinterpret_cast<float*>(values.data()); }
};

// `pages` pages; each holds, for every layer, K and V of kPagePositions positions for every KV head
// (kv_layout.h, kv_codes.h).
struct KvArenaObject {
  Region memory;
  Region bounds;  // of keys (kv_bounds.h), page by page; empty where nobody chooses pages
  KvFormat format;
  int64_t layers, kv_heads, head_dim, pages;

  size_t layer_bytes() const { return kv_head_bytes(format, head_dim) * static_cast<size_t>(kv_heads); }
  size_t page_bytes() const { return layer_bytes() * static_cast<size_t>(layers); }
  uint8_t* page(int64_t index) const { return memory.data() + static_cast<size_t>(index) * page_bytes(); }
  size_t layer_bound_bytes() const { return kv_bound_bytes(head_dim) * static_cast<size_t>(kv_heads); }
  size_t page_bound_bytes() const { return layer_bound_bytes() * static_cast<size_t>(layers); }
};

}  // namespace gs
