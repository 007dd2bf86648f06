/* Device pointers for a consumer in the device's own process.
 *
 * A tensor is lent while the lease rule holds: k leases of distinct custodians count (PROTOCOL chapter
 * 50, LEA-2). Take it back as soon as the kernels that read it have ended: a trip waits for it, and if
 * it does not come, the context ends under it. When leases end, the memory behind the pointer is zeroed.
 *
 * Outputs belong into memory of your own. Copying a lent tensor to the host, exporting it or making a
 * handle for another process trips the device: it wipes itself, and the call is refused.
 *
 * No function here blocks longer than one check on the device. All may be called from any thread.
 */
#ifndef SPLIT_CUSTODY_H
#define SPLIT_CUSTODY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a call says. */
enum {
    SC_OK = 0,
    SC_NO_LEASE = 1,      /* fewer leases count than must */
    SC_TAINTED = 2,       /* no clean incarnation: the device tripped, or is being scrubbed */
    SC_NO_TENSOR = 3,     /* no model, or no such tensor */
    SC_BAD_ARGUMENT = 4,  /* a null pointer, or a name that is not UTF-8 */
    SC_NOT_EXPRESSIBLE = 5, /* DLPack has no such dtype, or not so many dimensions */
    SC_DENIED = 6         /* a read: the device has tripped */
};

/* The device of this process; given by whoever runs it. */
typedef struct sc_device sc_device;

/* A tensor, lent. `loan` belongs to the device. */
typedef struct sc_tensor {
    uint64_t address; /* device memory */
    uint64_t bytes;
    void *loan;
} sc_tensor;

/* Lends a tensor. [LEA-2] [RST-5] */
int32_t sc_borrow(const sc_device *device, const char *name, sc_tensor *tensor);

/* Takes it back. The address is void from now on. A tensor that was taken back already is left alone. */
void sc_return(sc_tensor *tensor);

/* The same as a DLManagedTensor (DLPack 0.8, kDLCUDA, device 0). Its deleter takes it back. */
int32_t sc_borrow_dlpack(const sc_device *device, const char *name, void **managed);

/* There is no reading: this trips the device, leaves `out` alone, and says SC_DENIED. [RST-13] */
int32_t sc_read(const sc_device *device, const char *name, void *out, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
