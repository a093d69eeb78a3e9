/* Scores of binary codes: the sum of the outputs whose bit is 1, minus the sum of the others. */
#ifndef HASHGRAIN_RERANK_H
#define HASHGRAIN_RERANK_H
#include "bits.h"

/* Outputs are integers, so that sums do not depend on their order. */
void rerank_codes(const int64_t *outputs, int bits, const uint64_t *codes, int words, int64_t n, int64_t *scores);
#endif
