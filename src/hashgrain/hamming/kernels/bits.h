/* Portable names for compiler intrinsics. */
#ifndef HASHGRAIN_BITS_H
#define HASHGRAIN_BITS_H
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#define COUNT(word) __builtin_popcountll(word)
#define LOWEST(word) __builtin_ctzll(word)
#define PREFETCH(address) __builtin_prefetch(address)
#define UNLIKELY(fact) __builtin_expect(!!(fact), 0)
#define SHARED_GET(place) __atomic_load_n(place, __ATOMIC_RELAXED)
#define SHARED_PUT(place, value) __atomic_store_n(place, value, __ATOMIC_RELAXED)
#else
#include <intrin.h>
#define INLINE static __forceinline
#define PREFETCH(address) ((void)(address))
#define UNLIKELY(fact) (fact)
#define SHARED_GET(place) (*(volatile int64_t *)(place))
#define SHARED_PUT(place, value) (*(volatile int64_t *)(place) = (value))
INLINE int COUNT(uint64_t word) {
    word -= (word >> 1) & 0x5555555555555555ULL;
    word = (word & 0x3333333333333333ULL) + ((word >> 2) & 0x3333333333333333ULL);
    return (int)((((word + (word >> 4)) & 0x0F0F0F0F0F0F0F0FULL) * 0x0101010101010101ULL) >> 56);
}
INLINE int LOWEST(uint64_t word) {
    unsigned long place;
    _BitScanForward64(&place, word);
    return (int)place;
}
#endif
#endif
