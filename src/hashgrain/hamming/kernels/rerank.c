#include "rerank.h"
#include <string.h>

enum { WIDTH = 16 }; /* values of half a byte */

void rerank_codes(const int64_t *outputs, int bits, const uint64_t *codes, int words, int64_t n, int64_t *scores) {
    memset(scores, 0, (size_t)n * sizeof *scores);
    for (int start = 0; start < bits; start += 4) {
        int64_t table[WIDTH] = {0}; /* the sum over these four bits, for each of their values */
        for (int value = 0; value < WIDTH; value++)
            for (int b = 0; b < 4 && start + b < bits; b++)
                table[value] += (value >> b) & 1 ? outputs[start + b] : -outputs[start + b];
        const int word = start / 64, shift = start % 64;
        for (int64_t i = 0; i < n; i++) scores[i] += table[(codes[i * words + word] >> shift) & (WIDTH - 1)];
    }
}
