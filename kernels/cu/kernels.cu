// All kernels, one translation unit: one cubin per GPU, one object per test backend.

#include "agree.cu"
#include "derive.cu"
#include "entropy.cu"
#include "gcm.cu"
#include "guard.cu"
#include "release.cu"
#include "shares.cu"
