// The kernels of the fake GPU: the shim's, and the one thing that a driver knows beside it.

#include "../../shim/kernels.cpp"

// Bytes of a kernel's arguments; 0 if there is no such kernel.
extern "C" size_t sc_fake_args(const char* name) {
    for (shim::Kernel* k = shim::kernels; k; k = k->next)
        if (strcmp(k->name, name) == 0) return k->args;
    return 0;
}
