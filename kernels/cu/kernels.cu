// All kernels, one translation unit: one cubin per GPU, one object per test backend.

#include "agree.cu"
#include "derive.cu"
#include "entropy.cu"
#include "gcm.cu"
#if SC_COMPARE && SC_TABLES == 4
#include "gcm_b1.cu"
#endif
#include "guard.cu"
#include "kdf.cu"
#include "shares.cu"
#include "unwrap.cu"
