#include "core/aligned.hpp"

#include <algorithm>
#include <new>

namespace whybox {

template <class T>
void AlignedArray<T>::AlignedDelete::operator()(T* p) const { ::operator delete[](p, std::align_val_t{64}); }

template <class T>
void AlignedArray<T>::resize(std::size_t n) {
    if (n > capacity_) {
        capacity_ = std::max(n, capacity_ + capacity_ / 2);
        std::unique_ptr<T, AlignedDelete> larger(static_cast<T*>(::operator new[](capacity_ * sizeof(T), std::align_val_t{64})));
        std::copy_n(memory_.get(), size_, larger.get());
        memory_ = std::move(larger);
    }
    if (n > size_) std::fill(memory_.get() + size_, memory_.get() + n, T{});
    size_ = n;
}

template class AlignedArray<float>;
template class AlignedArray<double>;
template class AlignedArray<std::int32_t>;
template class AlignedArray<std::uint16_t>;
template class AlignedArray<std::uint64_t>;

}  // namespace whybox
