// Vector operations of AVX2 and FMA: 8 floats or 4 doubles at a time. operations.hpp says what each one means.
#define WHYBOX_ISA avx2
#include <immintrin.h>

#include "simd/operations.hpp"

namespace whybox::avx2 {

inline std::size_t partition_eights(const RowPartition&, const std::uint64_t*, std::size_t, std::uint64_t* (&)[2]) { return 0; }

inline std::uint32_t below32(const std::uint16_t* x, __m256i largest) {
    const __m256i a = _mm256_load_si256(reinterpret_cast<const __m256i*>(x)), b = _mm256_load_si256(reinterpret_cast<const __m256i*>(x + 16));
    const __m256i packed = _mm256_packs_epi16(_mm256_cmpeq_epi16(_mm256_min_epu16(a, largest), a), _mm256_cmpeq_epi16(_mm256_min_epu16(b, largest), b));
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_permute4x64_epi64(packed, 0xd8)));
}
inline std::uint64_t below64(const std::uint16_t* x, std::uint16_t cut) {
    if (cut == 0) return 0;
    const __m256i largest = _mm256_set1_epi16(static_cast<short>(cut - 1));
    return below32(x, largest) | static_cast<std::uint64_t>(below32(x + 32, largest)) << 32;
}

template <>
struct Lanes<float> {
    static constexpr int width = 8, table_bits = 4;
    using F = __m256;
    using I = __m256i;
    using M = __m256;
    static F load(const float* p) { return _mm256_load_ps(p); }
    static void store(float* p, F v) { _mm256_store_ps(p, v); }
    static F broadcast(float v) { return _mm256_set1_ps(v); }
    static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
    static F add(F a, F b) { return _mm256_add_ps(a, b); }
    static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
    static F blend(M m, F yes, F no) { return _mm256_blendv_ps(no, yes, m); }
    static F fma_where(M m, F a, F b, F c) { return blend(m, fma(a, b, c), c); }
    static M all_true() { return _mm256_castsi256_ps(_mm256_set1_epi32(-1)); }
    static M mask_and(M a, M b) { return _mm256_and_ps(a, b); }
    static M mask_and_not(M a, M b) { return _mm256_andnot_ps(b, a); }
    static bool any(M m) { return _mm256_movemask_ps(m) != 0; }
    static M from_bits(std::uint32_t bits) {
        const I one = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), one), one));
    }
    static I zero_index() { return _mm256_setzero_si256(); }
    static I set_bit(I i, M m, int bit) { return _mm256_or_si256(i, _mm256_and_si256(_mm256_castps_si256(m), _mm256_set1_epi32(1 << bit))); }
    static I clear_bit(I i, M m, int bit) { return _mm256_andnot_si256(_mm256_and_si256(_mm256_castps_si256(m), _mm256_set1_epi32(1 << bit)), i); }
    template <int kind>
    static M less(const float* x, float t) {
        constexpr int predicates[] = {_CMP_LT_OQ, _CMP_NGE_UQ, _CMP_LE_OQ, _CMP_NGT_UQ}, predicate = predicates[kind];
        return _mm256_cmp_ps(load(x), broadcast(t), predicate);
    }
    template <int kind>
    static M less(const double* x, double t) {
        constexpr int predicates[] = {_CMP_LT_OQ, _CMP_NGE_UQ, _CMP_LE_OQ, _CMP_NGT_UQ}, predicate = predicates[kind];
        const __m256d v = _mm256_set1_pd(t);
        const int low = _mm256_movemask_pd(_mm256_cmp_pd(_mm256_load_pd(x), v, predicate));
        const int high = _mm256_movemask_pd(_mm256_cmp_pd(_mm256_load_pd(x + 4), v, predicate));
        return from_bits(static_cast<std::uint32_t>(low | high << 4));
    }
    static F gather(const float* t, I i) { return _mm256_i32gather_ps(t, i, 4); }
    template <int bits>
    struct Table {
        F part[bits <= 3 ? 1 : 2];
        explicit Table(const float* t) {
            static_assert(bits <= table_bits);
            if constexpr (bits <= 2) part[0] = _mm256_broadcast_ps(reinterpret_cast<const __m128*>(t));
            else for (int k = 0; k < 1 << (bits - 3); ++k) part[k] = _mm256_load_ps(t + 8 * k);
        }
        F at(I i) const {
            const F low = _mm256_permutevar8x32_ps(part[0], i);
            if constexpr (bits <= 3) return low;
            else return blend(_mm256_castsi256_ps(_mm256_slli_epi32(i, 28)), _mm256_permutevar8x32_ps(part[1], i), low);  // bit 3 is the sign
        }
    };
};

template <>
struct Lanes<double> {
    static constexpr int width = 4, table_bits = 2;
    using F = __m256d;
    using I = __m256i;  // 64-bit
    using M = __m256d;
    static F load(const double* p) { return _mm256_load_pd(p); }
    static void store(double* p, F v) { _mm256_store_pd(p, v); }
    static F broadcast(double v) { return _mm256_set1_pd(v); }
    static F mul(F a, F b) { return _mm256_mul_pd(a, b); }
    static F add(F a, F b) { return _mm256_add_pd(a, b); }
    static F fma(F a, F b, F c) { return _mm256_fmadd_pd(a, b, c); }
    static F blend(M m, F yes, F no) { return _mm256_blendv_pd(no, yes, m); }
    static F fma_where(M m, F a, F b, F c) { return blend(m, fma(a, b, c), c); }
    static M all_true() { return _mm256_castsi256_pd(_mm256_set1_epi32(-1)); }
    static M mask_and(M a, M b) { return _mm256_and_pd(a, b); }
    static M mask_and_not(M a, M b) { return _mm256_andnot_pd(b, a); }
    static bool any(M m) { return _mm256_movemask_pd(m) != 0; }
    static M from_bits(std::uint32_t bits) {
        const I one = _mm256_setr_epi64x(1, 2, 4, 8);
        return _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(bits), one), one));
    }
    static std::uint32_t to_bits(M m) { return static_cast<std::uint32_t>(_mm256_movemask_pd(m)); }
    static I zero_index() { return _mm256_setzero_si256(); }
    static I set_bit(I i, M m, int bit) { return _mm256_or_si256(i, _mm256_and_si256(_mm256_castpd_si256(m), _mm256_set1_epi64x(std::int64_t{1} << bit))); }
    static I clear_bit(I i, M m, int bit) { return _mm256_andnot_si256(_mm256_and_si256(_mm256_castpd_si256(m), _mm256_set1_epi64x(std::int64_t{1} << bit)), i); }
    template <int kind>
    static M less(const double* x, double t) {
        constexpr int predicates[] = {_CMP_LT_OQ, _CMP_NGE_UQ, _CMP_LE_OQ, _CMP_NGT_UQ}, predicate = predicates[kind];
        return _mm256_cmp_pd(load(x), broadcast(t), predicate);
    }
    using S = I;
    static F sub(F a, F b) { return _mm256_sub_pd(a, b); }
    static F div(F a, F b) { return _mm256_div_pd(a, b); }
    static F min(F a, F b) { return _mm256_min_pd(a, b); }
    static F max(F a, F b) { return _mm256_max_pd(a, b); }
    static M below(F a, F b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
    static S bits_of(F a) { return _mm256_castpd_si256(a); }
    static F number_of(S s) { return _mm256_castsi256_pd(s); }
    static S or_bits(S a, std::uint64_t b) { return _mm256_or_si256(a, _mm256_set1_epi64x(static_cast<std::int64_t>(b))); }
    template <int bits>
    static S shift_left(S a) { return _mm256_slli_epi64(a, bits); }
    template <int bits>
    static S shift_right(S a) { return _mm256_srli_epi64(a, bits); }
    static S all_bits() { return _mm256_set1_epi64x(-1); }
    static S and_bits(S a, S b) { return _mm256_and_si256(a, b); }
    static S and_bits(S a, std::uint64_t b) { return _mm256_and_si256(a, _mm256_set1_epi64x(static_cast<std::int64_t>(b))); }
    static S and_unless_below(S a, const std::int32_t* x, std::int32_t cut, std::uint64_t b) {
        const __m128i below = _mm_cmpgt_epi32(_mm_set1_epi32(cut), _mm_load_si128(reinterpret_cast<const __m128i*>(x)));
        return _mm256_and_si256(a, _mm256_or_si256(_mm256_cvtepi32_epi64(below), _mm256_set1_epi64x(static_cast<std::int64_t>(b))));
    }
    static I leading_zeros(S a) {
        alignas(32) std::uint64_t v[4];
        _mm256_store_si256(reinterpret_cast<__m256i*>(v), a);
        return _mm256_setr_epi64x(__builtin_clzll(v[0]), __builtin_clzll(v[1]), __builtin_clzll(v[2]), __builtin_clzll(v[3]));
    }
    static F gather(const double* t, I i) { return _mm256_i64gather_pd(t, i, 8); }
    template <int bits>
    struct Table {
        const double* t;
        explicit Table(const double* table) : t(table) {}
        F at(I i) const { return gather(t, i); }
    };
    static std::int64_t law_index(std::int64_t i) { return 2 * i | (2 * i + 1) << 32; }  // of both halves of the number
    template <int bits>
    struct Laws {
        const double* t;
        __m256 part[bits == 3 ? 2 : 1];
        explicit Laws(const double* table) : t(table) {
            if constexpr (bits <= 3) for (int k = 0; k < bits - 1; ++k) part[k] = _mm256_castpd_ps(_mm256_load_pd(table + 4 * k));
        }
        F at(const std::int64_t* p) const {
            const I i = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
            if constexpr (bits > 3) return _mm256_i64gather_pd(t, _mm256_and_si256(i, _mm256_set1_epi64x(0xff)), 4);
            else {
                const __m256 low = _mm256_permutevar8x32_ps(part[0], i);
                if constexpr (bits == 2) return _mm256_castps_pd(low);
                else return _mm256_castps_pd(_mm256_blendv_ps(low, _mm256_permutevar8x32_ps(part[1], i), _mm256_castsi256_ps(_mm256_slli_epi32(i, 28))));  // bit 3 is the sign
            }
        }
    };
};

}  // namespace whybox::avx2

#include "simd/kernels.hpp"

namespace whybox::avx2 {

constinit const InstructionSet kSet = kernels("avx2", [] {
    return static_cast<bool>(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
});

}  // namespace whybox::avx2
