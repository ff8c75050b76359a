// The int8 products of the instruction set that a kernel is compiled for.
#pragma once
#if defined(__AVX512VNNI__)
#include "int8_avx512.h"
#elif defined(__AVX2__)
#include "int8_avx2.h"
#elif defined(__ARM_FEATURE_DOTPROD)
#include "int8_neon.h"
#else
#include "int8_scalar.h"
#endif
