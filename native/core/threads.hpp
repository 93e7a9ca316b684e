// A loop over threads: no runtime to initialise, nothing left behind.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace whybox {

// Calls task(worker, i) for i in 0 .. count - 1, each once; the first exception is thrown again when all have stopped.
template <class Task>
void parallel_for(std::size_t count, int threads, const Task& task) {
    std::atomic<std::size_t> next{0};
    std::exception_ptr first_exception;
    std::mutex mutex;
    auto run_worker = [&](int worker) {
        try {
            for (std::size_t i; (i = next.fetch_add(1)) < count;) task(worker, i);
        } catch (...) {
            const std::lock_guard<std::mutex> guard(mutex);
            if (!first_exception) first_exception = std::current_exception();
            next = count;
        }
    };
    std::vector<std::thread> workers;
    const int n_workers = static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(threads), count));
    try {
        for (int w = 1; w < n_workers; ++w) workers.emplace_back(run_worker, w);
    } catch (const std::system_error&) {  // the system gives no more threads: those that run do all tasks
    }
    run_worker(0);
    for (auto& t : workers) t.join();
    if (first_exception) std::rethrow_exception(first_exception);
}

}  // namespace whybox
