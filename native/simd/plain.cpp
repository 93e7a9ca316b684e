// Vector operations for every processor: arrays of eight and plain loops, most of which compilers turn into whatever vectors they may use.
// operations.hpp says what each one means.
#define WHYBOX_ISA plain
#include "simd/operations.hpp"

namespace whybox::plain {

inline std::size_t partition_eights(const RowPartition&, const std::uint64_t*, std::size_t, std::uint64_t* (&)[2]) { return 0; }

inline std::uint64_t below64(const std::uint16_t* x, std::uint16_t cut) {
    std::uint64_t bits = 0;
    for (int l = 0; l < 64; ++l) bits |= static_cast<std::uint64_t>(x[l] < cut) << l;
    return bits;
}

// Zeros before the first bit, of which there is one.
inline std::uint32_t leading_zeros_of(std::uint64_t x) {
#if defined(__GNUC__)
    return static_cast<std::uint32_t>(__builtin_clzll(x));
#else
    std::uint32_t n = 0;
    for (int step = 32; step; step /= 2)
        if (x >> (64 - step) == 0) n += static_cast<std::uint32_t>(step), x <<= step;
    return n;
#endif
}

template <class T>
struct WordOf { using type = std::uint64_t; };
template <>
struct WordOf<float> { using type = std::uint32_t; };

template <class T>
struct Lanes {
    static constexpr int width = 8, table_bits = 2;
    struct F { T v[width]; };
    struct I { std::uint32_t v[width]; };
    using M = std::uint32_t;
    static F load(const T* p) { F r; for (int l = 0; l < width; ++l) r.v[l] = p[l]; return r; }
    static void store(T* p, const F& a) { for (int l = 0; l < width; ++l) p[l] = a.v[l]; }
    static F broadcast(T v) { F r; for (auto& x : r.v) x = v; return r; }
    static F mul(F a, const F& b) { for (int l = 0; l < width; ++l) a.v[l] *= b.v[l]; return a; }
    static F add(F a, const F& b) { for (int l = 0; l < width; ++l) a.v[l] += b.v[l]; return a; }
    static F fma(const F& a, const F& b, F c) { for (int l = 0; l < width; ++l) c.v[l] += a.v[l] * b.v[l]; return c; }
    // by bits: a branch for each lane would be guessed wrong half the time
    static F blend(M m, const F& yes, F no) {
        using Word = typename WordOf<T>::type;
        for (int l = 0; l < width; ++l) {
            const Word n = __builtin_bit_cast(Word, no.v[l]), y = __builtin_bit_cast(Word, yes.v[l]);
            no.v[l] = __builtin_bit_cast(T, n ^ ((n ^ y) & (Word{0} - static_cast<Word>(m >> l & 1U))));
        }
        return no;
    }
    static F fma_where(M m, const F& a, const F& b, const F& c) { return blend(m, fma(a, b, c), c); }
    static M all_true() { return 0xff; }
    static M mask_and(M a, M b) { return a & b; }
    static M mask_and_not(M a, M b) { return a & ~b; }
    static bool any(M m) { return m != 0; }
    static M from_bits(std::uint32_t bits) { return bits; }
    static std::uint32_t to_bits(M m) { return m; }
    static I zero_index() { return I{}; }
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
    static F div(F a, const F& b) { for (int l = 0; l < width; ++l) a.v[l] /= b.v[l]; return a; }
    static F min(const F& a, F b) { for (int l = 0; l < width; ++l) b.v[l] = a.v[l] < b.v[l] ? a.v[l] : b.v[l]; return b; }
    static F max(const F& a, F b) { for (int l = 0; l < width; ++l) b.v[l] = a.v[l] > b.v[l] ? a.v[l] : b.v[l]; return b; }
    static M below(const F& a, const F& b) { M m = 0; for (int l = 0; l < width; ++l) m |= static_cast<M>(a.v[l] < b.v[l]) << l; return m; }
    static S bits_of(const F& a) { return __builtin_bit_cast(S, a); }
    static F number_of(const S& s) { return __builtin_bit_cast(F, s); }
    static S or_bits(S a, std::uint64_t b) { for (auto& x : a.v) x |= b; return a; }
    template <int bits>
    static S shift_left(S a) { for (auto& x : a.v) x <<= bits; return a; }
    template <int bits>
    static S shift_right(S a) { for (auto& x : a.v) x >>= bits; return a; }
    static S all_bits() { S r; for (auto& x : r.v) x = ~std::uint64_t{0}; return r; }
    static S and_bits(S a, const S& b) { for (int l = 0; l < width; ++l) a.v[l] &= b.v[l]; return a; }
    static S and_bits(S a, std::uint64_t b) { for (auto& x : a.v) x &= b; return a; }
    static S and_unless_below(S a, const std::int32_t* x, std::int32_t cut, std::uint64_t b) {
        for (int l = 0; l < width; ++l) a.v[l] &= x[l] < cut ? ~std::uint64_t{0} : b;
        return a;
    }
    static I leading_zeros(const S& a) { I r; for (int l = 0; l < width; ++l) r.v[l] = leading_zeros_of(a.v[l]); return r; }
    static F gather(const T* t, const I& i) { F r; for (int l = 0; l < width; ++l) r.v[l] = t[i.v[l]]; return r; }
    template <int bits>
    struct Table {
        const T* t;
        explicit Table(const T* table) : t(table) {}
        F at(const I& i) const { return gather(t, i); }
    };
    static std::int64_t law_index(std::int64_t i) { return i; }
    template <int bits>
    struct Laws {
        const T* t;
        explicit Laws(const T* table) : t(table) {}
        F at(const std::int64_t* p) const { F r; for (int l = 0; l < width; ++l) r.v[l] = t[p[l]]; return r; }
    };
};

}  // namespace whybox::plain

#include "simd/kernels.hpp"

namespace whybox::plain {

constinit const InstructionSet kSet = kernels("plain", [] { return true; });

}  // namespace whybox::plain
