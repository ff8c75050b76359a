// Rotary position embedding in place, NeoX pairing: dimension i turns with dimension i + head_dim / 2 by the
// angle position * inv_freq[i].
//
// Angles reach 131072 rad, where F32 is 0.008 rad coarse, so the product and the reduction to [-pi/4, pi/4]
// are F64; sine and cosine of what remains are F32 polynomials. The loops over dimensions are plain: the
// compiler vectorises them, and without -ffast-math each element is computed on its own.
#include "kernels.h"
#include "kv_layout.h"
#include "simd.h"

namespace gs::GS_ISA {

namespace {

constexpr int64_t kTokensPerTask = 8;

// Rounds to an integer when added to an F64 of magnitude below 2^51.
constexpr double kRoundToInteger = 0x1.8p52;

// cos and sin of position * inv_freq[i] for i < half. Taylor on |r| <= pi/4: cos to r^10 leaves
// 1.2e-10, sin to r^9 leaves 1.8e-9, both below F32's own rounding.
void rotation(const float* inv_freq, int64_t half, int64_t position, float* cosine, float* sine) {
  constexpr double kTwoOverPi = 0.63661977236758134308;
  constexpr double kHalfPi = 1.57079632679489661923;
  const double pos = static_cast<double>(position);
  for (int64_t i = 0; i < half; ++i) {
    const double angle = pos * static_cast<double>(inv_freq[i]);
    const double shifted = angle * kTwoOverPi + kRoundToInteger;
    const double quarter_turns = shifted - kRoundToInteger;
    const float r = static_cast<float>(angle - quarter_turns * kHalfPi);
    // Quadrant 0..3, found without converting an F64 to an integer, which AVX2 cannot.
    const double whole_turns = (quarter_turns * 0.25 - 0.375 + kRoundToInteger) - kRoundToInteger;
    const float quadrant = static_cast<float>(quarter_turns - 4.0 * whole_turns);
    const float r2 = r * r;
    const float s = r + r * r2 * (-1.0f / 6 + r2 * (1.0f / 120 + r2 * (-1.0f / 5040 + r2 * (1.0f / 362880))));
    const float c =
        1.0f -
        r2 * (0.5f - r2 * (1.0f / 24 - r2 * (1.0f / 720 - r2 * (1.0f / 40320 - r2 * (1.0f / 3628800)))));
    const bool odd = quadrant == 1.0f || quadrant == 3.0f;
    const float cos_magnitude = odd ? s : c;
    const float sin_magnitude = odd ? c : s;
    cosine[i] = quadrant == 1.0f || quadrant == 2.0f ? -cos_magnitude : cos_magnitude;
    sine[i] = quadrant >= 2.0f ? -sin_magnitude : sin_magnitude;
  }
}

}  // namespace

int64_t rope_tasks(const RopeArgs& args) { return (args.tokens + kTokensPerTask - 1) / kTokensPerTask; }

void rope(const RopeArgs& args, int64_t task, float* scratch) {
  const int64_t half = args.head_dim / 2;
  float* cosine = scratch;
  float* sine = scratch + half;
  const int64_t first = task * kTokensPerTask;
  const int64_t last = first + kTokensPerTask < args.tokens ? first + kTokensPerTask : args.tokens;
  for (int64_t token = first; token < last; ++token) {
    rotation(args.inv_freq, half, args.position + token, cosine, sine);
    for (int64_t head = 0; head < args.heads; ++head) {
      float* low = args.x + (token * args.heads + head) * args.head_dim;
      float* high = low + half;
      for (int64_t i = 0; i < half; ++i) {
        const float a = low[i], b = high[i];
        low[i] = a * cosine[i] - b * sine[i];
        high[i] = a * sine[i] + b * cosine[i];
      }
    }
  }
}

}  // namespace gs::GS_ISA
