"""Imported by the server of helper processes before anything else: what its libraries must know when they are loaded.

Arrow's own allocator takes a gibibyte of address space at once, which a limit of memory would count; and each process
would have as many threads for small matrices as the machine has cores.
"""

import os

os.environ |= {"ARROW_DEFAULT_MEMORY_POOL": "system", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
