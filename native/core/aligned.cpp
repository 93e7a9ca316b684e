#include "core/aligned.hpp"

#include <algorithm>
#include <new>

namespace whybox {

template <class T>
void Aligned<T>::Free::operator()(T* p) const { ::operator delete[](p, std::align_val_t{64}); }

template <class T>
void Aligned<T>::resize(std::size_t n) {
    if (n > room_) {
        room_ = std::max(n, room_ + room_ / 2);
        std::unique_ptr<T, Free> bigger(static_cast<T*>(::operator new[](room_ * sizeof(T), std::align_val_t{64})));
        std::copy_n(memory_.get(), size_, bigger.get());
        memory_ = std::move(bigger);
    }
    if (n > size_) std::fill(memory_.get() + size_, memory_.get() + n, T{});
    size_ = n;
}

template class Aligned<float>;
template class Aligned<double>;
template class Aligned<std::int32_t>;
template class Aligned<std::uint16_t>;
template class Aligned<std::uint64_t>;

}  // namespace whybox
