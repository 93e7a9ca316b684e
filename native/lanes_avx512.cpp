// The lane kernels for AVX-512 (F, DQ, BW, VL, CD).
#define WHYBOX_ISA avx512
#define WHYBOX_AVX512 1
#include "lanes.hpp"

namespace whybox::avx512 {

const InstructionSet kSet{"avx512", [] { return static_cast<bool>(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd")); }, &left, &below, &both, &count, &weigh, &part, &turn, walker<float, float>(), walker<float, double>(), walker<double, double>()};

}  // namespace whybox::avx512
