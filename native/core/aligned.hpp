// Arrays for aligned vector loads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace whybox {

// A growing array whose memory starts on a cache line (64 bytes).
template <class T>
class AlignedArray {
public:
    AlignedArray() = default;
    void resize(std::size_t n);  // keeps the old entries; new ones are zero
    T* data() { return memory_.get(); }
    const T* data() const { return memory_.get(); }
    std::size_t size() const { return size_; }
    T& operator[](std::size_t i) { return memory_.get()[i]; }

private:
    struct AlignedDelete { void operator()(T* p) const; };
    std::unique_ptr<T, AlignedDelete> memory_;
    std::size_t size_ = 0, capacity_ = 0;
};
extern template class AlignedArray<float>;
extern template class AlignedArray<double>;
extern template class AlignedArray<std::int32_t>;
extern template class AlignedArray<std::uint16_t>;
extern template class AlignedArray<std::uint64_t>;

}  // namespace whybox
