/* Beta distribution: distribution function by continued fraction (Lentz's
 * method; DLMF 8.17.22), quantile by bisection. See truth.h. */
#include "workers/mind/truth.h"

#include <math.h>
#include <string.h>

#define PRIOR_WEIGHT 2.0               /* of one statement */
#define LEAST 1e-3                     /* a, b are never 0: nothing is beyond doubt */

static double fraction(double x, double a, double b)
{
	double c = 1, d = 1 - (a + b) * x / (a + 1), h;

	if (fabs(d) < 1e-30)
		d = 1e-30;
	d = 1 / d;
	h = d;
	for (int m = 1; m <= 200; m++) {
		double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
		double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
		double step = 1;

		for (int half = 0; half < 2; half++) {
			double k = half ? odd : even;

			d = 1 + k * d;
			c = 1 + k / c;
			if (fabs(d) < 1e-30)
				d = 1e-30;
			if (fabs(c) < 1e-30)
				c = 1e-30;
			d = 1 / d;
			step = d * c;
			h *= step;
		}
		if (fabs(step - 1) < 1e-9)
			break;
	}
	return h;
}

double truth_cdf(double x, double a, double b)
{
	double front;

	if (x <= 0)
		return 0;
	if (x >= 1)
		return 1;
	front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
	if (x < (a + 1) / (a + b + 2))
		return front * fraction(x, a, b) / a;
	return 1 - front * fraction(1 - x, b, a) / b;
}

double truth_quantile(double p, double a, double b)
{
	double low = 0, high = 1;

	for (int i = 0; i < 24; i++) {
		double mid = (low + high) / 2;

		if (truth_cdf(mid, a, b) < p)
			low = mid;
		else
			high = mid;
	}
	return (low + high) / 2;
}

void truth_beta(uint64_t word, float confidence, double *a, double *b)
{
	float set[2];

	memcpy(set, &word, sizeof set);
	if (set[0] > 0 || set[1] > 0) {
		*a = set[0];
		*b = set[1];
	} else {
		*a = PRIOR_WEIGHT * (double)confidence;
		*b = PRIOR_WEIGHT - *a;
	}
	*a = fmax(*a, LEAST);
	*b = fmax(*b, LEAST);
}

/* Most memories of a store share their few values of a and b, and the quantile
 * costs some 10 us: each thread remembers the last one. */
struct truth truth_of(uint64_t word, float confidence)
{
	static _Thread_local struct { uint64_t word; double a, b; struct truth t; } last;
	double a, b;

	truth_beta(word, confidence, &a, &b);
	if (a != last.a || b != last.b || word != last.word) {
		last.word = word;
		last.a = a;
		last.b = b;
		last.t.value = word ? (float)(a / (a + b)) : confidence;
		last.t.lower = (float)truth_quantile(0.025, a, b);
		last.t.upper = (float)truth_quantile(0.975, a, b);
	}
	return last.t;
}

const char *truth_category(float value)
{
	return value > 0.7f ? "high" : value > 0.4f ? "medium" : "low";
}
