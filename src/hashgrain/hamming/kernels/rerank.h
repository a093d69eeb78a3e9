/* Real-valued outputs against binary codes: the sum of the outputs whose bit is 1, less the others. */
#ifndef HASHGRAIN_RERANK_H
#define HASHGRAIN_RERANK_H
#include "bits.h"

/* Outputs come as whole numbers, so that every order of adding gives the same score. */
void rerank_codes(const int64_t *outputs, int bits, const uint64_t *codes, int words, int64_t n, int64_t *scores);
#endif
