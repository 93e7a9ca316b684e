// The lane kernels for AVX2 and FMA.
#define WHYBOX_ISA avx2
#define WHYBOX_AVX2 1
#include "lanes.hpp"

namespace whybox::avx2 {

const InstructionSet kSet{"avx2", [] { return static_cast<bool>(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")); }, &left, &below, &both, &count, &weigh, &part, &turn, walker<float, float>(), walker<float, double>(), walker<double, double>()};

}  // namespace whybox::avx2
