// The same searches by hnswlib, for contrib/bench/ann, which builds it (-O3 -march=native) and runs it.
//
//	ann_hnswlib BASE QUERIES EXACT DIM THREADS     first "build SECONDS"; then for each line "EF": "EF recall@10 queries/s"
//
// M 16, ef_construction 200, inner product of unit vectors, one thread for searches.
#include <atomic>
#include <chrono>
#include <iostream>
#include <thread>
#include <vector>

#include <hnswlib/hnswlib.h>

#include "ann_rows.h"

static double now()
{
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int main(int argc, char **argv)
{
	if (argc != 6)
		return 2;
	unsigned dim = unsigned(atoi(argv[4])), threads = unsigned(atoi(argv[5])), ef;
	size_t n, n_queries, bytes;
	float *base = read_rows(argv[1], dim, dim, &n), *queries = read_rows(argv[2], dim, dim, &n_queries);
	const int32_t *exact = static_cast<const int32_t *>(read_file(argv[3], &bytes));
	hnswlib::InnerProductSpace space(dim);
	hnswlib::HierarchicalNSW<float> graph(&space, n, 16, 200);
	std::atomic<size_t> next{1};
	std::vector<std::thread> workers;
	double began = now();

	graph.addPoint(base, 0);
	for (unsigned t = 0; t < threads; t++)
		workers.emplace_back([&] {
			for (size_t i; (i = next++) < n;)
				graph.addPoint(base + i * dim, i);
		});
	for (auto &w : workers)
		w.join();
	printf("build %.2f\n", now() - began);
	fflush(stdout);
	free(base);
	while (std::cin >> ef) {
		std::vector<uint32_t> found(n_queries * 10);
		unsigned right = 0;

		graph.setEf(ef);
		began = now();
		for (size_t i = 0; i < n_queries; i++) {
			auto best = graph.searchKnn(queries + i * dim, 10);
			for (size_t k = 0; !best.empty(); k++, best.pop())
				found[i * 10 + k] = uint32_t(best.top().second);
		}
		double seconds = now() - began;
		for (size_t i = 0; i < n_queries; i++)
			right += right_ones(&found[i * 10], 10, exact + i * 20);
		printf("%u %.5f %.1f\n", ef, double(right) / double(n_queries * 10), double(n_queries) / seconds);
		fflush(stdout);
	}
	return 0;
}
