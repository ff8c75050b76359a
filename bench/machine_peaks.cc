// What this machine can do at most: int8 and BF16 multiply-adds by the widest dot-product instructions, and
// reading memory. Prints one JSON object. Usage: machine_peaks THREADS
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#if defined(__AVX512VNNI__)
#include <immintrin.h>
#endif

namespace {

double now(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

#if defined(__AVX512VNNI__)
// Operations (a multiplication and an addition are two) a second of one thread's own time.
double int8_rate() {
  constexpr int kRounds = 1 << 20, kChains = 16;
  __m512i acc[kChains] = {}, a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
  const double start = now(CLOCK_THREAD_CPUTIME_ID);
  for (int i = 0; i < kRounds; i++) {
    // Assembly, since the compiler would see that all chains are alike and compute one.
#pragma GCC unroll 16
    for (int j = 0; j < kChains; j++) asm volatile("vpdpbusd %2, %1, %0" : "+v"(acc[j]) : "v"(a), "v"(b));
  }
  const double seconds = now(CLOCK_THREAD_CPUTIME_ID) - start;
  int32_t keep = 0;
#pragma GCC unroll 16
  for (int j = 0; j < kChains; j++) keep += _mm512_reduce_add_epi32(acc[j]);
  asm volatile("" : : "r"(keep));
  return 128.0 * kChains * kRounds / seconds;
}
#else
double int8_rate() { return 0; }
#endif

#if defined(__AVX512BF16__)
double bf16_rate() {
  constexpr int kRounds = 1 << 20, kChains = 16;
  __m512 acc[kChains] = {}, a = _mm512_setzero_ps(), b = _mm512_setzero_ps();
  const double start = now(CLOCK_THREAD_CPUTIME_ID);
  for (int i = 0; i < kRounds; i++) {
#pragma GCC unroll 16
    for (int j = 0; j < kChains; j++) asm volatile("vdpbf16ps %2, %1, %0" : "+v"(acc[j]) : "v"(a), "v"(b));
  }
  const double seconds = now(CLOCK_THREAD_CPUTIME_ID) - start;
  float keep = 0;
#pragma GCC unroll 16
  for (int j = 0; j < kChains; j++) keep += _mm512_reduce_add_ps(acc[j]);
  asm volatile("" : : "r"(keep));
  return 64.0 * kChains * kRounds / seconds;
}
#else
double bf16_rate() { return 0; }
#endif

double read_seconds(const uint8_t* from, size_t bytes) {
  const double start = now(CLOCK_MONOTONIC);
#if defined(__AVX512VNNI__)
  __m512i sum[4] = {};
  for (size_t i = 0; i < bytes; i += 256) {
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++) sum[j] = _mm512_add_epi64(sum[j], _mm512_load_si512(from + i + 64 * j));
    __builtin_prefetch(from + i + 4096);
    __builtin_prefetch(from + i + 4160);
    __builtin_prefetch(from + i + 4224);
    __builtin_prefetch(from + i + 4288);
  }
  const uint64_t keep = static_cast<uint64_t>(_mm512_reduce_add_epi64(sum[0] + sum[1] + sum[2] + sum[3]));
#else
  uint64_t keep = 0;
  for (size_t i = 0; i < bytes; i += 8) keep += *reinterpret_cast<const uint64_t*>(from + i);
#endif
  asm volatile("" : : "r"(keep));
  return now(CLOCK_MONOTONIC) - start;
}

// Best of `repeats`: every thread runs `body(thread)`, which returns a rate or a time of its own.
template <class Body>
std::vector<double> on_threads(int threads, const Body& body) {
  std::vector<double> results(static_cast<size_t>(threads));
  std::vector<std::thread> running;
  for (int i = 0; i < threads; i++)
    running.emplace_back([&, i] { results[static_cast<size_t>(i)] = body(i); });
  for (auto& thread : running) thread.join();
  return results;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  constexpr size_t kShare = size_t{256} << 20;
  const size_t bytes = kShare * static_cast<size_t>(threads);
  void* map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (threads < 1 || map == MAP_FAILED) return 1;
  madvise(map, bytes, MADV_HUGEPAGE);
  auto* memory = static_cast<uint8_t*>(map);
  std::fill_n(memory, bytes, uint8_t{1});
  double int8 = 0, bf16 = 0, read = 0;
  for (int repeat = 0; repeat < 8; repeat++) {
    double sum = 0;
    for (const double rate : on_threads(threads, [](int) { return int8_rate(); })) sum += rate;
    int8 = std::max(int8, sum);
    sum = 0;
    for (const double rate : on_threads(threads, [](int) { return bf16_rate(); })) sum += rate;
    bf16 = std::max(bf16, sum);
    const auto times = on_threads(
        threads, [&](int i) { return read_seconds(memory + kShare * static_cast<size_t>(i), kShare); });
    read = std::max(read, static_cast<double>(bytes) / *std::max_element(times.begin(), times.end()));
  }
  std::printf("{\"int8_gops\": %.0f, \"bf16_gflops\": %.0f, \"read_gbps\": %.1f}\n", int8 * 1e-9, bf16 * 1e-9,
              read * 1e-9);
}
