// The kernels' text as a library for tests, and the five calls that drive it.
//
// SC_SHIM_PREFIX names the calls, so that two variants of the text fit into one program.

#include "shim.h"

#include "../cu/kernels.cu"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define CALL(name) PASTE(SC_SHIM_PREFIX, name)

extern "C" {

// Device memory: fenced, and full of 0xA5 so that a read before a write shows.
void* CALL(_alloc)(size_t size) {
    unsigned char* base = (unsigned char*)malloc(size + 2 * shim::FENCE);
    if (!base) return nullptr;
    memset(base, shim::FENCE_BYTE, size + 2 * shim::FENCE);
    memset(base + shim::FENCE, 0xA5, size);
    std::lock_guard<std::mutex> lock(shim::areas_lock);
    shim::areas.push_back({base, size});
    return base + shim::FENCE;
}

// False if it was not allocated here, or a fence is broken.
bool CALL(_free)(void* memory) {
    bool good = shim::fences_hold();
    std::lock_guard<std::mutex> lock(shim::areas_lock);
    for (size_t i = 0; i < shim::areas.size(); i++) {
        if (shim::areas[i].base + shim::FENCE != memory) continue;
        free(shim::areas[i].base);
        shim::areas.erase(shim::areas.begin() + i);
        return good;
    }
    return false;
}

// Null when the launch went well, else why not; valid until the next launch of this thread.
const char* CALL(_launch)(const char* name, unsigned grid, unsigned threads, size_t shared,
                          const void* args, size_t args_size) {
    for (shim::Kernel* k = shim::kernels; k; k = k->next) {
        if (strcmp(k->name, name) != 0) continue;
        if (k->args != args_size) return "the kernel's arguments have another size";
        if (threads == 0 || threads > k->threads) return "more threads than the kernel's bound";
        return shim::launch(*k, grid, threads, shared, args) ? nullptr : shim::machine.message;
    }
    return "no such kernel";
}

// The size of a struct that Rust mirrors; 0 if it has no such name.
size_t CALL(_size)(const char* name) {
#define SIZE(type) \
    if (strcmp(name, #type) == 0) return sizeof(type)
    SIZE(Schedule);
    SIZE(DeriveJob);
    SIZE(DeriveSpace);
    SIZE(Tensor);
    SIZE(Settled);
    if (strcmp(name, "GCM_SHARED") == 0) return GCM_SHARED;
    SIZE(AgreeJob);
    SIZE(X25519Space);
    SIZE(P256Space);
    SIZE(HashSpace<Sha256>);
    SIZE(HashSpace<Sha512>);
    SIZE(MacJob);
    SIZE(WrapSpace);
    SIZE(AeadSpace);
    SIZE(HpkeSpace);
    return 0;
}
}
