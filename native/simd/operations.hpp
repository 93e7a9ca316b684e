// The vector operations that the file of an instruction set (plain.cpp, neon.cpp, avx2.cpp, avx512.cpp) must define; the kernels (lanes_*.hpp) use nothing else.
//
// Such a file defines WHYBOX_ISA, the name of its namespace, includes this file, defines what follows, and includes kernels.hpp. The kernels are then
// compiled for it in its own namespace, so instruction sets share no function and no instruction leaks into code that runs on a processor without it. For
// the same reason neither these files nor the kernels use the standard library.
//
// Lanes<float> and Lanes<double>: `width` rows side by side, one a lane.
//   F, I, M                        numbers, indices into tables, masks (yes or no for each lane)
//   table_bits                     tables of up to 2^table_bits entries are looked up in registers; larger ones are gathered from memory
//   load store broadcast           aligned memory to lanes and back; one number in every lane
//   mul add fma(a, b, c)           a * b, a + b, a * b + c
//   blend(m, yes, no)              by mask; fma_where(m, a, b, c): a * b + c where m, else c
//   all_true mask_and mask_and_not any   masks: all lanes; a and b; a and not b; is there a lane?
//   from_bits                      mask from an integer, lane l from bit l
//   zero_index set_bit clear_bit   indices: all zero; one bit set or cleared in the lanes of a mask
//   less<kind>(x, t)               mask of an aligned vector of columns against a threshold (program.hpp, Compare)
//   gather(t, i)                   t[i] in every lane; Table<bits>(t).at(i): the same from a table of 2^bits entries, at least four, loaded once
// and for double alone, where leaves are bits (lanes_leaves.hpp), rows are (lanes_bits.hpp), for losses (lanes_losses.hpp) and distances (lanes_nearest.hpp):
//   to_bits(m), sub(a, b)          the inverse of from_bits; a - b
//   div, min, max, below(a, b)     a / b; the smaller and the larger, b where either is NaN; mask of a < b
//   S, all_bits, and_bits, or_bits 64 bits a lane: all ones; a and b; a or b
//   bits_of(a), number_of(s)       the bits of a number, and the number of these bits; shift_left<n>(s), shift_right<n>(s)
//   law_index(i), Laws<bits>(t).at(p)   for lane l, t[i] where law_index(i) stands in p[l]; of a table of 2^bits entries, 4 to 16
//   and_unless_below(a, x, c, b)   a where the integer x < c, else a and b
//   leading_zeros(a)               number of zeros before the first one, the highest bit being the first: what Table<bits>::at takes too
// Beside them:
//   below64(x, cut)                which of 64 aligned integers are below the cut, as bits
//   partition_eights(partition, rows, n, to)   partitions rows by eights (program.hpp, RowPartition) and returns how many; 0: the loop over single
//                                  rows does all
#pragma once

#include "simd/program.hpp"

namespace whybox::WHYBOX_ISA {

template <class T>
struct Lanes;

}  // namespace whybox::WHYBOX_ISA
