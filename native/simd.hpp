// A handful of vector operations, one spelling for three instruction sets. A file that includes this one is compiled several times
// (lanes_plain.cpp, lanes_avx2.cpp, lanes_avx512.cpp); WHYBOX_ISA names the namespace, so no function is shared between them and no
// instruction leaks into code that runs on a processor without it. For the same reason nothing here uses the standard library.
//
// Lanes<T>: `width` rows side by side, each lane one row of arithmetic type T. Masks say for each lane yes or no; indices pick a table entry.
#pragma once

#include "program.hpp"

#if defined(WHYBOX_AVX512) || defined(WHYBOX_AVX2)
#include <immintrin.h>
#endif

namespace whybox::WHYBOX_ISA {

#if defined(WHYBOX_AVX512)

template <int kind>
inline __mmask16 compare(const float* x, float t) {
    constexpr int op[] = {_CMP_LT_OQ, _CMP_NGE_UQ, _CMP_LE_OQ, _CMP_NGT_UQ};
    return _mm512_cmp_ps_mask(_mm512_load_ps(x), _mm512_set1_ps(t), op[kind]);
}
template <int kind>
inline __mmask8 compare(const double* x, double t) {
    constexpr int op[] = {_CMP_LT_OQ, _CMP_NGE_UQ, _CMP_LE_OQ, _CMP_NGT_UQ};
    return _mm512_cmp_pd_mask(_mm512_load_pd(x), _mm512_set1_pd(t), op[kind]);
}

// Which of 64 numbers, aligned, are below the cut.
inline std::uint64_t below64(const std::uint16_t* x, std::uint16_t cut) {
    const __m512i c = _mm512_set1_epi16(static_cast<short>(cut));
    const std::uint64_t low = _mm512_cmplt_epu16_mask(_mm512_load_si512(x), c);
    return low | static_cast<std::uint64_t>(_mm512_cmplt_epu16_mask(_mm512_load_si512(x + 32), c)) << 32;
}

// Parts rows by eights (program.hpp, Parting); returns how many.
inline std::size_t part_eights(const Parting& how, const std::uint64_t* rows, std::size_t many, std::uint64_t* (&to)[2]) {
    const __m512i low = _mm512_set1_epi64(0xffff), player = _mm512_set1_epi64(0xffff0000), mine_at = _mm512_set1_epi64(static_cast<std::int64_t>(how.place << 16));
    const __m512i astray = _mm512_set1_epi64(static_cast<std::int64_t>(as_row(0, how.place, kNobody)));
    const __m256i cut = _mm256_set1_epi32(static_cast<int>(how.cut)), also = _mm256_set1_epi32(static_cast<int>(how.also));
    const auto open_right = static_cast<__mmask8>(-how.open[0]), open_left = static_cast<__mmask8>(-how.open[1]);
    std::uint64_t *right_to = to[0], *left_to = to[1];
    std::size_t i = 0;
    for (; i + 8 <= many; i += 8) {
        const __m512i r = _mm512_loadu_si512(rows + i), row = _mm512_and_si512(r, low), p = _mm512_and_si512(r, player);
        const __m256i c = _mm256_and_si256(_mm512_i64gather_epi32(row, how.of_row, 2), _mm256_set1_epi32(0xffff));
        const __mmask8 left = _mm256_cmplt_epu32_mask(c, cut) | _mm256_cmpeq_epi32_mask(c, also);
        const __mmask8 mine = _mm512_cmpeq_epi64_mask(p, mine_at), free = _mm512_cmpeq_epi64_mask(p, player);
        const __m512i other = _mm512_mask_blend_epi64(mine, _mm512_or_si512(row, astray), r);
        const auto to_left = static_cast<__mmask8>((left & ~mine) | ((mine | (free & ~left)) & open_left));
        const auto to_right = static_cast<__mmask8>((~left & ~mine) | ((mine | (free & left)) & open_right));
        _mm512_storeu_si512(left_to, _mm512_maskz_compress_epi64(to_left, _mm512_mask_blend_epi64(left, other, r)));
        _mm512_storeu_si512(right_to, _mm512_maskz_compress_epi64(to_right, _mm512_mask_blend_epi64(left, r, other)));
        left_to += __builtin_popcount(to_left);
        right_to += __builtin_popcount(to_right);
    }
    to[0] = right_to, to[1] = left_to;
    return i;
}

template <class T>
struct Lanes;

template <>
struct Lanes<float> {
    static constexpr int width = 16, table_bits = 7;  // the largest table that is looked up in registers
    using F = __m512;
    using I = __m512i;
    using M = __mmask16;
    static F load(const float* p) { return _mm512_load_ps(p); }
    static void store(float* p, F v) { _mm512_store_ps(p, v); }
    static F all(float v) { return _mm512_set1_ps(v); }
    static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
    static F add(F a, F b) { return _mm512_add_ps(a, b); }
    static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
    static F pick(M m, F yes, F no) { return _mm512_mask_blend_ps(m, no, yes); }
    static F fma_where(M m, F a, F b, F c) { return _mm512_mask3_fmadd_ps(a, b, c, m); }
    static M yes() { return 0xffff; }
    static M both(M a, M b) { return a & b; }
    static M first_only(M a, M b) { return a & static_cast<M>(~b); }
    static bool any(M m) { return m != 0; }
    static M from_bits(std::uint32_t bits) { return static_cast<M>(bits); }
    static I none() { return _mm512_setzero_si512(); }
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
            else return pick(_mm512_test_epi32_mask(i, _mm512_set1_epi32(64)), half<4>(i), half<0>(i));
        }
        template <int from>
        F half(I i) const {
            return pick(_mm512_test_epi32_mask(i, _mm512_set1_epi32(32)), _mm512_permutex2var_ps(part[from + 2], i, part[from + 3]),
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
    static F all(double v) { return _mm512_set1_pd(v); }
    static F mul(F a, F b) { return _mm512_mul_pd(a, b); }
    static F add(F a, F b) { return _mm512_add_pd(a, b); }
    static F fma(F a, F b, F c) { return _mm512_fmadd_pd(a, b, c); }
    static F pick(M m, F yes, F no) { return _mm512_mask_blend_pd(m, no, yes); }
    static F fma_where(M m, F a, F b, F c) { return _mm512_mask3_fmadd_pd(a, b, c, m); }
    static M yes() { return 0xff; }
    static M both(M a, M b) { return a & b; }
    static M first_only(M a, M b) { return a & static_cast<M>(~b); }
    static bool any(M m) { return m != 0; }
    static M from_bits(std::uint32_t bits) { return static_cast<M>(bits); }
    static std::uint32_t to_bits(M m) { return m; }
    static I none() { return _mm512_setzero_si512(); }
    static I set_bit(I i, M m, int bit) { return _mm512_mask_or_epi64(i, m, i, _mm512_set1_epi64(std::int64_t{1} << bit)); }
    static I clear_bit(I i, M m, int bit) { return _mm512_mask_andnot_epi64(i, m, _mm512_set1_epi64(std::int64_t{1} << bit), i); }
    template <int kind>
    static M less(const double* x, double t) { return compare<kind>(x, t); }
    using S = I;  // 64 bits a lane
    static F sub(F a, F b) { return _mm512_sub_pd(a, b); }
    static S all_bits() { return _mm512_set1_epi64(-1); }
    static S and_bits(S a, S b) { return _mm512_and_si512(a, b); }
    static S and_bits(S a, std::uint64_t b) { return _mm512_and_si512(a, _mm512_set1_epi64(static_cast<std::int64_t>(b))); }
    static S and_unless_below(S a, const std::int32_t* x, std::int32_t cut, std::uint64_t b) {
        const __mmask8 not_below = _mm256_cmp_epi32_mask(_mm256_load_si256(reinterpret_cast<const __m256i*>(x)), _mm256_set1_epi32(cut), _MM_CMPINT_NLT);
        return _mm512_mask_and_epi64(a, not_below, a, _mm512_set1_epi64(static_cast<std::int64_t>(b)));
    }
    static I zeros_before(S a) { return _mm512_lzcnt_epi64(a); }  // the first bit, the highest being zero
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
            else return pick(_mm512_test_epi64_mask(i, _mm512_set1_epi64(32)), half<4>(i), half<0>(i));
        }
        template <int from>
        F half(I i) const {
            return pick(_mm512_test_epi64_mask(i, _mm512_set1_epi64(16)), _mm512_permutex2var_pd(part[from + 2], i, part[from + 3]),
                        _mm512_permutex2var_pd(part[from], i, part[from + 1]));
        }
    };
};

#elif defined(WHYBOX_AVX2)

inline std::size_t part_eights(const Parting&, const std::uint64_t*, std::size_t, std::uint64_t* (&)[2]) { return 0; }

inline std::uint32_t below32(const std::uint16_t* x, __m256i most) {
    const __m256i a = _mm256_load_si256(reinterpret_cast<const __m256i*>(x)), b = _mm256_load_si256(reinterpret_cast<const __m256i*>(x + 16));
    const __m256i two = _mm256_packs_epi16(_mm256_cmpeq_epi16(_mm256_min_epu16(a, most), a), _mm256_cmpeq_epi16(_mm256_min_epu16(b, most), b));
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_permute4x64_epi64(two, 0xd8)));
}
inline std::uint64_t below64(const std::uint16_t* x, std::uint16_t cut) {
    if (cut == 0) return 0;
    const __m256i most = _mm256_set1_epi16(static_cast<short>(cut - 1));
    return below32(x, most) | static_cast<std::uint64_t>(below32(x + 32, most)) << 32;
}

template <class T>
struct Lanes;

template <>
struct Lanes<float> {
    static constexpr int width = 8, table_bits = 4;
    using F = __m256;
    using I = __m256i;
    using M = __m256;
    static F load(const float* p) { return _mm256_load_ps(p); }
    static void store(float* p, F v) { _mm256_store_ps(p, v); }
    static F all(float v) { return _mm256_set1_ps(v); }
    static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
    static F add(F a, F b) { return _mm256_add_ps(a, b); }
    static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
    static F pick(M m, F yes, F no) { return _mm256_blendv_ps(no, yes, m); }
    static F fma_where(M m, F a, F b, F c) { return pick(m, fma(a, b, c), c); }
    static M yes() { return _mm256_castsi256_ps(_mm256_set1_epi32(-1)); }
    static M both(M a, M b) { return _mm256_and_ps(a, b); }
    static M first_only(M a, M b) { return _mm256_andnot_ps(b, a); }
    static bool any(M m) { return _mm256_movemask_ps(m) != 0; }
    static M from_bits(std::uint32_t bits) {
        const I one = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), one), one));
    }
    static I none() { return _mm256_setzero_si256(); }
    static I set_bit(I i, M m, int bit) { return _mm256_or_si256(i, _mm256_and_si256(_mm256_castps_si256(m), _mm256_set1_epi32(1 << bit))); }
    static I clear_bit(I i, M m, int bit) { return _mm256_andnot_si256(_mm256_and_si256(_mm256_castps_si256(m), _mm256_set1_epi32(1 << bit)), i); }
    template <int kind>
    static M less(const float* x, float t) {
        constexpr int op[] = {_CMP_LT_OQ, _CMP_NGE_UQ, _CMP_LE_OQ, _CMP_NGT_UQ};
        return _mm256_cmp_ps(load(x), all(t), op[kind]);
    }
    template <int kind>
    static M less(const double* x, double t) {
        constexpr int op[] = {_CMP_LT_OQ, _CMP_NGE_UQ, _CMP_LE_OQ, _CMP_NGT_UQ};
        const __m256d v = _mm256_set1_pd(t);
        const int low = _mm256_movemask_pd(_mm256_cmp_pd(_mm256_load_pd(x), v, op[kind]));
        const int high = _mm256_movemask_pd(_mm256_cmp_pd(_mm256_load_pd(x + 4), v, op[kind]));
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
            else return pick(_mm256_castsi256_ps(_mm256_slli_epi32(i, 28)), _mm256_permutevar8x32_ps(part[1], i), low);  // bit 3 is the sign
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
    static F all(double v) { return _mm256_set1_pd(v); }
    static F mul(F a, F b) { return _mm256_mul_pd(a, b); }
    static F add(F a, F b) { return _mm256_add_pd(a, b); }
    static F fma(F a, F b, F c) { return _mm256_fmadd_pd(a, b, c); }
    static F pick(M m, F yes, F no) { return _mm256_blendv_pd(no, yes, m); }
    static F fma_where(M m, F a, F b, F c) { return pick(m, fma(a, b, c), c); }
    static M yes() { return _mm256_castsi256_pd(_mm256_set1_epi32(-1)); }
    static M both(M a, M b) { return _mm256_and_pd(a, b); }
    static M first_only(M a, M b) { return _mm256_andnot_pd(b, a); }
    static bool any(M m) { return _mm256_movemask_pd(m) != 0; }
    static M from_bits(std::uint32_t bits) {
        const I one = _mm256_setr_epi64x(1, 2, 4, 8);
        return _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(bits), one), one));
    }
    static std::uint32_t to_bits(M m) { return static_cast<std::uint32_t>(_mm256_movemask_pd(m)); }
    static I none() { return _mm256_setzero_si256(); }
    static I set_bit(I i, M m, int bit) { return _mm256_or_si256(i, _mm256_and_si256(_mm256_castpd_si256(m), _mm256_set1_epi64x(std::int64_t{1} << bit))); }
    static I clear_bit(I i, M m, int bit) { return _mm256_andnot_si256(_mm256_and_si256(_mm256_castpd_si256(m), _mm256_set1_epi64x(std::int64_t{1} << bit)), i); }
    template <int kind>
    static M less(const double* x, double t) {
        constexpr int op[] = {_CMP_LT_OQ, _CMP_NGE_UQ, _CMP_LE_OQ, _CMP_NGT_UQ};
        return _mm256_cmp_pd(load(x), all(t), op[kind]);
    }
    using S = I;
    static F sub(F a, F b) { return _mm256_sub_pd(a, b); }
    static S all_bits() { return _mm256_set1_epi64x(-1); }
    static S and_bits(S a, S b) { return _mm256_and_si256(a, b); }
    static S and_bits(S a, std::uint64_t b) { return _mm256_and_si256(a, _mm256_set1_epi64x(static_cast<std::int64_t>(b))); }
    static S and_unless_below(S a, const std::int32_t* x, std::int32_t cut, std::uint64_t b) {
        const __m128i below = _mm_cmpgt_epi32(_mm_set1_epi32(cut), _mm_load_si128(reinterpret_cast<const __m128i*>(x)));
        return _mm256_and_si256(a, _mm256_or_si256(_mm256_cvtepi32_epi64(below), _mm256_set1_epi64x(static_cast<std::int64_t>(b))));
    }
    static I zeros_before(S a) {
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
};

#else

inline std::size_t part_eights(const Parting&, const std::uint64_t*, std::size_t, std::uint64_t* (&)[2]) { return 0; }

inline std::uint64_t below64(const std::uint16_t* x, std::uint16_t cut) {
    std::uint64_t bits = 0;
    for (int l = 0; l < 64; ++l) bits |= static_cast<std::uint64_t>(x[l] < cut) << l;
    return bits;
}

// Zeros before the first bit, of which there is one.
inline std::uint32_t first_bit(std::uint64_t x) {
#if defined(__GNUC__)
    return static_cast<std::uint32_t>(__builtin_clzll(x));
#else
    std::uint32_t n = 0;
    for (int step = 32; step; step /= 2)
        if (x >> (64 - step) == 0) n += static_cast<std::uint32_t>(step), x <<= step;
    return n;
#endif
}

// Arrays of eight and plain loops, for every processor; compilers turn most of them into whatever vectors they are allowed to use.
template <class T>
struct Lanes {
    static constexpr int width = 8, table_bits = 2;
    struct F { T v[width]; };
    struct I { std::uint32_t v[width]; };
    using M = std::uint32_t;
    static F load(const T* p) { F r; for (int l = 0; l < width; ++l) r.v[l] = p[l]; return r; }
    static void store(T* p, const F& a) { for (int l = 0; l < width; ++l) p[l] = a.v[l]; }
    static F all(T v) { F r; for (auto& x : r.v) x = v; return r; }
    static F mul(F a, const F& b) { for (int l = 0; l < width; ++l) a.v[l] *= b.v[l]; return a; }
    static F add(F a, const F& b) { for (int l = 0; l < width; ++l) a.v[l] += b.v[l]; return a; }
    static F fma(const F& a, const F& b, F c) { for (int l = 0; l < width; ++l) c.v[l] += a.v[l] * b.v[l]; return c; }
    static F pick(M m, const F& yes, F no) { for (int l = 0; l < width; ++l) no.v[l] = m >> l & 1U ? yes.v[l] : no.v[l]; return no; }
    static F fma_where(M m, const F& a, const F& b, const F& c) { return pick(m, fma(a, b, c), c); }
    static M yes() { return 0xff; }
    static M both(M a, M b) { return a & b; }
    static M first_only(M a, M b) { return a & ~b; }
    static bool any(M m) { return m != 0; }
    static M from_bits(std::uint32_t bits) { return bits; }
    static std::uint32_t to_bits(M m) { return m; }
    static I none() { return I{}; }
    static I set_bit(I i, M m, int bit) { for (int l = 0; l < width; ++l) i.v[l] |= (m >> l & 1U) << bit; return i; }
    static I clear_bit(I i, M m, int bit) { for (int l = 0; l < width; ++l) i.v[l] &= ~((m >> l & 1U) << bit); return i; }
    template <int kind, class C>
    static M less(const C* x, C t) {
        M m = 0;
        for (int l = 0; l < width; ++l) {
            const bool yes = kind == kLess ? x[l] < t : kind == kLessOrNan ? !(x[l] >= t) : kind == kNotAbove ? x[l] <= t : !(x[l] > t);
            m |= static_cast<M>(yes) << l;
        }
        return m;
    }
    struct S { std::uint64_t v[width]; };
    static F sub(F a, const F& b) { for (int l = 0; l < width; ++l) a.v[l] -= b.v[l]; return a; }
    static S all_bits() { S r; for (auto& x : r.v) x = ~std::uint64_t{0}; return r; }
    static S and_bits(S a, const S& b) { for (int l = 0; l < width; ++l) a.v[l] &= b.v[l]; return a; }
    static S and_bits(S a, std::uint64_t b) { for (auto& x : a.v) x &= b; return a; }
    static S and_unless_below(S a, const std::int32_t* x, std::int32_t cut, std::uint64_t b) {
        for (int l = 0; l < width; ++l) a.v[l] &= x[l] < cut ? ~std::uint64_t{0} : b;
        return a;
    }
    static I zeros_before(const S& a) { I r; for (int l = 0; l < width; ++l) r.v[l] = first_bit(a.v[l]); return r; }
    static F gather(const T* t, const I& i) { F r; for (int l = 0; l < width; ++l) r.v[l] = t[i.v[l]]; return r; }
    template <int bits>
    struct Table {
        const T* t;
        explicit Table(const T* table) : t(table) {}
        F at(const I& i) const { return gather(t, i); }
    };
};

#endif

}  // namespace whybox::WHYBOX_ISA
