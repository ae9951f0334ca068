/* Element-wise kernels: AVX-512. */
#include "kern/levels.h"

#if defined(__AVX512F__)
#define ELEM_FILL kern_elem_avx512
#include "kern/elem_tmpl.h"
#endif
