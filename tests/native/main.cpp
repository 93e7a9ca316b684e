// Runs the tests whose names contain the argument, or all of them.
#include <cstdio>
#include <cstring>

#include "harness.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox::tests {
namespace {
int failures = 0, shown = 0;
}

void fail(const char* file, int line, const std::string& what) {
    ++failures;
    if (++shown > 5) return;
    const char* name = std::strrchr(file, '/');
    std::printf("    %s:%d: %s\n", name ? name + 1 : file, line, what.c_str());
}

int run(const char* part) {
    int ran = 0, failed = 0;
    for (const Test& test : all_tests()) {
        if (!std::strstr(test.name, part)) continue;
        const int before = failures;
        shown = 0;
        try {
            test.run();
        } catch (const std::exception& e) {
            fail(test.name, 0, std::string("threw: ") + e.what());
        }
        ++ran;
        failed += failures > before;
        std::printf("%s %s\n", failures > before ? "FAILED" : "passed", test.name);
        std::fflush(stdout);
    }
    std::printf("instruction sets:");
    for (const auto* s : instruction_sets()) std::printf(" %s", s->name);
    std::printf("\n%d passed, %d failed\n", ran - failed, failed);
    return failed || !ran ? 1 : 0;
}

}  // namespace whybox::tests

int main(int count, char** arguments) { return whybox::tests::run(count > 1 ? arguments[1] : ""); }
