// The lane kernels for every processor.
#define WHYBOX_ISA plain
#include "lanes.hpp"

namespace whybox::plain {

const InstructionSet kSet{"plain", [] { return static_cast<bool>(true); }, &left, &below, &both, &count, &weigh, &part, &turn, walker<float, float>(), walker<float, double>(), walker<double, double>()};

}  // namespace whybox::plain
