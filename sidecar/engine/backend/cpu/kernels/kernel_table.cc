// Collects the kernels of one instruction set; compiled once for each, like the kernels themselves.
#include "kernel_table.h"

#include "kernels.h"

#define GS_TEXT(name) #name
#define GS_EXPANDED_TEXT(name) GS_TEXT(name)

namespace gs::GS_ISA {

const KernelTable& kernel_table() {
  static constexpr KernelTable kTable = {
      GS_EXPANDED_TEXT(GS_ISA),
      {rms_norm_tasks, rms_norm},
      {rope_tasks, rope},
      {kv_write_tasks, kv_write},
      {kv_compress_tasks, kv_compress},
      {kv_bound_tasks, kv_bound},
      {attention_select_tasks, attention_select},
      attention_partials_floats,
      {attention_tasks, attention},
      {attention_merge_tasks, attention_merge},
      {gelu_mul_tasks, gelu_mul},
      {add_tasks, add},
      {quantize_tasks, quantize},
      {matmul_tasks, matmul},
      {gated_matmul_tasks, gated_matmul},
      {panels_tasks, panels},
      {shadow_pack_tasks, shadow_pack},
      {screen_round_tasks, screen_round},
      screen_factors,
      {screen_tasks, screen},
      {embed_tasks, embed},
      {layer_norm_tasks, layer_norm},
      {add_bias_tasks, add_bias},
      {average_pool_tasks, average_pool},
      mutual_attention_bytes,
      {mutual_attention_pack_tasks, mutual_attention_pack},
      {mutual_attention_tasks, mutual_attention},
      mutual_codes_available,
      {strip_means_tasks, strip_means},
      {coded_pack_tasks, coded_pack},
      {coded_round_tasks, coded_round},
      {coded_matmul_tasks, coded_matmul},
      bf16_available,
      {bf16_pack_tasks, bf16_pack},
      {bf16_round_tasks, bf16_round},
      {bf16_matmul_tasks, bf16_matmul},
  };
  return kTable;
}

}  // namespace gs::GS_ISA
