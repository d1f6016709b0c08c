// Arrays that begin with a cache line: a register of 512 bits is then never read from, or written to, two lines.
#pragma once

#include <new>
#include <vector>

namespace torchprotect::cpu {

template <class T>
struct AlignedAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  AlignedAllocator() = default;
  template <class Other>
  AlignedAllocator(const AlignedAllocator<Other>&) {}

  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kLine)); }
  void deallocate(T* array, size_t) { ::operator delete(array, kLine); }
};

template <class T, class Other>
bool operator==(const AlignedAllocator<T>&, const AlignedAllocator<Other>&) {
  return true;
}
template <class T, class Other>
bool operator!=(const AlignedAllocator<T>&, const AlignedAllocator<Other>&) {
  return false;
}

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace torchprotect::cpu
