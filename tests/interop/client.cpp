// A client made of any llama.cpp from 2024-05 on: opens a model locally or over RPC, writes logits.
//
//   client MODEL LOGITS N_LAYERS FLASH ENDPOINTS N_THREADS N_TOKENS PROMPT FORCED
//
// ENDPOINTS, PROMPT and FORCED are comma separated, "-" for none. The prompt is decoded in one batch, then N_TOKENS
// one by one: those of FORCED, else the most likely ones. LOGITS gets one row of f32 per position. Standard output has
// a line for every stage that was reached, which is what a caller knows when the library ends the process.
//
// The interface changed often. What a version lacks is found at compile time: a `requires` in a template is false for
// a member or function that its headers do not have.

#include "ggml-backend.h"
#include "llama.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

template <class Model> int vocabulary_size(Model * model) {
    if constexpr (requires { llama_vocab_n_tokens(llama_model_get_vocab(model)); }) {
        return llama_vocab_n_tokens(llama_model_get_vocab(model));
    } else {
        return llama_n_vocab(model);
    }
}

template <class Model, class Params> auto open_context(Model * model, Params params) {
    if constexpr (requires { llama_init_from_model(model, params); }) {
        return llama_init_from_model(model, params);
    } else {
        return llama_new_context_with_model(model, params);
    }
}

template <class Params> auto open_model(const char * path, Params params) {
    if constexpr (requires { llama_model_load_from_file(path, params); }) {
        return llama_model_load_from_file(path, params);
    } else {
        return llama_load_model_from_file(path, params);
    }
}

template <class Model> void close_model(Model * model) {
    if constexpr (requires { llama_model_free(model); }) {
        llama_model_free(model);
    } else {
        llama_free_model(model);
    }
}

template <class Params> void set_attention(Params & params, bool flash) {
    if constexpr (requires { params.flash_attn_type; }) {
        params.flash_attn_type = static_cast<decltype(params.flash_attn_type)>(flash ? 1 : 0);
    } else {
        params.flash_attn = flash;
    }
}

template <class Params> void no_repacking(Params & params) {
    if constexpr (requires { params.use_extra_bufts; }) {
        params.use_extra_bufts = false;
    }
}

static std::vector<std::string> split(const std::string & text) {
    std::vector<std::string> parts;
    std::stringstream stream(text == "-" ? "" : text);
    for (std::string part; std::getline(stream, part, ',');) {
        parts.push_back(part);
    }
    return parts;
}

static std::vector<int> numbers(const std::string & text) {
    std::vector<int> values;
    for (const auto & part : split(text)) {
        values.push_back(std::atoi(part.c_str()));
    }
    return values;
}

static void stage(const std::string & text) {
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
}

[[noreturn]] static void fail(const std::string & text) {
    std::fprintf(stderr, "client: %s\n", text.c_str());
    std::exit(2);
}

// Newer versions look only at registered servers.
template <class Registry> void remember(Registry * server) {
    if constexpr (requires { ggml_backend_register(server); }) {
        ggml_backend_register(server);
    }
}

// Where devices are chosen one by one: those of the endpoints, in order. An empty list is the CPU of this process.
template <class Device> struct Chosen {
    std::vector<Device> devices;

    template <class Registry> void add(Registry * rpc, const std::string & endpoint) {
        // From 3.0 on a server is a registry with several devices, before it is one device.
        if (auto * found = ggml_backend_reg_get_proc_address(rpc, "ggml_backend_rpc_add_server")) {
            auto * server = reinterpret_cast<Registry * (*)(const char *)>(found)(endpoint.c_str());
            if (server == nullptr) {
                fail(endpoint + " has no devices");
            }
            for (size_t i = 0; i < ggml_backend_reg_dev_count(server); i++) {
                devices.push_back(ggml_backend_reg_dev_get(server, i));
            }
            remember(server);
        } else if (auto * older = ggml_backend_reg_get_proc_address(rpc, "ggml_backend_rpc_add_device")) {
            auto device = reinterpret_cast<Device (*)(const char *)>(older)(endpoint.c_str());
            if (device == nullptr) {
                fail(endpoint + " is not a device");
            }
            devices.push_back(device);
        } else {
            fail("this build has no RPC");
        }
    }
};

template <class Params, class Name>
void choose_devices(Params & params, const std::string & endpoints, Name rpc_name, std::vector<void *> & kept) {
    if constexpr (requires { params.rpc_servers; }) {
        params.rpc_servers = endpoints == "-" ? nullptr : endpoints.c_str();
        stage("devices " + std::to_string(split(endpoints).size()));
    } else {
        using Device = std::remove_reference_t<decltype(*params.devices)>;
        Chosen<Device> chosen;
        if (endpoints != "-") {
            auto * rpc = ggml_backend_reg_by_name(rpc_name);
            for (const auto & endpoint : split(endpoints)) {
                chosen.add(rpc, endpoint);
            }
        }
        for (auto device : chosen.devices) {
            kept.push_back(static_cast<void *>(device));
        }
        kept.push_back(nullptr);
        params.devices = reinterpret_cast<Device *>(kept.data());
        stage("devices " + std::to_string(chosen.devices.size()));
    }
}

static void decode(llama_context * context, const std::vector<int> & tokens, int first) {
    auto batch = llama_batch_init(static_cast<int>(tokens.size()), 0, 1);
    for (size_t i = 0; i < tokens.size(); i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = first + static_cast<int>(i);
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    batch.n_tokens = static_cast<int>(tokens.size());
    const int status = llama_decode(context, batch);
    llama_batch_free(batch);
    if (status != 0) {
        fail("llama_decode answered " + std::to_string(status));
    }
}

// A template, so that the branches of choose_devices that this version lacks are not looked at.
template <class Params> int run(Params params, char ** args) {
    const std::string endpoints = args[5];
    const int n_threads = std::atoi(args[6]), n_tokens = std::atoi(args[7]);
    const auto prompt = numbers(args[8]), forced = numbers(args[9]);

    std::vector<float> shares(llama_max_devices(), 1.0f);
    const size_t n_servers = split(endpoints).size();
    std::fill(shares.begin() + std::min(std::max<size_t>(n_servers, 2), shares.size()), shares.end(), 0.0f);
    std::vector<void *> kept;
    params.n_gpu_layers = std::atoi(args[3]);
    params.split_mode = static_cast<decltype(params.split_mode)>(1);  // by layer
    no_repacking(params);
    choose_devices(params, endpoints, "RPC", kept);
    if (kept.size() > 2 || n_servers > 1) {
        params.tensor_split = shares.data();
    }

    auto * model = open_model(args[1], params);
    if (model == nullptr) {
        fail("the model was not loaded");
    }
    auto wanted = llama_context_default_params();
    wanted.n_ctx = 256;
    wanted.n_batch = wanted.n_ubatch = 256;
    wanted.n_threads = wanted.n_threads_batch = n_threads;
    set_attention(wanted, args[4][0] == '1');
    auto * context = open_context(model, wanted);
    if (context == nullptr) {
        fail("the context was refused");
    }
    stage("loaded");

    const int n_vocab = vocabulary_size(model);
    std::ofstream out(args[2], std::ios::binary);
    const auto write = [&](size_t rows) {
        const float * logits = llama_get_logits(context);
        out.write(reinterpret_cast<const char *>(logits), static_cast<std::streamsize>(rows * n_vocab * sizeof(float)));
        const float * last = logits + (rows - 1) * n_vocab;
        return static_cast<int>(std::max_element(last, last + n_vocab) - last);
    };
    decode(context, prompt, 0);
    int best = write(prompt.size());
    stage("prefilled");
    for (int i = 0; i < n_tokens; i++) {
        decode(context, {forced.empty() ? best : forced[i]}, static_cast<int>(prompt.size()) + i);
        best = write(1);
    }
    out.close();
    stage("generated");
    llama_free(context);
    close_model(model);
    stage("freed");
    return 0;
}

int main(int count, char ** args) {
    if (count != 10) {
        fail("expected 9 arguments");
    }
    llama_backend_init();
    return run(llama_model_default_params(), args);
}
