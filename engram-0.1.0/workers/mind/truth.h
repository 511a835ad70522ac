/* How sure we are that a memory is so: Beta(a, b), its mean and its interval.
 *
 * A memory told once with confidence c is Beta(2c, 2(1 - c)): the weight of a
 * flat prior (1 + 1) placed where the sender says, so the mean is what was given
 * and one source alone leaves a wide interval. Independent further sources add
 * to a and b (a later step of the mind). Time does not change it.
 */
#ifndef MIND_TRUTH_H
#define MIND_TRUTH_H

#include <stdint.h>

struct truth { float value, lower, upper; };      /* mean, 95 % credible interval */

/* a, b of a memory: the slot's word when it was set, else from the confidence given. */
void truth_beta(uint64_t word, float confidence, double *a, double *b);
struct truth truth_of(uint64_t word, float confidence);
/* "high" above .7, "medium" above .4, else "low". */
const char *truth_category(float value);

/* Regularised incomplete beta function and its inverse (0 <= p <= 1), to 1e-6. */
double truth_cdf(double x, double a, double b);
double truth_quantile(double p, double a, double b);

#endif
