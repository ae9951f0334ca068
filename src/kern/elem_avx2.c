/* Element-wise kernels: AVX2 with FMA. */
#include "kern/levels.h"

#if defined(__AVX2__)
#define ELEM_FILL kern_elem_avx2
#include "kern/elem_tmpl.h"
#endif
