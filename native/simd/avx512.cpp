// Vector operations of AVX-512 (F, DQ, BW, VL, CD): 16 floats or 8 doubles at a time. operations.hpp says what each one means.
#define WHYBOX_ISA avx512
#include <immintrin.h>

#include "simd/operations.hpp"

namespace whybox::avx512 {

template <int kind>
inline __mmask16 compare(const float* x, float t) {
    constexpr int predicates[] = {_CMP_LT_OQ, _CMP_NGE_UQ, _CMP_LE_OQ, _CMP_NGT_UQ}, predicate = predicates[kind];
    return _mm512_cmp_ps_mask(_mm512_load_ps(x), _mm512_set1_ps(t), predicate);
}
template <int kind>
inline __mmask8 compare(const double* x, double t) {
    constexpr int predicates[] = {_CMP_LT_OQ, _CMP_NGE_UQ, _CMP_LE_OQ, _CMP_NGT_UQ}, predicate = predicates[kind];
    return _mm512_cmp_pd_mask(_mm512_load_pd(x), _mm512_set1_pd(t), predicate);
}

// Which of 64 numbers, aligned, are below the cut.
inline std::uint64_t below64(const std::uint16_t* x, std::uint16_t cut) {
    const __m512i c = _mm512_set1_epi16(static_cast<short>(cut));
    const std::uint64_t low = _mm512_cmplt_epu16_mask(_mm512_load_si512(x), c);
    return low | static_cast<std::uint64_t>(_mm512_cmplt_epu16_mask(_mm512_load_si512(x + 32), c)) << 32;
}

// Partitions rows by eights (program.hpp, RowPartition); returns how many.
inline std::size_t partition_eights(const RowPartition& partition, const std::uint64_t* rows, std::size_t count, std::uint64_t* (&to)[2]) {
    const __m512i low = _mm512_set1_epi64(0xffff), player = _mm512_set1_epi64(0xffff0000), at_position =
        _mm512_set1_epi64(static_cast<std::int64_t>(partition.position << 16));
    const __m512i with_player = _mm512_set1_epi64(static_cast<std::int64_t>(pack_row(0, partition.position, kNoPlayer)));
    const __m256i cut = _mm256_set1_epi32(static_cast<int>(partition.cut)), extra = _mm256_set1_epi32(static_cast<int>(partition.extra));
    const auto keeps_right = static_cast<__mmask8>(-partition.has_points[0]), keeps_left = static_cast<__mmask8>(-partition.has_points[1]);
    std::uint64_t *right_to = to[0], *left_to = to[1];
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m512i r = _mm512_loadu_si512(rows + i), row = _mm512_and_si512(r, low), p = _mm512_and_si512(r, player);
        const __m256i c = _mm256_and_si256(_mm512_i64gather_epi32(row, partition.of_row, 2), _mm256_set1_epi32(0xffff));
        const __mmask8 left = _mm256_cmplt_epu32_mask(c, cut) | _mm256_cmpeq_epi32_mask(c, extra);
        const __mmask8 at_player = _mm512_cmpeq_epi64_mask(p, at_position), no_player = _mm512_cmpeq_epi64_mask(p, player);
        const __m512i other_side = _mm512_mask_blend_epi64(at_player, _mm512_or_si512(row, with_player), r);
        const auto to_left = static_cast<__mmask8>((left & ~at_player) | ((at_player | (no_player & ~left)) & keeps_left));
        const auto to_right = static_cast<__mmask8>((~left & ~at_player) | ((at_player | (no_player & left)) & keeps_right));
        _mm512_storeu_si512(left_to, _mm512_maskz_compress_epi64(to_left, _mm512_mask_blend_epi64(left, other_side, r)));
        _mm512_storeu_si512(right_to, _mm512_maskz_compress_epi64(to_right, _mm512_mask_blend_epi64(left, r, other_side)));
        left_to += __builtin_popcount(to_left);
        right_to += __builtin_popcount(to_right);
    }
    to[0] = right_to, to[1] = left_to;
    return i;
}

template <>
struct Lanes<float> {
    static constexpr int width = 16, table_bits = 7;  // the largest table that is looked up in registers
    using F = __m512;
    using I = __m512i;
    using M = __mmask16;
    static F load(const float* p) { return _mm512_load_ps(p); }
    static void store(float* p, F v) { _mm512_store_ps(p, v); }
    static F broadcast(float v) { return _mm512_set1_ps(v); }
    static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
    static F add(F a, F b) { return _mm512_add_ps(a, b); }
    static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
    static F blend(M m, F yes, F no) { return _mm512_mask_blend_ps(m, no, yes); }
    static F fma_where(M m, F a, F b, F c) { return _mm512_mask3_fmadd_ps(a, b, c, m); }
    static M all_true() { return 0xffff; }
    static M mask_and(M a, M b) { return a & b; }
    static M mask_and_not(M a, M b) { return a & static_cast<M>(~b); }
    static bool any(M m) { return m != 0; }
    static M from_bits(std::uint32_t bits) { return static_cast<M>(bits); }
    static I zero_index() { return _mm512_setzero_si512(); }
    static I set_bit(I i, M m, int bit) { return _mm512_mask_or_epi32(i, m, i, _mm512_set1_epi32(1 << bit)); }
    static I clear_bit(I i, M m, int bit) { return _mm512_mask_andnot_epi32(i, m, _mm512_set1_epi32(1 << bit), i); }
    template <int kind>
    static M less(const float* x, float t) { return compare<kind>(x, t); }
    template <int kind>
    static M less(const double* x, double t) { return static_cast<M>(compare<kind>(x, t) | compare<kind>(x + 8, t) << 8); }
    static F gather(const float* t, I i) { return _mm512_i32gather_ps(i, t, 4); }
    template <int bits>
    struct Table {  // 2^bits entries, at least four
        F part[bits <= 4 ? 1 : 1 << (bits - 4)];
        explicit Table(const float* t) {
            if constexpr (bits <= 2) part[0] = _mm512_broadcast_f32x4(_mm_load_ps(t));
            else if constexpr (bits == 3) part[0] = _mm512_castpd_ps(_mm512_broadcast_f64x4(_mm256_castps_pd(_mm256_load_ps(t))));
            else for (int k = 0; k < 1 << (bits - 4); ++k) part[k] = _mm512_load_ps(t + 16 * k);
        }
        F at(I i) const {
            if constexpr (bits <= 4) return _mm512_permutexvar_ps(i, part[0]);
            else if constexpr (bits == 5) return _mm512_permutex2var_ps(part[0], i, part[1]);
            else if constexpr (bits == 6) return half<0>(i);
            else return blend(_mm512_test_epi32_mask(i, _mm512_set1_epi32(64)), half<4>(i), half<0>(i));
        }
        template <int from>
        F half(I i) const {
            return blend(_mm512_test_epi32_mask(i, _mm512_set1_epi32(32)), _mm512_permutex2var_ps(part[from + 2], i, part[from + 3]),
                        _mm512_permutex2var_ps(part[from], i, part[from + 1]));
        }
    };
};

template <>
struct Lanes<double> {
    static constexpr int width = 8, table_bits = 6;
    using F = __m512d;
    using I = __m512i;
    using M = __mmask8;
    static F load(const double* p) { return _mm512_load_pd(p); }
    static void store(double* p, F v) { _mm512_store_pd(p, v); }
    static F broadcast(double v) { return _mm512_set1_pd(v); }
    static F mul(F a, F b) { return _mm512_mul_pd(a, b); }
    static F add(F a, F b) { return _mm512_add_pd(a, b); }
    static F fma(F a, F b, F c) { return _mm512_fmadd_pd(a, b, c); }
    static F blend(M m, F yes, F no) { return _mm512_mask_blend_pd(m, no, yes); }
    static F fma_where(M m, F a, F b, F c) { return _mm512_mask3_fmadd_pd(a, b, c, m); }
    static M all_true() { return 0xff; }
    static M mask_and(M a, M b) { return a & b; }
    static M mask_and_not(M a, M b) { return a & static_cast<M>(~b); }
    static bool any(M m) { return m != 0; }
    static M from_bits(std::uint32_t bits) { return static_cast<M>(bits); }
    static std::uint32_t to_bits(M m) { return m; }
    static I zero_index() { return _mm512_setzero_si512(); }
    static I set_bit(I i, M m, int bit) { return _mm512_mask_or_epi64(i, m, i, _mm512_set1_epi64(std::int64_t{1} << bit)); }
    static I clear_bit(I i, M m, int bit) { return _mm512_mask_andnot_epi64(i, m, _mm512_set1_epi64(std::int64_t{1} << bit), i); }
    template <int kind>
    static M less(const double* x, double t) { return compare<kind>(x, t); }
    using S = I;  // 64 bits a lane
    static F sub(F a, F b) { return _mm512_sub_pd(a, b); }
    static F div(F a, F b) { return _mm512_div_pd(a, b); }
    static F min(F a, F b) { return _mm512_min_pd(a, b); }
    static F max(F a, F b) { return _mm512_max_pd(a, b); }
    static M below(F a, F b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
    static S bits_of(F a) { return _mm512_castpd_si512(a); }
    static F number_of(S s) { return _mm512_castsi512_pd(s); }
    static S or_bits(S a, std::uint64_t b) { return _mm512_or_si512(a, _mm512_set1_epi64(static_cast<std::int64_t>(b))); }
    template <int bits>
    static S shift_left(S a) { return _mm512_slli_epi64(a, bits); }
    template <int bits>
    static S shift_right(S a) { return _mm512_srli_epi64(a, bits); }
    static S all_bits() { return _mm512_set1_epi64(-1); }
    static S and_bits(S a, S b) { return _mm512_and_si512(a, b); }
    static S and_bits(S a, std::uint64_t b) { return _mm512_and_si512(a, _mm512_set1_epi64(static_cast<std::int64_t>(b))); }
    static S and_unless_below(S a, const std::int32_t* x, std::int32_t cut, std::uint64_t b) {
        const __mmask8 not_below = _mm256_cmp_epi32_mask(_mm256_load_si256(reinterpret_cast<const __m256i*>(x)), _mm256_set1_epi32(cut), _MM_CMPINT_NLT);
        return _mm512_mask_and_epi64(a, not_below, a, _mm512_set1_epi64(static_cast<std::int64_t>(b)));
    }
    static I leading_zeros(S a) { return _mm512_lzcnt_epi64(a); }  // the first bit, the highest being zero
    static F gather(const double* t, I i) { return _mm512_i64gather_pd(i, t, 8); }
    template <int bits>
    struct Table {
        F part[bits <= 3 ? 1 : 1 << (bits - 3)];
        explicit Table(const double* t) {
            if constexpr (bits <= 2) part[0] = _mm512_broadcast_f64x4(_mm256_load_pd(t));
            else for (int k = 0; k < 1 << (bits - 3); ++k) part[k] = _mm512_load_pd(t + 8 * k);
        }
        F at(I i) const {
            if constexpr (bits <= 3) return _mm512_permutexvar_pd(i, part[0]);
            else if constexpr (bits == 4) return _mm512_permutex2var_pd(part[0], i, part[1]);
            else if constexpr (bits == 5) return half<0>(i);
            else return blend(_mm512_test_epi64_mask(i, _mm512_set1_epi64(32)), half<4>(i), half<0>(i));
        }
        template <int from>
        F half(I i) const {
            return blend(_mm512_test_epi64_mask(i, _mm512_set1_epi64(16)), _mm512_permutex2var_pd(part[from + 2], i, part[from + 3]),
                        _mm512_permutex2var_pd(part[from], i, part[from + 1]));
        }
    };
    static std::int64_t law_index(std::int64_t i) { return i; }
    template <int bits>
    struct Laws {
        Table<bits> table;
        explicit Laws(const double* t) : table(t) {}
        F at(const std::int64_t* p) const { return table.at(_mm512_load_si512(p)); }
    };
};

}  // namespace whybox::avx512

#include "simd/kernels.hpp"

namespace whybox::avx512 {

constinit const InstructionSet kSet = kernels("avx512", [] {
    return static_cast<bool>(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd"));
});

}  // namespace whybox::avx512
