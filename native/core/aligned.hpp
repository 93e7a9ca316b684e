// Arrays for aligned vector loads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace whybox {

// A growing array whose memory starts on a cache line (64 bytes).
template <class T>
class Aligned {
public:
    Aligned() = default;
    void resize(std::size_t n);  // keeps the old entries; new ones are zero
    T* data() { return memory_.get(); }
    const T* data() const { return memory_.get(); }
    std::size_t size() const { return size_; }
    T& operator[](std::size_t i) { return memory_.get()[i]; }

private:
    struct Free { void operator()(T* p) const; };
    std::unique_ptr<T, Free> memory_;
    std::size_t size_ = 0, room_ = 0;
};
extern template class Aligned<float>;
extern template class Aligned<double>;
extern template class Aligned<std::int32_t>;
extern template class Aligned<std::uint16_t>;
extern template class Aligned<std::uint64_t>;

}  // namespace whybox
