// Runs chosen cases of upstream's op suite, by number, against a device behind an RPC server.
//
//     suite list                        one line a case: number, op, judged by the CPU, fused, bytes, operations,
//                                       parameters
//     suite run ENDPOINT THREADS FLAGS  case numbers on standard input; what happened on standard output
//
// The suite itself is included, so its cases, its inputs, its reference and its judgement are used as they are. Its
// comparison is wrapped only to report the error and the limit of nodes that pass, which the suite does not print,
// and, with the flag "twice", to compute a node again and compare the bits. Text that does not start with '@' is the
// suite's own.

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpp.h"
#include "ggml-impl.h"
#include "ggml-rpc.h"
#include "ggml.h"

static bool compare_and_report(ggml_backend_t device, ggml_backend_t cpu, ggml_cgraph * graph,
                               ggml_backend_eval_callback judge, void * judged, ggml_tensor const * const * chosen,
                               size_t n_chosen);

#define ggml_backend_compare_graph_backend compare_and_report
#define main upstream_main
#include "test-backend-ops.cpp"
#undef main
#undef ggml_backend_compare_graph_backend

#include <chrono>
#include <cmath>
#include <iostream>

namespace {

struct Run {
    test_case *                test   = nullptr;
    ggml_backend_t             device = nullptr;
    ggml_cgraph *              graph  = nullptr;
    ggml_backend_eval_callback judge  = nullptr;
    void *                     judged = nullptr;
    bool                       whole  = false;
    bool                       twice  = false;
};

Run run;

std::vector<uint8_t> bytes_of(const ggml_tensor * tensor) {
    std::vector<uint8_t> bytes(ggml_nbytes(tensor));
    ggml_backend_tensor_get(tensor, bytes.data(), 0, bytes.size());
    return bytes;
}

bool finite(const std::vector<float> & values) {
    return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

// One result, after the suite has judged it.
bool report(int index, ggml_tensor * got, ggml_tensor * expected, void *) {
    const bool go_on = run.judge(index, got, expected, run.judged);
    if (got->op == GGML_OP_NONE) {
        return go_on;
    }
    std::vector<float> a = tensor_to_float(got);
    std::vector<float> b = tensor_to_float(expected);
    if (finite(a) && finite(b)) {
        const double err = run.test->err(a.data(), b.data(), a.size());
        printf("\n@error\t%s\t%.6e\t%.6e\n", ggml_op_desc(got), err, run.test->max_err(run.device));
    }
    // A node that writes into one of its sources cannot be repeated.
    if (run.twice && !run.whole && got->view_src == nullptr) {
        const std::vector<uint8_t> before = bytes_of(got);
        ggml_cgraph                again  = ggml_graph_view(run.graph, index, index + 1);
        ggml_backend_graph_compute(run.device, &again);
        printf("\n@bits\t%s\t%d\n", ggml_op_desc(got), bytes_of(got) == before);
    }
    return go_on;
}

}  // namespace

static bool compare_and_report(ggml_backend_t device, ggml_backend_t cpu, ggml_cgraph * graph,
                               ggml_backend_eval_callback judge, void * judged, ggml_tensor const * const * chosen,
                               size_t n_chosen) {
    run.device = device;
    run.graph  = graph;
    run.judge  = judge;
    run.judged = judged;
    run.whole  = n_chosen != 0;
    return ggml_backend_compare_graph_backend(device, cpu, graph, report, nullptr, chosen, n_chosen);
}

// What the suite would do with a case: its op, and whether the CPU takes all of its tensors.
static void list_case(size_t number, test_case & test, ggml_backend_t cpu) {
    const ggml_init_params params = { ggml_tensor_overhead() * 128 + ggml_graph_overhead(), nullptr, true };
    ggml_context_ptr       ctx(ggml_init(params));
    ggml_context_ptr       weights(test.use_weight_context() ? ggml_init(params) : nullptr);
    test.mode         = MODE_SUPPORT;
    test.gf           = ggml_new_graph(ctx.get());
    ggml_tensor * out = test.build_graph(ctx.get(), weights.get());
    bool          all = true;
    for (ggml_tensor * t = ggml_get_first_tensor(ctx.get()); t; t = ggml_get_next_tensor(ctx.get(), t)) {
        all = all && ggml_backend_supports_op(cpu, t);
    }
    printf("%zu\t%s\t%d\t%d\t%zu\t%" PRIu64 "\t%s\n", number, test.op_desc(out).c_str(), all,
           test.run_whole_graph(), test.op_size(out), test.op_flops(out), test.vars().c_str());
}

// Compute a case that the CPU does not take: nothing to compare with, but a server that refuses it closes.
static bool compute_only(test_case & test, ggml_backend_t device) {
    const ggml_init_params params = { ggml_tensor_overhead() * 128 + ggml_graph_overhead(), nullptr, true };
    ggml_context_ptr       ctx(ggml_init(params));
    ggml_context_ptr       weights(test.use_weight_context() ? ggml_init(params) : nullptr);
    test.mode         = MODE_SUPPORT;
    test.gf           = ggml_new_graph(ctx.get());
    ggml_tensor * out = test.build_graph(ctx.get(), weights.get());
    ggml_backend_buffer_ptr weight_buffer, buffer;
    if (weights) {
        weight_buffer.reset(ggml_backend_alloc_ctx_tensors(weights.get(), device));
    }
    buffer.reset(ggml_backend_alloc_ctx_tensors(ctx.get(), device));
    if (!buffer || (weights && !weight_buffer)) {
        return false;
    }
    ggml_build_forward_expand(test.gf, out);
    // Zeros are ids and numbers that every op takes; drawing blocks of some types takes the client seconds.
    ggml_backend_buffer_clear(buffer.get(), 0);
    if (weights) {
        ggml_backend_buffer_clear(weight_buffer.get(), 0);
    }
    const bool computed = ggml_backend_graph_compute(device, test.gf) == GGML_STATUS_SUCCESS;
    bytes_of(out);
    return computed;
}

static int run_cases(std::vector<std::unique_ptr<test_case>> & cases, ggml_backend_t cpu, const char * endpoint) {
    ggml_backend_reg_t remote = ggml_backend_rpc_add_server(endpoint);
    if (remote == nullptr || ggml_backend_reg_dev_count(remote) == 0) {
        printf("no device at %s\n", endpoint);
        return 1;
    }
    ggml_backend_register(remote);
    ggml_backend_ptr device(ggml_backend_dev_init(ggml_backend_reg_dev_get(remote, 0), nullptr));
    for (size_t number; std::cin >> number;) {
        printf("\n@begin\t%zu\n", number);
        fflush(stdout);
        run.test              = cases.at(number).get();
        const auto          t = std::chrono::steady_clock::now();
        const test_status_t s = run.test->eval(device.get(), cpu, nullptr, nullptr);
        const bool computed   = s == test_status_t::NOT_SUPPORTED && compute_only(*run.test, device.get());
        const char * verdict  = s == test_status_t::OK ? "passed" : computed ? "computed" : "failed";
        const double seconds  = std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count();
        printf("\n@end\t%zu\t%s\t%.6f\n", number, verdict, seconds);
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char ** argv) {
    ggml_backend_load_all();
    ggml_backend_ptr cpu(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr));
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(ggml_backend_get_device(cpu.get()));
    std::vector<std::unique_ptr<test_case>> cases = make_test_cases_eval();
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (size_t i = 0; i < cases.size(); i++) {
            list_case(i, *cases[i], cpu.get());
        }
        return 0;
    }
    if (argc != 5 || strcmp(argv[1], "run") != 0) {
        fprintf(stderr, "usage: %s list | run ENDPOINT THREADS once|twice\n", argv[0]);
        return 2;
    }
    // The suite compares with the plain loops of the CPU backend, not with its fast kernels.
    auto * use_ref = (void (*)(ggml_backend_t, bool)) ggml_backend_reg_get_proc_address(
        reg, "ggml_backend_cpu_set_use_ref");
    if (use_ref == nullptr) {
        fprintf(stderr, "the CPU backend has no reference mode\n");
        return 2;
    }
    use_ref(cpu.get(), true);
    auto * set_threads = (ggml_backend_set_n_threads_t) ggml_backend_reg_get_proc_address(
        reg, "ggml_backend_set_n_threads");
    set_threads(cpu.get(), atoi(argv[3]));
    run.twice = strcmp(argv[4], "twice") == 0;
    return run_cases(cases, cpu.get(), argv[2]);
}
