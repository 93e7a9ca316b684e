// Work shared out over threads: no runtime to initialise, nothing left behind.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace whybox {

// Calls work(worker, i) for i in 0 .. count - 1, each once; the first exception is thrown again when all have stopped.
template <class Work>
void share_out(std::size_t count, int threads, const Work& work) {
    std::atomic<std::size_t> next{0};
    std::exception_ptr failed;
    std::mutex lock;
    auto labour = [&](int worker) {
        try {
            for (std::size_t i; (i = next.fetch_add(1)) < count;) work(worker, i);
        } catch (...) {
            const std::lock_guard<std::mutex> held(lock);
            if (!failed) failed = std::current_exception();
            next = count;
        }
    };
    std::vector<std::thread> helpers;
    const int wanted = static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(threads), count));
    try {
        for (int w = 1; w < wanted; ++w) helpers.emplace_back(labour, w);
    } catch (const std::system_error&) {  // the system gives no more threads: those there are do all of it
    }
    labour(0);
    for (auto& t : helpers) t.join();
    if (failed) std::rethrow_exception(failed);
}

}  // namespace whybox
