// The instruction sets of this processor.
#pragma once

#include <string>
#include <vector>

#include "simd/program.hpp"

namespace whybox {

std::vector<const InstructionSet*> instruction_sets();           // those this processor has, best first; the last is plain
const InstructionSet& instruction_set(const std::string& name);  // throws std::invalid_argument where the processor does not have it

}  // namespace whybox
