#include "simd/instruction_sets.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace whybox {

// One file each (plain.cpp, avx2.cpp, avx512.cpp, neon.cpp), compiled for its own instructions. A further set is one more such file and two lines: here,
// and in CMakeLists.txt.
namespace plain { extern const InstructionSet kSet; }
#if defined(WHYBOX_X86)
namespace avx2 { extern const InstructionSet kSet; }
namespace avx512 { extern const InstructionSet kSet; }
#elif defined(WHYBOX_ARM64)
namespace neon { extern const InstructionSet kSet; }
#endif

std::vector<const InstructionSet*> instruction_sets() {
    std::vector<const InstructionSet*> all{
#if defined(WHYBOX_X86)
        &avx512::kSet, &avx2::kSet,
#elif defined(WHYBOX_ARM64)
        &neon::kSet,
#endif
        &plain::kSet};
    std::erase_if(all, [](const InstructionSet* s) { return !s->available(); });
    // a processor that seems to have no better set than this one: for tests, and for equal numbers on unequal machines
    if (const char* best = std::getenv("WHYBOX_INSTRUCTIONS")) {
        const auto at = std::find_if(all.begin(), all.end(), [&](const InstructionSet* s) { return std::strcmp(s->name, best) == 0; });
        if (at != all.end()) all.erase(all.begin(), at);
    }
    return all;
}

const InstructionSet& instruction_set(const std::string& name) {
    for (const auto* s : instruction_sets())
        if (name == s->name) return *s;
    throw std::invalid_argument("this processor does not have the instructions " + name);
}

}  // namespace whybox
