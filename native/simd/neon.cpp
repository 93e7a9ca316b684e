// Vector operations of arm64's Advanced SIMD ("Neon"), which every such processor has: 4 floats or 2 doubles at a time. operations.hpp says what each one
// means.
//
// Tables lie in registers as bytes, looked up by TBL and TBX: 64 bytes at a time, with an index a byte, which is zero (TBL) or leaves the lane as it is (TBX)
// beyond them.
#define WHYBOX_ISA neon
#include <arm_neon.h>

#include "simd/operations.hpp"

namespace whybox::neon {

inline std::size_t partition_eights(const RowPartition&, const std::uint64_t*, std::size_t, std::uint64_t* (&)[2]) { return 0; }

inline std::uint64_t below64(const std::uint16_t* x, std::uint16_t cut) {
    const uint16x8_t c = vdupq_n_u16(cut);
    const uint8x16_t bits = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));  // of eight numbers, one byte
    uint8x16_t below[4];
    for (int k = 0; k < 4; ++k) {
        const uint16x8_t low = vcltq_u16(vld1q_u16(x + 16 * k), c), high = vcltq_u16(vld1q_u16(x + 16 * k + 8), c);
        below[k] = vandq_u8(vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high)), bits);
    }
    const uint8x16_t sums = vpaddq_u8(vpaddq_u8(below[0], below[1]), vpaddq_u8(below[2], below[3]));
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)), 0);
}

// A table of `bytes` bytes in registers, at least 16; at: of indices a byte, all below `bytes`.
template <int bytes>
struct ByteTable {
    static_assert(bytes == 16 || bytes % 32 == 0);
    uint8x16x4_t part[(bytes + 63) / 64];
    explicit ByteTable(const void* table) {
        const auto* const from = static_cast<const std::uint8_t*>(table);
        if constexpr (bytes < 64) for (int k = 0; k < bytes / 16; ++k) part[0].val[k] = vld1q_u8(from + 16 * k);
        else for (int k = 0; k < bytes / 64; ++k) part[k] = vld1q_u8_x4(from + 64 * k);
    }
    uint8x16_t at(uint8x16_t i) const {
        if constexpr (bytes == 16) return vqtbl1q_u8(part[0].val[0], i);
        else if constexpr (bytes == 32) return vqtbl2q_u8({{part[0].val[0], part[0].val[1]}}, i);
        else {
            uint8x16_t found = vqtbl4q_u8(part[0], i);
            for (int k = 1; k < bytes / 64; ++k) found = vqtbx4q_u8(found, part[k], vsubq_u8(i, vdupq_n_u8(static_cast<std::uint8_t>(64 * k))));
            return found;
        }
    }
};

template <int kind>
inline uint32x4_t compare(const float* x, float t) {
    const float32x4_t a = vld1q_f32(x), b = vdupq_n_f32(t);
    if constexpr (kind == kLess) return vcltq_f32(a, b);
    else if constexpr (kind == kLessOrNan) return vmvnq_u32(vcgeq_f32(a, b));
    else if constexpr (kind == kNotAbove) return vcleq_f32(a, b);
    else return vmvnq_u32(vcgtq_f32(a, b));
}
template <int kind>
inline uint32x4_t compare(const double* x, double t) {  // of two numbers, twice 32 bits each
    const float64x2_t a = vld1q_f64(x), b = vdupq_n_f64(t);
    if constexpr (kind == kLess) return vreinterpretq_u32_u64(vcltq_f64(a, b));
    else if constexpr (kind == kLessOrNan) return vmvnq_u32(vreinterpretq_u32_u64(vcgeq_f64(a, b)));
    else if constexpr (kind == kNotAbove) return vreinterpretq_u32_u64(vcleq_f64(a, b));
    else return vmvnq_u32(vreinterpretq_u32_u64(vcgtq_f64(a, b)));
}

template <>
struct Lanes<float> {
    static constexpr int width = 4, table_bits = 5;
    using F = float32x4_t;
    using I = uint32x4_t;
    using M = uint32x4_t;
    static F load(const float* p) { return vld1q_f32(p); }
    static void store(float* p, F v) { vst1q_f32(p, v); }
    static F broadcast(float v) { return vdupq_n_f32(v); }
    static F mul(F a, F b) { return vmulq_f32(a, b); }
    static F add(F a, F b) { return vaddq_f32(a, b); }
    static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
    static F blend(M m, F yes, F no) { return vbslq_f32(m, yes, no); }
    static F fma_where(M m, F a, F b, F c) { return blend(m, fma(a, b, c), c); }
    static M all_true() { return vdupq_n_u32(~0U); }
    static M mask_and(M a, M b) { return vandq_u32(a, b); }
    static M mask_and_not(M a, M b) { return vbicq_u32(a, b); }
    static bool any(M m) { return vmaxvq_u32(m) != 0; }
    static M from_bits(std::uint32_t bits) { return vtstq_u32(vdupq_n_u32(bits), M{1, 2, 4, 8}); }
    static I zero_index() { return vdupq_n_u32(0); }
    static I set_bit(I i, M m, int bit) { return vorrq_u32(i, vandq_u32(m, vdupq_n_u32(1U << bit))); }
    static I clear_bit(I i, M m, int bit) { return vbicq_u32(i, vandq_u32(m, vdupq_n_u32(1U << bit))); }
    template <int kind>
    static M less(const float* x, float t) { return compare<kind>(x, t); }
    template <int kind>
    static M less(const double* x, double t) { return vuzp1q_u32(compare<kind>(x, t), compare<kind>(x + 2, t)); }
    static F gather(const float* t, I i) {
        const std::uint64_t low = vgetq_lane_u64(vreinterpretq_u64_u32(i), 0), high = vgetq_lane_u64(vreinterpretq_u64_u32(i), 1);
        F r = vdupq_n_f32(t[low & 0xffffffff]);
        r = vld1q_lane_f32(t + (low >> 32), r, 1);
        r = vld1q_lane_f32(t + (high & 0xffffffff), r, 2);
        return vld1q_lane_f32(t + (high >> 32), r, 3);
    }
    template <int bits>
    struct Table {
        ByteTable<4 << bits> bytes;
        explicit Table(const float* t) : bytes(t) {}
        F at(I i) const {
            return vreinterpretq_f32_u8(bytes.at(vreinterpretq_u8_u32(vmlaq_u32(vdupq_n_u32(0x03020100), i, vdupq_n_u32(0x04040404)))));
        }
    };
};

template <>
struct Lanes<double> {
    static constexpr int width = 2, table_bits = 4;
    using F = float64x2_t;
    using I = uint32x4_t;  // in both halves of a lane
    using M = uint64x2_t;
    static F load(const double* p) { return vld1q_f64(p); }
    static void store(double* p, F v) { vst1q_f64(p, v); }
    static F broadcast(double v) { return vdupq_n_f64(v); }
    static F mul(F a, F b) { return vmulq_f64(a, b); }
    static F add(F a, F b) { return vaddq_f64(a, b); }
    static F fma(F a, F b, F c) { return vfmaq_f64(c, a, b); }
    static F blend(M m, F yes, F no) { return vbslq_f64(m, yes, no); }
    static F fma_where(M m, F a, F b, F c) { return blend(m, fma(a, b, c), c); }
    static M all_true() { return vdupq_n_u64(~std::uint64_t{0}); }
    static M mask_and(M a, M b) { return vandq_u64(a, b); }
    static M mask_and_not(M a, M b) { return vbicq_u64(a, b); }
    static bool any(M m) { return vmaxvq_u32(vreinterpretq_u32_u64(m)) != 0; }
    static M from_bits(std::uint32_t bits) { return vtstq_u64(vdupq_n_u64(bits), M{1, 2}); }
    static std::uint32_t to_bits(M m) { return static_cast<std::uint32_t>(vaddvq_u64(vandq_u64(m, M{1, 2}))); }
    static I zero_index() { return vdupq_n_u32(0); }
    static I set_bit(I i, M m, int bit) { return vorrq_u32(i, vandq_u32(vreinterpretq_u32_u64(m), vdupq_n_u32(1U << bit))); }
    static I clear_bit(I i, M m, int bit) { return vbicq_u32(i, vandq_u32(vreinterpretq_u32_u64(m), vdupq_n_u32(1U << bit))); }
    template <int kind>
    static M less(const double* x, double t) { return vreinterpretq_u64_u32(compare<kind>(x, t)); }
    using S = uint64x2_t;
    static F sub(F a, F b) { return vsubq_f64(a, b); }
    static F div(F a, F b) { return vdivq_f64(a, b); }
    static F min(F a, F b) { return vbslq_f64(vcltq_f64(a, b), a, b); }  // of NaN, FMIN is NaN and FMINNM the other number
    static F max(F a, F b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
    static M below(F a, F b) { return vcltq_f64(a, b); }
    static S bits_of(F a) { return vreinterpretq_u64_f64(a); }
    static F number_of(S s) { return vreinterpretq_f64_u64(s); }
    static S or_bits(S a, std::uint64_t b) { return vorrq_u64(a, vdupq_n_u64(b)); }
    template <int bits>
    static S shift_left(S a) { return vshlq_n_u64(a, bits); }
    template <int bits>
    static S shift_right(S a) { return vshrq_n_u64(a, bits); }
    static S all_bits() { return vdupq_n_u64(~std::uint64_t{0}); }
    static S and_bits(S a, S b) { return vandq_u64(a, b); }
    static S and_bits(S a, std::uint64_t b) { return vandq_u64(a, vdupq_n_u64(b)); }
    static S and_unless_below(S a, const std::int32_t* x, std::int32_t cut, std::uint64_t b) {
        const uint32x2_t below = vclt_s32(vld1_s32(x), vdup_n_s32(cut));
        return vandq_u64(a, vorrq_u64(vreinterpretq_u64_s64(vmovl_s32(vreinterpret_s32_u32(below))), vdupq_n_u64(b)));
    }
    struct Zeros { std::uint64_t of_lane[2]; };
    static Zeros leading_zeros(S a) {
        return {{static_cast<std::uint64_t>(__builtin_clzll(vgetq_lane_u64(a, 0))), static_cast<std::uint64_t>(__builtin_clzll(vgetq_lane_u64(a, 1)))}};
    }
    static F gather(const double* t, I i) { return vld1q_lane_f64(t + vgetq_lane_u32(i, 2), vdupq_n_f64(t[vgetq_lane_u32(i, 0)]), 1); }
    template <int bits>
    struct Table {
        const double* t;
        ByteTable<bits <= table_bits ? 8 << bits : 32> bytes;
        explicit Table(const double* table) : t(table), bytes(table) {}
        F at(I i) const {
            const uint32x4_t first{0x03020100, 0x07060504, 0x03020100, 0x07060504};
            return vreinterpretq_f64_u8(bytes.at(vreinterpretq_u8_u32(vmlaq_u32(first, i, vdupq_n_u32(0x08080808)))));
        }
        F at(const Zeros& i) const { return vcombine_f64(vld1_f64(t + i.of_lane[0]), vld1_f64(t + i.of_lane[1])); }
    };
    static std::int64_t law_index(std::int64_t i) { return i * 0x0808080808080808 + 0x0706050403020100; }
    template <int bits>
    struct Laws {
        ByteTable<8 << bits> bytes;
        explicit Laws(const double* t) : bytes(t) {}
        F at(const std::int64_t* p) const { return vreinterpretq_f64_u8(bytes.at(vreinterpretq_u8_s64(vld1q_s64(p)))); }
    };
};

}  // namespace whybox::neon

#include "simd/kernels.hpp"

namespace whybox::neon {

constinit const InstructionSet kSet = kernels("neon", [] { return true; });

}  // namespace whybox::neon
