// The int8 version of mutual attention (mutual_codes.cc), to be called if mutual_codes_available().
#pragma once
#include "kernels.h"

namespace gs::GS_ISA {

int64_t mutual_codes_bytes(const MutualAttentionArgs& args);
int64_t mutual_codes_pack_tasks(const MutualAttentionArgs& args);
void mutual_codes_pack(const MutualAttentionArgs& args, int64_t task);
int64_t mutual_codes_tasks(const MutualAttentionArgs& args);
void mutual_codes(const MutualAttentionArgs& args, int64_t task, float* scratch);

}  // namespace gs::GS_ISA
